"""Published rows by the engine: the guest of P1 as it was fitted, the duty cycle of P4."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from hostsim.guest.workload import Workload
from hostsim.qemu.cpu_throttle import CpuThrottle
from hostsim.theory.precopy_map import PrecopyOutcome
from hostsim.validation.data import published
from hostsim.validation.passes import PassPlan, guest_machine, run_passes
from hostsim.validation.published_curve import fitted_classes, fitted_total_rows
from hostsim.validation.published_field import run_fraction_rows
from hostsim.validation.rows import Row

THROTTLES_PERCENT = (1, 20, 50, 75, 90, 99)
THROTTLED_NS = 100_000_000_000


def run_rows() -> Iterator[Row]:
    """P1 and P4 on the engine."""
    yield from fitted_total_rows(fitted_guest, prefix="P1-run")
    yield from run_fraction_rows({percent: throttled_share(percent) for percent in THROTTLES_PERCENT}, tolerance=2e-5)


def fitted_guest(bandwidth_bytes_per_s: float, limit_s: float) -> PrecopyOutcome:
    """Textbook pre-copy of the fitted guest: 32 GiB, the classes' pages written by Poisson processes."""
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
    return run_passes(machine, PassPlan(page_s, first_pass_s, limit_s, data["give_up_s"]))


def throttled_share(percent: int) -> float:
    """Share of time a CPU-bound vCPU runs under cpu-throttle, timers and sleeps exact, over 100 s."""
    machine = guest_machine((Workload("busy", "uniform", (0,), 0, 16, Fraction(1000)),), 16)
    throttle = CpuThrottle(machine.env, machine.vm, 0, 0)
    throttle.set(percent)
    machine.env.run(until=THROTTLED_NS)
    return machine.vm.work_ns() / THROTTLED_NS
