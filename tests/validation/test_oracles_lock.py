"""O19-O21, O26, O28, O35: the runs they are made of, and that wrong ones would be seen."""

from __future__ import annotations

import numpy as np
import pytest

from hostsim.costs.exits import EXCLUSIVE, MAP, PML_FULL, SHARED, WP
from hostsim.spte_index.spte import PRESENT, WRITABLE, make_sptes
from hostsim.theory import queues
from hostsim.validation.lock_runs import ENTRY_NS, EXIT_NS, Arrivals, LockRun, Loops, exit_costs
from hostsim.validation.oracles_lock import READ_NS, WRITE_NS, lock_rows
from hostsim.validation.rows import Row, sigma
from hostsim.validation.samples import sample_z


def run_of(start_ns: list[int], pages: int, mode: int, hold_ns: int, loop_ns: int = 50) -> LockRun:
    n = len(start_ns)
    sptes = make_sptes(n * pages)
    sptes.spte[:] = PRESENT
    first = np.arange(n) * pages
    loops = Loops(np.array(start_ns), first, first + pages, np.full(n, loop_ns))
    run = LockRun(sptes, exit_costs({WP: mode}, {WP: hold_ns}), loops)
    run.advance()
    return run


def arriving(at_ns: np.ndarray, n_vcpus: int) -> LockRun:
    arrivals = Arrivals(at_ns, n_vcpus)
    sptes = make_sptes(int(arrivals.pages.max()) + 1)
    sptes.spte[:] = PRESENT
    run = LockRun(sptes, exit_costs({WP: EXCLUSIVE}, {WP: 1_000}), arrivals=arrivals)
    run.advance()
    return run


def test_forms_and_runs_are_all_there(oracle_rows: list[Row]) -> None:
    forms = {"O19", "O20", "O26", "O28", "O35"}
    wanted = forms | {f"{form}-run" for form in (*forms, "O21")}
    assert {row.id.split("/")[0] for row in oracle_rows} >= wanted


@pytest.mark.swarm
def test_another_seed_passes_too() -> None:
    assert [row for row in lock_rows(seed=2) if not row.passed] == []


def test_waits_of_a_queue_by_hand() -> None:
    """Asked at 400, 410, 460; each holds 100, one after the other."""
    faults = run_of([0, 10, 60], 1, EXCLUSIVE, 100).faults()
    assert faults.asked_ns.tolist() == [EXIT_NS, EXIT_NS + 10, EXIT_NS + 60]
    assert faults.wait_ns.tolist() == [0, 90, 140]
    assert faults.wait_and_hold_ns == 230 + 300


def test_faults_of_a_loop_are_asked_an_entry_a_loop_and_an_exit_after_the_one_before() -> None:
    faults = run_of([5, 1000], 3, SHARED, 100).faults()
    cycle = 100 + ENTRY_NS + 50 + EXIT_NS
    own = faults.asked_ns[faults.vcpu == 0]
    assert own.tolist() == [5 + EXIT_NS + n * cycle for n in range(3)]
    assert faults.wait_ns.sum() == 0
    assert faults.wait_and_hold_ns == 600


def test_arrivals_are_asked_an_exit_after_their_time_whoever_takes_them() -> None:
    at_ns = np.array([0, 10, 500, 9_000, 9_000, 40_000])
    few, many = arriving(at_ns, 3).faults(), arriving(at_ns, 6).faults()
    assert few.asked_ns.tolist() == many.asked_ns.tolist() == (at_ns + EXIT_NS).tolist()
    assert few.set_ns.tolist() == many.set_ns.tolist()
    assert few.wait_ns.tolist() == [0, 990, 1500, 0, 1000, 0]


def test_arrivals_with_too_few_vcpus_are_refused() -> None:
    with pytest.raises(AssertionError, match="too few vCPUs"):
        arriving(np.array([0, 10, 500]), 2).faults()


def test_drawn_holds_are_taken_one_a_grant() -> None:
    holds = iter(range(100, 10_000))
    sptes = make_sptes(30)
    sptes.spte[:] = PRESENT
    first = np.array([0, 10, 20])
    loops = Loops(np.zeros(3, np.int64), first, first + 10, np.full(3, 50))
    run = LockRun(sptes, exit_costs({WP: EXCLUSIVE}, {WP: 1}), loops)
    run.advance_drawn(WP, lambda: next(holds))
    granted = np.diff(np.concatenate([[EXIT_NS], run.set_ns[:3]]))
    assert run.exits[WP] == 30
    assert len(set(granted.tolist())) == 3
    assert granted.min() >= 100


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_wait_that_is_10_percent_off_is_seen(factor: float) -> None:
    """At half load, with as many requests as the suite has."""
    rng, means = np.random.default_rng(5), []
    for _ in range(30):
        run = arriving(np.cumsum(rng.exponential(2_000, 10_000)).astype(np.int64), 256)
        means.append(float(run.faults().wait_ns.mean()))
    expected = queues.md1_wait(0.5, 1_000)
    assert sigma("oracles", "x", "wait", expected, float(np.mean(means)), sample_z(means, expected)).passed
    assert not sigma("oracles", "x", "wait", expected, 0.0, sample_z([mean * factor for mean in means], expected)).passed


def test_a_lock_that_lets_readers_pass_a_writer_would_be_seen() -> None:
    """The writer asks while a reader is inside; the second reader asks after it: it has to come after it."""
    sptes = make_sptes(3)
    sptes.spte[[0, 2]] = PRESENT
    at = np.arange(3)
    loops = Loops(np.array([0, 100, 200]), at, at + 1, np.ones(3, np.int64))
    run = LockRun(sptes, exit_costs({WP: SHARED, MAP: EXCLUSIVE}, {WP: READ_NS, MAP: WRITE_NS}), loops)
    run.advance()
    granted = dict(zip(run.faults().vcpu.tolist(), (run.faults().granted_ns - EXIT_NS).tolist(), strict=True))
    assert granted == {0: 0, 1: READ_NS, 2: READ_NS + WRITE_NS}


def test_pml_is_drained_by_another_exit() -> None:
    """511 pages logged, one mapped, 511 logged: no exit for a full buffer; without the one in between there is."""
    for unmapped, full in ((511, 0), (None, 1)):
        sptes = make_sptes(1023)
        sptes.spte[:1023] = PRESENT | WRITABLE
        if unmapped is not None:
            sptes.spte[unmapped] = 0
        loops = Loops(np.zeros(1, np.int64), np.zeros(1, np.int64), np.full(1, 1023), np.ones(1, np.int64))
        run = LockRun(sptes, exit_costs({MAP: 0}, {MAP: 5}), loops, mechanism="pml")
        run.advance()
        assert run.exits[PML_FULL] == full
