"""K8, K9: time of ageing, and its cost to guests that populate their memory meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hostsim.kvm.spec import MmuSpec
from hostsim.measure.selftest.access_tracking_perf_test import AGEING, MARK_IDLE, POPULATE, AccessPlan, run_access_test
from hostsim.validation.kvm_machine import measured, time_row
from hostsim.validation.rows import Row, relative

X86 = "cascade-lake"
ERAS = {"none": "E4", "locked": "E4", "lockless": "E6"}
"""K8: kernels that age under mmu_lock, and without; the first without ageing."""
RUN_PAGES = 512
"""Pages of a vCPU in a run of K8. Memory is all alike, so times grow with it; ageing asks for each page some 100 times."""
SUITE = "published"


def populate_rows() -> Iterator[Row]:
    """K8: wall time of the vCPUs and mean pass of ageing; shapes: times over those without ageing, or without the lock."""
    # Model limit: vCPUs that populate memory meet at mmu_lock alone; in a host they meet at its page allocator, too.
    data = measured("K8")
    times = populate_times(data)
    for series in ERAS:
        for vcpus, wall_s in data["seconds"][series].items():
            where = f"K8/{series}/{vcpus}"
            what = f"{vcpus} vCPUs populate 1 GiB each, s"
            yield time_row(X86, where, what, wall_s, times[series, vcpus][0], data["tolerance"])
            if series != "none":
                pass_s, got = data["pass_seconds"][series][vcpus], times[series, vcpus][1]
                yield time_row(X86, f"{where}/pass", "a pass of ageing meanwhile, s", pass_s, got, data["tolerance"])
    for vcpus in data["seconds"]["none"]:
        yield from _shape_rows(data, times, vcpus)


def populate_times(data: dict[str, Any]) -> dict[tuple[str, str], tuple[float, float]]:
    """{(series, vCPUs): (wall time of the vCPUs, mean pass of ageing)} [s], for memory of the measured size."""
    scale, times = data["pages_per_vcpu"] / RUN_PAGES / 1e9, {}
    for series, era in ERAS.items():
        for vcpus in data["seconds"][series]:
            ages = series != "none"
            plan = AccessPlan(MmuSpec(era=era, costs=X86), int(vcpus), RUN_PAGES, True, True, ages)
            result = run_access_test(plan)
            passes = [phase.duration_ns / phase.passes for phase in result.of(AGEING)]
            times[series, vcpus] = result.of(POPULATE)[0].duration_ns * scale, sum(passes) * scale
    return times


def _shape_rows(data: dict[str, Any], times: dict[tuple[str, str], tuple[float, float]], vcpus: str) -> Iterator[Row]:
    walls, passes, tolerance = data["seconds"], data["pass_seconds"], data["tolerance"]
    expected = walls["locked"][vcpus] / walls["none"][vcpus]
    got = times["locked", vcpus][0] / times["none", vcpus][0]
    yield relative(SUITE, f"K8/shape/{vcpus}/wall", "populating with locked ageing, over none", expected, got, tolerance)
    expected = passes["locked"][vcpus] / passes["lockless"][vcpus]
    got = times["locked", vcpus][1] / times["lockless", vcpus][1]
    yield relative(SUITE, f"K8/shape/{vcpus}/pass", "a locked pass, over a lockless one", expected, got, tolerance)


def idle_marking_rows() -> Iterator[Row]:
    """K9: all memory marked idle from user space."""
    data = measured("K9")
    for vcpus, expected in data["seconds"].items():
        result = run_access_test(AccessPlan(MmuSpec(costs=X86), int(vcpus), data["pages_per_vcpu"]))
        got = result.of(MARK_IDLE)[0].duration_ns / 1e9
        yield time_row(X86, f"K9/{vcpus}", "1 GiB marked idle, s", expected, got, data["tolerance"])
