"""Studies of a host's memory from Python: what ``hostsim age`` and ``hostsim reclaim`` run and write, as functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from hostsim.api.studies import Where, outcome_of
from hostsim.core.errors import InputError, Problem
from hostsim.report import age_report, reclaim_report
from hostsim.report.columns import Grid
from hostsim.results.tables import HasTables, Table
from hostsim.study.ageing.options import AgeOptions
from hostsim.study.ageing.outcome import age_rows
from hostsim.study.ageing.preset import age_plan
from hostsim.study.compare.runner import Progress
from hostsim.study.reclaim.options import ReclaimOptions
from hostsim.study.reclaim.outcome import reclaim_rows
from hostsim.study.reclaim.preset import reclaim_plan

Options = TypeVar("Options", AgeOptions, ReclaimOptions)


@dataclass(frozen=True, repr=False)
class HostStudy(HasTables):
    """A finished study of ageing or of reclaim.

    name: "age" or "reclaim".
    content: the content of age.json or reclaim.json.
    tables: a row a setting, as in the CSV of the command.
    grids: the tables that the command prints.
    paths: files that were written.
    """

    name: str
    content: dict[str, Any]
    tables: dict[str, Table]
    grids: Sequence[Grid] = field(default=(), compare=False)
    paths: tuple[Path, ...] = ()

    @property
    def verdict(self) -> str:
        """The lines above the tables of the command."""
        return "\n".join(self.content["verdict"])

    def to_dict(self) -> dict[str, Any]:
        """The content of the JSON file."""
        return self.content

    def __repr__(self) -> str:
        """The verdict; the fields of a study fill pages."""
        return self.verdict

    def _repr_html_(self) -> str:
        from hostsim.report.notebook import grids_html

        return grids_html(self.name, self.verdict, self.grids)


def age(
    *,
    workers: int | None = None,
    cluster: str = "",
    out: str | Path | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> HostStudy:
    """Age a guest's memory by policies: what that costs the guest, and what it sees, as ``hostsim age`` tells.

    options: those of the command with _ for -, as policy=["mglru", "idle"], vcpus=[1, 8], mem_per_vcpu="64MiB"; a list where
    the command takes values separated by commas.
    workers, cluster, out, force, progress: as of ``hostsim.compare``.
    InputError, OutputError, ClusterError; RunsFailedError if a run gave no result.
    """
    asked = _options(AgeOptions, "hostsim.age", options)
    plan, where = age_plan(asked), Where(workers, cluster, None if out is None else Path(out), force, progress)
    rows = age_rows(plan, outcome_of(plan.plan, where).figures)
    content = age_report.age_content(plan, asked, rows)
    paths = age_report.write_age(where.out, content, rows) if where.out else []
    tables = age_report.age_tables_of(rows)
    return HostStudy("age", content, tables, [age_report.age_table(rows, plan.varied())], tuple(paths))


def reclaim(
    *,
    workers: int | None = None,
    cluster: str = "",
    out: str | Path | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> HostStudy:
    """Take unused memory by policies and ages: how much comes free and what the guest pays, as ``hostsim reclaim`` tells.

    options: those of the command with _ for -, as memory="64MiB", ages=["1s", "10s"], policy="idle,mglru".
    workers, cluster, out, force, progress: as of ``hostsim.compare``.
    InputError, OutputError, ClusterError; RunsFailedError if a run gave no result.
    """
    asked = _options(ReclaimOptions, "hostsim.reclaim", options)
    plan, where = reclaim_plan(asked), Where(workers, cluster, None if out is None else Path(out), force, progress)
    rows = reclaim_rows(plan, outcome_of(plan.plan, where).figures)
    content = reclaim_report.reclaim_content(plan, asked, rows)
    paths = reclaim_report.write_reclaim(where.out, plan, content, rows) if where.out else []
    tables, grids = reclaim_report.reclaim_tables_of(plan, rows), reclaim_report.reclaim_tables(plan, rows)
    return HostStudy("reclaim", content, tables, grids, tuple(paths))


def _options(kind: type[Options], source: str, given: Mapping[str, Any]) -> Options:
    """The options object of ``given``. InputError with every unknown name."""
    known = {one.name: one for one in fields(kind)}
    if problems := list(_unknown(source, given, tuple(known))):
        raise InputError(problems)
    return kind(**{name: _typed(value, known[name].default) for name, value in given.items()})


def _unknown(source: str, given: Mapping[str, Any], known: Sequence[str]) -> Iterator[Problem]:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1) or known[:1]
            yield Problem(source, name, "an unknown option", f"one of {', '.join(known)}", f"{near[0]}=...")


def _typed(value: Any, default: Any) -> Any:
    """``value`` as the command line hands it over: text, with commas between the values of a list; numbers stay."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(default, str) and not isinstance(value, str) else value
