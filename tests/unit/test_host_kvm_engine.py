"""Guests under KVM worked by hand: exit 100, hold 50 (map 70, split 90), entry 30, spurious 10."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hostsim.core.memory import lay_out, make_memory
from hostsim.core.rng import NEVER
from hostsim.costs.exits import EXCLUSIVE, MAP, N_KINDS, NONE, PML_FULL, SHARED, SPLIT, SPURIOUS, TRACK, WP, ExitCosts
from hostsim.guest.workload import TouchTrace, Workload, build_guest
from hostsim.kvm.engine import OUT, GuestEngine
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.spec import MmuSpec
from hostsim.spte_index.spte import DIRTY, IN_LOG, PRESENT, TRACKED, WRITABLE, make_sptes
from tests.helpers.kvm_guest import HandGuest, exit_costs, load

Touch = tuple[int, int, bool]
"""When, which page, whether it is written."""
MODES = (NONE, SHARED, EXCLUSIVE)
PML = MmuConfig(MmuSpec(write_tracking="pml"))


def costs(mode: int = EXCLUSIVE, *queue_ns: int, **modes: int) -> ExitCosts:
    kinds = np.full(N_KINDS, mode, np.int64)
    kinds[MAP] = modes.get("map", mode)
    holds = np.full(N_KINDS, 50, np.int64)
    holds[[MAP, SPLIT]] = 70, 90
    return ExitCosts(100, 30, 10, 5, 512, kinds, holds, np.array([queue_ns or (0,)] * 3, np.int64))


def write(page: int, at_ns: int = 0, n: int = 1, gap_ns: int = 1) -> list[Touch]:
    return [(at_ns + i * gap_ns, page + i, True) for i in range(n)]


def read(page: int, at_ns: int = 0) -> list[Touch]:
    return [(at_ns, page, False)]


def guest(
    vcpus: Sequence[list[Touch]], cost: ExitCosts, flags: int = PRESENT, *, unmapped: Sequence[int] = (), **settings: object
) -> GuestEngine:
    """Two regions of sptes with ``flags``, logged; large: those of region 0, as one."""
    columns = [(t, v, page, is_write) for v, touches in enumerate(vcpus) for t, page, is_write in touches]
    ns, whose, pages, writes = map(np.array, zip(*sorted(columns), strict=True))
    trace = TouchTrace(ns.astype(np.int64), whose.astype(np.int32), pages.astype(np.int64), writes.astype(np.bool_))
    work = build_guest([Workload("w", "trace", tuple(range(len(vcpus))), 0, 1024, trace=trace)], 1)
    memory = make_memory(lay_out([("pc.ram", 1024, [(0, 1024)])]))
    config = settings.get("config", MmuConfig())
    engine = GuestEngine(work, memory, len(vcpus), config, cost, log_capacity=3000)  # type: ignore[arg-type]
    if settings.get("logged", True):
        engine.log.start(all_set=False, eager=False, now_ns=0)
    sptes = make_sptes(1024)
    sptes.spte[:] = flags
    sptes.spte[list(unmapped)] = 0
    if "large" in settings:
        sptes.level[0], sptes.large[0], sptes.spte[:512] = 1, settings["large"], 0
    engine.set_sptes(sptes, 0)
    return engine


def log_of(engine: GuestEngine) -> list[tuple[int, ...]]:
    engine.advance(NEVER)
    assert engine.next_ns == NEVER
    log = engine.kvm.log[: engine.kvm.state.logged_exits]
    return [tuple(row) for row in log[["ns", "vcpu", "page", "kind"]].tolist()]


@pytest.mark.parametrize("mode", MODES)
def test_one_fault_is_exit_hold_entry(mode: int) -> None:
    engine = guest([write(3, 1000)], costs(mode))
    assert log_of(engine) == [(1150, 0, 3, WP)]
    assert engine.sums.tolist() == [0, 0 if mode == NONE else 50]
    assert engine.stall_ns == 180


def test_writers_queue_first_come_first_served() -> None:
    """Requests at 100 (vCPU 1), 101 (vCPU 2), 102 (vCPU 0); each held for 50."""
    engine = guest([write(0, 2), write(1, 0), write(2, 1)], costs())
    assert [(ns, v) for ns, v, _, _ in log_of(engine)] == [(150, 1), (200, 2), (250, 0)]
    assert engine.sums.tolist() == [49 + 98, 150]
    assert engine.stall_ns == 180 + 229 + 278


def test_a_tie_goes_to_the_lower_vcpu() -> None:
    log = log_of(guest([write(2), write(1), write(0)], costs()))
    assert [(v, page) for _, v, page, _ in log] == [(0, 2), (1, 1), (2, 0)]


def test_readers_hold_together() -> None:
    engine = guest([write(page) for page in range(4)], costs(SHARED))
    assert [(ns, v) for ns, v, *_ in log_of(engine)] == [(150, v) for v in range(4)]


def test_a_queued_writer_blocks_later_readers_and_then_they_enter_together() -> None:
    """Reader 0 holds 100..150; writer 1 asks at 110, holds 150..220; readers 2 and 3 ask at 120 and 130, hold 220..270."""
    engine = guest([write(0), write(9, 10), write(1, 20), write(2, 30)], costs(SHARED, map=EXCLUSIVE), unmapped=[9])
    assert log_of(engine) == [(150, 0, 0, WP), (220, 1, 9, MAP), (270, 2, 1, WP), (270, 3, 2, WP)]
    assert engine.sums.tolist() == [40 + 100 + 90, 50 + 70 + 50 + 50]


def test_a_granted_lock_finds_the_page_writable() -> None:
    """vCPU 1 waits for the very page that vCPU 0 makes writable: spurious, and held only briefly."""
    engine = guest([write(0), write(0, 10), write(1, 20)], costs())
    assert log_of(engine) == [(150, 0, 0, WP), (160, 1, 0, SPURIOUS), (210, 2, 1, WP)]


def test_what_is_handled_is_what_is_needed_at_the_grant() -> None:
    """A write that came for a tracked page finds it read-only, tracked no more: it handles write protection."""
    engine = guest([read(0), write(0, 10)], costs(), PRESENT | TRACKED)
    assert log_of(engine) == [(150, 0, 0, TRACK), (200, 1, 0, WP)]


def test_a_lockless_fault_that_came_for_something_else_faults_again() -> None:
    engine = guest([read(0), write(0, 10)], costs(NONE), PRESENT | TRACKED)
    assert log_of(engine) == [(150, 0, 0, TRACK), (160, 1, 0, SPURIOUS), (190 + 150, 1, 0, WP)]


def test_the_page_is_protected_until_the_end_of_the_hold() -> None:
    """A write at 149 still exits, one at 150 comes after the release of its instant if its vCPU is the higher."""
    assert [kind for *_, kind in log_of(guest([write(0), write(0, 149)], costs()))] == [WP, SPURIOUS]
    assert [kind for *_, kind in log_of(guest([write(0), write(0, 150)], costs()))] == [WP]
    assert [kind for *_, kind in log_of(guest([write(0, 150), write(0)], costs()))] == [WP, SPURIOUS]


def test_holds_grow_with_requests_and_holders_beside_one() -> None:
    """At the grants 0, 2 and 1 others are there; the table's last entry repeats. The third takes the lock over."""
    queued = log_of(guest([write(page) for page in range(3)], costs(EXCLUSIVE, 0, 7)))
    assert [ns for ns, *_ in queued] == [150, 150 + 57, 207 + 57]
    readers = log_of(guest([write(page) for page in range(4)], costs(SHARED, 0, 1, 4)))
    assert [ns for ns, *_ in readers] == [150, 151, 154, 154]


def test_a_full_pml_buffer_is_an_exit() -> None:
    engine = guest([write(0, n=513, gap_ns=1)], costs(), PRESENT | WRITABLE, config=PML)
    assert log_of(engine) == []
    assert engine.exits[PML_FULL] == engine.exits.sum() == 1
    assert engine.stall_ns == 513 * 5 + 100 + 512 + 30
    assert np.flatnonzero(engine.kvm.sptes.spte & IN_LOG).tolist() == list(range(512))


def test_another_exit_drains_the_buffer_at_a_share_of_the_cost() -> None:
    """100 pages logged at 5 each, then one that is not mapped: 100 of 512 entries are drained for 100."""
    engine = guest([write(0, n=101)], costs(), PRESENT | WRITABLE, unmapped=[100], config=PML)
    assert log_of(engine) == [(100 + 500 + 100 + 100 + 70, 0, 100, MAP)]
    assert np.flatnonzero(engine.kvm.sptes.spte & IN_LOG).tolist() == list(range(101))


def test_a_tracked_large_mapping_of_a_logged_slot_faults_twice() -> None:
    engine = guest([write(3)], costs(), large=PRESENT | TRACKED, config=MmuConfig(huge=True))
    assert log_of(engine) == [(150, 0, 3, TRACK), (180 + 100 + 90, 0, 3, SPLIT)]


def test_without_a_log_a_large_mapping_becomes_writable() -> None:
    engine = guest([write(3)], costs(), large=PRESENT, config=MmuConfig(huge=True), logged=False)
    assert log_of(engine) == [(190, 0, 3, SPLIT)]
    assert engine.kvm.sptes.large[0] == PRESENT | WRITABLE | DIRTY


@pytest.mark.parametrize("eager", [False, True])
def test_reads_after_a_split_on_fault_inflate_the_dirty_set(eager: bool) -> None:
    """One page of a large mapping is written, then another vCPU reads all of the region."""
    reads = [(100_000 + i * 10, i, False) for i in range(512)]
    settings = {} if eager else {"large": PRESENT}
    engine = guest([write(7), reads], costs(), config=MmuConfig(huge=True), **settings)
    log = log_of(engine)
    dirty = np.flatnonzero(engine.kvm.sptes.spte & IN_LOG).tolist()
    assert dirty == ([7] if eager else list(range(512)))
    assert [kind for *_, kind in log] == ([WP] if eager else [SPLIT] + [MAP] * 511)


@pytest.mark.parametrize("n_writes", [1, 300, 511, 512, 513, 1000])
def test_a_pml_buffer_not_yet_drained_loses_nothing_that_is_kicked_out_before_the_harvest(n_writes: int) -> None:
    engine = guest([write(0, n=n_writes)], costs(), PRESENT | WRITABLE, config=PML)
    log_of(engine)
    got, due = np.zeros(1024, np.uint8), np.zeros(1024, np.uint8)
    assert engine.log.mark_due(got, 0, 1024) == n_writes // 512 * 512
    in_buffer = n_writes % 512 > 0
    assert engine.log.first_unharvested(got) == (n_writes // 512 * 512 if in_buffer else -1)
    assert engine.interrupt(1_000_000) == 1
    assert engine.log.mark_due(due, 0, 1024) == n_writes
    assert engine.log.first_unharvested(due) == -1


# A vCPU that leaves by itself


def out_ns(engine: GuestEngine, vcpu: int = 0) -> int:
    due = engine.advance(NEVER)
    assert due is not None
    assert (due.what, due.who) == (OUT, vcpu)
    assert engine.is_out(vcpu)
    assert not engine.ring_full(vcpu)
    return due.ns


def test_a_vcpu_leaves_when_its_work_is_done() -> None:
    """Faults at 0 and 1 of its work, 180 each; then 499 more of work, and the exit."""
    engine = guest([write(0, n=2)], costs())
    engine.stop_at(0, 500, 0)
    assert out_ns(engine) == 2 * 180 + 500 + 100


def test_the_touches_of_that_instant_are_made() -> None:
    engine = guest([write(0, n=3, gap_ns=100)], costs())
    engine.stop_at(0, 200, 0)
    assert out_ns(engine) == 3 * 180 + 200 + 100
    assert engine.exits[WP] == 3


def test_a_kick_on_the_way_comes_first_and_the_stop_later() -> None:
    engine = guest([[(10_000, 0, True)]], costs())
    engine.stop_at(0, 500, 0)
    engine.kick(0, 300)
    assert out_ns(engine) == 400
    engine.enter(0, 1000)
    assert out_ns(engine) == 1030 + 200 + 100
    engine.enter(0, 2000)
    engine.advance(50_000)
    assert engine.exits[WP] == 1


def test_what_was_touched_as_it_stopped_is_not_touched_again() -> None:
    """The page of the last touch is protected while the vCPU is out; the sweep goes on behind it."""
    vm = HandGuest([load("sequential", 512, 10**7)], 512, 1, costs=exit_costs(ns=50))
    vm.engine.stop_at(0, 300, 0)
    assert vm.engine.advance(NEVER).ns == 300 + 50 + 4 * 150
    assert vm.harvest(2000).tolist() == [0, 1, 2, 3]
    vm.engine.enter(0, 2000)
    vm.run(2050 + 100 + 200)
    assert vm.harvest(2400).tolist() == [4]


@pytest.mark.parametrize(
    ("gap_us", "later_ns"), [(1, 2), (100, 200), (200, 400), (500, 1000), (1000, 2000), (4000, 2000)]
)
def test_a_fault_costs_more_the_longer_the_guest_ran_before_it(gap_us: int, later_ns: int) -> None:
    """400 ns more after 0.2 ms, 2000 ns after 1 ms, straight between; a guest that was interrupted ran anew."""
    costs = exit_costs(ns=50)._replace(lone_ns=np.array([400, 2000]))
    vm = HandGuest([load("sequential", 512, 10**6 // gap_us)], 512, 1, costs=costs, log_capacity=3)
    vm.run(10**10)
    first, second, third = vm.engine.kvm.log["ns"].tolist()
    assert first == 50 + 50  # the first touch is at 0
    assert second - first == third - second == gap_us * 1000 + 150 + later_ns


@pytest.mark.parametrize(("stride", "more_ns"), [(1, [0, 0]), (32, [0, 0]), (33, [70, 70]), (511, [70, 0])])
def test_a_fault_costs_more_far_from_the_one_before(stride: int, more_ns: list[int]) -> None:
    """So does a vCPU's first fault; a stride of 511 in 512 pages goes to the last page, then one back."""
    costs = exit_costs(ns=50)._replace(scattered_ns=70)
    vm = HandGuest([load("strided", 512, 10**6, stride_pages=stride)], 512, 1, costs=costs, log_capacity=3)
    vm.run(10**10)
    first, second, third = vm.engine.kvm.log["ns"].tolist()
    assert first == 50 + 50 + 70
    assert [second - first - 1150, third - second - 1150] == more_ns


def test_a_silent_last_touch_is_not_made_again() -> None:
    """Pages are writable when they are swept, and protected while the vCPU is out."""
    sweep, sptes = load("sequential", 512, 10**7), make_sptes(512)
    vm = HandGuest([sweep], 512, 1, costs=exit_costs(ns=50))
    vm.engine.kick(0, 0)
    assert out_ns(vm.engine) == 50
    sptes.spte[:] = PRESENT | WRITABLE
    vm.engine.set_sptes(sptes, 100)
    vm.engine.begin_work(build_guest([sweep], 1))
    vm.engine.run_to(300, 100)
    assert out_ns(vm.engine) == 100 + 300 + 50
    sptes.spte[:] = PRESENT
    vm.engine.set_sptes(sptes, 500)
    vm.engine.enter(0, 500)
    vm.run(550 + 100 + 151)
    assert vm.harvest(801).tolist() == [4]


def test_new_work_begins_at_its_beginning() -> None:
    engine = guest([write(0, n=3, gap_ns=100)], costs())
    engine.stop_at(0, 200, 0)
    back_ns = out_ns(engine)
    trace = TouchTrace(np.array([0, 50]), np.zeros(2, np.int32), np.array([2, 5]), np.ones(2, np.bool_))
    engine.begin_work(build_guest([Workload("next", "trace", (0,), 0, 1024, trace=trace)], 1))
    engine.set_costs(costs()._replace(exit_ns=200), 7)
    engine.run_to(60, back_ns)
    assert out_ns(engine) == back_ns + 60 + 200 + 50 + 30 + 200
    assert engine.exits[WP] == 4
