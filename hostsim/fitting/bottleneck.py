"""The bottleneck of a migration by its log: max-bandwidth, of which the log shows whole windows, or a link."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hostsim.verdict.evidence import Evidence

OVERSHOOT_MAX = 0.02
"""A window sends up to this much more than its quota: the last burst is not cut (QEMU 10.0: 59 kB of 3.4 MB)."""
OVERSHOOT_10 = 0.003
"""QEMU 7.2 overshoots a window by less, QEMU 10.x by more (231 real migrations)."""
ROUND_MIB = (1024, 512, 256, 128, 100, 64, 50, 32, 20, 16, 10, 8, 5, 4, 2, 1)
MIB = 1 << 20
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
    qemu = evidence.qemu or "10.0"
    given, link = evidence.max_bandwidth_bytes_per_s, evidence.link_bandwidth_bytes_per_s
    if given and (not link or given <= link):
        return Bottleneck("max-bandwidth", round(given), measured, GIVEN, qemu)
    if link:
        return Bottleneck("link", round(link), measured, GIVEN, qemu)
    sent = evidence.window_bytes_per_s or (measured if evidence.bandwidth_is_steady else None)
    if sent:
        limit = rounded_limit(sent)
        over = sent / limit - 1
        version = evidence.qemu or ("10.0" if over > OVERSHOOT_10 else "7.2")
        source = f"steady at {measured / 1e6:.1f} MB/s with headers"
        late_ns = round(evidence.window_late_s * 1e9)
        return Bottleneck("max-bandwidth", limit, measured, source, version, late_ns if late_ns >= LATE_NS_MIN else 0)
    return Bottleneck("link", round(measured), measured, "the median of what was sent", qemu)


def rounded_limit(measured: float) -> int:
    """The roundest number of bytes/s that, with the overshoot of a window, is sent as ``measured``."""
    least = measured / (1 + OVERSHOOT_MAX)
    return next((limit for limit in _round_limits(measured) if limit >= least), round(measured))


def _round_limits(measured: float) -> Iterator[int]:
    for mib in ROUND_MIB:
        yield int(measured * 1.0002 // (mib * MIB)) * mib * MIB
