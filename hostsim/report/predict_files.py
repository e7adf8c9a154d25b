"""Tables and files of a prediction: figures with intervals, runs, margins; JSON, the picture, where it all comes from."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.compare_words import TITLES, figure_words
from hostsim.report.html.pictures import pictures_of
from hostsim.report.html.registry import folder_content
from hostsim.report.predict_words import estimate_words
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes, table_files
from hostsim.results.provenance import config_sha256, git_revision
from hostsim.results.tables import Table, or_nan
from hostsim.study.compare.figures import figure_names
from hostsim.study.compare.identity import versions
from hostsim.study.predict.prediction import Estimate, Prediction

OWN_FILES = re.compile(
    r"(predict|runs|margins)\.(csv|parquet)|predict(-[\w-]+)?\.(png|svg)|verdict\.txt|report\.html"
)
SHOWN: Mapping[str, str] = {
    **TITLES, "syncs": "rounds", "throttle_max_percent": "throttle", "mode.sent_percent": "sent / RAM",
    "mode.exposed_ns": "needs both hosts", "mode.page_wait_p99_ns": "page wait p99",
    "kvm.wp_faults": "write faults", "memory.swapped_in": "pages swapped in",
}  # fmt: skip
"""Figures of the table on the terminal: name to heading."""


def figures_grid(estimates: Mapping[str, Estimate]) -> Grid:
    """A row a figure: mean and interval, median, the value that most runs do not exceed, number of runs."""
    columns = [
        Column("figure", "figure", role=Role.KEY, of=lambda one: SHOWN[one.name]),
        Column("mean", "mean [95 % interval]", of=estimate_words),
        Column("median", "median [95 % interval]", of=_median_words),
        Column("p95", "95 % of runs", of=lambda one: figure_words(one.name, one.p95)),
        Column("n", "runs", of=lambda one: one.spread.n),
    ]
    rows = [estimates[name] for name in SHOWN if name in estimates]
    return grid_of(columns, [one for one in rows if one.spread.mean > 0], "Figures")


def write_prediction(out: Path, found: Prediction, content: dict[str, Any]) -> list[Path]:
    """Write the files of ``found``; returns their paths. OutputError, then ``out`` is as it was."""
    files = {
        "predict.json": json_bytes(content), "provenance.json": json_bytes(provenance(found)),
        "verdict.txt": "".join(f"{line}\n" for line in content["verdict"]).encode(),
        **table_files("predict", estimates_table(found)), **table_files("runs", runs_table(found)),
        **(table_files("margins", margins_table(found)) if found.margins else {}),
        **pictures_of(folder_content("predict", content, provenance(found)), "predict"),
    }  # fmt: skip
    return write_files(out, files, stale=OWN_FILES if (out / "predict.json").exists() else None)


def provenance(found: Prediction) -> dict[str, Any]:
    """All data to run the prediction again."""
    return {
        **versions(), "git": git_revision(), "python": platform.python_version(), "seeds": list(found.seeds),
        "scenario": found.scenario, "config_sha256": config_sha256(dict(found.scenario)),
    }  # fmt: skip


def estimates_table(found: Prediction) -> Table:
    """A row a figure."""
    schema = {"figure": "str", "n": "int64"} | dict.fromkeys(
        ("mean", "low", "high", "median", "median_low", "median_high", "p95"), "float64"
    )
    rows = [(name, *(or_nan(value) for value in _values(one))) for name, one in found.estimates.items()]
    return Table.of("predict", schema, rows)


def runs_table(found: Prediction) -> Table:
    """A row a run: seed, how it ended, its figures."""
    names = figure_names(found.runs)
    schema = {"seed": "int64", "status": "str"} | dict.fromkeys(names, "float64")
    both = zip(found.seeds, found.runs, strict=True)
    return Table.of(
        "runs", schema, [(seed, run["status"], *(or_nan(run.get(name)) for name in names)) for seed, run in both]
    )


def margins_table(found: Prediction) -> Table:
    """A row a figure whose margin was looked for."""
    schema = {"figure": "str"} | dict.fromkeys(("today", "computed", "near", "far"), "float64")
    schema |= {"harder": "bool", "confirmed": "bool", "runs": "int64"}
    rows = [
        (one.knob, one.today, or_nan(one.computed), or_nan(one.near), or_nan(one.far), one.harder, one.confirmed,
         len(one.seeds))
        for one in found.margins
    ]  # fmt: skip
    return Table.of("margins", schema, rows)


def _median_words(one: Estimate) -> str:
    text = figure_words(one.name, one.median.median)
    if one.median.low is None or one.median.high is None or one.median.low == one.median.high:
        return text
    return f"{text} [{figure_words(one.name, one.median.low)}, {figure_words(one.name, one.median.high)}]"


def _values(one: Estimate) -> tuple[Any, ...]:
    spread, median = one.spread, one.median
    return (spread.n, spread.mean, spread.low, spread.high, median.median, median.low, median.high, one.p95)
