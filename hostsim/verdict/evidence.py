"""Facts about one migration, from a simulated run (all of them) or from a log (some of them)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hostsim.core.constants import PAGE_BYTES, PAGE_WIRE_BYTES
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.verdict.logging_cost import LoggingCost
from hostsim.verdict.throttled import Throttled
from hostsim.verdict.window import Stream

DOWNTIME_LIMIT_MS = 300.0
"""QEMU's default downtime-limit (migration/options.c::DEFAULT_MIGRATE_SET_DOWNTIME)."""

MISSED_AGAIN = 0.1
"""Pages missed beyond the first miss of each, over all pages looked up, from which a cache counts as too small (assumed)."""

Brake = Literal["max-bandwidth", "link", "host", "window"]


@dataclass(frozen=True)
class Round:
    """A round, from one bitmap sync to the next.

    newly_dirty_pages: dirty since the previous sync and not pending, found by the sync that ends the round.
    pending_pages: still to be sent from before, at that sync; remaining_pages: both together.
    timing_off: error of the duration, as a share; pending_off_pages: error of the pending pages.
    syncs: number of rounds of which this is the mean, if the polls did not see each.
    """

    duration_s: float
    newly_dirty_pages: float
    pending_pages: float
    throttle_percent: float = 0.0
    timing_off: float = 0.0
    pending_off_pages: float = 0.0
    syncs: int = 1

    @property
    def remaining_pages(self) -> float:
        """Pages to send after the sync that ends the round."""
        return self.newly_dirty_pages + self.pending_pages

    @property
    def dirty_rate_pages_per_s(self) -> float:
        """Newly dirty pages a second."""
        return self.newly_dirty_pages / self.duration_s


@dataclass(frozen=True)
class XbzrleTail:
    """The part of a migration in which pages travelled as XBZRLE deltas.

    pages, wire_bytes: encoded pages and their deltas on the wire; duration_s: length of the part; syncs: in that time.
    remaining_bytes: least and greatest seen, 4096 a page.
    needed_limit_ms: least and greatest downtime limit at which QEMU's test would have passed at an answer (remaining over
    the measured bandwidth).
    """

    pages: float
    wire_bytes: float
    duration_s: float
    remaining_bytes: tuple[float, float]
    needed_limit_ms: tuple[float, float]
    syncs: float

    @property
    def wire_bytes_per_page(self) -> float:
        """Mean bytes on the wire for one dirty page."""
        return self.wire_bytes / self.pages

    @property
    def pages_per_s(self) -> float:
        """Pages encoded a second."""
        return self.pages / self.duration_s


@dataclass(frozen=True)
class Channels:
    """Work of the sending threads of a migration with multifd.

    busy: channels that had a packet, mean; brake: as hostsim.results.sender.Sender has it; thread_share: CPU of the
    migration thread, as a share.
    cpu_s: CPU time of the migration thread and of all channels; wire_ratio: bytes on the wire over bytes of memory;
    ratio_is_assumed: the scenario does not say how well pages compress.
    """

    count: int
    busy: float
    brake: str
    thread_share: float
    cpu_s: float
    compression: str
    wire_ratio: float
    ratio_is_assumed: bool = False


@dataclass(frozen=True)
class XbzrleCost:
    """Counters of the cache and the guest that it served.

    hits, misses, overflows: pages; delta_bytes: of the deltas, an overflow counts as a page.
    span_pages: from the first page that a workload writes to the last; working_set_pages: distinct pages written.
    changed: (bytes that a write changes, "same" or "scattered" places) of each workload that writes.
    """

    cache_bytes: int
    hits: int
    misses: int
    overflows: int
    delta_bytes: int
    span_pages: int
    working_set_pages: int
    changed: tuple[tuple[int, str], ...]

    @property
    def saved_bytes(self) -> int:
        """Bytes of the pages found in the cache less the bytes sent for them."""
        return self.hits * PAGE_BYTES - self.delta_bytes

    @property
    def is_too_small(self) -> bool:
        """Whether pages were missed again and again that a larger cache would hold."""
        again = self.misses - min(self.misses, self.working_set_pages)
        return again > MISSED_AGAIN * (self.hits + self.misses) and self.cache_bytes < self.span_pages * PAGE_BYTES

    @property
    def fitting_bytes(self) -> int:
        """The least power of two that holds every page the guest writes without two of them in one slot [bytes]."""
        return PAGE_BYTES << max(0, self.span_pages - 1).bit_length()


@dataclass(frozen=True)
class Evidence:
    """Facts about one migration: None for an unknown fact, 0 for an unlimited bandwidth."""

    source: Literal["log", "run"]
    status: str
    elapsed_s: float = 0.0
    total_time_ms: float | None = None
    downtime_ms: float | None = None
    error_desc: str = ""
    samples: int = 0
    ram_bytes: float | None = None
    filled_pages: float | None = None
    page_bytes: int = PAGE_BYTES
    page_wire_bytes: int = PAGE_WIRE_BYTES
    sent_bytes: float | None = None
    remaining_bytes: float | None = None
    sync_count: float | None = None
    first_pass_s: float | None = None
    rounds: tuple[Round, ...] = ()
    bandwidth_bytes_per_s: float | None = None
    bandwidth_peak_bytes_per_s: float | None = None
    bandwidth_is_steady: bool = False
    switchover_bandwidth_bytes_per_s: float | None = None
    max_bandwidth_bytes_per_s: float | None = None
    link_bandwidth_bytes_per_s: float | None = None
    host_bandwidth_bytes_per_s: float | None = None
    stream: Stream | None = None
    """The most that one connection carries over the link; None: not known, or no limit."""
    downtime_limit_ms: float | None = None
    downtime_limit_from: Literal["given", "log", "behaviour", "assumed"] = "assumed"
    limit_bounds_ms: tuple[float, float] | None = None
    """(least, greatest) downtime limit [ms] by the instants at which QEMU synced."""
    auto_converge: bool | None = None
    throttle_percent: float = 0.0
    max_cpu_throttle: float = 99.0
    throttled: Throttled | None = None
    """What the throttle has cost; None without one, and in logs, which do not say it."""
    cpu_bound_share: float | None = None
    paces: tuple[tuple[float, float], ...] = ()
    """(share of the writes, full speed of a vCPU over its nominal speed); 1 for work bound to the CPU, () if unknown."""
    timeout_ms: float | None = None
    working_set_pages: float | None = None
    curve: DirtyCurve | None = None
    """Expected distinct pages written in an interval, guest unthrottled."""
    xbzrle: XbzrleTail | None = None
    xbzrle_cost: XbzrleCost | None = None
    """The work of XBZRLE's cache; None without XBZRLE, and for logs."""
    xbzrle_unclear: bool = False
    """Most pages have come to travel as deltas, but too late in the log to see how fast."""
    postcopy_s: float | None = None
    """Time [s] that the guest depended on both hosts; None if the migration never switched to post-copy."""
    postcopy_requests: float = 0.0
    dirty_limit: tuple[Mapping[str, Any], ...] = ()
    """A row a vCPU by the names of ``vcpu_dirty_limit`` in run.json; () without limits."""
    checkpoints: Mapping[str, Any] | None = None
    """Figures of continuous checkpoints by the names of run.json, and the rate of outputs; None without checkpoints."""
    postcopy: Mapping[str, Any] | None = None
    """Figures of the phase of a run (hostsim.results.postcopy); None from a log."""
    logging: LoggingCost | None = None
    """The cost of KVM's dirty logging; None if it was not counted."""
    profile: str = "qemu"
    qemu: str | None = None
    warnings: tuple[str, ...] = ()
    """Sentences about values in the scenario of a run that are beyond any real machine."""
    assumptions: tuple[str, ...] = ()
    """Sentences about values that the scenario of a run leaves out."""
    channels: Channels | None = None
    """Channels of a run with multifd."""
    interruptions: Mapping[str, Any] = field(default_factory=dict)
    """Facts of hostsim.results.interruptions; {} for a log."""
    surely_sent_bytes_per_s: float = 0.0
    """Bytes/s of the stream, or of all channels, of a run at the slow end of its sheet; 0 where there is no range."""

    @property
    def limit_s(self) -> float:
        """The downtime limit in seconds, QEMU's default if it is not known."""
        return (DOWNTIME_LIMIT_MS if self.downtime_limit_ms is None else self.downtime_limit_ms) / 1000.0

    @property
    def limit_is_contradicted(self) -> bool:
        """Whether QEMU synced, or went on sending, against the downtime limit that was given."""
        low, high = self.limit_bounds_ms or (0.0, float("inf"))
        return not low <= self.limit_s * 1000 <= high

    @property
    def sent_pages_per_s(self) -> float:
        """Whole pages sent a second."""
        return (self.bandwidth_bytes_per_s or 0.0) / self.page_wire_bytes

    @property
    def threshold_pages(self) -> float:
        """Remaining pages below which QEMU stops the guest: bandwidth x downtime limit, 4096 bytes a page."""
        bandwidth = self.switchover_bandwidth_bytes_per_s or self.bandwidth_bytes_per_s or 0.0
        return bandwidth * self.limit_s / self.page_bytes

    @property
    def ram_pages(self) -> float | None:
        """Guest pages, all RAMBlocks."""
        return None if self.ram_bytes is None else self.ram_bytes / self.page_bytes

    @property
    def brake(self) -> Brake | None:
        """The tightest limit of the bandwidth; None if it is unknown."""
        if self.max_bandwidth_bytes_per_s is None or self.link_bandwidth_bytes_per_s is None:
            return "max-bandwidth" if self._at_max_bandwidth else None
        limits: list[tuple[float, Brake]] = [
            (self.max_bandwidth_bytes_per_s, "max-bandwidth"),
            (self.link_bandwidth_bytes_per_s, "link"),
            (self.host_bandwidth_bytes_per_s or 0.0, "host"),
            (self.window.bytes_per_s if self.window else 0.0, "window"),
        ]
        return min(((value, name) for value, name in limits if value), default=(0.0, None))[1]

    @property
    def window(self) -> Stream | None:
        """The stream, if its window and not the link limits it."""
        return self.stream if self.stream and self.stream.is_held_by_window else None

    @property
    def carried_bytes_per_s(self) -> float | None:
        """Most the network carries for this migration: the link, or a window each round trip; None: not known."""
        return self.window.bytes_per_s if self.window else self.link_bandwidth_bytes_per_s

    @property
    def _at_max_bandwidth(self) -> bool:
        wanted, seen = self.max_bandwidth_bytes_per_s, self.bandwidth_bytes_per_s
        return bool(wanted and seen and abs(seen / wanted - 1) < 0.05)
