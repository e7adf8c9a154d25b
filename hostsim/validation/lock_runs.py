"""Runs of guests under KVM for the oracles of queues: vCPUs that fault, and the wait of each fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.record import Records
from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out, make_memory
from hostsim.core.rng import NEVER
from hostsim.costs.exits import N_KINDS, ExitCosts
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Active, TouchTrace, Workload, build_guest
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.loops.layout import LoggedExit
from hostsim.kvm.spec import MmuSpec
from hostsim.spte_index.spte import Sptes

Ints = NDArray[np.int64]
EXIT_NS, ENTRY_NS = 400, 300
"""Outside of the lock, before and after it (assumed; only their sum with the think time matters)."""
AT_ONCE = Pacing(open_loop=True, catch_up=Fraction(1_000_000))
"""Touches come at their time, however long the vCPU was out of the guest before."""


@dataclass(frozen=True)
class Loops:
    """int64[n_vcpus] each: a vCPU touches pages first .. end - 1 in order, the first at start_ns, the next loop_ns later."""

    start_ns: Ints
    first: Ints
    end: Ints
    loop_ns: Ints

    def workload(self, i: int, vcpu: int) -> Workload:
        """The workload of loop ``i`` on ``vcpu``."""
        first, n, loop_ns = int(self.first[i]), int(self.end[i] - self.first[i]), int(self.loop_ns[i])
        once = Active(int(self.start_ns[i]), n * loop_ns)
        return Workload(f"loop {i}", "sequential", (vcpu,), first, n, Fraction(NS_PER_S, loop_ns), active=once)


@dataclass(frozen=True)
class Arrivals:
    """Touches, each of a page of its own.

    at_ns: int64[n], instants, ascending; n_vcpus: vCPUs that take turns, enough for each to be free at its instants.
    """

    at_ns: Ints
    n_vcpus: int
    first: int = 0

    @property
    def pages(self) -> Ints:
        """int64[n]: the page of each touch; those of a vCPU lie together."""
        turn, vcpu = np.divmod(np.arange(len(self.at_ns)), self.n_vcpus)
        return np.asarray(self.first + vcpu * -(-len(self.at_ns) // self.n_vcpus) + turn, np.int64)

    def workload(self, first_vcpu: int) -> Workload:
        """The workload of the arrivals on the vCPUs from ``first_vcpu`` on."""
        n, vcpus = len(self.at_ns), tuple(range(first_vcpu, first_vcpu + self.n_vcpus))
        whose = (first_vcpu + np.arange(n) % self.n_vcpus).astype(np.int32)
        trace = TouchTrace(self.at_ns, whose, self.pages, np.ones(n, np.bool_))
        return Workload("arrivals", "trace", vcpus, self.first, int(self.pages.max()) + 1, pacing=AT_ONCE, trace=trace)


@dataclass(frozen=True)
class Faults:
    """Faults of a run: int64[n_faults] each, in order of set_ns; wait_and_hold_ns: sum that the engine counted."""

    vcpu: Ints
    asked_ns: Ints
    granted_ns: Ints
    set_ns: Ints
    kind: Ints
    wait_and_hold_ns: int

    @property
    def wait_ns(self) -> Ints:
        """int64[n_faults]: wait of each fault for the lock."""
        return self.granted_ns - self.asked_ns


def exit_costs(modes: dict[int, int], holds_ns: dict[int, int]) -> ExitCosts:
    """Costs of exits with a mode and a hold for each kind of fault given, and nothing that grows with the queue.

    modes: kind to mode of mmu_lock. holds_ns: the same kinds to their holds; all other kinds hold 1 ns.
    """
    mode, hold_ns = np.zeros(N_KINDS, np.int64), np.ones(N_KINDS, np.int64)
    for kind, value in modes.items():
        mode[kind], hold_ns[kind] = value, holds_ns[kind]
    return ExitCosts(EXIT_NS, ENTRY_NS, 1, 0, 1, mode, hold_ns, np.zeros((3, 1), np.int64))


class LockRun:
    """vCPUs of a logged VM with mappings ``sptes``: those of the loops, then those of the arrivals. Keeps all its faults."""

    def __init__(
        self,
        sptes: Sptes,
        costs: ExitCosts,
        loops: Loops | None = None,
        arrivals: Arrivals | None = None,
        mechanism: Literal["write-protect", "pml"] = "write-protect",
    ) -> None:
        self.costs, self.loops, self.arrivals = costs, loops, arrivals
        self._n_loops, n_pages = 0 if loops is None else len(loops.first), len(sptes.spte)
        n_vcpus = self._n_loops + (0 if arrivals is None else arrivals.n_vcpus)
        n_faults = 0 if loops is None else int(np.sum(loops.end - loops.first))
        n_faults += 0 if arrivals is None else len(arrivals.at_ns)
        memory = make_memory(lay_out([("pc.ram", n_pages, [(0, n_pages)])]))
        guest, config = build_guest(list(self._workloads()), seed=0), MmuConfig(MmuSpec(write_tracking=mechanism))
        self._engine = GuestEngine(guest, memory, n_vcpus, config, costs, log_capacity=n_faults)
        self._engine.log.start(all_set=False, eager=False, now_ns=0)
        self._engine.set_sptes(sptes, 0)

    def _workloads(self) -> Iterator[Workload]:
        if self.loops is not None:
            yield from (self.loops.workload(i, i) for i in range(self._n_loops))
        if self.arrivals is not None:
            yield self.arrivals.workload(self._n_loops)

    def advance(self, horizon_ns: int = NEVER) -> int:
        """Run all events below the horizon; returns the time of the next one, NEVER if there is none."""
        assert self._engine.advance(horizon_ns) is None, "no thread of the host waits for this guest"
        return self._engine.next_ns

    def advance_drawn(self, kind: int, hold_ns: Callable[[], int]) -> None:
        """Run to the end, each hold of ``kind`` drawn afresh.

        An exclusive lock is granted once an instant at most, so a draw an instant is a draw a grant.
        """
        next_ns, holds_ns = 0, self._engine.kvm.costs.hold_ns
        while next_ns < NEVER:
            self.costs.hold_ns[kind] = holds_ns[kind] = hold_ns()
            next_ns = self.advance(next_ns + 1)

    @property
    def sptes(self) -> Sptes:
        """The sptes in their present state."""
        return self._engine.kvm.sptes

    @property
    def exits(self) -> Ints:
        """int64[N_EXITS]: exits so far, by kind."""
        return self._engine.exits

    @property
    def wait_and_hold_ns(self) -> int:
        """Waits and holds of all faults that have been granted the lock."""
        return int(self._engine.sums.sum())

    @property
    def _log(self) -> Records[LoggedExit]:
        kvm = self._engine.kvm
        return kvm.log[: kvm.state.logged_exits]

    @property
    def set_ns(self) -> Ints:
        """int64[faults so far]: when each fault was over, in order."""
        return self._log["ns"]

    def faults(self) -> Faults:
        """All faults so far, of vCPUs that fault on every page."""
        vcpu, set_ns, page, kind = (self._log[name] for name in ("vcpu", "ns", "page", "kind"))
        order = np.argsort(vcpu, kind="stable")
        asked = np.empty(len(order), np.int64)
        asked[order] = self._begun_ns(vcpu[order], page[order], set_ns[order]) + EXIT_NS
        return Faults(vcpu, asked, set_ns - self.costs.hold_ns[kind], set_ns, kind, self.wait_and_hold_ns)

    def _begun_ns(self, vcpu: Ints, page: Ints, set_ns: Ints) -> Ints:
        """When each was touched, given vCPU by vCPU: a loop after the entry from the one before; or at its time."""
        begun, is_first = np.roll(set_ns, 1) + ENTRY_NS, np.diff(vcpu, prepend=-1) != 0
        if self.loops is not None:
            of = np.minimum(vcpu, self._n_loops - 1)
            looped = np.where(is_first, self.loops.start_ns[of], begun + self.loops.loop_ns[of])
        if self.arrivals is None:
            return looped
        drawn, arrived = vcpu >= self._n_loops, np.zeros(len(self.sptes.spte), np.int64)
        arrived[self.arrivals.pages] = self.arrivals.at_ns
        assert (arrived[page] >= begun)[drawn & ~is_first].all(), "too few vCPUs: one was still in its fault"
        return arrived[page] if self.loops is None else np.where(drawn, arrived[page], looped)
