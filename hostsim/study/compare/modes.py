"""``hostsim compare FILE --modes``: a scenario migrated by each mechanism that QEMU has for a guest like this one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from hostsim.core.errors import InputError, Problem
from hostsim.core.units import shown
from hostsim.scenario import load_scenario
from hostsim.scenario.nearest import wanted_name
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.axes import Axis
from hostsim.study.compare.plan import Plan, Request, plan_of

ALL, KEY = "all", "modes"
SOURCE, EXAMPLE = "--modes", "--modes precopy,postcopy@2,xbzrle"
Keys = Mapping[str, str]
OFF: Keys = MappingProxyType(
    {
        "auto_converge": "false", "xbzrle": "false", "multifd": "false", "multifd_compression": "none",
        "zero_copy_send": "false", "dirty_limit": "false", "postcopy_ram": "false", "postcopy_preempt": "false",
        "postcopy_blocktime": "false",
    }
)  # fmt: skip
"""A mode changes these keys of [migration] alone; the scenario keeps its bandwidth, its limits and its version of QEMU."""
ROUNDS = "postcopy_after_rounds"
_POSTCOPY: Keys = {"postcopy_ram": "true", ROUNDS: "1"}
MODES: Mapping[str, Keys] = MappingProxyType(
    {
        "precopy": {},
        "auto-converge": {"auto_converge": "true"},
        "dirty-limit": {"dirty_limit": "true"},
        "xbzrle": {"xbzrle": "true"},
        "multifd": {"multifd": "true"},
        "multifd-zlib": {"multifd": "true", "multifd_compression": "zlib"},
        "multifd-zstd": {"multifd": "true", "multifd_compression": "zstd"},
        "zero-copy": {"multifd": "true", "zero_copy_send": "true"},
        "postcopy": _POSTCOPY,
        "postcopy-preempt": {**_POSTCOPY, "postcopy_preempt": "true"},
    }
)
"""Mode to the keys that it turns on; ``@N`` behind a mode with post-copy is the number of rounds before the switch."""


@dataclass(frozen=True)
class Modes:
    """Modes of a scenario: plan: their runs; left_out: mode to what it needs and this guest has not."""

    plan: Plan
    left_out: Mapping[str, str]


def modes_plan(request: Request, text: str) -> Modes:
    """The runs of the modes in ``text`` ("all", or names between commas).

    With "all" a mode that this scenario cannot have is left out; a mode that is named has to be possible. InputError.
    """
    names = list(MODES) if text.strip() == ALL else _names(text)
    _check_migration(request)
    scenarios: dict[str, Scenario] = {}
    refused: dict[str, tuple[Problem, ...]] = {}
    for name in names:
        try:
            scenarios[name] = load_scenario(request.file, [*request.overrides, *_overrides(name)], request.seed)
        except InputError as error:
            refused[name] = tuple(error.problems)
    if refused and (text.strip() != ALL or not scenarios):
        told = [(name, problem) for name, problems in refused.items() for problem in problems]
        raise InputError([replace(one, file=SOURCE, got=f"{one.got} ({name})") for name, one in told])
    axis = Axis(KEY, tuple(scenarios), tuple(scenarios))
    made = replace(request, axes=(axis,), name=request.name or _name(request, scenarios), command=_command(request))
    plan = plan_of(made, [(name,) for name in scenarios], list(scenarios.values()))
    return Modes(plan, {name: f"it needs {problems[0].wanted}" for name, problems in refused.items()})


def keys_of(name: str) -> Keys:
    """Keys of [migration] that mode ``name`` sets, all others of ``OFF`` off. KeyError for an unknown name."""
    base, _, rounds = name.partition("@")
    found = {**OFF, **MODES[base]}
    return found | {ROUNDS: rounds} if rounds else found


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
    if at and ROUNDS not in MODES[base]:
        return Problem(SOURCE, "", shown(name), "@N behind postcopy or postcopy-preempt only", EXAMPLE)
    if at and not re.fullmatch(r"[0-9]{1,6}", rounds):
        return Problem(SOURCE, "", shown(name), "a number of rounds behind the @", EXAMPLE)
    return None


def _check_migration(request: Request) -> None:
    """InputError if the file has errors of its own, or no migration."""
    if load_scenario(request.file, list(request.overrides), request.seed).migration is None:
        raise InputError([Problem(str(request.file), "migration", "none", "a [migration] table, for --modes")])


def _name(request: Request, scenarios: Mapping[str, Scenario]) -> str:
    return next(iter(scenarios.values())).name or request.file.stem


def _command(request: Request) -> tuple[str, ...]:
    """The command that replays a run, but for its mode and its seed."""
    return ("hostsim", "compare", str(request.file), *(part for text in request.overrides for part in ("--set", text)))
