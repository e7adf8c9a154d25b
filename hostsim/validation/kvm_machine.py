"""VMs in the state that a published row begins with, and the time of one phase of theirs."""

from __future__ import annotations

from typing import Any

import numpy as np

from hostsim.costs.costs import load_costs
from hostsim.costs.era import load_era
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.tally import Tally
from hostsim.measure.selftest.walked_vm import Timed, Walk, WalkedSpec, WalkedVm
from hostsim.spte_index.spte import PRESENT, TRACKED, WRITABLE, Sptes
from hostsim.validation.rows import Row, published, relative


def measured(key: str) -> dict[str, Any]:
    """The published figures of ``key``."""
    row: dict[str, Any] = published("kvm")[key]
    return row


def measured_pass(key: str, shrink: int) -> dict[str, Any]:
    """The published figures of ``key``, scaled to ``shrink`` times less memory: all memory is alike."""
    row = measured(key)
    pages = "pages_per_vcpu" if "pages_per_vcpu" in row else "pages"
    row[pages] //= shrink
    if "seconds" in row:
        row["seconds"] = {series: took_s / shrink for series, took_s in row["seconds"].items()}
    return row


def time_row(sheet: str, row_id: str, what: str, expected: float, got: float, tolerance: float) -> Row:
    """Row ``row_id`` of suite ``published``: ``got`` has to be within a share ``tolerance`` of the published ``expected``.

    sheet: cost sheet of the run; the row is not scored if a constant of the sheet was fitted on it.
    what: the quantity, with its unit.
    """
    row = relative("published", row_id, what, expected, got, tolerance)
    is_fitted = row_id.replace("/", " ", 1) in load_costs(sheet).fitted_on()
    return row.unscored("fitted") if is_fitted else row


def machine(
    sheet: str, era: str, n_vcpus: int, vcpu_pages: int, interface: Interface | None = None, **mmu: Any
) -> WalkedSpec:
    """A VM that has written all of its memory, before logging.

    sheet, era: fields ``costs`` and ``era`` of MmuSpec. mmu: its other fields.
    vcpu_pages: memory of each of ``n_vcpus`` vCPUs [pages]. interface: None: the newest that kernels of ``era`` have.
    """
    newest: Interface = "clear-dirty-log" if load_era(era).manual_protect else "get-dirty-log"
    return WalkedSpec(MmuSpec(era=era, costs=sheet, **mmu), interface or newest, n_vcpus, vcpu_pages, populated=True)


def idle(spec: WalkedSpec) -> WalkedVm:
    """The VM after all of its memory was marked idle, on a CPU without A bits."""
    walked = WalkedVm(spec)
    spte = walked.sptes.spte
    old = np.where(spte & PRESENT, (spte | TRACKED) & ~np.uint8(WRITABLE), spte)
    walked.vm.engine.set_sptes(Sptes(old, walked.sptes.level, walked.sptes.large), walked.env.now_ns)
    return walked


def logged(spec: WalkedSpec) -> WalkedVm:
    """The VM after logging was enabled."""
    walked = WalkedVm(spec)
    took(walked, walked.enable())
    return walked


def took(vm: WalkedVm, work: Timed) -> Tally:
    """Run ``work``, one phase of ``vm``, to its end; returns the counters that it added."""
    before = vm.tally()
    vm.env.process(work)
    vm.env.run()
    return vm.tally() - before


def dirtied(vm: WalkedVm, write_every: int = 1) -> Tally:
    """Counters of one pass over the memory of ``vm``, in which one access of ``write_every`` is a write.

    With logging on, the log is read after the pass; InvariantError if it misses a write.
    """
    walk = vm.walk_for(write_every)
    tally = took(vm, vm.run(walk))
    if vm.logged:
        took(vm, vm.get())
        vm.check_harvest(walk, int(vm.bitmap.sum(dtype=int)))
    return tally


def rewritten(vm: WalkedVm) -> Tally:
    """One pass over memory without logging."""
    return took(vm, vm.run(Walk()))


def seconds(tally: Tally) -> float:
    """Duration of a phase [s]."""
    return tally.now_ns / 1e9
