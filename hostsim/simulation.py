"""Run a scenario: what ``hostsim run`` does, for scripts."""

from __future__ import annotations

import os

from hostsim import __version__
from hostsim.host.knobs import Knobs
from hostsim.host.machine import Machine, Progress
from hostsim.jit import cache_folder
from hostsim.kernels.kvm.run import run_vcpus, run_with_walkers
from hostsim.kernels.send import send_pages
from hostsim.results.collect import guest_table, migration_result
from hostsim.results.memory import host_result
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from hostsim.scenario.assumed import assumptions_of
from hostsim.scenario.build import build
from hostsim.scenario.plausible import warnings_of


def run(scenario: Scenario, progress: Progress | None = None, knobs: Knobs | None = None) -> RunResult:
    """Simulate ``scenario``.

    progress: called with (simulated ns, what is known); knobs: how work is cut, which moves no result.
    InputError if a trace cannot be read, InvariantError if an invariant breaks.
    """
    machine = Machine(build(scenario), knobs)
    machine.run(progress)
    profile = scenario.migration.profile if scenario.migration else "qemu"
    found = (migration_result(machine, machine.migration, profile),) if machine.migration else ()
    return RunResult(
        scenario=scenario.resolved(),
        seed=scenario.seed,
        version=__version__,
        migrations=found,
        guest=guest_table(machine),
        counters=counters(machine),
        end_ns=machine.env.now_ns,
        host=host_result(machine),
        warnings=warnings_of(scenario),
        assumptions=assumptions_of(scenario),
    )


def compiles_first(scenario: Scenario) -> bool:
    """Whether the loops that ``scenario`` needs are not in the cache of machine code."""
    folder = cache_folder()
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return False
    return folder is None or not any(folder.rglob(f"*.{_last_loop(scenario)}-*.nbi"))


def _last_loop(scenario: Scenario) -> str:
    """The name of a compiled loop that is there only once the others are."""
    if scenario.vm.dirty_tracking == "tcg":
        return send_pages.__name__
    is_aged = scenario.ageing is not None or scenario.host.memory is not None
    return (run_with_walkers if is_aged else run_vcpus).__name__


def counters(machine: Machine) -> dict[str, int]:
    """What the run had to do: pages harvested and sent, syncs."""
    migration = machine.migration
    if migration is None:
        return {}
    syncs = migration.recorder.syncs
    return {
        "syncs": len(syncs),
        "pages_harvested": sum(sync.dirtied_pages for sync in syncs),
        "pages_newly_dirty": sum(sync.newly_dirty_pages for sync in syncs),
        "normal_pages_sent": migration.ram.normal_pages,
        "zero_pages_sent": migration.ram.zero_pages,
    }
