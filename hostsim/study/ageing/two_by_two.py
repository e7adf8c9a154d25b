"""The 2x2 of the argument of 2010: a referenced bit or none, a fast index of sptes or a slow one; and under a migration.

Claim 12 of hostsim.study.rmap_debate has it with scripted notifier calls; here a daemon ages a guest that runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import fmean

from hostsim.core.constants import NS_PER_S
from hostsim.core.knobs import Knobs
from hostsim.costs.host_sheet import load_sheet
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.trackers import TRACKERS
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.thread import Migration
from hostsim.study.ageing.aged_vm import AgedVm, against_the_truth
from hostsim.study.ageing.case import AgeCase, Load

FAST, SLOW = "rmap", "slot-list"
ERA, SHEET = "E0", "nehalem-2010"
"""The kernel of the argument, and a machine of its time."""
PERIOD_NS = 250_000_000
PASSES, WARM_UP_PASSES = 6, 2
INTERFACE = "get-dirty-log"
BANDWIDTH = 8_000_000
"""Bytes a second: so slow a link that a migration of this small VM lasts for several passes, as that of a large one does."""
TIMEOUT_NS = 20 * NS_PER_S
LOAD = Load(0.9, Fraction(4_000), Fraction(1, 20))
POLICY = "two-list"
"""Its page_referenced of each page is what kernels of 2010 age by; it is the flushing one."""


@dataclass(frozen=True)
class Cell:
    """One of eight; slowdown: time for the same work over that of the guest that is not aged, less 1.

    faults: more than without ageing, from a pass to the next; longest_wait_ns: of a vCPU for mmu_lock;
    migration_s: None without one, plain: without ageing.
    """

    a_bits: bool
    index: str
    migrates: bool
    pass_ns: float
    used_pages: float
    false_old_pages: float
    faults: float
    slowdown: float
    longest_wait_ns: int
    migration_s: float | None = None
    plain_migration_s: float | None = None
    completed: bool | None = None


def cell_case(a_bits: bool, index: str, n_pages: int, n_vcpus: int) -> AgeCase:
    """The VM of a cell."""
    mmu = MmuSpec(era=ERA, costs=SHEET, mmu="tdp", index=index, a_bits=a_bits)
    return AgeCase(POLICY, n_vcpus, n_pages // n_vcpus, mmu, "touching", "era", LOAD, PERIOD_NS, PASSES)


def run_cell(case: AgeCase, seed: int, *, migrates: bool) -> Cell:
    """Age the VM, migrate it meanwhile or not; beside it the same VM that nobody ages."""
    aged, plain = AgedVm(case, seed), AgedVm(case, seed)
    if migrates:
        return _migrated(case, aged, plain)
    aged.age()
    plain.leave_alone(aged.vm.env.now_ns)
    slowdown = plain.vm.work_ns() / aged.vm.work_ns() - 1.0
    return _cell(case, aged, plain, slowdown, migrates=False)


def _migrated(case: AgeCase, aged: AgedVm, plain: AgedVm) -> Cell:
    aged.begin()
    moves = [_migration(vm) for vm in (aged, plain)]
    for vm, move in zip((aged, plain), moves, strict=True):
        vm.vm.env.run(until=move.done)
    aged.end()
    mine, other = (vm.vm.work_ns() / _ran_ns(move) for vm, move in zip((aged, plain), moves, strict=True))
    took_s, plain_s = ((move.state.end_ns - move.state.start_ns) / NS_PER_S for move in moves)
    cell = _cell(case, aged, plain, other / mine - 1.0, migrates=True)
    completed = moves[0].state.status == "completed"
    return replace(cell, migration_s=took_s, plain_migration_s=plain_s, completed=completed)


def _migration(aged: AgedVm) -> Migration:
    tracker = TRACKERS[INTERFACE](aged.vm, Knobs(), 0)
    start_ns = WARM_UP_PASSES * PERIOD_NS + PERIOD_NS // 2
    parameters = MigrationParameters(max_bandwidth=0, start_ns=start_ns, timeout_ns=TIMEOUT_NS)
    return Migration(aged.vm.env, aged.vm, tracker, parameters, LinkSpec(BANDWIDTH), load_sheet("generic"), Knobs())


def _ran_ns(migration: Migration) -> int:
    """Until the VM was stopped to be handed over, or the migration was given up."""
    return migration.state.downtime_start_ns or migration.state.end_ns


def _cell(case: AgeCase, aged: AgedVm, plain: AgedVm, slowdown: float, *, migrates: bool) -> Cell:
    passes, truth = aged.passes, against_the_truth(aged)
    more_faults = aged.vm.tally().faults - plain.vm.tally().faults
    return Cell(
        case.mmu.a_bits, case.mmu.index, migrates, fmean(done.took_ns for done in passes), truth["used_pages"],
        truth["false_old_pages"], max(0.0, more_faults / max(1, len(passes))), slowdown, aged.vm.engine.lock_waits().max_ns,
    )  # fmt: skip


def run_all(n_pages: int, n_vcpus: int, seed: int, fast: str = FAST, slow: str = SLOW) -> list[Cell]:
    """The eight cells: without a migration, then with one."""
    cases = [cell_case(a_bits, index, n_pages, n_vcpus) for a_bits in (True, False) for index in (fast, slow)]
    return [run_cell(case, seed, migrates=migrates) for migrates in (False, True) for case in cases]

