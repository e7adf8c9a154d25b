"""The cost of KVM's dirty logging to a guest whose runs count none: a few runs more, under KVM."""

from __future__ import annotations

from hostsim.core.errors import InputError
from hostsim.results.work import EXIT_WORK
from hostsim.scenario.build import workloads_of
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.figures import Figures
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.forecast import forecast
from hostsim.study.predict.replications import same_guest
from hostsim.theory.guest_curve import guest_curve

TRACKING = "initially-all-set"
"""QEMU's choice on x86-64 since 5.0, where KVM offers it (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE and _INITIALLY_SET)."""
LOGGED_WORK = 250_000_000
"""Work of all these runs [pages]: about 12 s of CPU time."""
RUNS = 3
PASSES = 2
"""A first write of each page of the working set, and as many again later (assumed, for the estimate of the work)."""


def logged_runs(base: Scenario, bench: Bench) -> list[Figures]:
    """Figures of up to RUNS runs of ``base`` under KVM; none where it is under KVM, or where that is too much work."""
    logged = under_kvm(base)
    n = 0 if logged is None else int(min(RUNS, LOGGED_WORK / _work(base)))
    if logged is None or not n:
        return []
    bench.expected = bench.done + n
    return bench.figures([same_guest(logged)(number) for number in range(n)])


def unlogged_work(base: Scenario) -> float:
    """Work of a run of ``base`` under KVM [pages], if it is too much; 0 where it is run, or cannot be told."""
    work = 0.0 if under_kvm(base) is None else _work(base)
    return work if LOGGED_WORK < work < float("inf") else 0.0


def under_kvm(base: Scenario) -> Scenario | None:
    """``base`` with the dirty log of KVM; None if KVM finds its pages already, or cannot together with its other keys."""
    if base.vm.dirty_tracking != "tcg" or base.vm.workload == ():
        return None
    table = base.resolved()
    table["vm"] = table["vm"] | {"dirty_tracking": TRACKING}
    try:
        return Scenario.model_validate(table).in_folder(base.folder)
    except InputError:
        return None


def _work(base: Scenario) -> float:
    """Estimated work of a run: pages sent and harvested, and an exit for each first write."""
    found = forecast(base)
    if found is None:
        return float("inf")
    curve = guest_curve(workloads_of(base), base.seed)
    return 2 * base.vm.memory_pages + (1 + EXIT_WORK) * PASSES * curve(found.first_pass_s)
