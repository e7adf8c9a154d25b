"""Bytes that pre-copy puts on the wire, and the rates QEMU derives from them."""

from __future__ import annotations

from hostsim.core.constants import PAGE_WIRE_BYTES, ZERO_PAGE_BYTES

SETUP_BYTES_APPROX = 8 * 1024
"""Block list and end marks: two completed QEMU migrations sent 7.2 and 8.9 KiB beyond their pages."""


def transferred_bytes(normal_pages: int, duplicate_pages: int, skipped_pages: int = 0) -> int:
    """RAM bytes of a migration, to within a few KiB: normal x 4104 + (duplicate - skipped) x 9 + 8 KiB.

    QEMU 1.6 counts a zero page that it leaves out in both ``duplicate`` and ``skipped``.
    """
    zero_bytes = (duplicate_pages - skipped_pages) * ZERO_PAGE_BYTES
    return normal_pages * PAGE_WIRE_BYTES + zero_bytes + SETUP_BYTES_APPROX


def throughput_mbps(sent_bytes: int, total_time_ms: int, setup_time_ms: int) -> float:
    """Throughput [Mbit/s] as reported: bytes x 8 / (total - setup).

    Source: QEMU 7.2, migration/migration.c::migration_calculate_complete.
    """
    return sent_bytes * 8.0 / (total_time_ms - setup_time_ms) / 1000.0


def page_seconds(bandwidth_bytes_per_s: float, page_bytes: float = PAGE_WIRE_BYTES) -> float:
    """Seconds one page takes at ``bandwidth_bytes_per_s``."""
    return page_bytes / bandwidth_bytes_per_s
