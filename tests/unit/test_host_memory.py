"""Memory of a host that runs short: watermarks, kswapd, direct reclaim, limits, and what a swapped page goes through."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.clock import Clock
from hostsim.core.errors import InvariantError
from hostsim.guest.pacing import work_at
from hostsim.guest.workload import Workload
from hostsim.kvm.loops.layout import RESIDENT, UNTOUCHED
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import NeighbourSpec
from hostsim.memory.fault_waits import MAJOR, MIGRATION, MINOR, POPULATE, VCPU
from hostsim.memory.frames import Frames, watermarks
from hostsim.memory.pages import CACHED, READING, SWAPPED, WRITING
from hostsim.memory.reclaim import SWAP_CLUSTER_MAX
from hostsim.memory.spec import AgeingSpec
from hostsim.memory.swap_area import NO_SLOT, Copy, SwapArea
from hostsim.qemu.parameters import MigrationParameters
from tests.helpers.host_memory import MS, US, blocks, host, memory_of, pages_of, touches

GIB_PAGES = 1 << 18


@pytest.mark.parametrize(
    ("total", "min_kib", "step"),
    [(GIB_PAGES // 4, 2048, 64), (GIB_PAGES, 4096, 262), (16 * GIB_PAGES, 16384, 4194), (1 << 30, 262144, 1 << 20)],
)
def test_watermarks_are_those_of_the_kernel(total: int, min_kib: int, step: int) -> None:
    """min_free_kbytes: 16 MiB of 16 GiB; low and high above it by a quarter of min or 0.1 % of all, whichever is more."""
    marks = watermarks(total)
    assert marks.min == min_kib // 4
    step = max(marks.min // 4, total // 1000)
    assert (marks.low, marks.high) == (marks.min + step, marks.min + 2 * step)


@given(total=st.integers(4, 1 << 24))
def test_watermarks_leave_room(total: int) -> None:
    marks = watermarks(total)
    assert 0 < marks.min <= marks.low <= marks.high <= total


def test_frames_are_taken_and_given_back_once() -> None:
    frames = Frames(Clock(), 1000)
    frames.take(900)
    freed = frames.freed()
    frames.give(1)
    assert freed.triggered
    with pytest.raises(AssertionError, match="twice"):
        frames.take(102)
    with pytest.raises(AssertionError, match="twice"):
        frames.give(900)


@given(takes=st.lists(st.booleans(), max_size=300), n_slots=st.integers(0, 70))
def test_a_slot_has_one_copy(takes: list[bool], n_slots: int) -> None:
    area, held = SwapArea(n_slots), []
    for number, is_take in enumerate(takes):
        if is_take:
            slot = area.take()
            assert (slot == NO_SLOT) == (len(held) == n_slots)
            if slot != NO_SLOT:
                assert slot not in held
                area.store(slot, Copy(0, number, 1, False))
                held.append(slot)
        elif held:
            area.free(held.pop(number % len(held)))
        assert area.used == len(held) == n_slots - area.left
    for slot in held:
        area.load(slot)
    assert sorted(near for first in range(0, 72, 8) for near in area.around(first, 8)) == sorted(held)


def test_a_slot_that_is_free_cannot_be_read() -> None:
    area = SwapArea(4)
    with pytest.raises(InvariantError, match="slot 2 is read and holds nothing"):
        area.load(2)


def run_in_steps(machine: Machine, step_ns: int = 50 * US) -> list[int]:
    """Free frames after each step; checked each time."""
    free, memory = [], memory_of(machine)
    while machine.env.now_ns < machine.spec.duration_ns and memory.out_of_memory is None:
        machine.env.run(until=machine.env.any_of([machine.env.timeout(step_ns), memory.exhausted]))
        memory.check()
        free.append(memory.frames.free)
    return free


def test_what_does_not_fit_is_in_swap_to_begin_with() -> None:
    pages = pages_of(host(400))
    assert (pages.where[: pages.charged] == RESIDENT).all()
    assert (pages.where[pages.charged :] == SWAPPED).all()
    assert pages.charged == 400 - watermarks(400).high


def test_memory_that_is_enough_changes_nothing() -> None:
    machine = host(1024, 512, 512, touches("uniform", 512, 100_000))
    run_in_steps(machine)
    assert pages_of(machine).counts.total() == 0
    assert machine.vm.work_ns() == machine.spec.duration_ns


def test_kswapd_wakes_at_low_and_sleeps_at_high() -> None:
    """A sweep populates its memory once: frames go down to low, kswapd brings them back to high, and no vCPU waits."""
    machine = host(600, 900, 0, touches("sequential", 900, 20_000), swap="memory")
    marks = watermarks(600)
    free = run_in_steps(machine, 10 * US)
    lowest, swapped = min(free), pages_of(machine).counts["swapped_out"]
    assert marks.min < lowest < marks.low
    assert swapped >= 900 - 600
    assert pages_of(machine).counts["direct_reclaims"] == 0
    assert pages_of(machine).waits[VCPU].reclaims.count == 0
    rises = [after for before, after in pairwise(free) if after > before]
    assert max(rises[1:]) <= marks.high + SWAP_CLUSTER_MAX, "it stops there"
    quiet = [before for before, after in pairwise(free) if after > before > marks.low + 63]
    assert not quiet, "nothing is reclaimed above the low watermark, but what is under way"


def test_who_is_faster_than_kswapd_reclaims_for_himself() -> None:
    machine = host(400, 900, 0, touches("sequential", 900, 1_000_000), swap="hdd", ms=200)
    run_in_steps(machine)
    pages = pages_of(machine)
    assert pages.counts["direct_reclaims"] == pages.waits[VCPU].reclaims.count > 0
    assert pages.waits[VCPU].latencies[POPULATE].max_ns >= pages.waits[VCPU].reclaims.max_ns


def test_without_swap_memory_runs_out() -> None:
    machine = host(400, 900, 0, touches("sequential", 900, 100_000), swap="none", ms=2000)
    run_in_steps(machine)
    end = memory_of(machine).out_of_memory
    assert end is not None
    assert end.vm == 0
    assert end.ns == machine.env.now_ns > 16 * 20 * MS, "after 16 vain attempts, each of which waits 20 ms"
    assert memory_of(machine).frames.free <= watermarks(400).min


def test_a_full_swap_is_no_swap() -> None:
    machine = host(400, 900, 0, touches("sequential", 900, 100_000), swap="nvme", swap_pages=100, ms=2000)
    run_in_steps(machine)
    assert memory_of(machine).out_of_memory is not None
    assert memory_of(machine).area.left == 0


def test_a_limit_binds_its_vm_alone() -> None:
    other = NeighbourSpec(blocks(300, 0), (touches("uniform", 300, 50_000),), 1, seed=2)
    machine = host(2000, 600, 0, touches("uniform", 600, 50_000), neighbours=(other,), limit_pages=256)
    run_in_steps(machine)
    limited, free = pages_of(machine), pages_of(machine, 1)
    assert limited.charged <= 256
    assert limited.counts["swapped_out"] > 0
    assert limited.counts["direct_reclaims"] > 0, "kswapd does not know of limits"
    assert free.counts["swapped_out"] == 0
    assert memory_of(machine).frames.free > watermarks(2000).high


def test_two_vms_give_as_much_as_they_have() -> None:
    """The steady VM is reclaimed from although the other one grows (mm/vmscan.c::shrink_node_memcgs)."""
    grows = NeighbourSpec(blocks(800, 0), (touches("sequential", 800, 40_000),), 1, seed=2)
    machine = host(1000, 800, 600, touches("uniform", 600, 2_000), neighbours=(grows,), swap="memory")
    run_in_steps(machine)
    steady, growing = pages_of(machine), pages_of(machine, 1)
    assert steady.counts["swapped_out"] > 100
    assert growing.counts["swapped_out"] > 100


def test_a_page_that_is_being_written_is_taken_back() -> None:
    """It is mapped again while the write is under way: when that ends its frame is not freed; its slot was at once."""
    machine = host(400, 420, 350, swap="hdd")
    pages, memory = pages_of(machine), memory_of(machine)
    machine.env.process(memory.reclaim.shrink(pages, 4))
    machine.env.run(until=500 * US)
    page, charged = int(np.flatnonzero(pages.where == WRITING)[0]), pages.charged
    machine.env.process(machine.vm.read_back(page))
    machine.env.run(until=600 * US)
    assert (pages.where[page], pages.slot[page]) == (RESIDENT, NO_SLOT)
    assert pages.waits[MIGRATION].latencies[MINOR].count == 1
    assert pages.waits[VCPU].fetched == 0, "a thread of the host has waited, no vCPU"
    assert pages.charged == charged
    memory.check()
    machine.env.run(until=50 * MS)
    memory.check()
    assert pages.where[page] == RESIDENT
    assert pages.counts["swapped_out"] == charged - pages.charged + 1
    assert memory.reclaim.writing == 0


@pytest.mark.parametrize(("cluster", "ahead"), [(0, 0), (3, 7)])
def test_as_many_pages_are_read_ahead_as_the_cluster_says(cluster: int, ahead: int) -> None:
    """One read of what lies far beyond what is resident: its aligned neighbours come with it and wait in the swap cache."""
    machine = host(600, 900, 900, touches("sequential", 900, 20_000, start_page=800), page_cluster=cluster, ms=1)
    pages, memory = pages_of(machine), memory_of(machine)
    memory.reclaim._balance = lambda: iter(())
    memory.frames.free += 100
    memory.frames.total += 100
    machine.env.run(until=150 * US)
    while (pages.where == READING).any():
        machine.env.run(until=machine.env.now_ns + 10 * US)
    first = int(np.flatnonzero(pages.where[600:] == RESIDENT)[0]) + 600
    cached = np.flatnonzero(pages.where == CACHED)
    assert first == 800
    assert cached.tolist() == list(range(801, 801 + ahead))
    assert pages.counts["read_ahead"] == ahead


def test_from_memory_nothing_is_read_ahead() -> None:
    machine = host(400, 512, 512, touches("uniform", 512, 50_000), swap="zram")
    run_in_steps(machine)
    assert pages_of(machine).counts["swapped_in"] > 0
    assert pages_of(machine).counts["read_ahead"] == 0


def test_every_touch_of_a_swapped_page_is_one_fault() -> None:
    """Once around: what is away comes in, major or minor, and each page that came in is young and mapped."""
    machine = host(460, 512, 512, touches("sequential", 512, 10_000), ms=60)
    run_in_steps(machine)
    pages = pages_of(machine)
    faults = pages.waits[VCPU].fetched
    assert faults >= int((pages.token > 0).sum()) - int((pages.where != RESIDENT).sum())
    assert pages.counts["swapped_in"] <= pages.waits[VCPU].latencies[MAJOR].count


def test_a_read_fault_does_not_touch_what_is_untouched() -> None:
    machine = host(400, 512, 256, touches("uniform", 256, reads=50_000))
    run_in_steps(machine)
    assert (pages_of(machine).where[256:] == UNTOUCHED).all()


def test_pages_are_read_back_to_be_sent_and_count_as_used() -> None:
    machine = host(400, 512, 512, migration=MigrationParameters("10.2", 0), ms=2000)
    pages, memory = pages_of(machine), memory_of(machine)
    away = int((pages.where == SWAPPED).sum())
    machine.run()
    assert machine.migration is not None
    assert machine.migration.state.status == "completed", "each page was sent as it is: check_complete says so"
    assert pages.waits[MIGRATION].fetched >= away
    assert pages.waits[VCPU].ns == machine.vm.page_waits.waited_ns(machine.env.now_ns).sum() == 0, "the guest is idle"
    read = (pages.where == RESIDENT) & (pages.slot == NO_SLOT) & (pages.token > 0)
    assert pages.host_young[read].any()
    memory.check()


@pytest.mark.parametrize(("frames", "is_dirtied"), [(1024, False), (400, True)])
def test_a_swapped_page_that_is_only_read_is_dirty_again(frames: int, is_dirtied: bool) -> None:
    """While the log is on, a fault that maps writable dirties its page (arch/x86/kvm/mmu/spte.c::make_spte)."""
    reads = touches("uniform", 512, reads=20_000)
    machine = host(frames, 512, 512, reads, migration=MigrationParameters("10.2", 20 << 20, 1), ms=2000)
    machine.run()
    assert machine.migration is not None
    dirtied = sum(sync.newly_dirty_pages for sync in machine.migration.recorder.syncs[1:])
    assert (dirtied > 0) == is_dirtied


def swapping() -> Machine:
    """In the midst of it."""
    machine = host(400, 512, 512, touches("uniform", 512, 50_000))
    machine.env.run(until=10 * MS)
    memory_of(machine).check()
    return machine


def orphan(machine: Machine) -> None:
    pages_of(machine).where[np.flatnonzero(pages_of(machine).where == RESIDENT)[0]] = SWAPPED


def lose_a_frame(machine: Machine) -> None:
    memory_of(machine).frames.free -= 1


def charge_too_much(machine: Machine) -> None:
    pages_of(machine).charged += 1


def forget_a_slot(machine: Machine) -> None:
    pages = pages_of(machine)
    pages.slot[np.flatnonzero(pages.where == SWAPPED)[0]] = NO_SLOT


def leave_the_lists(machine: Machine) -> None:
    pages = pages_of(machine)
    pages.policy.evict(np.zeros(512, np.uint8), 4)


BREAKS = {
    orphan: "mapped, and swapped", lose_a_frame: "frames are used", charge_too_much: "charged",
    forget_a_slot: "with slot -1", leave_the_lists: "on a list: False",
}  # fmt: skip


@pytest.mark.parametrize("wreck", BREAKS, ids=lambda wreck: wreck.__name__)
def test_what_is_broken_is_found(wreck: Callable[[Machine], None]) -> None:
    machine = swapping()
    wreck(machine)
    with pytest.raises(InvariantError, match=BREAKS[wreck]):
        memory_of(machine).check()


def test_another_content_is_found_when_it_is_swapped_in() -> None:
    machine = swapping()
    pages = pages_of(machine)
    pages.token[pages.where == SWAPPED] += 1
    with pytest.raises(InvariantError, match="swapped in as Copy"):
        machine.run()


def test_a_neighbour_shifts_no_draws() -> None:
    """The guest touches the same pages where memory is enough for both; its neighbour, of the same kind, touches others."""
    load = touches("uniform", 512, 50_000)
    alone = host(4096, 512, 0, load, ms=4)
    other = NeighbourSpec(blocks(512, 0), (load,), 1, seed=7)
    beside = host(4096, 512, 0, load, neighbours=(other,), ms=4)
    for machine in (alone, beside):
        machine.run()
    touched = pages_of(alone).where == RESIDENT
    assert 100 < touched.sum() < 250
    assert np.array_equal(pages_of(beside).where == RESIDENT, touched)
    assert not np.array_equal(pages_of(beside, 1).where == RESIDENT, touched)


def test_more_host_threads_than_places_at_mmu_lock_wait_their_turn() -> None:
    """Twelve vCPUs reclaim at once, each asking about pages under the lock; beside them kswapd and a daemon."""
    loads = [Workload(f"v{v}", "uniform", (v,), 0, 900, Fraction(200_000)) for v in range(12)]
    machine = host(300, 900, 0, *loads, n_vcpus=12, swap="nvme", mmu=MmuSpec(era="E0"), ageing=AgeingSpec("idle", 2 * MS))
    run_in_steps(machine)
    assert pages_of(machine).counts["direct_reclaims"] > 0
    assert min(work for work in _work_by_vcpu(machine)) > 0


def _work_by_vcpu(machine: Machine) -> list[int]:
    return [int(work_at(row, machine.env.now_ns)) for row in machine.vm.guest.clocks]


def test_who_looks_more_often_gets_the_same_run() -> None:
    ends = []
    for step_ns in (3 * US, 7 * MS):
        machine = host(400, 900, 300, touches("uniform", 900, 30_000), ms=21)
        while machine.env.now_ns < 21 * MS:
            machine.env.run(until=min(21 * MS, machine.env.now_ns + step_ns))
            memory_of(machine).check()
        pages = pages_of(machine)
        ends.append((pages.where.tolist(), pages.counts, pages.policy.resident_pages().tolist(), machine.vm.work_ns()))
    assert ends[0] == ends[1]
