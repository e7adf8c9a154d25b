"""The 2x2 of the argument of 2010: a referenced bit or none, a fast index of sptes or a slow one; and under a migration.

Claim 12 of hostsim.study.rmap_debate has it with scripted notifier calls; here a daemon ages a guest that runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import fmean
from typing import Any, NamedTuple

from hostsim.core.constants import NS_PER_S
from hostsim.machine.machine import Machine
from hostsim.scenario.build import build
from hostsim.scenario.schema import Scenario
from hostsim.study.ageing.guest import AgedGuest, Load
from hostsim.study.ageing.measure import Truth

FAST, SLOW = "rmap", "slot-list"
ERA, SHEET = "E0", "nehalem-2010"
"""The kernel of the argument, and a machine of its time."""
PERIOD_NS = 250_000_000
PASSES, WARM_UP_PASSES = 6, 2
LINK = {"bandwidth": "8MB/s", "latency": "0s", "socket_buffer": "0B"}
"""No socket buffer takes the stream of so small a VM at once, and the link is so slow that its migration lasts for several
passes, as that of a large one does.
"""
HOST = {"vm_stop_ns": 0}
TIMEOUT, CAP = "20s", "60s"
LOAD = Load(0.9, Fraction(4_000), Fraction(1, 20))
POLICY = "two-list"
"""Kernels of 2010 age by page_referenced of each page, as this policy does; it flushes the TLB."""


@dataclass(frozen=True)
class Cell:
    """One of the eight cells: with or without A bits, fast or slow index, with or without a migration.

    faults: of the aged guest less those of the plain guest, from a pass to the next.
    slowdown: time for a unit of work of the aged guest, over that of the plain guest, less 1.
    longest_wait_ns: of a vCPU for mmu_lock.
    migration_s: of the aged guest; plain_migration_s: of the plain guest; None without a migration.
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


def cell_guest(a_bits: bool, index: str, n_pages: int, n_vcpus: int) -> AgedGuest:
    """The guest of a cell of the table.

    a_bits: the sptes have accessed bits.
    index: design that finds the sptes of a gfn.
    n_pages: memory of the guest [pages of 4 KiB], shared by ``n_vcpus`` vCPUs.
    """
    mmu = {"era": ERA, "costs": SHEET, "mode": "tdp", "index": index, "a_bits": a_bits}
    return AgedGuest(n_vcpus, n_pages // n_vcpus, "touching", LOAD, mmu, PERIOD_NS, PASSES)


def run_cell(guest: AgedGuest, seed: int, *, migrates: bool) -> Cell:
    """Run ``guest`` twice with ``seed``, aged and not aged; ``migrates``: during a migration."""
    aged = _run(_table(guest, POLICY, seed, migrates=migrates))
    plain = _run(_table(guest, "", seed, migrates=migrates))
    mine, other = (one.machine.vm.work_ns() / _ran_ns(one.machine) for one in (aged, plain))
    cell = _cell(guest, aged, plain, other / mine - 1.0, migrates=migrates)
    if not migrates:
        return cell
    moves = [one.machine.migration for one in (aged, plain)]
    took_s, plain_s = ((move.state.end_ns - move.state.start_ns) / NS_PER_S for move in moves if move is not None)
    return replace(cell, migration_s=took_s, plain_migration_s=plain_s, completed=_status(aged.machine) == "completed")


class _Aged(NamedTuple):
    """A machine that has run; truth: None where the guest is not aged."""

    machine: Machine
    truth: Truth | None


def _table(guest: AgedGuest, policy: str, seed: int, *, migrates: bool) -> dict[str, Any]:
    """The scenario of a cell; with a migration the run ends with that, and not with the passes."""
    table = guest.table(policy, seed=seed)
    if not migrates:
        return table
    if policy:
        del table["ageing"]["passes"]
    start_ns = WARM_UP_PASSES * PERIOD_NS + PERIOD_NS // 2
    migration = {"start": f"{start_ns}ns", "bandwidth": "unlimited", "timeout": TIMEOUT}
    return table | {"duration": CAP, "migration": migration, "link": LINK, "host": HOST}


def _run(table: dict[str, Any]) -> _Aged:
    machine = Machine(build(Scenario.model_validate(table)))
    truth = Truth(machine, most=PASSES) if machine.daemons else None
    machine.run()
    return _Aged(machine, truth)


def _status(machine: Machine) -> str:
    return "" if machine.migration is None else machine.migration.state.status


def _ran_ns(machine: Machine) -> int:
    """Time until the VM stopped for the switchover, or until the end of the migration or the run."""
    state = None if machine.migration is None else machine.migration.state
    return machine.env.now_ns if state is None else state.downtime_start_ns or state.end_ns


def _cell(guest: AgedGuest, aged: _Aged, plain: _Aged, slowdown: float, *, migrates: bool) -> Cell:
    assert aged.truth is not None, "the guest is aged"
    # A migration that is drawn out leaves time for more passes; the last of them may find a VM that was stopped.
    n_passes, seen = len(aged.machine.daemons[0].passes), aged.truth.figures()
    passes = aged.machine.daemons[0].passes[:PASSES]
    vm, other = aged.machine.live_vms[0], plain.machine.live_vms[0]
    more_faults = vm.tally().faults - other.tally().faults
    return Cell(
        guest.mmu["a_bits"], guest.mmu["index"], migrates, fmean(done.took_ns for done in passes), seen["used_pages"],
        seen["false_old_pages"], max(0.0, more_faults / max(1, n_passes)), slowdown, vm.engine.lock_waits().max_ns,
    )  # fmt: skip


def run_all(n_pages: int, n_vcpus: int, seed: int, fast: str = FAST, slow: str = SLOW) -> list[Cell]:
    """The eight cells: four without a migration, then four with one.

    n_pages, n_vcpus: of each guest. seed: of each run.
    fast, slow: the two indexes of sptes.
    """
    guests = [cell_guest(a_bits, index, n_pages, n_vcpus) for a_bits in (True, False) for index in (fast, slow)]
    return [run_cell(guest, seed, migrates=migrates) for migrates in (False, True) for guest in guests]

