"""The bottleneck of a migration by its log: max-bandwidth, of which the log shows whole windows, or a link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.qemu.parameters import PAGES_A_FLUSH
from hostsim.qemu.version import Version, modelled_as
from hostsim.verdict.evidence import Evidence

BURSTS: Mapping[Version, int] = {"7.2": PAGE_WIRE_BYTES, "10.0": PAGES_A_FLUSH * PAGE_WIRE_BYTES}
"""Bytes that count against the quota of a window at once: a page as it is queued (up to 8.0, migration/qemu-file.c::
add_to_iovec), or 64 iovecs as they are written (since 8.1, migration/qemu-file.c::qemu_fflush). QEMU tests for more than the
quota (migration/migration-stats.c::migration_rate_exceeded), so a window has the fewest bursts that exceed it.
"""
OTHER_BYTES, DIGIT_BYTES = 160, 64
"""Bytes of a window beyond its bursts: the ends of a section (231 real migrations); half of the last digit of ``mbps``."""
LATE_MAX = 0.02
"""Windows of a busy host end late, and their median is smaller than the limit by up to this share (assumed)."""
WINDOWS_PER_S = 10
ROUND_MIB = (1024, 512, 256, 128, 100, 64, 50, 32, 20, 16, 10, 8, 5, 4, 2, 1)
UNITS = (*(mib << 20 for mib in ROUND_MIB), 10**6, 10**5)
"""Units of max-bandwidth, the roundest first: libvirt and HMP take MiB/s, QMP takes bytes/s."""
LATE_NS_MIN = 500_000
"""Windows that end less late are those of an idle host, 0.06 to 0.12 ms (hostsim/data/hosts)."""
ALIKE = 0.03
"""A downtime within this share and the time of a switch of pages over bandwidth was sent at that bandwidth (assumed)."""

GIVEN = "as given"
"""Source of a bottleneck that the user or the log names."""


@dataclass(frozen=True)
class Bottleneck:
    """bytes_per_s: max-bandwidth as it was set, or the capacity of the link. measured: bytes/s on the wire.

    late_ns: mean time by which windows of max-bandwidth ended late; 0: as on the host of the scenario.
    """

    kind: Literal["max-bandwidth", "link"]
    bytes_per_s: int
    measured: float
    source: str
    qemu: str
    late_ns: int = 0


def bottleneck_of(evidence: Evidence) -> Bottleneck | None:
    """The bottleneck; None where the log has no bandwidth."""
    measured = evidence.bandwidth_bytes_per_s
    if not measured:
        return None
    qemu = modelled_as(evidence.qemu)
    given, link = evidence.max_bandwidth_bytes_per_s, evidence.link_bandwidth_bytes_per_s
    if given and (not link or given <= link):
        return Bottleneck("max-bandwidth", round(given), measured, GIVEN, qemu)
    if link:
        return Bottleneck("link", round(link), measured, GIVEN, qemu)
    sent = evidence.window_bytes_per_s or (measured if evidence.bandwidth_is_steady else None)
    if sent:
        version, limit = limit_of(sent, evidence.qemu, exact=evidence.window_bytes_per_s is not None)
        source = f"steady at {measured / 1e6:.1f} MB/s with headers"
        late_ns = round(evidence.window_late_s * 1e9)
        return Bottleneck("max-bandwidth", limit, measured, source, version, late_ns if late_ns >= LATE_NS_MIN else 0)
    return Bottleneck("link", round(measured), measured, "the median of what was sent", qemu)


def limit_of(sent: float, qemu: str | None = None, *, exact: bool = True) -> tuple[Version, int]:
    """(modelled version of QEMU, max-bandwidth [bytes/s]) by which a migration sends ``sent`` [bytes/s].

    qemu: the version, any, where it is known. exact: ``sent`` is that of whole windows, none of which ended late.
    Limits up to a burst apart send the same bytes, so the roundest of them is taken; of the version that has a rounder one.
    """
    own: Version = "7.2" if modelled_as(qemu) == "7.2" else "10.0"
    versions = (own,) if qemu else tuple(v for v in BURSTS if v == "7.2" or not exact or _is_whole(sent))
    units = UNITS if exact else UNITS[: len(ROUND_MIB)]
    most = sent if exact else sent * (1 + LATE_MAX)
    found = [(*_roundest(_least(sent, v), most, units), v) for v in versions]
    rank, limit, version = min(found, key=lambda one: one[0])
    if rank == len(units):
        version = versions[-1] if exact else versions[0]
        limit = round((_least(sent, version) + sent) / 2)
    return modelled_as(qemu) if qemu else version, limit


def _least(sent: float, version: Version) -> float:
    """The least limit [bytes/s] that QEMU of ``version`` sends as ``sent``: less would not need the last burst."""
    return sent - WINDOWS_PER_S * (BURSTS[version] + OTHER_BYTES)


def _is_whole(sent: float) -> bool:
    """Whether the windows of ``sent`` [bytes/s] are whole bursts of QEMU 10."""
    return (sent / WINDOWS_PER_S + DIGIT_BYTES) % BURSTS["10.0"] <= OTHER_BYTES + 2 * DIGIT_BYTES


def _roundest(least: float, most: float, units: Sequence[int]) -> tuple[int, int]:
    """(place of the roundest of ``units`` that has a multiple from ``least`` to ``most``, that multiple)."""
    multiples = (int(most // unit) * unit for unit in units)
    return next(((i, limit) for i, limit in enumerate(multiples) if limit >= max(least, 1)), (len(units), 0))
