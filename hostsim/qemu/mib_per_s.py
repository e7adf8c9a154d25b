"""Pages in a period as QEMU's whole MiB/s (migration/dirtyrate.c::do_calculate_dirtyrate)."""

from __future__ import annotations

from hostsim.core.constants import PAGE_BYTES
from hostsim.qemu.version import Version, release

PAGES_A_MIB = (1 << 20) // PAGE_BYTES
SCALES_FIRST = (8, 2)
"""Since this release, which also has calc-time-unit, QEMU multiplies by 1000 before it drops a part of a MiB."""


def mib_per_s(pages: int, period_ms: int, qemu: Version) -> int:
    """MiB/s of ``pages`` in ``period_ms``, as this QEMU rounds them."""
    if release(qemu) >= SCALES_FIRST:
        return pages * 1000 // PAGES_A_MIB // period_ms
    return pages // PAGES_A_MIB * 1000 // period_ms
