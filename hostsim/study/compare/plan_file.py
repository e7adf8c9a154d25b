"""The plan of a comparison as a file in its folder: which runs there will be, before they are finished."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostsim.core.errors import InputError, Problem
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes
from hostsim.study.compare.figures import Figures
from hostsim.study.compare.plan import Plan
from hostsim.study.compare.record import WHOLE_RUN, Measure, read_record

NAME, FORMAT = "plan.json", "hostsim-compare-plan/1"
DONE = "compare.json"
"""Written when all runs are through, failed ones included."""


@dataclass(frozen=True)
class Group:
    """The runs of one combination. settings: of its keys; keys: of its runs, one a seed."""

    settings: Mapping[str, str]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class PlannedRuns:
    """All runs of a comparison, by combination. may_grow: seeds may be added when these are finished."""

    name: str
    groups: tuple[Group, ...]
    may_grow: bool = False

    @property
    def keys(self) -> frozenset[str]:
        """The keys of all runs; equal runs have one key."""
        return frozenset(key for group in self.groups for key in group.keys)

    def as_object(self) -> dict[str, Any]:
        """In the terms of JSON."""
        groups = [{"settings": dict(group.settings), "runs": list(group.keys)} for group in self.groups]
        return {"format": FORMAT, "name": self.name, "combinations": groups} | ({"may_grow": True} if self.may_grow else {})


def planned_runs(plan: Plan) -> PlannedRuns:
    """The runs of ``plan``."""
    keys: list[list[str]] = [[] for _ in plan.combinations]
    for run in plan.runs:
        keys[run.combination].append(run.key)
    groups = tuple(Group(plan.settings(i), tuple(some)) for i, some in enumerate(keys))
    return PlannedRuns(plan.name, groups, plan.request.by_work)


def write_plan(out: Path, plan: Plan) -> None:
    """Write the file into ``out``. OutputError."""
    write_files(out, {NAME: json_bytes(planned_runs(plan).as_object())})


def read_plan(out: Path) -> PlannedRuns:
    """The plan in ``out``. InputError if no whole plan is there."""
    wanted = "a folder into which `hostsim compare` or `hostsim sweep` writes its runs"
    try:
        content = json.loads((out / NAME).read_bytes())
        assert content["format"] == FORMAT, content["format"]
        groups = tuple(Group(dict(one["settings"]), tuple(one["runs"])) for one in content["combinations"])
        return PlannedRuns(str(content["name"]), groups, bool(content.get("may_grow", False)))
    except FileNotFoundError:
        raise InputError([Problem(str(out), "", f"no {NAME} in it", wanted, "hostsim watch out/my-study")]) from None
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError([Problem(str(out / NAME), "", f"a broken plan ({error})", wanted)]) from None


class Finished:
    """Figures of the runs that are finished in a folder; a file that was read is not read again."""

    def __init__(self, out: Path, planned: PlannedRuns, measure: Measure = WHOLE_RUN) -> None:
        self.planned, self._out, self._measure = planned, out, measure
        self._figures: dict[str, Figures] = {}

    def look(self) -> None:
        """Read what is new, more seeds too."""
        if self.planned.may_grow and (self._out / NAME).exists():
            now = read_plan(self._out)
            self.planned = now if now.keys >= self.planned.keys else self.planned
        for key in self.planned.keys - self._figures.keys():
            figures = read_record(self._out, key, self._measure)
            if figures is not None:
                self._figures[key] = figures

    @property
    def count(self) -> int:
        """Runs that are finished."""
        return len(self._figures)

    def of(self, group: Group) -> Iterator[Figures]:
        """The figures of each finished run of ``group``."""
        return (self._figures[key] for key in group.keys if key in self._figures)

    def is_over(self) -> bool:
        """Whether nothing more is to come: every run is finished and no seed may follow, or the comparison has ended."""
        return self._is_done() or (self.count == len(self.planned.keys) and not self.planned.may_grow)

    def _is_done(self) -> bool:
        try:
            return (self._out / DONE).stat().st_mtime_ns >= (self._out / NAME).stat().st_mtime_ns
        except OSError:
            return False
