"""Notifier events on SimPy's clock, and the daemon that sends them: locks, flushes and times by era."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hostsim.core.constants import NS_PER_S
from hostsim.costs.costs import load_costs
from hostsim.costs.exits import EXCLUSIVE, NONE
from hostsim.guest.workload import Workload
from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG, RANGE_START, TEST_YOUNG, MmuNotifier
from hostsim.kvm.notifier_plan import notifier_of, notifier_plan
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.ageing_daemon import AgeingDaemon
from hostsim.memory.policies.idle import IdlePages
from tests.helpers.live import MS, at, live_machine, timed, vm_of

pytestmark = pytest.mark.quick
N_PAGES = 1024
AGE_NS = round(N_PAGES * load_costs("cascade-lake").age_page_ns)


def machine(era: str = "E4", duration_ns: int = 20 * MS, **mmu: Any) -> tuple[Any, MmuNotifier]:
    spec = MmuSpec(era=era, **mmu)
    reads = Workload("reader", "sequential", (0,), 0, N_PAGES // 2, read_rate_per_s=Fraction(N_PAGES * NS_PER_S, 2 * MS))
    one = live_machine(reads, n_pages=N_PAGES, mmu=spec, duration_ns=duration_ns)
    return one, notifier_of(vm_of(one), spec)


def asked(era: str, event: str, **mmu: Any) -> tuple[MmuNotifier, Any, int]:
    """One call about all memory at 1 ms: the notifier, its VM and when it was over."""
    one, notifier = machine(era, **mmu)
    young = np.zeros(N_PAGES, np.uint8)
    over = timed(one, MS, lambda: getattr(notifier, event)(0, N_PAGES, young))
    one.run()
    assert over[0][1] == notifier.young == N_PAGES
    return notifier, vm_of(one), over[0][0] - MS


@pytest.mark.parametrize(("era", "mode", "flush"), [("E0", EXCLUSIVE, True), ("E5", EXCLUSIVE, False), ("E6", NONE, False)])
def test_plans_are_those_of_the_era(era: str, mode: int, flush: bool) -> None:
    plan = notifier_plan(MmuSpec(era=era))
    assert (plan.lock_mode, plan.flush) == (mode, flush)


def test_clear_flush_young_flushes_under_the_lock() -> None:
    notifier, vm, took_ns = asked("E4", CLEAR_FLUSH_YOUNG)
    assert vm.flush.count == 1
    assert took_ns == AGE_NS + vm.flush.ns == vm.lock.hold_ns == notifier.latencies[CLEAR_FLUSH_YOUNG].total_ns


def test_clear_young_and_later_kernels_do_not_flush() -> None:
    for era, event in (("E4", CLEAR_YOUNG), ("E5", CLEAR_FLUSH_YOUNG)):
        _, vm, took_ns = asked(era, event)
        assert (vm.flush.count, took_ns, vm.lock.hold_ns) == (0, AGE_NS, AGE_NS)


def test_lockless_ageing_takes_no_lock() -> None:
    _, vm, took_ns = asked("E6", CLEAR_FLUSH_YOUNG)
    assert (took_ns, vm.lock.hold_ns, vm.lock.wait_ns) == (AGE_NS, 0, 0)


def test_test_young_leaves_pages_young() -> None:
    one, notifier = machine()
    young = np.zeros(N_PAGES, np.uint8)
    over = timed(one, MS, *[lambda: notifier.test_young(0, N_PAGES, young)] * 2)
    one.run()
    assert [found for _, found in over] == [N_PAGES] * 2
    assert (notifier.latencies[TEST_YOUNG].count, notifier.pages[TEST_YOUNG]) == (2, 2 * N_PAGES)


def test_where_nothing_is_young_nothing_is_flushed() -> None:
    one, notifier = machine()
    young = np.zeros(N_PAGES, np.uint8)
    call = lambda: notifier.clear_flush_young(N_PAGES // 2, N_PAGES, young)  # noqa: E731
    over = timed(one, MS, call, call)
    one.run()
    assert [found for _, found in over] == [N_PAGES // 2, 0]
    assert vm_of(one).flush.count == 1


def test_an_invalidated_range_is_mapped_again_by_faults() -> None:
    one, notifier = machine()
    vm = vm_of(one)
    timed(one, MS, lambda: notifier.invalidate_range_start(0, N_PAGES), lambda: notifier.invalidate_range_end(0, N_PAGES))
    before: list[bool] = []
    at(one, 2 * MS, lambda: before.append(vm.engine.mmu.maps_any(N_PAGES // 2, N_PAGES)))
    one.run()
    assert before == [False]
    assert vm.tally().map_faults == N_PAGES // 2
    assert (notifier.latencies[RANGE_START].count, vm.flush.count) == (1, 1)


@pytest.mark.parametrize("era", ["E0", "E4"])
def test_without_a_bits_ageing_costs_the_guest_faults(era: str) -> None:
    one, notifier = machine(era, a_bits=False)
    daemon = AgeingDaemon(vm_of(one), notifier, 5 * MS, call_pages=N_PAGES)
    one.run()
    tally = vm_of(one).tally()
    found = tally.map_faults if era == "E0" else tally.track_faults
    assert found == tally.faults == len(daemon.passes) * N_PAGES // 2


def test_a_daemon_counts_its_passes() -> None:
    """Without a flush all that is read stays in the TLB, so it is seen once: when it was just mapped."""
    one, notifier = machine()
    daemon = AgeingDaemon(vm_of(one), notifier, 5 * MS, call_pages=256)
    one.run()
    assert [done.start_ns for done in daemon.passes] == [5 * MS, 10 * MS, 15 * MS]
    assert [done.young for done in daemon.passes] == [N_PAGES, 0, 0]
    assert [done.false_old for done in daemon.passes] == [0.0, N_PAGES // 2, N_PAGES // 2]
    assert {(done.calls, done.asked) for done in daemon.passes} == {(4, N_PAGES)}
    assert daemon.passes[0].took_ns == pytest.approx(AGE_NS, abs=5 * 400)
    assert daemon.young_counts.tolist() == [1] * N_PAGES


def test_a_policy_is_asked_for_the_pages_it_wants() -> None:
    """Idle-page tracking asks for every page by itself, and a page that the guest does not read is cold two scans later."""
    one, notifier = machine(duration_ns=19 * MS)
    policy = IdlePages(N_PAGES, 2)
    daemon = AgeingDaemon(vm_of(one), notifier, 5 * MS, policy, flushes=True)
    one.run()
    assert [(done.calls, done.young) for done in daemon.passes][1:] == [(N_PAGES, N_PAGES // 2)] * 2
    assert (policy.idle_scans() >= 2).tolist() == [False] * (N_PAGES // 2) + [True] * (N_PAGES // 2)
    assert notifier.latencies[CLEAR_FLUSH_YOUNG].count == sum(done.calls for done in daemon.passes)


def test_a_pass_that_outlasts_its_period_delays_the_next() -> None:
    one, notifier = machine(duration_ns=MS)
    daemon = AgeingDaemon(vm_of(one), notifier, AGE_NS // 2, call_pages=64)
    one.run()
    starts = [done.start_ns for done in daemon.passes]
    ends = [done.start_ns + done.took_ns for done in daemon.passes]
    assert starts[1:] == ends[:-1]


def all_at_once(*, by_events: bool) -> tuple[list[Any], MmuNotifier, Any]:
    """Six threads ask for all of memory, page by page, from instants of their own on."""
    one, notifier = machine(duration_ns=4 * MS)
    notifier.by_events = by_events
    masks = [np.zeros(N_PAGES, np.uint8) for _ in range(6)]
    pages = np.arange(N_PAGES)
    over = [
        timed(one, 100 + 7 * i, lambda mask=mask: notifier.each(CLEAR_FLUSH_YOUNG, pages, 1, mask))
        for i, mask in enumerate(masks)
    ]
    one.run()
    return [*over, *(mask.tolist() for mask in masks)], notifier, vm_of(one)


def test_where_many_walk_at_once_some_of_them_are_processes() -> None:
    (told, notifier, vm), (expected, plain, plain_vm) = (all_at_once(by_events=which) for which in (False, True))
    assert told == expected
    assert notifier.latencies[CLEAR_FLUSH_YOUNG].summary() == plain.latencies[CLEAR_FLUSH_YOUNG].summary()
    assert (notifier.pages, notifier.young) == (plain.pages, plain.young) == ({CLEAR_FLUSH_YOUNG: 6 * N_PAGES}, N_PAGES)
    assert vm.tally() == plain_vm.tally()
    assert vm.lock.waits.summary() == plain_vm.lock.waits.summary()


def test_what_a_walker_has_done_shows_while_it_walks() -> None:
    """A run that ends in the middle of a walk, and a look at it from outside, see what processes would have done."""
    facts = [seen_meanwhile(by_events=by_events) for by_events in (False, True)]
    assert facts[0] == facts[1]
    assert 0 < facts[0][0][1] < facts[0][1][1] < N_PAGES


def seen_meanwhile(*, by_events: bool) -> list[Any]:
    """20 and 50 us after a walk has begun."""
    one, notifier = machine(duration_ns=MS + 50_000)
    notifier.by_events = by_events
    timed(one, MS, lambda: notifier.each(CLEAR_FLUSH_YOUNG, np.arange(N_PAGES), 1, np.zeros(N_PAGES, np.uint8)))
    seen: list[Any] = []

    def look() -> None:
        latencies = notifier.latencies[CLEAR_FLUSH_YOUNG].summary()
        seen.append((vm_of(one).tally(), notifier.young, notifier.pages.total(), latencies))

    at(one, MS + 20_000, look)
    one.run()
    look()
    return seen


@pytest.mark.parametrize("by_events", [True, False])
def test_a_page_that_is_asked_for_again_stays_young_and_is_one_page(*, by_events: bool) -> None:
    """The second call of a series finds the page old, for the first one has made it so."""
    one, notifier = machine(duration_ns=2 * MS)
    notifier.by_events = by_events
    young = np.zeros(N_PAGES, np.uint8)
    asked = np.concatenate([np.arange(N_PAGES), np.arange(N_PAGES // 2)])
    timed(one, MS, lambda: notifier.each(CLEAR_YOUNG, asked, 1, young))
    one.run()
    assert notifier.pages[CLEAR_YOUNG] == len(asked)
    assert young.sum() == N_PAGES


def test_no_calls_take_no_time() -> None:
    one, notifier = machine()
    over = timed(one, MS, lambda: notifier.each(CLEAR_YOUNG, np.arange(0), 1, np.zeros(N_PAGES, np.uint8)))
    one.run()
    assert over == [(MS, 0)]


def test_who_gives_way_gives_way_to_a_walker() -> None:
    """A hold in units of 1 us, on a VM whose vCPUs want nothing: the walker asks in the middle of the 51st."""
    one, notifier = machine(duration_ns=MS)
    held = timed(one, 100, lambda: vm_of(one).lock.hold(EXCLUSIVE, 100_000, 1_000))
    over = timed(one, 50_500, lambda: notifier.each(TEST_YOUNG, np.arange(1), 1, np.zeros(N_PAGES, np.uint8)))
    one.run()
    age_ns = notifier.plan.age_ns(1)
    assert [over[0][0], held[0][0]] == [51_100 + age_ns, 100_100 + age_ns]
