"""Figures of a run of ``hostsim reclaim`` after its warm-up: pages that went and came back, and their cost."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.latency import Latencies
from hostsim.machine.machine import Machine
from hostsim.memory.fault_waits import MIGRATION
from hostsim.memory.proactive import MeasuredWindow, ScanDone
from hostsim.scenario.build import build
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.record import Heard, Measure
from hostsim.theory.working_set import page_rates_per_s, working_set_pages

RAN = "ran"
PERCENTILES = {"stall_p50_ns": 50.0, "stall_p90_ns": 90.0, "stall_p99_ns": 99.0, "stall_p99.9_ns": 99.9}
FIGURES = (
    "cold_bytes", "reclaimed_bytes", "refaults_per_s", *PERCENTILES, "slowdown_percent", "pass_mean_ns", "pass_max_ns",
    "swapped_out_per_s",
)  # fmt: skip
OF_MIGRATIONS = (
    "migration_ns", "migration_bytes", "plain_migration_ns", "plain_migration_bytes", "read_back_pages",
    "dirtied_by_swap_in_pages",
)  # fmt: skip


def measure_reclaim(scenario: Scenario, heard: Heard) -> dict[str, Any]:
    """Run ``scenario``, with its policy or with none, and take the figures. InvariantError if a page or a write is lost."""
    machine = Machine(build(scenario))
    machine.run(heard)
    passes = Latencies()
    for scan in _measured_scans(machine):
        passes.record(scan.took_ns)
    stalls = machine.live_vms[0].page_waits.latencies
    found = {**_of_guest(machine, stalls), "pass_mean_ns": passes.mean_ns, "pass_max_ns": float(passes.max_ns)}
    latencies = {"stall": stalls.state(), "pass": passes.state()}
    return {"figures": {"status": RAN, **found, **_of_migration(machine), "latencies": latencies}}


RECLAIM_RUN = Measure("hostsim-reclaim-run/1", measure_reclaim)


def reclaim_figures(run: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, float]:
    """Figures of a row for one seed: FIGURES, and with a migration OF_MIGRATIONS. plain: of the guest without reclaim."""
    both = {
        **run, "slowdown_percent": 100.0 * (plain["work_share"] / run["work_share"] - 1.0),
        **{f"plain_{name}": plain.get(name) for name in ("migration_ns", "migration_bytes")},
    }  # fmt: skip
    return {name: float(both[name]) for name in (*FIGURES, *(OF_MIGRATIONS if "migration_ns" in run else ()))}


def _of_guest(machine: Machine, stalls: Latencies) -> dict[str, float]:
    memory, window = machine.memory, _window(machine)
    assert memory is not None, "a checked scenario with reclaim has [host.memory]"
    pages, seconds = memory.vms[0], (machine.env.now_ns - window.start_ns) / NS_PER_S
    resident = [scan.resident for scan in _measured_scans(machine)] or [pages.charged]
    return {
        "work_share": _work_share(machine),
        "cold_bytes": _cold_pages(machine) * PAGE_BYTES,
        "reclaimed_bytes": max(0.0, (machine.vm.memory.n_pages - fmean(resident)) * PAGE_BYTES),
        "refaults_per_s": stalls.count / seconds,
        **{name: float(stalls.percentile_ns(percent)) for name, percent in PERCENTILES.items()},
        "swapped_out_per_s": (pages.counts["swapped_out"] - window.counts["swapped_out"]) / seconds,
    }


def _of_migration(machine: Machine) -> dict[str, Any]:
    """Swap-in maps writable, so on a logged slot each fault that waited for the host dirtied its page."""
    migration, memory = machine.migration, machine.memory
    if migration is None or memory is None:
        return {}
    return {
        "completed": _completed(machine),
        "migration_ns": machine.env.now_ns - _window(machine).start_ns,
        "migration_bytes": migration.transferred_bytes,
        "read_back_pages": memory.vms[0].waits[MIGRATION].fetched,
        "dirtied_by_swap_in_pages": machine.live_vms[0].page_waits.latencies.count,
    }


def _work_share(machine: Machine) -> float:
    """Share of the work that the vCPUs could have done in the window; the downtime of a migration is left out."""
    vm, window, end_ns = machine.live_vms[0], _window(machine), machine.env.now_ns
    if machine.migration is not None and _completed(machine):
        end_ns = machine.migration.state.downtime_start_ns
    return (vm.work_ns() - window.work_ns) / ((end_ns - window.start_ns) * machine.spec.n_vcpus)


def _completed(machine: Machine) -> bool:
    return machine.migration is not None and machine.migration.state.status == "completed"


def _cold_pages(machine: Machine) -> float:
    """The truth: pages idle for an age, in the mean, were all of them resident (oracle O13); 0 where none are sought."""
    spec, n_pages = machine.spec, machine.vm.memory.n_pages
    rates = page_rates_per_s(spec.workloads, n_pages)
    if machine.reclaim is None or rates is None or spec.memory is None or spec.memory.reclaim is None:
        return 0.0
    return n_pages - working_set_pages(rates, spec.memory.reclaim.age_ns / NS_PER_S)


def _measured_scans(machine: Machine) -> list[ScanDone]:
    """Scans that began in the window; none of a guest without reclaim."""
    scans = [] if machine.reclaim is None else machine.reclaim.scans
    return [scan for scan in scans if scan.start_ns >= _window(machine).start_ns]


def _window(machine: Machine) -> MeasuredWindow:
    assert machine.window is not None, "the scenario has [host.memory.reclaim]"
    return machine.window
