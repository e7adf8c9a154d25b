"""The engine on a drawn case, the same plain facts from both, and where they part."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from hostsim.kernels.exits import (
    EXCLUSIVE,
    FINISHED,
    HOLD_NS,
    LOGGED,
    NONE,
    SHARED,
    TOUCH,
    WAIT_NS,
    Counts,
    ExitCosts,
    Lock,
    Slot,
    Vcpus,
    run_vcpus,
)
from hostsim.kernels.faults import MAP, N_KINDS, PML_FULL, SPLIT, SPURIOUS, TRACK, WP
from hostsim.mmu.spte import DIRTY, PRESENT, REGION_PAGES, TRACKED, WRITABLE, Sptes, make_sptes
from tests.twins.compare import first_difference
from tests.twins.exits_case import Case, Costs, Program
from tests.twins.exits_configs import drawn_case, drawn_horizons
from tests.twins.exits_twin import TwinExits

KIND = {"map": MAP, "track": TRACK, "wp": WP, "split": SPLIT, "spurious": SPURIOUS, "pml_full": PML_FULL}
MODE = {"none": NONE, "shared": SHARED, "exclusive": EXCLUSIVE}
FLAG = {"present": PRESENT, "writable": WRITABLE, "tracked": TRACKED, "dirty": DIRTY}
FAR_NS = 1 << 62
LOG_CAPACITY = 1 << 12
Facts = dict[str, Any]


class Engine:
    """The engine's arrays for one case."""

    def __init__(self, case: Case, log_capacity: int = LOG_CAPACITY) -> None:
        n = len(case.programs)
        self.sptes, self.vcpus = _sptes(case), _vcpus(case.programs)
        self.lock = Lock(np.zeros(n, np.int64), np.zeros(4, np.int64))
        self.heap = np.zeros(n, np.int64)
        self.slot, self.costs = Slot(case.logged, case.pml, case.huge), _costs(case.costs)
        self.counts = Counts(np.zeros(N_KINDS, np.int64), np.zeros(3, np.int64), np.zeros((log_capacity, 4), np.int64))

    def run(self, horizon_ns: int = FAR_NS) -> int:
        """Up to the horizon; when the next event is due."""
        parts = (self.sptes, self.vcpus, self.lock, self.heap, self.slot, self.costs, self.counts)
        return int(run_vcpus(*parts, horizon_ns))

    def facts(self) -> Facts:
        """What may be compared at any horizon."""
        sptes, sums = self.sptes, self.counts.sums
        return {
            "log": self.counts.log[: sums[LOGGED]].tolist(),
            "exits": self.counts.exits.tolist(),
            "dirty": np.flatnonzero(sptes.dirty).tolist(),
            "spte": {int(page): int(sptes.spte[page]) for page in np.flatnonzero(sptes.spte)},
            "large": {int(region): int(sptes.large[region]) for region in np.flatnonzero(sptes.level)},
            "wait_ns": int(sums[WAIT_NS]),
            "hold_ns": int(sums[HOLD_NS]),
        }

    def ended(self) -> Facts:
        """What may be compared when all vCPUs have finished."""
        assert set(self.vcpus.stage.tolist()) == {FINISHED}
        return {**self.facts(), "finish_ns": self.vcpus.ns.tolist(), "pml": self.vcpus.pml.tolist()}


def _flags(words: frozenset[str] | set[str]) -> int:
    return sum(FLAG[word] for word in words)


def _sptes(case: Case) -> Sptes:
    sptes = make_sptes(case.n_regions * REGION_PAGES)
    for page, words in case.spte.items():
        sptes.spte[page] = _flags(words)
    for region, words in case.large.items():
        sptes.level[region], sptes.large[region] = 1, _flags(words)
    return sptes


def _vcpus(programs: tuple[Program, ...]) -> Vcpus:
    rows = [
        (p.start_ns, TOUCH, p.first, 0, 0, 0, p.pml, 0, p.first + p.n, p.step, int(p.is_write), p.loop_ns) for p in programs
    ]
    return Vcpus(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def _costs(costs: Costs) -> ExitCosts:
    mode, hold_ns = np.zeros(N_KINDS, np.int64), np.zeros(N_KINDS, np.int64)
    for kind, name in costs.mode.items():
        mode[KIND[kind]], hold_ns[KIND[kind]] = MODE[name], costs.hold_ns[kind]
    queue_ns = np.array([costs.queue_ns[name] for name in sorted(MODE, key=MODE.__getitem__)], np.int64)
    scalars = (costs.exit_ns, costs.entry_ns, costs.spurious_ns, costs.pml_ns, costs.pml_drain_ns)
    return ExitCosts(*scalars, mode, hold_ns, queue_ns)


def twin_facts(twin: TwinExits) -> Facts:
    """As ``Engine.facts``."""
    exits, mappings = [0] * N_KINDS, twin.mappings
    for kind, n in twin.exits.items():
        exits[KIND[kind]] = n
    return {
        "log": [[ns, vcpu, page, KIND[kind]] for ns, vcpu, page, kind in twin.log],
        "exits": exits,
        "dirty": sorted(mappings.dirty),
        "spte": {page: _flags(words) for page, words in sorted(mappings.spte.items()) if words},
        "large": {region: _flags(words) for region, words in sorted(mappings.large.items())},
        "wait_ns": twin.wait_ns,
        "hold_ns": twin.hold_ns,
    }


def twin_ended(twin: TwinExits) -> Facts:
    """As ``Engine.ended``."""
    finish_ns, pml = [vcpu.finish_ns for vcpu in twin.vcpus], [vcpu.pml for vcpu in twin.vcpus]
    return {**twin_facts(twin), "finish_ns": finish_ns, "pml": pml}


def whole_difference(seed: int) -> str:
    """Empty if case ``seed``, run to its end at once, is the same in both."""
    case = drawn_case(seed)
    twin, engine = TwinExits(case), Engine(case)
    twin.run()
    next_ns = engine.run()
    found = first_difference(twin_ended(twin), engine.ended()) or ("" if next_ns == -1 else f"{next_ns} after the end")
    return f"{replay_command(seed)}: {found[:1000]}" if found else ""


def cut_difference(seed: int) -> str:
    """Empty if both agree at every drawn horizon, and if cuts change nothing of how the run ends."""
    case = drawn_case(seed)
    whole, engine, twin = Engine(case), Engine(case), TwinExits(case)
    whole.run()
    end_ns = int(whole.vcpus.ns.max())
    for horizon_ns in drawn_horizons(seed, whole.facts()["log"], end_ns):
        next_ns = engine.run(horizon_ns)
        twin.run_until(horizon_ns)
        if found := first_difference(twin_facts(twin), engine.facts()):
            return f"{replay_command(seed)}: at {horizon_ns}: {found[:1000]}"
        if next_ns < horizon_ns and next_ns != -1:
            return f"{replay_command(seed)}: at {horizon_ns}: next event at {next_ns}"
    engine.run()
    found = first_difference(whole.ended(), engine.ended())
    return f"{replay_command(seed)}: cut: {found[:1000]}" if found else ""


def replay_command(seed: int) -> str:
    return f"python -m tests.twins.exits_compare {seed}"


def main(seeds: list[int]) -> int:
    found = [text for seed in seeds if (text := whole_difference(seed) or cut_difference(seed))]
    sys.stdout.write("".join(f"{text}\n" for text in found) or "equal\n")
    return len(found) > 0


if __name__ == "__main__":
    raise SystemExit(main([int(arg) for arg in sys.argv[1:]]))
