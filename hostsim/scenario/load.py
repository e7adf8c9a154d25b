"""A scenario from a TOML file, with overrides: everything wrong with it in one InputError."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hostsim.core.errors import InputError, Problem
from hostsim.core.user_files import SCENARIO, read_toml
from hostsim.costs.cost_file import is_path
from hostsim.costs.costs import load_costs
from hostsim.scenario.complete import vms_of
from hostsim.scenario.kvm_checks import sheet_findings
from hostsim.scenario.overrides import SOURCE as SET
from hostsim.scenario.overrides import apply_overrides
from hostsim.scenario.schema import Scenario, Vm, Workload, trace_name
from hostsim.scenario.section import SOURCE
from hostsim.scenario.trace_csv import TraceColumns
from hostsim.scenario.types import NAME_MAX


def load_scenario(path: str | Path, overrides: Sequence[str] = (), seed: int | None = None) -> Scenario:
    """The scenario in the file at ``path``, checked, its traces and its cost sheet read.

    overrides: "migration.bandwidth=25Gbit/s", arrays by index; seed: replaces the file's. InputError with all problems.
    """
    table = read_toml(path, SCENARIO, 'memory = "4GiB" under [vm]')
    table.setdefault("name", _name_of(path))
    return scenario_of(table, path, overrides, seed)


def scenario_of(
    table: dict[str, Any], path: str | Path, overrides: Sequence[str] = (), seed: int | None = None
) -> Scenario:  # fmt: skip
    """The scenario of ``table``, which is changed in place, as ``load_scenario`` reads it from the file at ``path``."""
    own = set(table)
    set_keys, problems = apply_overrides(table, overrides)
    set_keys |= {key.partition(".")[0].partition("[")[0] for key in set_keys} - own
    if seed is not None:
        table["seed"] = seed
    scenario, found = _validated(table, Path(path).parent)
    place = {"seed": "--seed"} if seed is not None else {}
    problems += [_placed(problem, str(path), set_keys, place) for problem in found]
    if problems or scenario is None:
        raise InputError(problems)
    return scenario


def _validated(table: dict[str, Any], folder: Path) -> tuple[Scenario | None, list[Problem]]:
    try:
        scenario = Scenario.model_validate(table).in_folder(folder)
    except InputError as error:
        return None, error.problems
    problems = [*trace_problems(scenario), *costs_problems(scenario)]
    return (None if problems else scenario), problems


def trace_problems(scenario: Scenario) -> list[Problem]:
    """Problems of the trace files of ``scenario``, and between them and its VMs."""
    try:
        traces = scenario.traces()
    except InputError as error:
        return error.problems
    found = []
    for key, vm in vms_of(scenario):
        for workload in vm.workload:
            if workload.file is not None:
                found += _touch_problems(workload, vm, key, traces[trace_name(key, workload)])
    return found


def _touch_problems(workload: Workload, vm: Vm, key: str, trace: TraceColumns) -> list[Problem]:
    """Touches that the VM at ``key`` cannot make."""
    n_pages, problems, file = vm.memory_pages, [], str(workload.file)
    vcpus = workload.vcpu_numbers(vm.vcpus)
    strangers = sorted(set(trace.vcpu.tolist()) - set(vcpus))
    if strangers:
        wanted = f"touches of the workload's vCPUs ({len(vcpus)} of them, {key}.vcpus = {vm.vcpus})"
        problems.append(Problem(file, "vcpu", f"vCPU {strangers[0]}", wanted, f"vcpus = {strangers[-1] + 1}"))
    highest = int(trace.gfn.max())
    if highest >= n_pages:
        wanted = f"guest frame numbers below {n_pages} ({key}.memory)"
        problems.append(Problem(file, "gfn", str(highest), wanted, 'memory = "1GiB"'))
    return problems


def costs_problems(scenario: Scenario) -> list[Problem]:
    """Problems of the cost sheet of ``scenario``, if the sheet is a file."""
    mmu, sheet = scenario.vm.mmu, scenario.costs()
    if mmu is None or not is_path(sheet):
        return []
    try:
        load_costs(sheet)
    except InputError as error:
        return error.problems
    return [finding.problem(SOURCE) for finding in sheet_findings(mmu, sheet)]


def _placed(problem: Problem, path: str, set_keys: frozenset[str], place: dict[str, str]) -> Problem:
    """``problem`` with the file it really stands in: a key that was set is not the file's."""
    if problem.file != SOURCE:
        return problem
    set_here = any(problem.key == key or problem.key.startswith((f"{key}.", f"{key}[")) for key in set_keys)
    return replace(problem, file=place.get(problem.key, SET if set_here else path))


def _name_of(path: str | Path) -> str:
    """A valid name from the file's."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem).lstrip("._-")[:NAME_MAX]
    return name or "scenario"
