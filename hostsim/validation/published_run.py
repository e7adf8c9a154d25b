"""Published rows by the engine: the guest of P1 as it was fitted, the duty cycle of P4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from hostsim.costs.host_sheet import punctual
from hostsim.guest.workload import Workload
from hostsim.qemu.cpu_throttle import CpuThrottle
from hostsim.theory.precopy import PrecopyOutcome
from hostsim.validation.data import published
from hostsim.validation.passes import Passes, PassPlan, guest_machine, passes_of
from hostsim.validation.published_curve import Predict, fitted_classes, fitted_total_rows
from hostsim.validation.published_field import run_fraction_rows
from hostsim.validation.rows import Row

THROTTLES_PERCENT = (1, 20, 50, 75, 90, 99)
THROTTLED_NS = 100_000_000_000


def run_rows() -> Iterator[Row]:
    """P1 and P4 on the engine."""
    yield from fitted_total_rows(fitted_guest(), prefix="P1-run")
    yield from run_fraction_rows({percent: throttled_share(percent) for percent in THROTTLES_PERCENT}, tolerance=2e-5)


def fitted_guest() -> Predict:
    """Textbook pre-copy of the fitted guest, run once a bandwidth: greater limits than the least only stop it earlier."""
    least_s = min(ms for ms in published("dirty_curve")["limits_ms"] if ms is not None) / 1000.0
    runs: dict[float, tuple[PassPlan, Passes]] = {}

    def outcome(bandwidth_bytes_per_s: float, limit_s: float) -> PrecopyOutcome:
        assert limit_s >= least_s
        if bandwidth_bytes_per_s not in runs:
            runs[bandwidth_bytes_per_s] = _fitted_passes(bandwidth_bytes_per_s, least_s)
        plan, passes = runs[bandwidth_bytes_per_s]
        return passes.outcome(replace(plan, limit_s=limit_s))

    return outcome


def _fitted_passes(bandwidth_bytes_per_s: float, limit_s: float) -> tuple[PassPlan, Passes]:
    """32 GiB, the classes' pages written by Poisson processes."""
    data = published("dirty_curve")
    page_s = data["page_bytes"] / bandwidth_bytes_per_s
    zero_s = data["zero_pages"] * data["zero_page_bytes"] / bandwidth_bytes_per_s
    loads, first = [], 0
    for i, (pages, rate) in enumerate(fitted_classes()):
        writes = Fraction(rate * pages).limit_denominator(1_000_000)
        loads.append(Workload(f"class-{i}", "uniform", (0,), first, pages, writes, arrivals="poisson"))
        first += pages
    machine = guest_machine(tuple(loads), data["normal_pages"])
    first_pass_s = data["normal_pages"] * page_s + zero_s
    plan = PassPlan(page_s, first_pass_s, limit_s, data["give_up_s"])
    return plan, passes_of(machine, plan)


def throttled_share(percent: int) -> float:
    """Share of time a CPU-bound vCPU runs under cpu-throttle, timers and sleeps exact, over 100 s."""
    machine = guest_machine((Workload("busy", "uniform", (0,), 0, 16, Fraction(1000)),), 16)
    throttle = CpuThrottle(machine.env, machine.vm, punctual(machine.spec.sheet), 1)
    throttle.set(percent)
    machine.env.run(until=THROTTLED_NS)
    return machine.vm.work_ns() / THROTTLED_NS
