"""Walkers against the same calls as processes of the host, on drawn cases of guests under KVM: where the two part.

``python -m tests.twins.kvm_walks SEED...`` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.kvm.lock import MmuLock
from hostsim.kvm.mmu_notifier import EVENTS
from tests.twins.compare import first_difference
from tests.twins.kvm_actors import Process
from tests.twins.kvm_case import REGION_PAGES, Case, Hold
from tests.twins.kvm_configs import drawn_case, drawn_cuts
from tests.twins.kvm_engine import EngineRun
from tests.twins.kvm_run import Facts, told

AGE_NS = (3, 17, 61, 149, 397)
"""Of a call of the usual length: primes, which meet few other instants."""


@dataclass(frozen=True)
class Walk:
    """After ``wait_ns`` a call of ``event`` for each of ``firsts``, one after the other."""

    wait_ns: int
    event: str
    firsts: tuple[int, ...]
    call_pages: int


class WatchedClock(Clock):
    """Notes which thread acts when: the order of a walker and another thread in one instant is not certain.

    A grant there does not count: it follows from the release.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lock: MmuLock | None = None
        self.tied_ns, self._walked_ns, self._other_ns = -1, -1, -1
        start = self.process

        def process(generator: Process) -> simpy.Process:
            return start(self._watch(generator, getattr(generator, "__name__", "") == "_walker"))

        self.process = process

    def _watch(self, process: Process, walks: bool) -> Process:
        value: Any = None
        while True:
            try:
                event = process.send(value)
            except StopIteration as ended:
                return ended.value
            is_granted = self.lock is not None and any(event is given for given in self.lock._waiting.values())
            value = yield event
            if not is_granted:
                self._note(walks)

    def _note(self, walks: bool) -> None:
        tied = self.now in {self._walked_ns, self._other_ns if walks else -1}
        if tied and self.tied_ns < 0:
            self.tied_ns = self.now_ns
        if walks:
            self._walked_ns = self.now_ns
        else:
            self._other_ns = self.now_ns


class WalksRun(EngineRun):
    """``case`` with ``walks`` for each walker; by_events: they are processes of the host."""

    def __init__(self, case: Case, walks: tuple[tuple[Walk, ...], ...], end_ns: int, cuts_ns: list[int], **how: Any) -> None:
        self.walks, self.how = walks, how
        self.told: list[tuple[int, int, int, list[int]]] = []
        super().__init__(case, end_ns, cuts_ns, WatchedClock() if how["by_events"] else Clock())

    def begin(self) -> None:
        port = self.port
        port.notifier.by_events = self.how["by_events"]
        if isinstance(port.env, WatchedClock):
            port.env.lock = port.vm.lock
        for number, walks in enumerate(self.walks):
            port.env.process(self._walker(number, walks))

    def _walker(self, number: int, walks: tuple[Walk, ...]) -> Process:
        env, notifier = self.port.env, self.port.notifier
        for walk in walks:
            yield env.timeout(walk.wait_ns)
            young: NDArray[np.uint8] = np.zeros(self.case.n_pages, np.uint8)
            found = yield from notifier.each(walk.event, np.array(walk.firsts), walk.call_pages, young)
            self.told.append((env.now_ns, number, found, np.flatnonzero(young).tolist()))

    def facts(self) -> Facts:
        notifier, lock = self.port.notifier, self.port.vm.lock
        return super().facts() | {
            "told": self.told, "pages": +notifier.pages, "young": notifier.young, "host_waits": told(lock.waits),
            "calls": {event: told(found) for event, found in notifier.latencies.items()},
            "false_old": round(notifier.false_old, 6),
        }  # fmt: skip


def drawn_walks(seed: int) -> tuple[Case, tuple[tuple[Walk, ...], ...]]:
    """A case without other ageing, and the calls of its walkers."""
    case, rng = drawn_case(seed), Random(f"walks {seed}")
    call_pages = rng.choice((1, 1, 1, 8, 64, 512))
    rules = replace(case.ageing, age_ns=rng.choice(AGE_NS) / call_pages, flush=rng.random() < 0.6, locked=rng.random() < 0.8)
    quiet = {"ageings": ()} | ({"syncs": (), "stop": False, "first_ns": case.end_ns} if rng.random() < 0.5 else {})
    holds = tuple(_polite_hold(rng, case) for _ in range(rng.choice((0, 0, 4)))) or case.script.holds
    case = replace(case, ageing=rules, script=replace(case.script, holds=holds, **quiet))
    return case, tuple(tuple(_walks(rng, case, call_pages)) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def _polite_hold(rng: Random, case: Case) -> Hold:
    """It yields to a thread that waits, in the middle of the walks."""
    unit_ns = rng.choice(AGE_NS) + 2
    return Hold(rng.randrange(1, max(2, case.end_ns // 8)), "exclusive", unit_ns * rng.randrange(2, 9), unit_ns)


def _walks(rng: Random, case: Case, call_pages: int) -> Iterator[Walk]:
    for _ in range(rng.choice((1, 2, 5))):
        firsts = list(range(0, case.n_pages, rng.choice((call_pages, call_pages, 3 * call_pages, REGION_PAGES + 1))))
        rng.shuffle(firsts) if rng.random() < 0.4 else None
        firsts = firsts[rng.randrange(len(firsts)) :] if rng.random() < 0.3 else firsts
        yield Walk(rng.randrange(1, max(2, case.end_ns // 4)), rng.choice(EVENTS[:3]), tuple(firsts), call_pages)


def certain_walks(seed: int) -> WalksRun:
    """The calls as processes, up to the first instant in which one acts together with another thread."""
    case, walks = drawn_walks(seed)
    run = WalksRun(case, walks, case.end_ns, [], by_events=True)
    tied_ns = run.port.env.tied_ns
    return run if tied_ns < 0 else WalksRun(case, walks, tied_ns, [], by_events=True)


def difference(seed: int) -> str:
    """Empty if the engine's walkers equal processes in case ``seed``, however the run is cut."""
    expected = certain_walks(seed)
    case, facts = expected.case, expected.facts()
    for cuts_ns in ([], drawn_cuts(seed, case)):
        run = WalksRun(case, expected.walks, expected.end_ns, cuts_ns, by_events=False)
        if found := first_difference(facts, run.facts()):
            return f"python -m tests.twins.kvm_walks {seed}: until {expected.end_ns}, cut at {cuts_ns}: {found[:1000]}"
    return ""


def main(seeds: list[int]) -> int:
    found = [text for seed in seeds if (text := difference(seed))]
    sys.stdout.write("".join(f"{text}\n" for text in found) or "equal\n")
    return len(found) > 0


if __name__ == "__main__":
    raise SystemExit(main([int(arg) for arg in sys.argv[1:]]))
