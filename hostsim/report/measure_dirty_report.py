"""The output of ``hostsim measure-dirty``: the verdict, a sentence a row; table, caption, picture and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.origin_words import BY
from hostsim.report.studies import setting_column, spreads, study_content, write_study
from hostsim.results.tables import Table
from hostsim.study.dirty_measure.options import METHODS
from hostsim.study.dirty_measure.outcome import MeasureRow, TrueTime
from hostsim.study.dirty_measure.plan import NONE, MeasurePlan
from hostsim.study.statistics import Spread, method
from hostsim.verdict.words import number_words, percent_words, seconds_words

NAME = "measure-dirty"
NEVER = "never"


def measure_content(plan: MeasurePlan, options: Any, rows: Sequence[MeasureRow], truth: TrueTime) -> dict[str, Any]:
    """The content of measure-dirty.json: ``options`` as given, seeds of ``plan``, ``rows`` with figures, verdict.

    truth: the total time of simulated migrations, beside which forecasts are put; None in the object where none completed.
    """
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
    """Write ``content`` (of ``measure_content``) and the table of ``rows`` to folder ``out``.

    Returns the paths. OutputError.
    """
    return write_study(out, NAME, content, {NAME: measure_data(rows)})


def measure_table(rows: Sequence[MeasureRow]) -> Grid:
    """A line a measurement: its answer, its cost to the guest, the forecast from it."""
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
    """The meaning of the columns, the seeds of ``plan``, and how many of ``rows`` have fewer measurements than asked for.

    options: those of the study; its ``reps`` is the number of measurements asked for.
    """
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


SMALL, EXACT = 0.02, 0.001
"""Shares: an error up to the first is called right; a bias below the second is not told."""


def verdict_lines(rows: Sequence[MeasureRow], truth: TrueTime) -> list[str]:
    """The measurement that reads best, a sentence for each method, and the truth."""
    best = min(rows, key=lambda row: (abs(row.bias_percent) + row.cv_percent, row.lost_percent))
    lines = [f"VERDICT: {_named(best)} reads best: {_reading(best)}."]
    return [*lines, *map(_row_words, _first_windows(rows)), _truth_words(truth), _lesson(rows, truth)]


def _first_windows(rows: Sequence[MeasureRow]) -> list[MeasureRow]:
    """A row for each method and number of samples: that of its first window; the table has the others."""
    first = {(row.settings["method"], row.settings["samples"]): row for row in reversed(rows)}
    return list(reversed(first.values()))


def _row_words(row: MeasureRow) -> str:
    name = _named(row)
    return f"{name[0].upper()}{name[1:]}: {_reading(row)}; {_cost(row)}; {_forecast_words(row)}."


def _named(row: MeasureRow) -> str:
    mode, samples, window = row.settings["method"], row.settings["samples"], row.settings["window"]
    of = "" if samples == NONE else f" with {samples} pages a GiB"
    return f"{METHODS[mode].replace('page-', 'page ').replace('dirty-', 'dirty ')}{of} over {window}"


def _reading(row: MeasureRow) -> str:
    bias = row.bias_percent / 100
    side = "above" if bias > 0 else "below"
    much = f"{percent_words(abs(bias))} {side} the rate" if abs(bias) >= EXACT else "the rate"
    mean = f"reads {much} at which the guest wrote"
    some = f"a single answer is off by another {percent_words(row.cv_percent / 100)}"
    spread = some if row.cv_percent > 0 else "all answers are alike"
    return f"it {mean} ({number_words(row.reported_mib)} MiB/s), and {spread}"


def _cost(row: MeasureRow) -> str:
    lost = row.lost_percent / 100
    return f"it costs a vCPU {percent_words(lost)} of its time" if lost > 0 else "it costs the guest nothing"


def _forecast_words(row: MeasureRow) -> str:
    if row.total_s is None:
        return "a forecast from it never ends"
    some = f" ({percent_words(row.endless)} of the answers give a forecast that never ends)" if row.endless else ""
    error = row.error_percent
    if error is None:
        return f"a forecast from it is {seconds_words(row.total_s)}{some}"
    side = "long" if error > 0 else "short"
    much = f"{percent_words(abs(error) / 100)} too {side}" if abs(error) >= 100 * SMALL else "right within 2 %"
    return f"a total time forecast from it, {seconds_words(row.total_s)}, is {much}{some}"


def _truth_words(truth: TrueTime) -> str:
    if truth.total_s is None:
        return f"Truth: the simulated migration completes with none of {truth.n} seeds."
    seeds = f"{truth.n_completed} of {truth.n} seeds complete"
    return f"Truth: the simulated migration takes {seconds_words(truth.total_s.mean)} ({seeds})."


def _lesson(rows: Sequence[MeasureRow], truth: TrueTime) -> str:
    """Whether the error of the forecast is that of the measurement, or that of taking one rate for a guest."""
    right = [row for row in rows if abs(row.bias_percent) <= 100 * SMALL]
    errors = [abs(row.error_percent) for row in right if row.error_percent is not None]
    if truth.total_s is None or not errors:
        return "No forecast can be compared: no migration completed, or no answer is within 2 % of the true rate."
    if min(errors) > 100 * SMALL:
        return (
            "Even the true rate gives a wrong forecast: the forecast assumes a guest that writes all its memory evenly. "
            "Rates over several windows show how the guest saturates."
        )
    return "The true rate gives a good forecast here: the guest writes its memory evenly enough."
