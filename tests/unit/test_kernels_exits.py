"""Worked by hand: exit 100, hold 50 (map 70, split 90), entry 30, spurious 10; pages are write-protected unless said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hostsim.kernels.exits import (
    FINISHED,
    HOLD_NS,
    LENGTH,
    READERS,
    REQUEST,
    TOUCH,
    WAIT_NS,
    WAITING,
    WRITERS,
    push,
    sift_top,
)
from hostsim.kernels.faults import MAP, PML_FULL, SPLIT, SPURIOUS, TRACK, WP
from tests.twins.exits_case import Case, Costs, Flags, Program
from tests.twins.exits_compare import Engine
from tests.twins.exits_configs import KINDS, MODES

READ_ONLY: Flags = frozenset({"present"})
D_CLEAR: Flags = frozenset({"present", "writable"})
HOLD = {"map": 70, "track": 50, "wp": 50, "split": 90}


def costs(mode: str = "exclusive", *queue_ns: int, **changes: object) -> Costs:
    table = dict.fromkeys(MODES, queue_ns or (0,))
    return replace(Costs(100, 30, 10, 5, 512, dict.fromkeys(KINDS, mode), HOLD, table), **changes)


def write(page: int, start_ns: int = 0, n: int = 1, loop_ns: int = 0, pml: int = 0) -> Program:
    return Program(page, n, 1, True, start_ns, loop_ns, pml)


def guest(programs: list[Program], cost: Costs, flags: Flags = READ_ONLY, **changes: object) -> Engine:
    case = Case(2, dict.fromkeys(range(1024), flags), {}, True, False, False, tuple(programs), cost)
    return Engine(replace(case, **changes))


def ended(programs: list[Program], cost: Costs, flags: Flags = READ_ONLY, **changes: object) -> Engine:
    engine = guest(programs, cost, flags, **changes)
    assert engine.run() == -1
    assert set(engine.vcpus.stage.tolist()) == {FINISHED}
    assert not engine.lock.state[[READERS, WRITERS, LENGTH]].any()
    return engine


def log_of(engine: Engine) -> list[tuple[int, ...]]:
    return [tuple(row) for row in engine.facts()["log"]]


def test_a_heap_gives_vcpus_by_time_then_by_number() -> None:
    ns = np.array([7, 3, 7, 1, 3, 9, 1], np.int64)
    heap, size = np.zeros(7, np.int64), 0
    for v in range(6, -1, -1):
        size = push(heap, size, ns, v)
    order = []
    while size:
        order.append(int(heap[0]))
        size -= 1
        if size:
            sift_top(heap, size, ns, heap[size])
    assert order == [3, 6, 1, 4, 0, 2, 5]


@pytest.mark.parametrize("mode", MODES)
def test_one_fault_is_exit_hold_entry(mode: str) -> None:
    engine = ended([write(3, 1000)], costs(mode))
    assert engine.vcpus.ns.tolist() == [1000 + 100 + 50 + 30]
    assert log_of(engine) == [(1150, 0, 3, WP)]
    assert engine.counts.sums[[WAIT_NS, HOLD_NS]].tolist() == [0, 0 if mode == "none" else 50]


def test_an_access_without_a_fault_takes_no_time_but_the_loops() -> None:
    engine = ended([write(0, 7, 10, 3)], costs(), D_CLEAR)
    assert engine.vcpus.ns.tolist() == [7 + 9 * 3]
    assert engine.vcpus.completed.tolist() == [10]
    assert engine.counts.exits.sum() == 0


def test_steps_of_a_program_end_below_its_end() -> None:
    engine = ended([Program(4, 10, 4, True, 0, 20)], costs())
    assert [page for _, _, page, _ in log_of(engine)] == [4, 8, 12]
    assert engine.vcpus.ns.tolist() == [3 * 180 + 2 * 20]


def test_writers_queue_first_come_first_served() -> None:
    """Requests at 100 (vCPU 1), 101 (vCPU 2), 102 (vCPU 0); each held for 50."""
    engine = ended([write(0, 2), write(1, 0), write(2, 1)], costs())
    assert [(ns, v) for ns, v, _, _ in log_of(engine)] == [(150, 1), (200, 2), (250, 0)]
    assert engine.vcpus.ns.tolist() == [280, 180, 230]
    assert engine.counts.sums[[WAIT_NS, HOLD_NS]].tolist() == [49 + 98, 150]


def test_a_tie_goes_to_the_lower_vcpu() -> None:
    engine = ended([write(2), write(1), write(0)], costs())
    assert [(v, page) for _, v, page, _ in log_of(engine)] == [(0, 2), (1, 1), (2, 0)]


def test_readers_hold_together() -> None:
    engine = ended([write(page) for page in range(4)], costs("shared"))
    assert engine.vcpus.ns.tolist() == [180] * 4
    assert [v for _, v, _, _ in log_of(engine)] == [0, 1, 2, 3]


def mixed_cost() -> Costs:
    """Writes of present pages as readers, map faults as writers."""
    return replace(costs(), mode={**dict.fromkeys(KINDS, "shared"), "map": "exclusive"})


def test_a_queued_writer_blocks_later_readers_and_then_they_enter_together() -> None:
    """Reader 0 holds 100..150; writer 1 asks at 110, holds 150..220; readers 2 and 3 ask at 120 and 130, hold 220..270."""
    spte = dict.fromkeys(range(8), READ_ONLY)
    programs = [write(0), write(9, 10), write(1, 20), write(2, 30)]
    engine = ended(programs, mixed_cost(), spte=spte)
    assert log_of(engine) == [(150, 0, 0, WP), (220, 1, 9, MAP), (270, 2, 1, WP), (270, 3, 2, WP)]
    assert engine.counts.sums[[WAIT_NS, HOLD_NS]].tolist() == [40 + 100 + 90, 50 + 70 + 50 + 50]


def test_a_writer_waits_for_the_last_reader() -> None:
    programs = [write(0), write(1, 40), write(9, 45)]
    engine = ended(programs, mixed_cost(), spte=dict.fromkeys(range(8), READ_ONLY))
    assert log_of(engine)[-1] == (190 + 70, 2, 9, MAP)


def test_a_granted_lock_finds_the_page_writable() -> None:
    """vCPU 1 waits for the very page that vCPU 0 makes writable: spurious, and held only briefly."""
    engine = ended([write(0), write(0, 10), write(1, 20)], costs())
    assert log_of(engine) == [(150, 0, 0, WP), (160, 1, 0, SPURIOUS), (210, 2, 1, WP)]
    assert engine.counts.exits[[WP, SPURIOUS]].tolist() == [2, 1]


def test_what_is_handled_is_what_is_needed_at_the_grant() -> None:
    """A write that came for a tracked page finds it read-only, tracked no more: it handles write protection."""
    tracked: Flags = frozenset({"present", "tracked"})
    programs = [Program(0, 1, 1, False, 0, 0), write(0, 10)]
    engine = ended(programs, costs(), tracked)
    assert log_of(engine) == [(150, 0, 0, TRACK), (200, 1, 0, WP)]


def test_a_lockless_fault_reads_the_state_when_it_sets_it() -> None:
    engine = ended([write(0), write(0, 10)], costs("none"))
    assert log_of(engine) == [(150, 0, 0, WP), (160, 1, 0, SPURIOUS)]
    assert engine.vcpus.ns.tolist() == [180, 190]
    assert engine.counts.sums[[WAIT_NS, HOLD_NS]].tolist() == [0, 0]


def test_a_lockless_fault_that_came_for_something_else_faults_again() -> None:
    tracked: Flags = frozenset({"present", "tracked"})
    engine = ended([Program(0, 1, 1, False, 0, 0), write(0, 10)], costs("none"), tracked)
    assert log_of(engine) == [(150, 0, 0, TRACK), (160, 1, 0, SPURIOUS), (190 + 150, 1, 0, WP)]
    assert engine.vcpus.ns.tolist() == [180, 370]


def test_the_page_is_protected_until_the_end_of_the_hold() -> None:
    """A write at 149 still exits, one at 150 comes after the release of its instant if its vCPU is the higher."""
    before, after = ended([write(0), write(0, 149)], costs()), ended([write(0), write(0, 150)], costs())
    assert before.counts.exits[[WP, SPURIOUS]].tolist() == [1, 1]
    assert after.counts.exits[[WP, SPURIOUS]].tolist() == [1, 0]
    higher_releases = ended([write(0, 150), write(0)], costs())
    assert higher_releases.counts.exits[[WP, SPURIOUS]].tolist() == [1, 1]


def test_holds_grow_with_requests_and_holders_beside_one() -> None:
    """At the grants 0, 2 and 1 others wait; the table's last entry repeats."""
    engine = ended([write(page) for page in range(3)], costs("exclusive", 0, 7))
    assert [ns for ns, *_ in log_of(engine)] == [150, 150 + 57, 207 + 50]
    readers = ended([write(page) for page in range(4)], costs("shared", 0, 1, 4))
    assert [ns for ns, *_ in log_of(readers)] == [150, 151, 154, 154]


@pytest.mark.parametrize("n_vcpus", [1, 2, 3, 4, 8])
def test_an_exclusive_lock_that_never_idles_is_the_whole_run(n_vcpus: int) -> None:
    """Closed form of n vCPUs with k faults each: k (Z + S) while the lock idles at times, else one hold after another."""
    k, outside_ns, hold_ns = 40, 130, 50
    engine = ended([write(100 * v, n=k) for v in range(n_vcpus)], costs())
    last_ns = int(engine.vcpus.ns.max())
    if n_vcpus * hold_ns >= outside_ns + hold_ns:
        assert last_ns == 100 + n_vcpus * k * hold_ns + 30
    else:
        assert last_ns == k * (outside_ns + hold_ns) + (n_vcpus - 1) * hold_ns
    assert engine.counts.sums[HOLD_NS] == n_vcpus * k * hold_ns


def test_a_full_pml_buffer_is_an_exit() -> None:
    engine = ended([write(0, n=3, pml=510)], costs(), D_CLEAR, pml=True)
    assert engine.vcpus.ns.tolist() == [5 + (5 + 100 + 512 + 30) + 5]
    assert engine.counts.exits[PML_FULL] == engine.counts.exits.sum() == 1
    assert engine.vcpus.pml.tolist() == [1]


def test_another_exit_drains_the_buffer_at_a_share_of_the_cost() -> None:
    spte = {page: READ_ONLY if page == 2 else D_CLEAR for page in range(3)}
    engine = ended([write(0, n=3, pml=100)], costs(), pml=True, spte=spte)
    assert engine.vcpus.ns.tolist() == [5 + 5 + (102 + 100 + 50 + 30)]
    assert engine.vcpus.pml.tolist() == [0]


def test_pml_logs_nothing_in_a_slot_that_is_not_logged() -> None:
    engine = ended([write(0, n=3)], costs(), D_CLEAR, pml=True, logged=False)
    assert engine.vcpus.ns.tolist() == [0]
    assert not engine.sptes.dirty.any()


def test_a_tracked_large_mapping_of_a_logged_slot_faults_twice() -> None:
    large = {0: frozenset({"present", "tracked"})}
    engine = ended([write(3)], costs(), spte={}, large=large)
    assert log_of(engine) == [(150, 0, 3, TRACK), (180 + 100 + 90, 0, 3, SPLIT)]


@pytest.mark.parametrize("horizon_ns", [0, 1000, 1099, 1100, 1149, 1150, 1179])
def test_a_run_stops_below_its_horizon(horizon_ns: int) -> None:
    """The fault of 1000: asked at 1100, set at 1150, back at 1180."""
    engine = guest([write(0, 1000)], costs())
    steps = [1000, 1100, 1150, 1180]
    assert engine.run(horizon_ns) == next(ns for ns in steps if ns >= horizon_ns)
    assert len(log_of(engine)) == (horizon_ns > 1150)


def test_the_lock_of_a_stopped_run_is_as_it_was_left() -> None:
    engine = guest([write(0), write(1, 10), write(2, 60)], costs())
    assert engine.run(120) == 150
    assert engine.lock.state[[READERS, WRITERS, LENGTH]].tolist() == [0, 1, 1]
    assert engine.vcpus.stage.tolist()[1:] == [WAITING, REQUEST]


def test_a_finished_guest_has_nothing_to_do() -> None:
    engine = ended([write(0)], costs())
    before = engine.ended()
    assert engine.run() == -1
    assert engine.ended() == before


def test_what_has_not_begun_waits_for_its_start() -> None:
    engine = guest([write(0, 5), write(1, 500)], costs())
    assert engine.run(400) == 500
    assert engine.vcpus.stage.tolist() == [FINISHED, TOUCH]
