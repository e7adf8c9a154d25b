"""The words, the table and the picture of the sweep of auto-converge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.compare_report import as_object, combinations_table, ended_words, figure_words, runs_table, spread_words
from hostsim.report.origin_words import rows_rest_on
from hostsim.report.studies import setting_column, write_study
from hostsim.study.throttle_sweep import CSV, OFF, REACHED, Bound, bound_of, mean, tuned, unbeaten
from hostsim.verdict.words import number_words, percent_words, seconds_words

if TYPE_CHECKING:

    from hostsim.study.compare.plan import Plan
    from hostsim.study.compare.runner import Outcome
    from hostsim.study.compare.summary import Row, Summary

NAME = "auto-converge"
NONE = "-"
ALL_BOUND = 0.999
LISTED_MAX = 3


def content_of(plan: Plan, outcome: Outcome, summary: Summary) -> dict[str, Any]:
    """The content of auto-converge.json: that of compare.json with the sweep's own verdict on ``summary``.

    plan: its file, overrides and values of each option. outcome: figures of each run.
    """
    content = as_object(plan, outcome, summary, (), verdict_lines(plan, summary))
    return content | {"format": "hostsim-sweep-auto-converge/1", "options": {"file": plan.request.file.name, "set":
                      list(plan.request.overrides), **{axis.key: list(axis.labels[1:]) for axis in plan.axes}}}  # fmt: skip


def write_sweep(out: Path, content: dict[str, Any], plan: Plan, outcome: Outcome, summary: Summary) -> list[Path]:
    """Write ``content`` (of ``content_of``) and two tables to the folder ``out``; returns the paths. OutputError.

    The tables: combinations, of ``summary``; runs, of ``plan`` and ``outcome``.
    """
    tables = {NAME: combinations_table(summary), "runs": runs_table(plan, outcome)}
    return write_study(out, NAME, content, tables)


def sweep_table(summary: Summary) -> Grid:
    """A row a setting, the migration without auto-converge first."""
    keys = [setting_column(key) for key in summary.rows[0].settings]
    figures = [
        Column("ended", "converges", ended_words, Role.KEY, of=lambda row: row),
        _figure("total_time_ms", "total time"), _figure("downtime_ms", "downtime"), _figure("guest_lost_ms", "lost work"),
        Column("throttle", "throttle", of=lambda row: _words(row, "throttle_max_percent")),
        *(_figure(f"{CSV}to_{k}_percent_ms", f"to {k} %") for k in REACHED
          if any(row.spread(f"{CSV}to_{k}_percent_ms") for row in summary.rows)),
    ]  # fmt: skip
    return grid_of([*keys, *figures], summary.rows)


def caption(plan: Plan) -> str:
    """The meaning of the columns."""
    return (
        f"lost work: time for which a vCPU did not work, from the start of the migration to its end; to k %: time until the "
        f"throttle reaches k %; {OFF}: without auto-converge. {rows_rest_on(plan.seeds)}."
    )


def verdict_lines(plan: Plan, summary: Summary) -> list[str]:
    """Settings that converge, the fastest, the one that costs least, and whether a throttle can help at all.

    plan: the scenario of its first run bounds the effect of a throttle.
    summary: its first row is the run without auto-converge.
    """
    rows, base = tuned(summary), summary.rows[0]
    good = [row for row in rows if row.converges]
    alone = "completes, too" if base.converges else "does not complete"
    some = f"{len(good)} of {len(rows)} settings of auto-converge complete the migration"
    lines = [f"VERDICT: {some}; without auto-converge it {alone}."]
    if good:
        lines += list(_advice(unbeaten(rows)))
    return [*lines, *_cannot(bound_of(plan.runs[0].scenario), rows), *_never_throttled(rows)]


def _advice(front: Sequence[Row]) -> Iterator[str]:
    fastest, cheapest = front[0], front[-1]
    if fastest is cheapest:
        yield f"Best in both time and lost work: {_setting(fastest)}: {_costs(fastest)}."
        return
    yield f"Fastest: {_setting(fastest)}: {_costs(fastest)}."
    yield f"Least lost work: {_setting(cheapest)}: {_costs(cheapest)}."
    between = front[1:-1][:LISTED_MAX]
    if between:
        yield f"Between: {'; '.join(f'{_setting(row)}: {_costs(row)}' for row in between)}."


def _setting(row: Row) -> str:
    return " ".join(f"--{key} {value}" for key, value in row.settings.items())


def _costs(row: Row) -> str:
    total, lost = mean(row, "total_time_ms"), mean(row, "guest_lost_ms")
    return f"{seconds_words(total / 1000)}, in which the guest loses {seconds_words(lost / 1000)} of work"


def _cannot(bound: Bound, rows: Sequence[Row]) -> Iterator[str]:
    """Writes that come by the clock are made later, not less."""
    if bound.share > ALL_BOUND:
        return
    clocked = percent_words(1.0 - bound.share)
    reach = max((mean(row, "throttle_max_percent") for row in rows), default=0.0)
    held = "no throttle of these runs reaches that" if reach < bound.from_percent else "a run reaches that"
    yield (
        f"Throttling cannot help below {number_words(bound.from_percent)} %: {clocked} of the page writes are not bound to "
        f"the CPU; they come by the clock, and a vCPU catches up with them between two sleeps; {held}."
    )


def _never_throttled(rows: Sequence[Row]) -> Iterator[str]:
    if not any(mean(row, "throttle_max_percent") > 0 for row in rows):
        yield "Auto-converge never throttled: the guest dirties too little for it (throttle-trigger-threshold)."


def _figure(name: str, heading: str) -> Column:
    return Column(name, heading, of=lambda row: _words(row, name))


def _words(row: Row, name: str) -> str:
    spread = row.spread(name)
    if spread is None:
        return NONE
    return figure_words(name, spread.mean) if name == "throttle_max_percent" else spread_words(name, spread)
