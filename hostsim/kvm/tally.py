"""What a phase cost: time, exits by kind, waits for mmu_lock, holds of it, flushes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from hostsim.costs.exits import MAP, PML_FULL, SPLIT, SPURIOUS, TRACK, WP
from hostsim.kvm.loops.layout import RETRY

if TYPE_CHECKING:
    from hostsim.kvm.engine import GuestEngine
    from hostsim.kvm.flush import RemoteFlush
    from hostsim.kvm.lock import MmuLock
    from hostsim.kvm.vcpu import KvmVcpu

KINDS = {
    "map_faults": MAP, "track_faults": TRACK, "wp_faults": WP, "split_faults": SPLIT, "spurious": SPURIOUS,
    "pml_full": PML_FULL,
}  # fmt: skip
"""Counters of exits, by the engine's kind."""
OF_A_LOG = (
    "retries", "host_wait_ns", "flush_ns", "sync_ns", "clears", "clear_ns", "ring_full", "reaps", "reap_ns", "stall_ns",
    "page_wait_ns",
)  # fmt: skip
"""Counters of a VM whose log is read while it runs."""


@dataclass(frozen=True)
class Tally:
    """Counters of a VM; the difference of two is a phase. Times in ns.

    wait_ns, hold_ns: of mmu_lock, summed over vCPUs; host_wait_ns, host_hold_ns: by threads that work on the log; flush_ns:
    what flushes took them. retries: faults that an invalidation sent back. sync_ns: in syncs of the bitmap; clears,
    clear_ns: CLEARs before pages are sent; ring_full: exits to user space; reaps, reap_ns: of dirty rings; times include
    waits and flushes. stall_ns: vCPUs out of the guest because of exits and rings, not of throttle or pause; summed, exits
    under way included. page_wait_ns: of that, waiting for pages that the host did not have.
    """

    now_ns: int = 0
    map_faults: int = 0
    track_faults: int = 0
    wp_faults: int = 0
    split_faults: int = 0
    spurious: int = 0
    pml_full: int = 0
    wait_ns: int = 0
    hold_ns: int = 0
    host_hold_ns: int = 0
    flushes: int = 0
    retries: int = 0
    host_wait_ns: int = 0
    flush_ns: int = 0
    sync_ns: int = 0
    clears: int = 0
    clear_ns: int = 0
    ring_full: int = 0
    reaps: int = 0
    reap_ns: int = 0
    stall_ns: int = 0
    page_wait_ns: int = 0

    def __sub__(self, before: Tally) -> Tally:
        """What happened since ``before``."""
        return Tally(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def faults(self) -> int:
        """Exits that handled a fault, spurious ones too."""
        return self.map_faults + self.track_faults + self.wp_faults + self.split_faults + self.spurious

    def to_dict(self) -> dict[str, Any]:
        """What a phase of the selftest has, by name; the time as ``duration_ns``."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in OF_A_LOG}
        return {"duration_ns": values.pop("now_ns"), **values}


@dataclass
class LogTimes:
    """What keeping the log of a live VM took so far; names as in ``Tally``."""

    sync_ns: int = 0
    clears: int = 0
    clear_ns: int = 0
    reaps: int = 0
    reap_ns: int = 0


def tally_of(now_ns: int, engine: GuestEngine, host_hold_ns: int, flushes: int) -> Tally:
    """The counters as they stand."""
    kinds = {name: int(engine.exits[kind]) for name, kind in KINDS.items()}
    wait_ns, hold_ns = engine.sums.tolist()
    return Tally(now_ns, **kinds, wait_ns=wait_ns, hold_ns=hold_ns, host_hold_ns=host_hold_ns, flushes=flushes)


def live_tally(
    now_ns: int, engine: GuestEngine, lock: MmuLock, flush: RemoteFlush, times: LogTimes, vcpus: Sequence[KvmVcpu]
) -> Tally:
    """The counters of a live VM as they stand."""
    return replace(
        tally_of(now_ns, engine, lock.hold_ns, flush.count),
        retries=int(engine.exits[RETRY]),
        host_wait_ns=lock.wait_ns,
        flush_ns=flush.ns,
        ring_full=sum(vcpu.ring_full_exits for vcpu in vcpus),
        stall_ns=int(engine.stalls_ns(now_ns).sum()) + sum(vcpu.stalled_ns for vcpu in vcpus),
        **asdict(times),
    )
