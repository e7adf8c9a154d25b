"""A vCPU of the twin: one event a touch, and one a step of the exit to which a touch leads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hostsim.guest.workload import Workload
from tests.twins.clock import TwinClock
from tests.twins.instant import at_guest_rank
from tests.twins.kvm_case import FAULTS, PML_ENTRIES
from tests.twins.streams import Touch, _stream, _trace, through_windows

if TYPE_CHECKING:
    from tests.twins.kvm_twin import TwinGuest

GUEST, ENTRY, EXIT, LEAVING, OUT = "guest", "entry", "exit", "leaving", "out"
UNSEEN = {"", "log", "fill", "young"}
KICKED, RING_FULL = "kicked", "ring_full"
NO_FAULT = "nothing"
NEIGHBOURS = 32
"""Pages."""


class TwinStream:
    """Touches of one sort, on a work clock that it may share; ``touch`` is the first that is not made yet.

    misses: the TLB, each time.
    """

    def __init__(self, clock: TwinClock, touches: Iterator[Touch]) -> None:
        self.clock, self._touches, self.misses = clock, touches, True
        self.advance()

    def advance(self) -> None:
        self.touch = next(self._touches, None)


def streams_of(load: Workload, i: int, clock: TwinClock) -> list[TwinStream]:
    """Writes, then reads, of the ``i``-th vCPU of ``load``."""
    if load.pattern == "trace":
        both = ([touch for touch in _trace(load, i) if touch[2] == is_write] for is_write in (True, False))
        return [TwinStream(clock, through_windows(load.active, iter(touches))) for touches in both if touches]
    parts = (_stream(load, i, rate, is_write, None) for is_write, rate in load.rates)
    return [TwinStream(clock, through_windows(load.active, part)) for part in parts]


class TwinVcpu:
    """Streams in the order of their touch classes. ``came_out`` is called when the vCPU is in user space.

    stall_ns: out of the guest because of exits; the time for which the host keeps a vCPU out is not in it.
    """

    def __init__(self, guest: TwinGuest, rank: int, loads: list[tuple[Workload, int, TwinClock]]) -> None:
        self.guest, self.rank, self.env = guest, rank, guest.env
        self.memory, self.costs = guest.memory, guest.case.costs
        self.clocks = [clock for *_, clock in loads]
        self.streams = [stream for load in loads for stream in self._streams(*load)]
        self.pml: list[int] = []
        self.stage, self.kicked, self.why = OUT, False, KICKED
        self.accesses = self.ring_full = 0
        self.passed_ns = -1
        self.stall_ns = self._away_ns = self._entered_ns = 0
        self.exit_kind: str | None = None
        self._faulted: int | None = None
        self.stop_work_ns: int | None = None
        self.came_out: Callable[[], None] = lambda: None
        self._plan = 0

    def _streams(self, load: Workload, i: int, clock: TwinClock) -> list[TwinStream]:
        case, streams = self.guest.case, streams_of(load, i, clock)
        for stream in streams:
            stream.misses = case.tlb is None or case.tlb[case.workloads.index(load)]
        return streams

    def _in(self, ns: int, step: Callable[[], None]) -> None:
        """``step`` comes ``ns`` from now, after the host and lower vCPUs, unless something else is planned before."""
        self._plan += 1
        plan = self._plan
        at_guest_rank(self.env, self.rank, self.env.now + ns, lambda: step() if plan == self._plan else None)

    # What the host does

    def start(self) -> None:
        """In the guest from the first instant on."""
        self._enter_in(0)

    def enter(self) -> None:
        assert self.stage == OUT
        self.kicked, self._away_ns, self.exit_kind = False, self.env.now, None
        self._enter_in(self.costs.entry_ns)

    def kick(self) -> None:
        if self.stage == GUEST:
            self._stop()
            self._leave()
        elif self.stage in {ENTRY, EXIT}:
            self.kicked = True

    def interrupt(self) -> bool:
        """An IPI; whether the vCPU was in the guest."""
        if self.stage != GUEST:
            return False
        self._stop()
        out_ns = self.costs.exit_ns + self.costs.ipi_ns + self._drain()
        if self.memory.soft_full(self.rank):
            self.stage = EXIT
            self._in(out_ns, self._exited)
        else:
            self._enter_in(out_ns + self.costs.entry_ns)
        return True

    def stop_after(self, work_ns: int) -> None:
        """Out by itself when its first clock has come so far."""
        self.stop_work_ns = self.clocks[0].work_before(self.env.now) + work_ns
        if self.stage == GUEST:
            self._await_touch()

    # In and out

    def _enter_in(self, ns: int) -> None:
        self.stage = ENTRY
        self._in(ns, self._entry)

    def _entry(self) -> None:
        if self.kicked:
            self._leave()
            return
        self.stage = GUEST
        self._stalled()
        self._entered_ns = self.env.now
        for clock in self.clocks:
            clock.enter(self.env.now)
        self._await_touch()

    def _stalled(self) -> None:
        took_ns = self.env.now - self._away_ns
        self.stall_ns += took_ns
        if self.exit_kind is not None:
            self.guest.latencies[self.exit_kind].record(took_ns)
        self.exit_kind = NO_FAULT

    def _stop(self) -> None:
        self._away_ns = self.env.now
        for clock in self.clocks:
            clock.leave(self.env.now)

    def _drain(self) -> int:
        """The PML buffer goes into the log; how long that takes."""
        entries, self.pml = self.pml, []
        for page in entries:
            self.memory.mark(self.rank, page)
        return self.costs.pml_drain_ns * len(entries) // PML_ENTRIES

    def _leave(self) -> None:
        """For user space, which has asked for it."""
        self.stage = LEAVING
        self._in(self.costs.exit_ns + self._drain(), lambda: self._come_out(KICKED))

    def _come_out(self, why: str) -> None:
        self.stage, self.why = OUT, why
        self._stalled()
        self.ring_full += why == RING_FULL
        self._plan += 1
        self.came_out()

    def _exited(self) -> None:
        """KVM has handled the exit: back into the guest, or out to user space."""
        if self.kicked or self.memory.soft_full(self.rank):
            self._come_out(KICKED if self.kicked else RING_FULL)
        else:
            self._enter_in(self.costs.entry_ns)

    # Touches

    def _await_touch(self) -> None:
        due = [(s.clock.when(s.touch[0]), n) for n, s in enumerate(self.streams) if s.touch is not None]
        if due:
            ns, first = min(due)
            self._in(max(ns, self.env.now) - self.env.now, lambda: self._touch(self.streams[first]))
        if self.stop_work_ns is not None:
            stop_ns = max(self.clocks[0].when(self.stop_work_ns), self.env.now)
            if not due or stop_ns < ns:
                self._in(stop_ns - self.env.now, self._work_done)

    def _work_done(self) -> None:
        self.stop_work_ns = None
        self._stop()
        self._leave()

    def _touch(self, stream: TwinStream) -> None:
        _, page, is_write = stream.touch
        need = self.memory.needs(page, is_write)
        if need == "young" and "stale" in self.memory.flags(page) and not stream.misses:
            need = ""
        if need in UNSEEN:
            self.accesses += 1
            self.passed_ns = self.env.now
            self._complete(stream, need)
        else:
            self._stop()
            drain_ns = self._drain()
            self.stage = EXIT
            left_ns = self.costs.exit_ns + drain_ns + self._lone_ns() + self._scattered_ns(page)
            if need not in {"wp", "track"} or self.costs.mode[need] != "none":
                left_ns += self.costs.before_ns[FAULTS.index(need)]
            self._in(left_ns, lambda: self._fault(need, page, is_write))

    def _lone_ns(self) -> int:
        """More for a fault that comes late after the entry: a straight line to 0.2 ms, another one to 1 ms, then level."""
        since_ns, (near_ns, far_ns) = self.env.now - self._entered_ns, self.costs.lone_ns
        if since_ns <= 200_000:
            return near_ns * since_ns // 200_000
        return near_ns + (far_ns - near_ns) * (min(since_ns, 1_000_000) - 200_000) // 800_000

    def _scattered_ns(self, page: int) -> int:
        """More for a fault whose page is no neighbour of the last one's."""
        last, self._faulted = self._faulted, page
        return 0 if last is not None and abs(page - last) <= NEIGHBOURS else self.costs.scattered_ns

    def _complete(self, stream: TwinStream, need: str) -> None:
        page = stream.touch[1]
        stall_ns = 0
        if need == "log":
            self.memory.flags(page).add("dirty")
            stall_ns = self._log(page)
        if need:
            self.memory.flags(page).difference_update({"old", "stale"})
        if need in {"log", "fill"}:
            self.memory.blank.discard(page)
        full = len(self.pml) == PML_ENTRIES
        if stall_ns or full:
            self._stop()
        stream.advance()
        if full:
            self._buffer_full(stall_ns)
        elif stall_ns:
            self.exit_kind = None
            self._enter_in(stall_ns)
        else:
            self._await_touch()

    def _log(self, page: int) -> int:
        if self.memory.mechanism != "pml":
            return 0
        self.pml.append(page)
        return self.costs.pml_ns

    def _buffer_full(self, stall_ns: int) -> None:
        self.guest.exits["pml_full"] += 1
        self.exit_kind = "pml_full"
        self.stage = EXIT
        self._in(stall_ns + self.costs.exit_ns + self._drain(), self._exited)

    # Faults

    def _fault(self, kind: str, page: int, is_write: bool) -> None:
        seq, mode = self.memory.seq, self.costs.mode[kind]
        if mode != "none" and kind != "split" and self.memory.needs(page, is_write) == "map":
            kind = "map"
        pfn_ns = self._look_up(page) if kind in {"map", "split"} else 0
        fault = Fault(self, page, is_write, seq, mode)
        if mode == "none":
            self._in(pfn_ns + self.costs.hold_ns[kind], lambda: fault.set_unlocked(kind))
        else:
            self._in(pfn_ns, fault.ask)

    def _look_up(self, page: int) -> int:
        """The time of looking the host page up; a vCPU that finds none makes one, and maps it when it is filled."""
        there = self.memory.host_pages
        if not self.costs.populate_ns or self.memory.host_page(page) in there:
            return self.costs.pfn_ns
        crowd_ns = self.costs.crowd_ns
        made_ns = self.costs.pfn_ns + self.costs.populate_ns + crowd_ns[min(self.guest.populating, len(crowd_ns) - 1)]
        self.guest.populating += 1
        at_guest_rank(self.env, self.rank, self.env.now + made_ns, lambda: self._made(page))
        return made_ns

    def _made(self, page: int) -> None:
        self.memory.host_pages.add(self.memory.host_page(page))
        self.guest.populating -= 1


class Fault:
    """A fault from the request for mmu_lock on."""

    def __init__(self, vcpu: TwinVcpu, page: int, is_write: bool, seq: int, mode: str) -> None:
        self.vcpu, self.page, self.is_write, self.seq, self.mode = vcpu, page, is_write, seq, mode
        self.guest, self.memory, self.costs = vcpu.guest, vcpu.memory, vcpu.costs
        self.beside: list[int] = []

    def _kind(self) -> str:
        """The event that is due now."""
        need = self.memory.needs(self.page, self.is_write)
        if need in UNSEEN:
            return "spurious"
        stale = need in {"map", "split"} and self.memory.invalidated(self.page, self.seq)
        return "retry" if stale else need

    def ask(self) -> None:
        self.asked_ns = self.vcpu.env.now
        way_ns = self.guest.lock.way_ns(self.mode)
        if way_ns:
            self.vcpu._in(way_ns, self._queue)
        else:
            self._queue()

    def _queue(self) -> None:
        self.guest.lock.request(self.mode, self.granted, self.vcpu)

    def granted(self, others: int) -> None:
        self.guest.wait_ns += self.vcpu.env.now - self.asked_ns
        self.guest.latencies["wait"].record(self.vcpu.env.now - self.asked_ns)
        kind = self._kind()
        self.beside = self.memory.beside(kind, self.page)
        hold_ns = self._hold_ns(kind, others) + len(self.beside) * self.costs.prefetch_ns
        if self.mode == "shared" and self.vcpu.env.now > self.asked_ns:
            hold_ns += self.guest.lock.door_ns()
        self.guest.hold_ns += hold_ns
        self.guest.latencies["hold"].record(hold_ns)
        self.vcpu._in(hold_ns, lambda: self.release(kind))

    def _hold_ns(self, kind: str, others: int) -> int:
        if kind in {"spurious", "retry"}:
            return self.costs.spurious_ns
        queue_ns = self.costs.queue_ns[self.mode]
        room_ns = self.costs.unmap_all_ns if kind == "map" and self.memory.full() else 0
        return self.costs.hold_ns[kind] + queue_ns[min(others, len(queue_ns) - 1)] + room_ns

    def release(self, kind: str) -> None:
        changed = self.memory.needs(self.page, self.is_write) != kind
        if changed and kind != "retry":
            kind = "spurious"
        self._set(kind)
        self.guest.lock.release(self.mode)
        self.vcpu._exited()

    def set_unlocked(self, kind: str) -> None:
        same = self.memory.needs(self.page, self.is_write) == kind
        self._set(self._kind() if same else "spurious")
        self.vcpu._exited()

    def _set(self, kind: str) -> None:
        if kind not in {"spurious", "retry"}:
            self.memory.handle(self.vcpu.rank, kind, self.page, self.is_write)
            self.memory.prefetch(self.beside)
        self.guest.exits[kind] += 1
        self.vcpu.exit_kind = kind
        self.guest.log.append((self.vcpu.env.now, self.vcpu.rank, self.page, kind))
