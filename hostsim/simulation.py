"""Run a scenario from a script, as ``hostsim run`` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hostsim import __version__
from hostsim.core.knobs import Knobs
from hostsim.machine.machine import Machine, Progress
from hostsim.machine.plugged import figures_of
from hostsim.results.collect import migration_result
from hostsim.results.dirty_rate import rates_of
from hostsim.results.guest import guest_table
from hostsim.results.mechanism import tables_of
from hostsim.results.memory import host_result
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from hostsim.scenario.assumed import assumptions_of
from hostsim.scenario.build import build
from hostsim.scenario.mechanism import on_in
from hostsim.scenario.plausible import warnings_of
from hostsim.scenario.plugged import plugins_of

if TYPE_CHECKING:
    from hostsim.machine.recording import Recording


def run(
    scenario: Scenario, progress: Progress | None = None, knobs: Knobs | None = None, recording: Recording | None = None,
    look: Callable[[Machine], None] | None = None,
) -> RunResult:  # fmt: skip
    """Simulate ``scenario``.

    progress: called with (simulated time [ns], the counters by name).
    knobs: sizes of the pieces into which work is cut; they change no result.
    recording: gets slices and counters of the run, for ``hostsim.report.perfetto``; it changes no result.
    look: called as often as ``progress``, with the machine, of which it changes nothing.
    InputError if a trace cannot be read, InvariantError if an invariant breaks.
    """
    machine = Machine(build(scenario), knobs, recording=recording)
    machine.run(progress if look is None else _with_look(machine, progress, look))
    profile = scenario.migration.profile if scenario.migration else "qemu"
    attempts = machine.attempts.begun if machine.attempts else []
    found = tuple(migration_result(machine, migration, profile) for migration in attempts)
    result = RunResult(
        scenario=scenario.resolved(),
        seed=scenario.seed,
        version=__version__,
        migrations=found,
        guest=guest_table(machine),
        counters=counters(machine),
        end_ns=machine.env.now_ns,
        host=host_result(machine),
        warnings=warnings_of(scenario),
        assumptions=assumptions_of(scenario, completed=all(one.status == "completed" for one in found)),
        of_mechanisms=tables_of(machine),
        dirty_rates=rates_of(machine),
        plugins=tuple(one.identity() for one in plugins_of(scenario)),
    )
    if recording is not None:
        from hostsim.results.timeline import note_run

        note_run(recording, machine, result)
    return result


def _with_look(machine: Machine, progress: Progress | None, look: Callable[[Machine], None]) -> Progress:
    def both(sim_ns: int, info: dict[str, Any]) -> None:
        look(machine)
        if progress is not None:
            progress(sim_ns, info)

    return both


def kinds_of(scenario: Scenario) -> tuple[str, ...]:
    """Kinds of ``hostsim.compiled.compiling`` whose loops a run of ``scenario`` needs."""
    vms = (scenario.vm, *scenario.neighbour)
    kinds: tuple[str, ...] = ("migration",) if scenario.migration or any(vm.dirty_tracking == "tcg" for vm in vms) else ()
    if scenario.migration is not None:
        kinds += tuple(one.name for one in on_in(scenario.migration) if one.warm_up is not None)
    if scenario.vm.dirty_tracking == "tcg":
        return kinds
    memory = scenario.host.memory
    is_aged = scenario.ageing is not None or (memory is not None and memory.pages_out)
    aged = ("ageing",) * is_aged + ("memory",) * (memory is not None)
    return (*kinds, "kvm", *aged)


def counters(machine: Machine) -> dict[str, int | float]:
    """Work of the run: syncs, pages harvested, pages sent; and the figures that daemons of plug-ins noted."""
    noted = figures_of(machine.plugged)
    migration = machine.migration
    if migration is None:
        return noted
    syncs = migration.recorder.syncs
    return {
        "syncs": len(syncs),
        "pages_harvested": sum(sync.dirtied_pages for sync in syncs),
        "pages_newly_dirty": sum(sync.newly_dirty_pages for sync in syncs),
        "normal_pages_sent": migration.ram.normal_pages,
        "zero_pages_sent": migration.ram.zero_pages,
        **noted,
    }
