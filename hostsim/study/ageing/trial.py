"""A trial of ``hostsim age``: the guest with ageing, the same guest without, and what the difference is."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from hostsim.core.constants import NS_PER_S
from hostsim.core.latency import Latencies, merged
from hostsim.costs.exits import NOTHING
from hostsim.study.ageing.aged_vm import AgedVm, against_the_truth
from hostsim.study.ageing.case import AgeCase
from hostsim.study.how_far import AGED_PER_MILLE, HowFar, ignore

LATENCIES = ("pass", "mmu_lock wait of the host", "mmu_lock wait of vCPUs", "guest fault")


@dataclass(frozen=True)
class AgeTrial:
    """figures: by name, unit last; latencies: by LATENCIES."""

    figures: dict[str, float]
    latencies: dict[str, Latencies]


def age_trial(case: AgeCase, seed: int, how_far: HowFar = ignore) -> AgeTrial:
    """Run ``case`` with that seed; ``how_far``: called with thousandths of it."""
    aged, plain = AgedVm(case, seed, how_far), AgedVm(case, seed)
    aged.age()
    how_far(AGED_PER_MILLE)
    plain.leave_alone(aged.vm.env.now_ns)
    return AgeTrial(_figures(case, aged, plain), _latencies(aged))


def _figures(case: AgeCase, aged: AgedVm, plain: AgedVm) -> dict[str, float]:
    passes, now_ns, tally = aged.passes, aged.vm.env.now_ns, aged.vm.tally()
    calls = sum(aged.notifier.latencies[event].count for event in aged.notifier.latencies)
    took_ns = [float(done.took_ns) for done in passes]
    more_faults = tally.faults - plain.vm.tally().faults
    return {
        "passes": float(len(passes)),
        "pass_mean_ns": fmean(took_ns),
        "pass_max_ns": max(took_ns),
        "vcpu_slowdown_percent": 100.0 * _slowdown(case, aged, plain),
        "notifier_calls_per_s": calls * NS_PER_S / now_ns,
        "host_lock_wait_p99_ns": float(aged.vm.lock.waits.percentile_ns(99.0)),
        "vcpu_lock_wait_p99_ns": float(aged.vm.engine.lock_waits().percentile_ns(99.0)),
        "lock_held_percent": 100.0 * aged.vm.lock.hold_ns / now_ns,
        **against_the_truth(aged),
        "faults_per_pass": more_faults / len(passes),
    }


def _slowdown(case: AgeCase, aged: AgedVm, plain: AgedVm) -> float:
    """Time for the same work, over that without ageing, less 1."""
    if case.under == "faulting":
        return aged.populated_ns / plain.populated_ns - 1.0
    return plain.vm.work_ns() / aged.vm.work_ns() - 1.0


def _latencies(aged: AgedVm) -> dict[str, Latencies]:
    passes = Latencies()
    for done in aged.passes:
        passes.record(done.took_ns)
    by_kind = aged.vm.engine.exit_latencies()
    faults = merged(found for kind, found in by_kind.items() if kind != NOTHING)
    return dict(zip(LATENCIES, (passes, aged.vm.lock.waits, aged.vm.engine.lock_waits(), faults), strict=True))
