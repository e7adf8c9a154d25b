"""Runs of the exits engine for the oracles of queues: programs of vCPUs that fault, and what each fault had to wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hostsim.mmu.exits import HOLD_NS, LOGGED, N_KINDS, WAIT_NS, Counts, ExitCosts, Lock, Slot, Vcpus, run_vcpus
from hostsim.mmu.spte import Sptes

Ints = NDArray[np.int64]
FOREVER_NS = 1 << 62
EXIT_NS, ENTRY_NS = 400, 300
"""Outside of the lock, before and after it (assumed; only their sum with the think time matters)."""


@dataclass(frozen=True)
class Program:
    """int64[n_vcpus] each: a vCPU touches pages first .. end - 1 in order, the first at start_ns, the next loop_ns later."""

    start_ns: Ints
    first: Ints
    end: Ints
    loop_ns: Ints


@dataclass(frozen=True)
class Faults:
    """int64[n_faults] each, in order of set_ns; wait_and_hold_ns: all their waits and holds, as the engine counted them."""

    vcpu: Ints
    asked_ns: Ints
    granted_ns: Ints
    set_ns: Ints
    kind: Ints
    wait_and_hold_ns: int

    @property
    def wait_ns(self) -> Ints:
        """Of each fault, for the lock."""
        return self.granted_ns - self.asked_ns


def exit_costs(modes: dict[int, int], holds_ns: dict[int, int]) -> ExitCosts:
    """Costs with the mode and hold of each kind of fault given, and nothing that grows with the queue."""
    mode, hold_ns = np.zeros(N_KINDS, np.int64), np.ones(N_KINDS, np.int64)
    for kind, value in modes.items():
        mode[kind], hold_ns[kind] = value, holds_ns[kind]
    return ExitCosts(EXIT_NS, ENTRY_NS, 1, 0, 1, mode, hold_ns, np.zeros((3, 1), np.int64))


class LockRun:
    """An engine with a log of all its faults; ``costs.hold_ns`` may be changed between calls of ``advance``."""

    def __init__(self, sptes: Sptes, program: Program, costs: ExitCosts, slot: Slot | None = None) -> None:
        n = len(program.start_ns)
        self.sptes, self.costs, self.slot, self.program = sptes, costs, slot or Slot(True, False, False), program
        zero = np.zeros((8, n), np.int64)
        zero[0], zero[2] = program.start_ns, program.first
        ones = np.ones((2, n), np.int64)
        self.vcpus = Vcpus._make([*zero, program.end.copy(), *ones, program.loop_ns.copy()])
        self._lock, self._heap = Lock(np.zeros(n, np.int64), np.zeros(4, np.int64)), np.zeros(n, np.int64)
        faults = int(np.sum(program.end - program.first))
        self.counts = Counts(np.zeros(N_KINDS, np.int64), np.zeros(3, np.int64), np.zeros((faults, 4), np.int64))

    def advance(self, horizon_ns: int = FOREVER_NS) -> int:
        """All events below the horizon; the time of the next one, -1 if there is none."""
        args = (self.sptes, self.vcpus, self._lock, self._heap, self.slot, self.costs, self.counts, horizon_ns)
        return int(run_vcpus(*args))

    def advance_drawn(self, kind: int, hold_ns: Callable[[], int]) -> None:
        """To the end, each hold of ``kind`` drawn afresh.

        An exclusive lock is granted once an instant at most, so a draw an instant is a draw a grant.
        """
        next_ns = 0
        while next_ns >= 0:
            self.costs.hold_ns[kind] = hold_ns()
            next_ns = self.advance(next_ns + 1)

    @property
    def wait_and_hold_ns(self) -> int:
        """Of all faults that have been granted the lock."""
        return int(self.counts.sums[WAIT_NS] + self.counts.sums[HOLD_NS])

    @property
    def set_ns(self) -> Ints:
        """int64[faults so far]: when each fault was over, in order."""
        return self.counts.log[: self.counts.sums[LOGGED], 0]

    def faults(self) -> Faults:
        """All faults so far, of vCPUs that fault on every page: asked an entry, a loop and an exit after the one before."""
        log = self.counts.log[: self.counts.sums[LOGGED]]
        vcpu, set_ns, kind = log[:, 1], log[:, 0], log[:, 3]
        order = np.argsort(vcpu, kind="stable")
        of = vcpu[order]
        begun = np.roll(set_ns[order], 1) + ENTRY_NS + self.program.loop_ns[of]
        is_first = np.diff(of, prepend=-1) != 0
        begun[is_first] = self.program.start_ns[of[is_first]]
        asked = np.empty(len(log), np.int64)
        asked[order] = begun + EXIT_NS
        return Faults(vcpu, asked, set_ns - self.costs.hold_ns[kind], set_ns, kind, self.wait_and_hold_ns)
