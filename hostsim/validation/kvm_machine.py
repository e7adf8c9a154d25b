"""VMs in the state that a published row begins with, and the time of one phase of theirs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from hostsim.core.clock import Clock
from hostsim.costs.costs import load_costs
from hostsim.kvm import dirty_log
from hostsim.kvm.setup import KvmCosts, KvmSetup
from hostsim.kvm.tally import Tally
from hostsim.kvm.vm import KvmVm, Walk
from hostsim.measure.selftest.dirty_log_perf_test import check_harvest, walk_for
from hostsim.spte_index.spte import PRESENT, TRACKED, WRITABLE, Sptes
from hostsim.validation.data import published
from hostsim.validation.rows import Row, relative


def measured(key: str) -> dict[str, Any]:
    """What was published for ``key``."""
    row: dict[str, Any] = published("kvm")[key]
    return row


def measured_pass(key: str, shrink: int) -> dict[str, Any]:
    """What was published for ``key``, as of a machine with ``shrink`` times less memory, all of it alike."""
    row = measured(key)
    row["pages_per_vcpu"] //= shrink
    if "seconds" in row:
        row["seconds"] = {series: took_s / shrink for series, took_s in row["seconds"].items()}
    return row


def time_row(sheet: str, row_id: str, what: str, expected: float, got: float, tolerance: float) -> Row:
    """A row within a share of the published figure; not scored if a constant of ``sheet`` was fitted on it."""
    row = relative("published", row_id, what, expected, got, tolerance)
    is_fitted = row_id.replace("/", " ", 1) in load_costs(sheet).fitted_on()
    return row.unscored("fitted") if is_fitted else row


def populated(setup: KvmSetup, costs: KvmCosts) -> KvmVm:
    """A VM whose vCPUs have written all of their memory, before logging."""
    return KvmVm(Clock(), setup, costs)


def idle(setup: KvmSetup, costs: KvmCosts) -> KvmVm:
    """The same after all of it was marked idle, on a CPU without A bits."""
    vm = populated(setup, costs)
    spte = vm.sptes.spte
    old = np.where(spte & PRESENT, (spte | TRACKED) & ~np.uint8(WRITABLE), spte)
    vm.engine.set_sptes(Sptes(old, vm.sptes.level, vm.sptes.large), vm.env.now_ns)
    return vm


def logged(setup: KvmSetup, costs: KvmCosts) -> KvmVm:
    """The same after logging was enabled."""
    vm = populated(setup, costs)
    took(vm, dirty_log.enable(vm))
    return vm


def took(vm: KvmVm, work: Generator[Any, Any, Any]) -> Tally:
    """Run one phase to its end: what it cost."""
    before = vm.tally()
    vm.env.process(work)
    vm.env.run()
    return vm.tally() - before


def dirtied(vm: KvmVm, write_every: int = 1) -> Tally:
    """One pass over all memory, and a look at the log: no write may be missing in it."""
    walk = walk_for(vm, write_every)
    tally = took(vm, vm.run(walk))
    if vm.logged:
        took(vm, dirty_log.get(vm))
        check_harvest(vm, walk, int(vm.bitmap.sum(dtype=int)))
    return tally


def rewritten(vm: KvmVm) -> Tally:
    """One pass over memory whose writes nobody logs."""
    return took(vm, vm.run(Walk()))


def seconds(tally: Tally) -> float:
    """How long it took."""
    return tally.now_ns / 1e9
