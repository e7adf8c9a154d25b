"""Costs of a phase: time, exits by kind, waits for mmu_lock, holds of mmu_lock, flushes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from operator import add, sub
from typing import TYPE_CHECKING, Any

from hostsim.costs.exits import COSTED, COUNTED

if TYPE_CHECKING:
    from hostsim.kvm.engine import GuestEngine
    from hostsim.kvm.flush import RemoteFlush
    from hostsim.kvm.lock import MmuLock
    from hostsim.kvm.vcpu import KvmVcpu

NUMBERS = {kind.name: kind.number for kind in COUNTED}
"""Place in ``Tally.exits`` by name."""
NO_EXITS = (0,) * (1 + len(COUNTED))


@dataclass(frozen=True)
class Tally:
    """Counters of a VM; the difference of two is a phase. Times in ns.

    now_ns: the host's clock; in a difference, the length of the phase.
    exits: by number of their kind (hostsim.costs.exits); each kind is an attribute as well: ``tally.wp_faults``.
    wait_ns, hold_ns: waits for and holds of mmu_lock, summed over vCPUs.
    host_wait_ns, host_hold_ns: waits and holds of host threads.
    flushes: remote TLB flushes; flush_ns: time that the flushing threads waited.
    sync_ns: time of bitmap syncs.
    clears, clear_ns: CLEARs before pages are sent, and their time.
    ring_full: exits to user space with a full dirty ring.
    reaps, reap_ns: reaps of dirty rings, and their time. Times include waits and flushes.
    stall_ns: time of vCPUs out of the guest by exits and rings, not by throttle or pause, exits under way included.
    page_wait_ns: part of stall_ns in which vCPUs waited for pages that were not resident.
    cr3_loads, cr3_ns: exits for CR3 loads where KVM shadows the guest's page tables, and the part of stall_ns for them.
    table_exits_ns: the part of stall_ns for exits by INVLPG and for those of forks.
    unsync_tables, synced_sptes, dropped_sptes: page tables that were synced, sptes that were compared, and that went.
    root_misses, invlpgs, forks, emulated_writes, zapped_directories: CR3 loads whose root was not cached, INVLPGs, forks,
    writes to directories that KVM emulated, and directories whose shadow pages it zapped.
    """

    now_ns: int = 0
    exits: tuple[int, ...] = NO_EXITS
    wait_ns: int = 0
    hold_ns: int = 0
    host_hold_ns: int = 0
    flushes: int = 0
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
    cr3_loads: int = 0
    cr3_ns: int = 0
    unsync_tables: int = 0
    synced_sptes: int = 0
    dropped_sptes: int = 0
    table_exits_ns: int = 0
    root_misses: int = 0
    invlpgs: int = 0
    forks: int = 0
    emulated_writes: int = 0
    zapped_directories: int = 0

    def __getattr__(self, name: str) -> int:
        """Exits by the name of their kind."""
        number = NUMBERS.get(name)
        if number is None:
            raise AttributeError(f"Tally has no {name}")
        return self.exits[number]

    def __sub__(self, before: Tally) -> Tally:
        """The counts since ``before``."""
        return self._with(before, sub)

    def __add__(self, other: Tally) -> Tally:
        """The sums of both tallies."""
        return self._with(other, add)

    def _with(self, other: Tally, combine: Callable[[int, int], int]) -> Tally:
        exits = tuple(map(combine, self.exits, other.exits))
        names = [field.name for field in fields(self) if field.name != "exits"]
        return Tally(exits=exits, **{name: combine(getattr(self, name), getattr(other, name)) for name in names})

    @property
    def faults(self) -> int:
        """Exits that handled a fault, spurious ones too."""
        return sum(self.exits[kind.number] for kind in COUNTED if kind.handles_fault)

    def to_dict(self) -> dict[str, Any]:
        """The counters of a selftest phase by name, time as ``duration_ns``; a selftest does not read the log in a phase."""
        exits = {kind.name: getattr(self, kind.name) for kind in COSTED}
        lock = {"wait_ns": self.wait_ns, "hold_ns": self.hold_ns, "host_hold_ns": self.host_hold_ns}
        return {"duration_ns": self.now_ns, **exits, **lock, "flushes": self.flushes}


def exits_of(**counts: int) -> tuple[int, ...]:
    """``Tally.exits`` of some kinds by name, none of the others."""
    return tuple(counts.get(name, 0) for name in ("", *NUMBERS))


@dataclass
class LogTimes:
    """Times of the work on the log of a live VM so far; names as in ``Tally``."""

    sync_ns: int = 0
    clears: int = 0
    clear_ns: int = 0
    reaps: int = 0
    reap_ns: int = 0


@dataclass
class TableCounts:
    """Work of a live VM on page tables that its guest writes so far; names as in ``Tally``."""

    cr3_loads: int = 0
    cr3_ns: int = 0
    unsync_tables: int = 0
    synced_sptes: int = 0
    dropped_sptes: int = 0
    table_exits_ns: int = 0
    root_misses: int = 0
    invlpgs: int = 0
    forks: int = 0
    emulated_writes: int = 0
    zapped_directories: int = 0

    def spend(self, is_cr3_load: bool, ns: int) -> None:
        """Add the time of an exit, for a CR3 load or another reason [ns]."""
        if is_cr3_load:
            self.cr3_ns += ns
        else:
            self.table_exits_ns += ns


def tally_of(now_ns: int, engine: GuestEngine, host_hold_ns: int, flushes: int) -> Tally:
    """The counters of a VM.

    now_ns: simulated time.
    host_hold_ns: time for which host processes have held mmu_lock.
    flushes: remote TLB flushes so far.
    """
    wait_ns, hold_ns = engine.sums.tolist()
    exits = tuple(engine.exits.tolist())
    return Tally(now_ns, exits, wait_ns=wait_ns, hold_ns=hold_ns, host_hold_ns=host_hold_ns, flushes=flushes)


def live_tally(
    now_ns: int, engine: GuestEngine, lock: MmuLock, flush: RemoteFlush, times: LogTimes, vcpus: Sequence[KvmVcpu]
) -> Tally:
    """The counters of a live VM.

    now_ns: simulated time.
    engine: exits, waits and holds of its vCPUs.
    lock: waits and holds of host processes.
    flush: number and time of remote TLB flushes.
    times: of syncs, CLEARs and reaps.
    vcpus: threads, with their exits for full rings.
    """
    return replace(
        tally_of(now_ns, engine, lock.hold_ns, flush.count),
        host_wait_ns=lock.wait_ns,
        flush_ns=flush.ns,
        ring_full=sum(vcpu.ring_full_exits for vcpu in vcpus),
        stall_ns=int(engine.stalls_ns(now_ns).sum()) + sum(vcpu.stalled_ns for vcpu in vcpus),
        **asdict(times),
    )
