"""Migrations of guests under KVM, tracker by tracker, with the checks of law 3 that every run makes."""

from __future__ import annotations

from dataclasses import astuple, fields
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InvariantError
from hostsim.core.knobs import Knobs
from hostsim.guest.pacing import Pacing, work_at
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.tally import Tally
from hostsim.machine.machine import Machine
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.spte_index.spte import IN_LOG, PRESENT, WRITABLE
from tests.helpers.live import MS, TRACKING, live_machine, vm_of

N_PAGES = 4096
WAYS = [
    *((tracking, MmuSpec(write_tracking=caught)) for tracking in TRACKING for caught in ("write-protect", "pml")),
    ("get-dirty-log", MmuSpec(write_tracking="d-bit")),
    ("get-dirty-log", MmuSpec(era="E0", mmu="shadow")),
    ("get-dirty-log", MmuSpec(era="E3", page_size="2MiB")),
    ("clear-dirty-log", MmuSpec(era="E2", page_size="2MiB")),
    ("initially-all-set", MmuSpec(era="E6", page_size="2MiB", eager_split=False)),
    ("dirty-ring", MmuSpec(era="E5", page_size="2MiB", ring_entries=128)),
]
IDS = [f"{tracking}, {m.write_tracking}, {m.era} {m.mmu} {m.page_size}" for tracking, m in WAYS]


def loads(writes: int = 1_500, reads: int = 1_000) -> tuple[Workload, ...]:
    """Sweeps that overlap a random writer and go on into zero pages."""
    rates = Fraction(writes), Fraction(reads)
    return (
        Workload("sweep", "sequential", (0, 1), 100, 2500, *rates, split=True),
        Workload("random", "uniform", (1,), 1000, 1500, *rates, pacing=Pacing(open_loop=True)),
    )


def migrating(
    tracking: str, mmu: MmuSpec, knobs: Knobs | None = None, writes: int = 1_500, **options: Any
) -> Machine:
    parameters = MigrationParameters(**{"max_bandwidth": 0, "downtime_limit_ms": 20, **options})
    one = live_machine(
        *loads(writes), tracking=tracking, n_pages=N_PAGES, filled=2000, n_vcpus=2, mmu=mmu, migration=parameters,
        link=LinkSpec(30_000_000, 100_000, 212_992), duration_ns=8_000 * MS,
    )  # fmt: skip
    return one if knobs is None else Machine(one.spec, knobs, log_capacity=1 << 12)


def facts(one: Machine) -> dict[str, Any]:
    m, vm = one.migration, vm_of(one)
    return {
        "end_ns": one.env.now_ns, "marks": m.recorder.marks, "syncs": [astuple(point) for point in m.recorder.syncs],
        "tallies": [astuple(tally) for tally in m.recorder.tallies], "work_ns": vm.work_ns(),
        "samples": [astuple(sample) for sample in m.recorder.samples], "version": vm.memory.version.tolist(),
        "sends": m.ram.send_log[: m.ram.normal_pages + m.ram.zero_pages].tolist(), "exits": vm.engine.exits.tolist(),
    }  # fmt: skip


@pytest.mark.parametrize(("tracking", "mmu"), WAYS, ids=IDS)
def test_a_migration_completes_and_nothing_is_lost(tracking: str, mmu: MmuSpec) -> None:
    one = migrating(tracking, mmu)
    one.run()
    m = one.migration
    assert m.counters().status == "completed"
    assert (m.ram.copied == one.vm.memory.version).all()
    assert m.state.dirty_sync_count == len(m.recorder.syncs) == len(m.recorder.tallies) > 2
    assert m.ram.zero_pages > 0
    vm_of(one).engine.mmu.check_counts()


@pytest.mark.parametrize(("tracking", "mmu"), WAYS, ids=IDS)
def test_knobs_move_nothing(tracking: str, mmu: MmuSpec) -> None:
    plain, cut = migrating(tracking, mmu), migrating(tracking, mmu, Knobs(7, 64, 50_000))
    plain.run()
    cut.run()
    assert facts(cut) == facts(plain)


@pytest.mark.parametrize("tracking", TRACKING)
def test_tallies_only_grow(tracking: str) -> None:
    one = migrating(tracking, MmuSpec())
    one.run()
    for earlier, later in pairwise(one.migration.recorder.tallies):
        assert all(getattr(earlier, f.name) <= getattr(later, f.name) for f in fields(Tally))
    last = one.migration.recorder.tallies[-1]
    assert min(last.wp_faults, last.stall_ns, last.host_hold_ns, last.sync_ns) > 0
    assert (last.clears > 0) == (last.clear_ns > 0) == (tracking in ("clear-dirty-log", "initially-all-set"))
    assert (last.reaps > 0) == (last.reap_ns > 0) == (tracking == "dirty-ring")


@pytest.mark.parametrize("tracking", TRACKING)
def test_exits_slow_the_guest_down(tracking: str) -> None:
    """What closed work is behind is the time its vCPU was out of the guest; both vCPUs ran until the stop."""
    one = migrating(tracking, MmuSpec())
    one.run()
    vm, stop_ns = vm_of(one), one.migration.state.downtime_start_ns
    closed_ns = sum(int(work_at(row, one.env.now_ns)) for row in vm.guest.clocks[:2])
    assert 0 < 2 * stop_ns - closed_ns <= vm.tally().stall_ns


@pytest.mark.parametrize("tracking", TRACKING)
def test_a_throttled_guest_completes(tracking: str) -> None:
    """Too fast for the link as it is; at 99 % what it writes in a round fits the downtime."""
    one = migrating(tracking, MmuSpec(), writes=60_000, auto_converge=True, cpu_throttle_initial=99)
    one.run()
    assert one.migration.counters().status == "completed"
    assert any(event == "migration_throttle" for _, event, _ in one.migration.recorder.marks)


@pytest.mark.parametrize("tracking", TRACKING)
def test_a_cancelled_migration_goes_on_to_switch_the_log_off(tracking: str) -> None:
    one = migrating(tracking, MmuSpec(page_size="2MiB", era="E6"), timeout_ns=60 * MS, max_bandwidth=1 << 20)
    one.run()
    m, vm = one.migration, vm_of(one)
    assert (m.state.status, vm.running) == ("cancelled", True)
    one.env.run(until=200 * MS)
    before = vm.tally()
    one.env.run(until=400 * MS)
    assert vm.tally().faults == before.faults
    assert m.counters().dirty_sync_count == len(m.recorder.syncs)


@pytest.mark.parametrize("tracking", [tracking for tracking in TRACKING if tracking != "dirty-ring"])
def test_a_record_that_is_forgotten_ends_the_run(tracking: str) -> None:
    """Page 150 is taken out of the log now and then, its spte still writable."""
    one = migrating(tracking, MmuSpec())
    vm = vm_of(one)

    def forget() -> None:
        vm.engine.kvm.sptes.spte[150] &= ~IN_LOG & 0xFF

    for t_ns in range(10 * MS, 400 * MS, MS):
        one.env.timeout(t_ns).callbacks.append(lambda _: forget())
    with pytest.raises(InvariantError, match="gfn 150"):
        one.run()


def test_a_ring_entry_that_is_overlooked_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    one = migrating("dirty-ring", MmuSpec(), writes=20_000)
    engine = vm_of(one).engine
    take = engine.log.take_rings

    def overlook(got: Any, vcpu: int | None) -> tuple[int, int]:
        found = take(got, vcpu)
        got[150] = 0
        return found

    monkeypatch.setattr(engine.log, "take_rings", overlook)
    with pytest.raises(InvariantError, match="gfn 150: the destination's copy is old"):
        one.run()


def test_a_page_that_a_reset_of_the_rings_leaves_writable_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check after a reset looks at the pages of the reset alone; it sees each of them."""
    one = migrating("dirty-ring", MmuSpec(), writes=20_000)
    engine = vm_of(one).engine
    reset = engine.log.reset_rings

    def forget(now_ns: int) -> Any:
        pages = reset(now_ns)
        engine._state.kvm.sptes.spte[pages[-1]] |= PRESENT | WRITABLE
        return pages

    monkeypatch.setattr(engine.log, "reset_rings", forget)
    with pytest.raises(InvariantError, match=r"writable without a record at .* after a reset of the rings"):
        one.run()


def test_a_reset_of_the_rings_returns_the_pages_that_it_protects() -> None:
    one = migrating("dirty-ring", MmuSpec(), writes=20_000)
    log, found = vm_of(one).engine.log, list[list[int]]()
    reset = log.reset_rings

    def protected(now_ns: int) -> Any:
        spte = vm_of(one).engine._state.kvm.sptes.spte
        before = np.flatnonzero(spte & IN_LOG)
        pages = reset(now_ns)
        assert sorted(set(pages.tolist())) == sorted(set(before.tolist()) - set(np.flatnonzero(spte & IN_LOG).tolist()))
        found.append(pages.tolist())
        return pages

    log.reset_rings = protected  # type: ignore[method-assign]
    one.run()
    assert sum(map(len, found)) > 1000


def test_a_chunk_is_cleared_once_a_sync() -> None:
    one = migrating("clear-dirty-log", MmuSpec())
    one.run()
    last = one.migration.recorder.tallies[-1]
    assert last.clears <= one.migration.state.dirty_sync_count
    assert last.clear_ns >= last.host_hold_ns - vm_of(one).plan.start_hold_ns(0, 2000)


def test_a_guest_without_kvm_leaves_no_tallies() -> None:
    one = live_machine(*loads(), tracking="tcg", n_vcpus=2, n_pages=N_PAGES, migration=MigrationParameters())
    one.run()
    assert one.migration.recorder.tallies == []
    assert one.vm.tally() is None
