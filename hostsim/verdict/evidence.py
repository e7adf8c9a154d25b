"""Facts about one migration, from a simulated run (all of them) or from a log (some of them)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hostsim.core.constants import PAGE_BYTES, PAGE_WIRE_BYTES
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.verdict.speeds import Speed
from hostsim.verdict.window import Stream

DOWNTIME_LIMIT_MS = 300.0
"""QEMU's default downtime-limit (migration/options.c::DEFAULT_MIGRATE_SET_DOWNTIME)."""
Bottleneck = Literal["max-bandwidth", "link", "host", "window"]


@dataclass(frozen=True)
class Round:
    """A round, from one bitmap sync to the next.

    newly_dirty_pages: dirty since the previous sync and not pending, found by the sync that ends the round.
    pending_pages: still to be sent from before, at that sync; remaining_pages: both together.
    timing_off: error of the duration, as a share; pending_off_pages: error of the pending pages.
    syncs: number of rounds of which this is the mean, if the polls did not see each.
    is_past: it began before the bandwidth changed for the last time, so that remaining may settle elsewhere now.
    lengths_s: of each round of the mean, where they follow from others; (): alike. off_share: a further error of the pages.
    """

    duration_s: float
    newly_dirty_pages: float
    pending_pages: float
    throttle_percent: float = 0.0
    timing_off: float = 0.0
    pending_off_pages: float = 0.0
    syncs: int = 1
    is_past: bool = False
    lengths_s: tuple[float, ...] = ()
    off_share: float = 0.0

    @property
    def remaining_pages(self) -> float:
        """Pages to send after the sync that ends the round."""
        return self.newly_dirty_pages + self.pending_pages

    @property
    def dirty_rate_pages_per_s(self) -> float:
        """Newly dirty pages a second."""
        return self.newly_dirty_pages / self.duration_s


@dataclass(frozen=True)
class Seen:
    """Evidence of one mechanism; a mechanism with more facts has a class of its own.

    counts_parts: pages travelled in part, so that bytes sent and pages remaining do not compare.
    may_count_parts: the log does not show whether they did.
    too_short: why the part of the migration in which they did is too short to judge by; "": it is not.
    no_throttle: why auto-converge cannot be on beside the mechanism; "": it can.
    guest_moved: the guest has run at the destination before its memory was there.
    sent_once_moved_bytes_per_s: the most that one thread would send once the guest has moved; None: not known.
    """

    @property
    def counts_parts(self) -> bool:
        """False: pages travelled whole."""
        return False

    @property
    def may_count_parts(self) -> bool:
        """False: the log shows whether pages travelled whole."""
        return False

    @property
    def too_short(self) -> str:
        """Empty: no part of the migration is too short to judge by."""
        return ""

    @property
    def no_throttle(self) -> str:
        """Empty: auto-converge can be on beside the mechanism."""
        return ""

    @property
    def guest_moved(self) -> bool:
        """False: the guest has not run at the destination."""
        return False

    @property
    def sent_once_moved_bytes_per_s(self) -> float | None:
        """None: not known."""
        return None


@dataclass(frozen=True)
class Channels:
    """Work of the sending threads of a migration with multifd.

    busy: channels that had a packet, mean; bottleneck: as hostsim.results.sender.Sender has it; thread_share: CPU of the
    migration thread, as a share.
    cpu_s: CPU time of the migration thread and of all channels; wire_ratio: bytes on the wire over bytes of memory;
    ratio_is_assumed: the scenario does not say how well pages compress.
    """

    count: int
    busy: float
    bottleneck: str
    thread_share: float
    cpu_s: float
    compression: str
    wire_ratio: float
    ratio_is_assumed: bool = False


@dataclass(frozen=True)
class LoggingCost:
    """Cost of logging from the first sync on.

    stall_s: time of the vCPUs out of the guest because of exits, without waits for pages that the host did not have and
    without CR3 loads, which logging does not cause; stall_share: share of the time of vCPUs that work.
    lock_wait_s: part of the stall at mmu_lock; harvest_s: time of the migration thread in syncs and CLEARs.
    exits: by kind (hostsim.verdict.logging_cost.KINDS).
    """

    seconds: float
    stall_s: float
    stall_share: float
    lock_wait_s: float
    harvest_s: float
    exits: dict[str, int]

    @property
    def harvest_share(self) -> float:
        """Share of the migration's time that the migration thread spent in syncs and CLEARs."""
        return self.harvest_s / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class PageTables:
    """Cost of shadow paging to a guest that writes its page tables, from the first sync on.

    stall_share: share of the time of vCPUs that work that exits for page tables took.
    cr3_loads, invlpgs, forks: CR3 loads, INVLPGs and forks. unsync_tables: page tables that were synced.
    """

    stall_share: float
    cr3_loads: int
    unsync_tables: int
    invlpgs: int = 0
    forks: int = 0


@dataclass(frozen=True)
class BusyThread:
    """A migration thread that worked nearly all the time.

    share: of the migration's time. encoder_share: part of that work for pages that are not sent whole.
    bytes_per_s: on the wire.
    """

    share: float
    encoder_share: float
    bytes_per_s: float


@dataclass(frozen=True)
class Throttled:
    """seconds: since the first step; slept_s: sleep of each vCPU; speed: share of its work that the guest did meanwhile."""

    seconds: float
    slept_s: float
    speed: float


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
    window_bytes_per_s: float | None = None
    window_late_s: float = 0.0
    """Mean time by which the windows of ``window_bytes_per_s`` ended late, on a host that is busy."""
    speeds: tuple[Speed, ...] = ()
    """Parts of a migration whose bandwidth changed; the other figures of the bandwidth are of the last one."""
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
    """The cost of the throttle; None without a throttle, and in logs, which do not show it."""
    cpu_bound_share: float | None = None
    paces: tuple[tuple[float, float], ...] = ()
    """(share of the writes, full speed of a vCPU over its nominal speed); 1 for work bound to the CPU, () if unknown."""
    timeout_ms: float | None = None
    working_set_pages: float | None = None
    curve: DirtyCurve | None = None
    """Expected distinct pages written in an interval, guest unthrottled."""
    mechanisms: Mapping[str, Seen] = field(default_factory=dict)
    """Evidence of each mechanism, by its name (hostsim.verdict.mechanism)."""
    logging: LoggingCost | None = None
    """The cost of KVM's dirty logging; None if it was not counted."""
    page_tables: PageTables | None = None
    """None: the guest writes no page tables, or KVM does not shadow them."""
    profile: str = "qemu"
    qemu: str | None = None
    warnings: tuple[str, ...] = ()
    """Sentences about values in the scenario of a run that are beyond any real machine."""
    assumptions: tuple[str, ...] = ()
    """Sentences about values that the scenario of a run leaves out."""
    channels: Channels | None = None
    """Channels of a run with multifd."""
    thread: BusyThread | None = None
    """The migration thread of a run without multifd, if its CPU was the bottleneck."""
    interruptions: Mapping[str, Any] = field(default_factory=dict)
    """Facts of hostsim.results.collect; {} for a log."""
    surely_sent_bytes_per_s: float = 0.0
    """Bytes/s of the stream, or of all channels, of a run at the slow end of its sheet; 0 where there is no range."""

    @property
    def counts_parts(self) -> bool:
        """Whether pages travelled in part, so that bytes sent and pages remaining do not compare."""
        return any(seen.counts_parts for seen in self.mechanisms.values())

    @property
    def may_count_parts(self) -> bool:
        """Whether pages travelled in part, or may have."""
        return self.counts_parts or any(seen.may_count_parts for seen in self.mechanisms.values())

    @property
    def too_short(self) -> str:
        """Why the part of the migration that a mechanism decides is too short to judge by; "": it is not."""
        return next((seen.too_short for seen in self.mechanisms.values() if seen.too_short), "")

    @property
    def no_throttle(self) -> str:
        """Why auto-converge cannot be on beside a mechanism that is; "": it can."""
        return next((seen.no_throttle for seen in self.mechanisms.values() if seen.no_throttle), "")

    @property
    def guest_moved(self) -> bool:
        """Whether the guest has run at the destination before its memory was there."""
        return any(seen.guest_moved for seen in self.mechanisms.values())

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
    def rounds_now(self) -> tuple[Round, ...]:
        """Rounds after the first pass, at the present bandwidth."""
        return tuple(r for r in self.rounds[1:] if not r.is_past)

    def at(self, t_s: float) -> Evidence:
        """The evidence with the bandwidth ``t_s`` seconds after the start."""
        if not self.speeds:
            return self
        speed = next((one for one in self.speeds if t_s <= one.until_s), self.speeds[-1])
        return replace(self, bandwidth_bytes_per_s=speed.bytes_per_s)

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
    def bottleneck(self) -> Bottleneck | None:
        """The tightest limit of the bandwidth; None if it is unknown."""
        if self.max_bandwidth_bytes_per_s is None or self.link_bandwidth_bytes_per_s is None:
            return "max-bandwidth" if self._at_max_bandwidth else None
        limits: list[tuple[float, Bottleneck]] = [
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
    def one_stream_bytes_per_s(self) -> float | None:
        """Most that one thread sends over one connection, as once the guest has moved; None: not known."""
        one = self.stream
        window = one.window_bytes / one.connections / one.round_trip_s if one and one.round_trip_s else 0.0
        moved = (seen.sent_once_moved_bytes_per_s for seen in self.mechanisms.values())
        limits = (self.link_bandwidth_bytes_per_s, window, *moved)
        return min((limit for limit in limits if limit), default=None)

    @property
    def _at_max_bandwidth(self) -> bool:
        wanted, seen = self.max_bandwidth_bytes_per_s, self.bandwidth_bytes_per_s
        return bool(wanted and seen and abs(seen / wanted - 1) < 0.05)
