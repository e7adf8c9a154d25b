"""``hostsim compare FILE --modes``: a scenario migrated by each mechanism that QEMU has for a guest like this one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from hostsim.core.errors import InputError, Problem
from hostsim.core.units import shown
from hostsim.scenario.mechanism import Keys, Kind, Mechanism, by_kind, mechanisms
from hostsim.scenario.problems import wanted_name
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.axes import Axis
from hostsim.study.compare.plan import Plan, Request, loaded, plan_of

ALL, KEY = "all", "modes"
SOURCE = "--modes"
OFF: Keys = MappingProxyType({key: text for one in mechanisms() for key, text in one.off.items()})
"""A mode changes these keys of [migration] alone; the scenario keeps its bandwidth, its limits and its version of QEMU."""
RINGS = "vm.dirty_tracking=dirty-ring"
OF_MODE: Mapping[str, Mechanism] = MappingProxyType({mode: one for one in by_kind() for mode in one.modes})
"""Mode to the mechanism that has it."""
MODES: Mapping[str, Keys] = MappingProxyType({"precopy": {}, **{mode: one.modes[mode] for mode, one in OF_MODE.items()}})
"""Mode to the keys that it turns on."""
TIMED = tuple(mode for mode, one in OF_MODE.items() if one.at)
"""Modes that may have ``@N`` behind them, the number of rounds before the switch."""
EXAMPLE = f"--modes precopy,{TIMED[0]}@2"


@dataclass(frozen=True)
class Modes:
    """Modes of a scenario.

    plan: their runs; left_out: by mode, the requirement that this guest does not meet.
    with_rings: modes whose guest has dirty rings, other than in the file, as their mechanism needs them.
    """

    plan: Plan
    left_out: Mapping[str, str]
    with_rings: tuple[str, ...] = ()


def modes_plan(request: Request, text: str, *, needs_table: bool = True) -> Modes:
    """The runs of the modes in ``text`` ("all", or names between commas).

    With "all" a mode that this scenario cannot have is left out; a mode that is named has to be possible, and one that
    needs dirty rings then gives them to the guest where the file has none. needs_table: the file has to have a
    [migration]. InputError.
    """
    names = list(MODES) if text.strip() == ALL else _names(text)
    base = _checked(request, needs_table=needs_table)
    rings = [RINGS] if text.strip() != ALL and base.vm.dirty_tracking != "dirty-ring" else []
    scenarios: dict[str, Scenario] = {}
    refused: dict[str, tuple[Problem, ...]] = {}
    for name in names:
        try:
            more = rings if needs_rings(name) else []
            scenarios[name] = loaded(request, [*_overrides(name), *more])
        except InputError as error:
            refused[name] = tuple(error.problems)
    if refused and (text.strip() != ALL or not scenarios):
        told = [(name, problem) for name, problems in refused.items() for problem in problems]
        raise InputError([replace(one, file=SOURCE, got=f"{one.got} ({name})") for name, one in told])
    axis = Axis(KEY, tuple(scenarios), tuple(scenarios))
    made = replace(request, axes=(axis,), name=request.name or _name(request, scenarios), command=_command(request))
    plan = plan_of(made, [(name,) for name in scenarios], list(scenarios.values()))
    left_out = {name: f"it needs {problems[0].wanted}" for name, problems in refused.items()}
    return Modes(plan, left_out, tuple(filter(needs_rings, scenarios)) if rings else ())


def keys_of(name: str) -> Keys:
    """Keys of [migration] that mode ``name`` sets, all others of ``OFF`` off. KeyError for an unknown name."""
    base, _, rounds = name.partition("@")
    found = {**OFF, **MODES[base]}
    return found | {OF_MODE[base].at: rounds} if rounds else found


def is_throttle(name: str) -> bool:
    """Whether mode ``name`` slows the guest."""
    mode = name.partition("@")[0]
    return mode in OF_MODE and OF_MODE[mode].kind is Kind.THROTTLE


def needs_rings(name: str) -> bool:
    """Whether the guest of mode ``name`` has to have dirty rings."""
    return name in OF_MODE and OF_MODE[name].needs_rings


def check_mode(name: str, source: str = "--mode") -> None:
    """InputError unless ``name`` is a mode."""
    if problem := _problem(name):
        raise InputError([replace(problem, file=source, example=f"{source} {EXAMPLE.split(',')[1]}")])


def _overrides(name: str) -> list[str]:
    return [f"migration.{key}={value}" for key, value in keys_of(name).items()]


def _names(text: str) -> list[str]:
    names = [part.strip() for part in text.split(",")]
    problems = [problem for name in names if (problem := _problem(name))]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [Problem(SOURCE, "", f"{shown(name)} twice", "each mode once", EXAMPLE) for name in twice]
    if problems:
        raise InputError(problems)
    return names


def _problem(name: str) -> Problem | None:
    base, at, rounds = name.partition("@")
    if base not in MODES:
        return Problem(SOURCE, "", shown(name), wanted_name(base, [*MODES, ALL]), EXAMPLE)
    if at and base not in TIMED:
        return Problem(SOURCE, "", shown(name), f"@N behind {' or '.join(TIMED)} only", EXAMPLE)
    if at and not re.fullmatch(r"[0-9]{1,6}", rounds):
        return Problem(SOURCE, "", shown(name), "a number of rounds behind the @", EXAMPLE)
    return None


def _checked(request: Request, *, needs_table: bool) -> Scenario:
    """The scenario without a mode. InputError if the file has errors of its own, or no migration where it needs one."""
    scenario = loaded(request)
    if scenario.migration is None and needs_table:
        raise InputError([Problem(str(request.file), "migration", "none", "a [migration] table, for --modes")])
    return scenario


def _name(request: Request, scenarios: Mapping[str, Scenario]) -> str:
    return next(iter(scenarios.values())).name or request.file.stem


def _command(request: Request) -> tuple[str, ...]:
    """The command that replays a run, but for its mode and its seed."""
    return ("hostsim", "compare", str(request.file), *(part for text in request.overrides for part in ("--set", text)))
