"""Figures of a run of ``hostsim age``: its passes beside the truth, waits for mmu_lock, faults, work done."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.core.latency import Latencies, merged
from hostsim.costs.exits import NOTHING
from hostsim.machine.machine import Machine
from hostsim.memory.ageing_daemon import AgeingPass
from hostsim.memory.policies.protocol import Pages, check_estimate
from hostsim.scenario.build import build
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.record import Heard, Measure
from hostsim.theory.working_set import page_rates_per_s, working_set_pages

LATENCIES = ("pass", "mmu_lock wait of the host", "mmu_lock wait of vCPUs", "guest fault")
RAN = "ran"


class Truth:
    """Listens to a daemon, and compares the estimate of each pass with the pages that the guest accesses by its rates.

    Passes count that look back on a whole period: the first pass over memory that was there before finds pages old that were
    never made young, or new pages young.
    """

    def __init__(self, machine: Machine, *, most: int = 0) -> None:
        """most: passes that count, 0: as ``counted`` says."""
        spec, self._left = machine.spec, most or counted(machine)
        self._n_pages, self._n_clocks = machine.vm.memory.n_pages, max(1, len(machine.vm.guest.clocks))
        self._rates = page_rates_per_s(spec.workloads, self._n_pages)
        self._swept_per_s = float(sum(load.write_rate_per_s + load.read_rate_per_s for load in spec.workloads))
        self._before_ns = None if self._rates is not None else 0.0
        self._rows: list[tuple[float, float, float, float]] = []
        machine.daemons[0].listen(self.note)

    def note(self, done: AgeingPass, held: Pages) -> None:
        """A pass is over; ``held``: pages that the policy takes for used unasked."""
        self._left -= 1
        if self._left < 0:
            return
        begin_ns, before_ns = done.work_ns / self._n_clocks, self._before_ns
        self._before_ns = begin_ns
        if before_ns is None:
            return
        work_ns, in_use = begin_ns - before_ns, done.in_use
        new = in_use - len(held)
        check_estimate(done.young + in_use, self._n_pages, "pages of the guest")
        used = self._used(work_ns)
        missed = used - done.young - new - self._used_among(held, work_ns)
        self._rows.append((float(done.young), float(in_use), used, missed))

    def figures(self) -> dict[str, float]:
        """Means over the passes.

        working_set_pages: the estimate, pages found young and pages that the policy takes for used without asking.
        used_pages: pages that the guest accessed.
        false_old_pages: accessed pages that the estimate leaves out; false_young_pages: pages in the estimate that the
        guest did not access.
        """
        young, held, true, missed = np.mean(self._rows or [(0.0,) * 4], axis=0).tolist()
        estimate, false_old = young + held, max(0.0, missed)
        return {
            "young_pages": young, "working_set_pages": estimate, "used_pages": true, "false_old_pages": false_old,
            "false_young_pages": max(0.0, estimate - true + false_old),
        }  # fmt: skip

    def _used(self, work_ns: float) -> float:
        """Pages accessed, in the mean, in ``work_ns`` of each vCPU's work: w(T); a sweep takes new pages all the time."""
        if self._rates is None:
            return self._swept_per_s * work_ns / NS_PER_S
        return working_set_pages(self._rates, work_ns / NS_PER_S)

    def _used_among(self, pages: NDArray[np.int64], work_ns: float) -> float:
        """Expected pages accessed among ``pages``, int64[k]; 0 for a sweep: its new pages are asked about."""
        return 0.0 if self._rates is None else working_set_pages(self._rates[pages], work_ns / NS_PER_S)


def counted(machine: Machine) -> int:
    """The number of passes that count: ``ageing.passes``; without limit if the run ends with the guest's work.

    A pass that takes no time may follow in the instant in which the run ends.
    """
    ageing = machine.spec.ageing
    assert ageing is not None, "the guest is aged"
    return sys.maxsize if machine.spec.until_work or not ageing.passes else ageing.passes


def measure_age(scenario: Scenario, heard: Heard) -> dict[str, Any]:
    """Run ``scenario`` and take the figures of one guest, aged or not."""
    machine = Machine(build(scenario))
    ageing = scenario.ageing
    truth = None
    if ageing is not None:
        truth = Truth(machine)
    machine.run(heard)
    aged = {} if truth is None else _of_passes(machine) | truth.figures()
    return {"figures": {"status": RAN, **_of_guest(machine), **aged, "latencies": _latencies(machine)}}


AGED_RUN = Measure("hostsim-age-run/1", measure_age)


def age_figures(aged: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, float]:
    """Figures of a row for one seed: those of the aged guest, and differences from the guest that is not aged."""
    return {
        **{name: float(value) for name, value in aged.items() if isinstance(value, int | float)},
        "vcpu_slowdown_percent": 100.0 * _slowdown(aged, plain),
        "faults_per_pass": (aged["faults"] - plain["faults"]) / max(1, aged["passes"]),
    }


def _slowdown(aged: Mapping[str, Any], plain: Mapping[str, Any]) -> float:
    """Time for a unit of work with ageing, over the time for it without, less 1."""
    if aged["work_done_ns"] is not None:
        return float(aged["work_done_ns"] / plain["work_done_ns"] - 1.0)
    mine, other = (one["work_ns"] / one["end_ns"] for one in (aged, plain))
    return float(other / mine - 1.0)


def _of_guest(machine: Machine) -> dict[str, Any]:
    vm, now_ns = machine.live_vms[0], machine.env.now_ns
    return {
        "end_ns": now_ns, "work_ns": vm.work_ns(), "work_done_ns": machine.work_done_ns, "faults": vm.tally().faults,
        "lock_held_percent": 100.0 * vm.lock.hold_ns / now_ns,
        "host_lock_wait_p99_ns": vm.lock.waits.percentile_ns(99.0),
        "vcpu_lock_wait_p99_ns": vm.engine.lock_waits().percentile_ns(99.0),
        "vcpu_lock_wait_max_ns": vm.engine.lock_waits().max_ns,
    }  # fmt: skip


def _of_passes(machine: Machine) -> dict[str, Any]:
    took_ns = [float(done.took_ns) for done in _passes(machine)]
    calls = sum(latencies.count for latencies in machine.notifiers[0].latencies.values())
    return {
        "passes": len(took_ns), "pass_mean_ns": fmean(took_ns or [0.0]), "pass_max_ns": max(took_ns, default=0.0),
        "notifier_calls_per_s": calls * NS_PER_S / machine.env.now_ns,
    }  # fmt: skip


def _passes(machine: Machine) -> list[AgeingPass]:
    """The passes that count; none of a guest that is not aged."""
    return machine.daemons[0].passes[: counted(machine)] if machine.daemons else []


def _latencies(machine: Machine) -> dict[str, Any]:
    """State of each of LATENCIES."""
    vm, passes = machine.live_vms[0], Latencies()
    for done in _passes(machine):
        passes.record(done.took_ns)
    faults = merged(found for kind, found in vm.engine.exit_latencies().items() if kind != NOTHING)
    found = (passes, vm.lock.waits, vm.engine.lock_waits(), faults)
    return {name: one.state() for name, one in zip(LATENCIES, found, strict=True)}
