"""Each dirty tracker of KVM on a guest whose writes are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hostsim.core.dirty_tracker import Harvest
from hostsim.core.errors import InvariantError
from hostsim.costs.costs import load_costs, log_costs
from hostsim.costs.era import ClearLock, load_era
from hostsim.costs.exits import WP
from hostsim.kvm.build import exits_of
from hostsim.kvm.plan import LogPlan
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.trackers.kvm_log import KvmLog
from hostsim.machine.machine import Machine
from hostsim.spte_index.cache_costs import CacheCosts
from tests.helpers.live import MS, TRACKING, at, live_machine, sweep, timed, vm_of

N_PAGES = 1024
STEP_NS = 100_000
"""Between two writes of the sweep, to page after page; its first is made at 0, each fault makes it about 1 us late."""
BEFORE_NEXT_NS = STEP_NS * 9 // 10


def machine(tracking: str, n_pages: int = N_PAGES, **more: Any) -> Machine:
    return live_machine(sweep(n_pages, 10**9 // STEP_NS), tracking=tracking, n_pages=n_pages, **more)


def tracker_of(one: Machine) -> KvmLog:
    assert isinstance(one.tracker, KvmLog)
    return one.tracker


def started(one: Machine) -> None:
    timed(one, 0, one.tracker.start_log)


def sync(one: Machine, t_ns: int, bmap: np.ndarray | None = None) -> list[tuple[int, Harvest]]:
    bits = np.zeros(one.vm.memory.n_pages, np.uint8) if bmap is None else bmap
    return timed(one, t_ns, lambda: one.tracker.sync(bits))


def pages(bits: np.ndarray) -> list[int]:
    return np.flatnonzero(bits).tolist()


def flush_ns(one: Machine, running: int) -> int:
    return round(vm_of(one).plan.costs.remote_flush_ns(running))


MECHANISMS = [
    (tracking, write_tracking)
    for tracking in TRACKING
    for write_tracking in ("write-protect", "pml", "d-bit")
    if tracking != "initially-all-set" and (write_tracking != "d-bit" or tracking == "get-dirty-log")
]


@pytest.mark.parametrize(("tracking", "write_tracking"), MECHANISMS)
def test_two_syncs_find_what_was_written_before_each(tracking: str, write_tracking: Any) -> None:
    one = machine(tracking, mmu=MmuSpec(write_tracking=write_tracking))
    first, second = np.zeros(N_PAGES, np.uint8), np.zeros(N_PAGES, np.uint8)
    started(one)
    found = sync(one, 20 * STEP_NS + BEFORE_NEXT_NS, first)
    if tracking == "clear-dirty-log":
        timed(one, 20 * STEP_NS + BEFORE_NEXT_NS + 1000, lambda: one.tracker.before_send(0))
    more = sync(one, 50 * STEP_NS + BEFORE_NEXT_NS, second)
    one.run()
    assert pages(first) == list(range(1, 21))  # the write at 0 comes while the log is being switched on
    assert pages(second) == list(range(21, 51))
    assert found[0][1] == Harvest(20, 20)
    assert more[0][1] == Harvest(30, 30)


@pytest.mark.parametrize("tracking", TRACKING)
def test_what_is_in_the_bitmap_is_not_new(tracking: str) -> None:
    one = machine(tracking)
    bmap = np.ones(N_PAGES, np.uint8)
    bmap[5:8] = 0
    started(one)
    found = sync(one, 10 * STEP_NS + BEFORE_NEXT_NS, bmap)
    one.run()
    assert found[0][1].newly_dirty_pages == 3
    assert bmap.all()


def test_a_get_takes_the_lock_the_flush_and_the_copy() -> None:
    one = machine("get-dirty-log")
    costs = vm_of(one).plan.costs
    started(one)
    found = sync(one, 5 * MS)
    one.run()
    n = found[0][1].dirtied_pages
    assert n == 49
    assert found[0][0] == 5 * MS + round(n * costs.clear_ns) + flush_ns(one, 1) + round(N_PAGES * costs.get_ns)
    tally = vm_of(one).tally()
    assert (tally.sync_ns, tally.flushes) == (found[0][0] - 5 * MS, 2)
    assert tally.flush_ns == 2 * flush_ns(one, 1)


def test_a_get_that_finds_nothing_does_not_flush() -> None:
    one = live_machine(sweep(N_PAGES, 1), tracking="get-dirty-log", duration_ns=10 * MS)
    started(one)
    timed(one, MS, *[lambda: one.tracker.sync(np.zeros(N_PAGES, np.uint8))] * 2)
    one.run()
    assert vm_of(one).tally().flushes == 1 + 0


def test_switching_on_takes_lock_and_flush() -> None:
    one = machine("get-dirty-log")
    plan = vm_of(one).plan
    ends = timed(one, 50, one.tracker.start_log)
    one.run()
    assert ends[0][0] == 50 + plan.start_hold_ns(0, N_PAGES) + flush_ns(one, 1)
    assert vm_of(one).tally().host_hold_ns == round(N_PAGES * plan.costs.protect_ns)


def test_a_log_that_begins_all_set_protects_nothing() -> None:
    one = machine("initially-all-set", duration_ns=10 * MS)
    ends = timed(one, 50, one.tracker.start_log)
    found = sync(one, MS)
    one.run()
    assert ends[0][0] == 50 + round(N_PAGES * vm_of(one).plan.costs.all_set_ns)
    assert found[0][1] == Harvest(0, N_PAGES)
    tally = vm_of(one).tally()
    assert (tally.wp_faults, tally.flushes, tally.host_hold_ns) == (0, 0, 0)


@pytest.mark.parametrize("tracking", ["clear-dirty-log", "initially-all-set"])
def test_a_chunk_is_cleared_before_it_is_sent(tracking: str) -> None:
    """Three chunks of 512 pages; the second is not cleared: its pages are written without a fault and found again."""
    one = _chunked(tracking)
    bmap = np.zeros(N_PAGES, np.uint8)
    ends = timed(
        one, 0, one.tracker.start_log, lambda: one.tracker.sync(bmap), lambda: one.tracker.before_send(3),
        lambda: one.tracker.before_send(511), lambda: one.tracker.before_send(600),
    )  # fmt: skip
    one.run()
    assert one.tracker.clear_marks.tolist() == [0, 0]
    assert vm_of(one).tally().clears == 2
    assert ends[3][0] == ends[2][0]
    assert ends[4][0] > ends[3][0]


@pytest.mark.parametrize("clear_lock", ["exclusive", "each-mask", "shared"])
def test_who_waits_for_a_clear_waits_by_how_it_takes_the_lock(clear_lock: ClearLock) -> None:
    """Faults of E2 take mmu_lock shared: they wait for the whole CLEAR, for one word of its bitmap, or not at all."""
    n = 4096
    one = machine("clear-dirty-log", n, mmu=MmuSpec(era="E2", clear_lock=clear_lock), duration_ns=500 * MS)
    plan = vm_of(one).plan
    bmap = np.zeros(n, np.uint8)
    started(one)
    sync(one, 410 * MS, bmap)
    held_before = []
    at(one, 411 * MS - 1, lambda: held_before.append(vm_of(one).tally().host_hold_ns))
    timed(one, 411 * MS, lambda: one.tracker.before_send(0))
    one.run()
    found, turns = int(bmap.sum()), int(bmap.reshape(-1, 64).any(axis=1).sum())
    assert turns > 60
    hold_ns = plan.clear_hold_ns(found, 0, turns if clear_lock == "each-mask" else 1)
    assert vm_of(one).tally().host_hold_ns - held_before[0] == hold_ns
    costs, longest_ns = vm_of(one).engine.kvm.costs, vm_of(one).engine.lock_waits().max_ns
    # A reader that meets the CLEAR goes through wait_lock; the CLEAR first waits for the lock word of a vCPU.
    met_ns = costs.wait_lock_ns + costs.word_ns
    least_ns, most_ns = {
        "exclusive": (hold_ns - 2 * STEP_NS, hold_ns + met_ns), "each-mask": (0, -(-hold_ns // turns) + met_ns),
        "shared": (0, 0),
    }[clear_lock]  # fmt: skip
    assert least_ns <= longest_ns <= most_ns


def _chunked(tracking: str, **more: Any) -> Machine:
    one = machine(tracking, **more)
    vm = vm_of(one)
    vm.plan = replace(vm.plan, chunk_shift=9)
    one.tracker = type(tracker_of(one))(vm)
    return one


def test_what_is_not_cleared_stays_in_the_log() -> None:
    one = _chunked("clear-dirty-log", duration_ns=150 * MS)
    first, second = np.zeros(N_PAGES, np.uint8), np.zeros(N_PAGES, np.uint8)
    started(one)
    sync(one, 100 * MS, first)
    timed(one, 101 * MS, lambda: one.tracker.before_send(0))
    found = sync(one, 102 * MS, second)
    one.run()
    n, m = pages(first)[-1] + 1, pages(second)[-1] + 1
    assert (pages(first), pages(second)) == (list(range(1, n)), list(range(512, m)))
    assert found[0][1].dirtied_pages == m - n
    assert m - n in (19, 20)


@pytest.mark.parametrize("eager", [True, False])
def test_huge_pages_are_split_before_or_at_the_first_write(eager: bool) -> None:
    one = machine("get-dirty-log", mmu=MmuSpec(page_size="2MiB", eager_split=eager), duration_ns=10 * MS)
    started(one)
    one.run()
    tally = vm_of(one).tally()
    assert (tally.split_faults, tally.wp_faults > 90) == ((0, True) if eager else (1, False))
    assert (tally.map_faults > 90) == (not eager)


def test_a_log_that_is_off_costs_nothing() -> None:
    one = machine("get-dirty-log", mmu=MmuSpec(era="E6", page_size="2MiB"), duration_ns=30 * MS)
    plan = vm_of(one).plan
    started(one)
    ends = timed(one, 10 * MS, one.tracker.stop_log)
    one.run()
    assert ends[0][0] == 10 * MS + plan.stop_hold_ns(2) + flush_ns(one, 1)
    assert 90 < vm_of(one).tally().faults <= 102


def test_a_ring_that_is_full_is_reaped_by_its_vcpu() -> None:
    """64 of 128 entries are free to use; each time they are full the vCPU comes out.

    The page that filled the ring is protected again before its write has been made: it faults twice.
    """
    one = machine("dirty-ring", mmu=MmuSpec(ring_entries=128), duration_ns=100 * MS)
    started(one)
    bmap = np.zeros(N_PAGES, np.uint8)
    sync(one, 90 * MS, bmap)
    one.run()
    tally = vm_of(one).tally()
    assert pages(bmap) == list(range(1, 890))
    assert tally.wp_faults == 988 + tally.ring_full
    assert tally.ring_full == 14 + 1  # 889 pages and 14 that faulted twice by the sync, 100 after it
    assert tally.reaps == tally.ring_full + 1
    assert tally.reap_ns > 0


def test_a_vcpu_that_was_kicked_out_with_a_full_ring_has_it_reaped_before_it_enters() -> None:
    """Its 64th page fills the ring while it is being throttled: KVM would not let it in again."""
    exits = exits_of(MmuSpec(), 1)
    fault_ns = exits.exit_ns + int(exits.hold_ns[WP]) + exits.entry_ns
    touch_ns = 64 * STEP_NS + 63 * fault_ns + exits.exit_ns + exits.entry_ns  # the log's start interrupted it once
    out_ns = touch_ns + exits.exit_ns + int(exits.hold_ns[WP])
    one = machine("dirty-ring", mmu=MmuSpec(ring_entries=128), duration_ns=out_ns + MS + STEP_NS // 2)
    vm = vm_of(one)
    started(one)
    at(one, out_ns - 1, lambda: vm.vcpus[0].throttle(MS))
    at(one, out_ns + MS - 1, lambda: seen.append(vm.tally().ring_full))
    seen: list[int] = []
    one.run()
    tally = vm.tally()
    assert (tally.wp_faults, seen, tally.ring_full, tally.reaps) == (65, [0], 1, 1)


def test_the_reaper_comes_each_second() -> None:
    one = machine("dirty-ring", duration_ns=2_500 * MS, n_pages=64)
    started(one)
    one.run()
    assert vm_of(one).tally().reaps == 2
    assert one.tracker.harvested().all()


def test_vcpus_are_out_while_their_rings_are_synced() -> None:
    one = machine("dirty-ring", duration_ns=20 * MS)
    vm = vm_of(one)
    started(one)
    found = sync(one, 10 * MS + 10)
    one.run()
    assert found[0][0] > 10 * MS + 10 + flush_ns(one, 0)
    assert vm.flush.ns == flush_ns(one, 1) + flush_ns(one, 0)  # the second flush finds no vCPU in the guest


@pytest.mark.parametrize("tracking", TRACKING)
def test_one_operation_at_a_time(tracking: str) -> None:
    """Two syncs asked for together: the second begins when the first is over."""
    one = machine(tracking)
    started(one)
    first, second = sync(one, 5 * MS), sync(one, 5 * MS)
    one.run()
    assert first[0][0] <= second[0][0]
    assert (first[0][0] < second[0][0]) == (tracking != "dirty-ring")  # nothing is left to reap
    assert second[0][1].dirtied_pages == 0


@pytest.mark.parametrize("tracking", TRACKING)
def test_a_page_without_a_record_ends_the_run(tracking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = machine(tracking)
    monkeypatch.setattr(vm_of(one).engine.log, "first_unrecorded", lambda *_: 7)
    started(one)
    with pytest.raises(InvariantError, match="gfn 7: writable without a record"):
        one.run()


@pytest.mark.parametrize("tracking", TRACKING)
def test_what_no_sync_has_is_told(tracking: str) -> None:
    one = machine(tracking, duration_ns=5 * MS)
    started(one)
    one.run()
    assert one.tracker.first_unharvested(one.env.now_ns) in ((0, 1) if tracking != "initially-all-set" else (0,))


def test_calls_that_switch_memslots_in_a_row_find_their_code_in_the_caches() -> None:
    caches = CacheCosts(llc_ns=14, dram_ns=140, llc_bytes=8 << 20)
    costs = log_costs(load_costs("zen4-pvm"), load_era("E6"), "shadow")
    plan = LogPlan("get-dirty-log", costs, MmuSpec(n_slots=5), caches=caches)
    assert plan.slot_calls_ns(55_000, 11_000, 16 << 20) == 5 * 11_000 + round(0.55 * 44_000)
    assert plan.slot_calls_ns(55_000, 0, 16 << 20) == 5 * 55_000
    assert plan.slot_calls_ns(0, 0, 16 << 20) == 0
