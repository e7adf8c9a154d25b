"""The output of ``hostsim measure-dirty``: table, caption, picture and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.measure_dirty_words import verdict_lines
from hostsim.report.origin_words import BY
from hostsim.report.study_files import spreads, study_content, write_study
from hostsim.report.study_words import setting_column
from hostsim.results.tables import Table
from hostsim.study.dirty_measure.outcome import MeasureRow, TrueTime
from hostsim.study.dirty_measure.plan import NONE, MeasurePlan
from hostsim.study.statistics import Spread, method
from hostsim.verdict.words import number_words, seconds_words

NAME = "measure-dirty"
NEVER = "never"


def measure_content(plan: MeasurePlan, options: Any, rows: Sequence[MeasureRow], truth: TrueTime) -> dict[str, Any]:
    """The content of measure-dirty.json."""
    told = [
        {"settings": row.settings, "n": row.n, "reported_mib_per_s": row.reported_mib, "written_mib_per_s": row.written_mib,
         "cv_percent": row.cv_percent, "forecast_total_s": row.total_s, "endless_share": row.endless,
         "figures": spreads(row.figures)}
        for row in rows
    ]  # fmt: skip
    total = None if truth.total_s is None else vars(truth.total_s)
    return study_content(
        NAME, options, plan.plan.seeds, method(), verdict=verdict_lines(rows, truth), rows=told,
        truth={"total_s": total, "completed": truth.n_completed, "seeds": truth.n},
    )  # fmt: skip


def write_measure(out: Path, content: dict[str, Any], rows: Sequence[MeasureRow]) -> list[Path]:
    """Write all files; their paths. OutputError."""
    return write_study(out, NAME, content, {NAME: measure_data(rows)})


def measure_table(rows: Sequence[MeasureRow]) -> Grid:
    """A line a measurement: what it reads, what it costs, what is forecast from it."""
    keys = [setting_column(key) for key in ("method", "samples", "window")]
    columns = [
        Column("n", "n", of=lambda row: row.n),
        Column("reported", "reported", unit="MiB/s", of=lambda row: number_words(row.reported_mib)),
        Column("written", "written", unit="MiB/s", of=lambda row: number_words(row.written_mib)),
        Column("bias", "bias", of=lambda row: _percent(row.figures, "bias_percent")),
        Column("cv", "CV", of=lambda row: f"{number_words(row.cv_percent)} %"),
        Column("lost", "guest lost", of=lambda row: f"{number_words(row.lost_percent)} %"),
        Column("forecast", "forecast", of=lambda row: NEVER if row.total_s is None else seconds_words(row.total_s)),
        Column("error", "error", of=lambda row: _percent(row.figures, "error_percent")),
        Column("endless", "endless", role=Role.SPARE, of=lambda row: f"{100 * row.endless:.0f} %"),
    ]  # fmt: skip
    return grid_of([*keys, *columns], rows)


def caption(plan: MeasurePlan, options: Any, rows: Sequence[MeasureRow]) -> str:
    """The meaning of the columns, seeds, and rows with fewer measurements than asked for."""
    fewer = [row for row in rows if row.n < options.reps]
    less = f"; {len(fewer)} rows have fewer than {options.reps} measurements: each costs the guest a fault a page"
    seeds = plan.plan.seeds
    return (
        f"bias: mean answer against the distinct pages written; ±: {method()} of {len(seeds)} runs (seeds {seeds[0]} to "
        f"{seeds[-1]}, {BY}); CV: spread of a single answer; forecast: total time of a guest that writes all its memory "
        f"evenly, its rate as measured; error: against the simulated migration{less if fewer else ''}"
    )


def _percent(figures: Mapping[str, Spread], name: str) -> str:
    """``-3.1 ±0.4 %``."""
    spread = figures.get(name)
    if spread is None:
        return NONE
    reach = f" ±{number_words(spread.reach, 2)}" if spread.reach else ""
    return f"{number_words(spread.mean)}{reach} %"


def measure_data(rows: Sequence[MeasureRow]) -> Table:
    """A row a measurement, with intervals."""
    names = ("bias_percent", "guest_lost_percent", "error_percent")
    schema = dict.fromkeys(("method", "samples", "window"), "str") | {"n": "int64"}
    figures = ("reported_mib_per_s", "written_mib_per_s", "cv_percent", "forecast_total_s", "endless_share")
    schema |= dict.fromkeys(figures, "float64")
    for name in names:
        schema |= {name: "float64", f"{name}_low": "float64", f"{name}_high": "float64"}
    return Table.of(NAME, schema, [_flat(row, names) for row in rows])


def _flat(row: MeasureRow, names: Sequence[str]) -> tuple[Any, ...]:
    nan = float("nan")
    total = nan if row.total_s is None else row.total_s
    found: list[Any] = [*row.settings.values(), row.n, row.reported_mib, row.written_mib, row.cv_percent, total, row.endless]
    for name in names:
        spread = row.figures.get(name)
        ends = (None, None, None) if spread is None else (spread.mean, spread.low, spread.high)
        found += [nan if end is None else end for end in ends]
    return tuple(found)
