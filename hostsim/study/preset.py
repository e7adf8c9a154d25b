"""A command whose options make scenarios, which the runner of ``compare`` runs, each row beside a run to compare it with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hostsim.core.errors import InputError
from hostsim.scenario.load import costs_problems
from hostsim.scenario.schema import Scenario
from hostsim.study.compare.plan import Plan, Run


@dataclass(frozen=True)
class PairedPlan:
    """Rows of two runs a seed.

    plan: all runs.
    settings: of each row, every key with its value as text.
    pairs: of each row, two combinations: with ageing (or reclaim), and without.
    """

    plan: Plan
    settings: tuple[dict[str, str], ...]
    pairs: tuple[tuple[int, int], ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of each row."""
        return self.plan.seeds

    def runs_of(self, combination: int) -> tuple[Run, ...]:
        """The runs of a combination, seed by seed."""
        return self.plan.runs[combination * len(self.seeds) : (combination + 1) * len(self.seeds)]

    def scenario(self, row: int) -> Scenario:
        """The scenario of row ``row``, with the first seed."""
        return self.runs_of(self.pairs[row][0])[0].scenario

    def varied(self) -> list[str]:
        """Keys with more than one value."""
        return [key for key in self.settings[0] if len({setting[key] for setting in self.settings}) > 1]


def scenarios_of(tables: Sequence[dict[str, Any]], option_of: Mapping[str, str]) -> list[Scenario]:
    """The scenario of each table. InputError with all problems, each once.

    option_of: the option that writes a key of the scenario.
    """
    scenarios, told = [], set()
    for table in tables:
        try:
            scenario = Scenario.model_validate(table).in_folder(Path())
            problems = costs_problems(scenario)
            scenarios.append(scenario)
        except InputError as error:
            problems = error.problems
        told |= {replace(p, file=option_of[p.key], key="", example="") if p.key in option_of else p for p in problems}
    if told:
        raise InputError(sorted(told, key=str))
    return scenarios


def command_of(name: str, options: Any, left_out: Collection[str]) -> tuple[str, ...]:
    """``hostsim <name>`` with the options that are not at their defaults, but for the fields ``left_out``."""
    command = ["hostsim", name]
    for one in fields(options):
        value = getattr(options, one.name)
        if one.name in left_out or value == one.default:
            continue
        flag = f"--{one.name.replace('_', '-')}"
        if isinstance(value, bool):
            command.append(one.metadata["flag"].split("/")[0 if value else 1])
        else:
            command += [flag, str(value)]
    return tuple(command)
