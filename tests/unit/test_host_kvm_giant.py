"""Pages of 1 GiB under a VM: one spte until the log takes it apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hostsim.costs.exits import MAP, SPLIT
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.spec import MmuSpec
from tests.helpers.live import MS, at, live_machine, sweep, timed, vm_of

pytestmark = pytest.mark.quick
GIB_PAGES = 512 * 512
WRITTEN = 100


def logged(era: str, *, eager: bool, gib: int = 1) -> tuple[LiveVm, list[np.ndarray[Any, Any]]]:
    """Logging begins at 1 ms; the first 100 pages of 1 GiB are written in the next. The VM, and levels before and after."""
    loads = sweep(WRITTEN, WRITTEN * 1000)
    mmu = MmuSpec(era=era, page_size="1GiB", eager_split=eager)
    one = live_machine(loads, n_pages=gib * GIB_PAGES, mmu=mmu, duration_ns=60 * MS)
    vm, levels = vm_of(one), []
    timed(one, MS, one.tracker.start_log)
    for t_ns in (MS - 1, 60 * MS - 1):
        at(one, t_ns, lambda: levels.append(vm.engine.kvm.sptes.level.copy()))
    one.run()
    return vm, levels


def test_a_guest_is_mapped_by_one_spte_a_gib() -> None:
    _, (before, _) = logged("E4", eager=True, gib=2)
    assert (before == 2).all()


def test_split_beforehand_into_small_sptes_that_all_stay() -> None:
    vm, (_, after) = logged("E4", eager=True)
    assert (after == 0).all()
    assert vm.engine.exits[MAP] == vm.engine.exits[SPLIT] == 0


def test_a_fault_that_splits_leaves_one_page_of_a_gib_mapped() -> None:
    vm, (_, after) = logged("E4", eager=False)
    assert (after == 0).all()
    assert (vm.engine.exits[SPLIT], vm.engine.exits[MAP]) == (1, WRITTEN - 1)
    assert np.count_nonzero(vm.engine.kvm.sptes.spte & 1) == WRITTEN


def test_since_6_2_the_rest_of_the_gib_stays_in_large_sptes() -> None:
    vm, (_, after) = logged("E5", eager=False)
    assert after[0] == 0
    assert (after[1:] == 1).all()
    assert (vm.engine.exits[SPLIT], vm.engine.exits[MAP]) == (1, 0)
