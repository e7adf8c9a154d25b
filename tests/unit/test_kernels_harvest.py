from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hostsim.core.rng import NEVER
from hostsim.guest.armed import Armed, make_armed
from hostsim.guest.paced import arm_paced
from hostsim.guest.touch import TouchTable, next_touch
from hostsim.guest.workload import Workload, build_guest
from hostsim.qemu.harvest import Pages, arm, first_false_zero, first_lost, first_misarmed, first_stale, harvest, mark_written

N_PAGES = 40
SECOND = 10**9


def armed_sweep(rate: int = 10) -> tuple[TouchTable, Armed]:
    guest = build_guest([Workload("load", "sequential", (0,), 0, N_PAGES, Fraction(rate))], 1)
    armed = make_armed(guest.pending_size, guest.paced_size, 1)
    arm(guest.table, 0, 0, N_PAGES, 0, armed, np.zeros(N_PAGES, np.uint8))
    return guest.table, armed


def clean_pages() -> Pages:
    return Pages(*(np.zeros(N_PAGES, t) for t in (np.uint8, np.uint8, np.uint16, np.uint8)))


def run_harvest(chunk: int, now_ns: int) -> tuple[Pages, np.ndarray, np.ndarray]:
    table, armed = armed_sweep()
    pages, counts, log = clean_pages(), np.zeros(3, np.int64), np.empty((N_PAGES, 3), np.int64)
    for low in range(0, N_PAGES, chunk):
        harvest(table, 0, low, min(low + chunk, N_PAGES), now_ns, armed, pages, log, counts)
    return pages, counts, armed.pending


@pytest.mark.parametrize("now_ns", [0, 1, SECOND, SECOND + 1, 3 * SECOND, 9 * SECOND])
def test_a_harvest_finds_the_writes_before_it(now_ns: int) -> None:
    """Ten writes a second, the first at 0; one at the very instant waits for the next harvest."""
    pages, counts, pending = run_harvest(N_PAGES, now_ns)
    writes = min(N_PAGES, -(-now_ns * 10 // SECOND))
    assert counts.tolist() == [writes, writes, writes]
    assert np.flatnonzero(pages.bmap).tolist() == list(range(writes))
    assert pending.min() >= now_ns


@pytest.mark.parametrize("chunk", [1, 7, N_PAGES])
def test_chunks_change_nothing(chunk: int) -> None:
    for one, other in zip(run_harvest(chunk, 2 * SECOND), run_harvest(N_PAGES, 2 * SECOND), strict=True):
        assert np.array_equal(np.asarray(one[0]), np.asarray(other[0]))
        assert np.array_equal(np.asarray(one[-1]), np.asarray(other[-1]))


def test_a_harvested_page_waits_for_its_next_write() -> None:
    table, _ = armed_sweep()
    _, _, pending = run_harvest(N_PAGES, 2 * SECOND)
    assert pending.tolist() == [next_touch(table, 0, page, 2 * SECOND) for page in range(N_PAGES)]


def test_pages_that_wait_already_are_not_newly_dirty() -> None:
    table, armed = armed_sweep()
    pages, counts = clean_pages(), np.zeros(3, np.int64)
    pages.bmap[:15] = 1
    harvest(table, 0, 0, N_PAGES, 2 * SECOND, armed, pages, np.empty((0, 3), np.int64), counts)
    assert counts.tolist() == [20, 5, 0]
    assert pages.bmap.sum() == 20


def test_a_page_found_by_two_classes_counts_once() -> None:
    pages, counts, _ = run_harvest(N_PAGES, 2 * SECOND)
    table, armed = armed_sweep()
    harvest(table, 0, 0, N_PAGES, 3 * SECOND, armed, pages, np.empty((0, 3), np.int64), counts)
    assert counts[:2].tolist() == [30, 30]
    assert pages.version.sum() == 30


def test_zero_pages_written_before_arming_are_no_longer_zero() -> None:
    guest = build_guest([Workload("load", "sequential", (0,), 0, N_PAGES, Fraction(10))], 1)
    zero = np.ones(N_PAGES, np.uint8)
    armed = make_armed(guest.pending_size, guest.paced_size, 1)
    arm(guest.table, 0, 0, N_PAGES, SECOND, armed, zero)
    assert np.flatnonzero(zero == 0).tolist() == list(range(10))


@pytest.mark.parametrize("pattern", ["sequential", "uniform"])
def test_what_was_written_is_marked_before_it_is_harvested(pattern: str) -> None:
    guest = build_guest([Workload("load", pattern, (0,), 0, N_PAGES, Fraction(10))], 1)
    armed, due, bmap = make_armed(guest.pending_size, guest.paced_size, 1), *(np.zeros(N_PAGES, np.uint8) for _ in "ab")
    if pattern == "sequential":
        arm(guest.table, 0, 0, N_PAGES, 0, armed, np.zeros(N_PAGES, np.uint8))
    else:
        arm_paced(guest.table, 0, armed, 0)
    mark_written(guest.table, 0, SECOND, armed, due)
    assert 5 <= due.sum() <= 10
    assert first_lost(due, bmap) == due.argmax()
    assert first_lost(due, due) == -1


def test_a_page_that_does_not_await_its_next_touch_is_found() -> None:
    table, armed = armed_sweep()
    assert first_misarmed(table, 0, 0, 1, 0, armed.pending) == -1
    armed.pending[6] = NEVER
    assert first_misarmed(table, 0, 0, 3, 0, armed.pending) == 6
    assert first_misarmed(table, 0, 1, 3, 0, armed.pending) == -1


def test_a_written_page_that_passes_for_zero_is_found() -> None:
    version, zero = np.array([0, 1, 1], np.uint16), np.array([1, 0, 1], np.uint8)
    assert first_false_zero(version, zero) == 2
    assert first_false_zero(version[:2], zero[:2]) == -1


def test_a_stale_copy_that_waits_for_nothing_is_found() -> None:
    version, copied, bmap = np.array([1, 2, 3], np.uint16), np.array([1, 1, 1], np.uint16), np.array([0, 1, 0], np.uint8)
    assert first_stale(version, copied, bmap) == 2
    assert first_stale(version, version, bmap) == -1
