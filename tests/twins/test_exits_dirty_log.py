"""No write escapes the dirty log; reads that map writable put pages into it that nobody wrote."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hostsim.kernels.exits import Vcpus
from hostsim.kernels.faults import MAP, PML_FULL, SPLIT, flags_of
from hostsim.mmu.spte import DIRTY, WRITABLE
from tests.tidy.source import report
from tests.twins.exits_case import REGION_PAGES, Case, Costs, Flags, Program
from tests.twins.exits_compare import Engine, replay_command
from tests.twins.exits_configs import KINDS, MODES, drawn_case, drawn_horizons, protected

READ_ONLY: Flags = frozenset({"present"})
D_CLEAR: Flags = frozenset({"present", "writable"})
COSTS = Costs(
    1000, 300, 200, 40, 5000, dict.fromkeys(KINDS, "exclusive"), dict.fromkeys(KINDS, 500), dict.fromkeys(MODES, (0,))
)


def unlogged_pages(engine: Engine) -> list[int]:
    """Pages that could be written unseen though they are not in the log, and pages written that are not in it."""
    sptes, vcpus = engine.sptes, engine.vcpus
    unseen = WRITABLE | DIRTY if engine.slot.pml else WRITABLE
    open_pages = {page for page in range(len(sptes.spte)) if flags_of(sptes, page) & unseen == unseen}
    return sorted(page for page in open_pages | written_pages(vcpus) if not sptes.dirty[page])


def written_pages(vcpus: Vcpus) -> set[int]:
    rows = zip(vcpus.page, vcpus.completed, vcpus.step, vcpus.is_write, strict=True)
    return {int(page - i * step) for page, done, step, is_write in rows if is_write for i in range(1, done + 1)}


def run_law(case: Case, horizons_ns: list[int]) -> list[int]:
    engine, found = Engine(case), set()
    for horizon_ns in [*horizons_ns, 1 << 62]:
        engine.run(horizon_ns)
        found |= set(unlogged_pages(engine))
    return sorted(found)


def logged_cases(seeds: range) -> list[tuple[int, Case]]:
    return [(seed, protected(replace(drawn_case(seed), logged=True))) for seed in seeds]


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_no_write_escapes_the_log(first: int) -> None:
    """Whatever the locks, however the run is cut."""
    problems = []
    for seed, case in logged_cases(range(first, first + 50)):
        whole = Engine(case)
        whole.run()
        horizons_ns = drawn_horizons(seed, whole.facts()["log"], int(whole.vcpus.ns.max()))
        if pages := run_law(case, horizons_ns):
            problems.append(f"{replay_command(seed)}, logged and protected: pages {pages[:10]} escape the log")
    report(problems)


def test_the_law_finds_what_was_left_writable() -> None:
    """Without protection writes do escape, and a large spte's one D bit hides 511 pages."""
    writes = (Program(0, 8, 1, True, 0, 100),)
    left_writable = Case(1, dict.fromkeys(range(4), D_CLEAR), {}, True, False, False, writes, COSTS)
    assert run_law(left_writable, []) == [0, 1, 2, 3]
    left_large = Case(1, {}, {0: D_CLEAR}, True, True, True, writes, COSTS)
    assert run_law(left_large, []) == list(range(1, REGION_PAGES))


def split_guest(*, eager: bool) -> Engine:
    """One page of a large mapping is written, then another vCPU reads all of the region."""
    spte = dict.fromkeys(range(REGION_PAGES), READ_ONLY) if eager else {}
    large = {} if eager else {0: READ_ONLY}
    programs = (Program(7, 1, 1, True, 0, 0), Program(0, REGION_PAGES, 1, False, 100_000, 10))
    engine = Engine(Case(1, spte, large, True, False, True, programs, COSTS))
    engine.run()
    return engine


def test_reads_after_a_split_on_fault_inflate_the_dirty_set() -> None:
    on_fault, eager = split_guest(eager=False), split_guest(eager=True)
    assert np.flatnonzero(eager.sptes.dirty).tolist() == [7]
    assert eager.counts.exits[MAP] == 0
    assert on_fault.sptes.dirty.sum() == REGION_PAGES
    assert on_fault.counts.exits[[SPLIT, MAP]].tolist() == [1, REGION_PAGES - 1]
    assert on_fault.vcpus.ns[1] - eager.vcpus.ns[1] == (REGION_PAGES - 1) * (1000 + 500 + 300)


def pml_guest(n_writes: int, *, at_start: int = 0) -> Engine:
    programs = (Program(0, n_writes, 1, True, 0, 100, at_start),)
    spte = dict.fromkeys(range(4 * REGION_PAGES), D_CLEAR)
    return Engine(Case(4, spte, {}, True, True, False, programs, COSTS))


@pytest.mark.parametrize("n_writes", [1, 300, 511, 512, 513, 1300, 2048])
def test_a_pml_buffer_not_yet_drained_loses_nothing(n_writes: int) -> None:
    engine = pml_guest(n_writes)
    engine.run()
    assert np.flatnonzero(engine.sptes.dirty).tolist() == list(range(n_writes))
    assert engine.counts.exits.sum() == engine.counts.exits[PML_FULL] == n_writes // 512
    assert engine.vcpus.pml[0] == n_writes % 512
    full_ns = (1000 + 5000 + 300) * (n_writes // 512)
    assert engine.vcpus.ns[0] == n_writes * 40 + (n_writes - 1) * 100 + full_ns


def test_at_any_instant_the_log_holds_every_write_begun() -> None:
    engine = pml_guest(700)
    for horizon_ns in range(0, 110_000, 977):
        engine.run(horizon_ns)
        assert np.flatnonzero(engine.sptes.dirty).tolist() == list(range(engine.vcpus.completed[0]))
    assert 600 < engine.vcpus.completed[0] <= 700
