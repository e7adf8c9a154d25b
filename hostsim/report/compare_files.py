"""The files of a comparison: tables, everything as JSON, the verdict, the picture, where it all comes from."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hostsim.report.compare_words import label, listed, setting_words, verdict_lines
from hostsim.report.html.pictures import pictures_of
from hostsim.report.html.registry import folder_content
from hostsim.report.origin_words import rows_rest_on
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes, table_files
from hostsim.results.provenance import config_sha256, git_revision
from hostsim.results.tables import Table, or_nan, plain
from hostsim.scenario.assumed import assumptions_of
from hostsim.scenario.plausible import warnings_of
from hostsim.study.compare.best import Best, all_best
from hostsim.study.compare.figures import figure_names
from hostsim.study.compare.identity import plugin_versions, versions
from hostsim.study.compare.plan import Plan
from hostsim.study.compare.record import record_name
from hostsim.study.compare.runner import Outcome
from hostsim.study.compare.summary import Difference, Row, Summary
from hostsim.study.statistics import method
from hostsim.verdict.render import warning_lines

FORMAT = "hostsim-compare/1"
OWN_FILES = re.compile(r"(compare|runs)\.(csv|parquet)|compare(-[\w-]+)?\.(png|svg)|verdict\.txt|report\.html")


def write_comparison(out: Path, plan: Plan, outcome: Outcome, summary: Summary, content: dict[str, Any]) -> list[Path]:
    """Write them; those of single runs are there already. Returns the paths; OutputError, then ``out`` is as it was."""
    files = {
        "compare.json": json_bytes(content),
        "provenance.json": json_bytes(provenance(plan, outcome)),
        "verdict.txt": "".join(f"{line}\n" for line in content["verdict"]).encode(),
        **table_files("compare", combinations_table(summary)),
        **table_files("runs", runs_table(plan, outcome)),
        **pictures_of(folder_content("compare", content, provenance(plan, outcome)), "compare"),
    }
    return write_files(out, files, stale=OWN_FILES if (out / "compare.json").exists() else None)


def as_content(plan: Plan, outcome: Outcome, summary: Summary, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The content of compare.json with the verdict of the study, ``notes`` behind its lines."""
    bests = all_best(summary)
    head, *others = verdict_lines(summary, bests)
    warnings = dict.fromkeys(text for run in plan.runs for text in warnings_of(run.scenario))
    lines = [head, *warning_lines(list(warnings)), *others, *_assumed(plan), *notes, f"{rows_rest_on(plan.seeds)}."]
    return as_object(plan, outcome, summary, bests, lines)


def _assumed(plan: Plan) -> Iterator[str]:
    """A line for each value that hostsim assumes, with the combinations that it is about unless it is about all."""
    about: dict[str, dict[str, None]] = {}
    for run in plan.runs:
        for text in assumptions_of(run.scenario):
            about.setdefault(text, {})[setting_words(plan.settings(run.combination))] = None
    everything = len({run.combination for run in plan.runs})
    for text, combinations in about.items():
        where = "" if len(combinations) == everything else f" ({listed(list(combinations))})"
        yield f"Assumption{where}: {text}."


def as_object(plan: Plan, outcome: Outcome, summary: Summary, bests: Sequence[Best], lines: Sequence[str]) -> dict[str, Any]:
    """The content of compare.json, which ``--json`` prints, too."""
    content = {
        "format": FORMAT,
        "name": plan.name,
        "version": versions()["hostsim"],
        "axes": [{"key": axis.key, "values": axis.labels} for axis in plan.axes],
        "set": plan.request.overrides,
        "seeds": plan.seeds,
        "interval": method() if len(plan.seeds) > 1 else None,
        "verdict": lines,
        "baseline": {name: summary.baseline(name) for name in summary.names()},
        "best": [_best(summary, best) for best in bests],
        "combinations": [_combination(summary, row) for row in summary.rows],
        "runs": [_run(plan, outcome, i) for i in range(len(plan.runs))],
    }
    plain_content: dict[str, Any] = plain(content)
    return plain_content


def provenance(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """All data to run the comparison again; each run's file has the scenario as resolved."""
    request = plan.request
    runs = {
        run.key: {"seed": run.seed, "settings": plan.settings(run.combination),
                  "config_sha256": config_sha256(run.scenario.resolved())}
        for run in plan.runs if outcome.figures.get(run.key) is not None
    }  # fmt: skip
    return {
        **versions(), "git": git_revision(), "python": platform.python_version(), "file": request.file.name,
        "set": list(request.overrides), "vary": {axis.key: list(axis.values) for axis in plan.axes},
        "seeds": list(plan.seeds), "runs": runs, **_plugins(plan),
    }  # fmt: skip


def _plugins(plan: Plan) -> dict[str, Any]:
    """Plug-ins of all runs, each once."""
    found = [one for run in plan.runs for one in plugin_versions(run.scenario).get("plugins", [])]
    once = [one for i, one in enumerate(found) if one not in found[:i]]
    return {"plugins": once} if once else {}


def combinations_table(summary: Summary) -> Table:
    """A row a combination: settings, seeds that converged, and for each figure mean, interval, ratio and effect."""
    schema = dict.fromkeys(summary.rows[0].settings, "str") | {"seeds": "int64", "converged": "int64"}
    for name in summary.names():
        schema |= {name: "float64", f"{name}_low": "float64", f"{name}_high": "float64"}
        schema |= {f"{name}_ratio": "float64", f"{name}_effect": "str"}
    rows = [_flat(summary, row) for row in summary.rows]
    return Table.of("compare", schema, rows)


def runs_table(plan: Plan, outcome: Outcome) -> Table:
    """A row a run: settings, seed, how it ended, its figures, its file."""
    found = [outcome.figures.get(run.key) for run in plan.runs]
    names = figure_names(figures for figures in found if figures)
    head = dict.fromkeys((axis.key for axis in plan.axes), "str") | {"seed": "int64", "status": "str"}
    schema = head | dict.fromkeys(names, "float64") | {"file": "str"}
    rows = []
    for run, figures in zip(plan.runs, found, strict=True):
        values = [or_nan((figures or {}).get(name)) for name in names]
        status = "failed" if figures is None else figures["status"]
        file = record_name(run.key) if figures else ""
        rows.append((*plan.combinations[run.combination], run.seed, status, *values, file))
    return Table.of("runs", schema, rows)


def _flat(summary: Summary, row: Row) -> tuple[Any, ...]:
    values: list[Any] = [*row.settings.values(), len(row.by_seed), row.n_converged]
    for name in summary.names():
        spread, difference = row.spread(name), summary.against_baseline(row, name)
        values += [or_nan(part) for part in ((spread.mean, spread.low, spread.high) if spread else (None, None, None))]
        values += [or_nan(difference.ratio), difference.effect] if difference else [or_nan(None), ""]
    return tuple(values)


def _combination(summary: Summary, row: Row) -> dict[str, Any]:
    figures = {}
    for name in summary.names():
        spread = row.spread(name)
        against = summary.against_baseline(row, name)
        figures[name] = None if spread is None else vars(spread) | {"against_baseline": _difference(against)}
    return {"settings": row.settings, "statuses": row.statuses, "converges": row.converges, "figures": figures}


def _difference(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    spread = difference.spread
    where = {"difference": spread.mean, "low": spread.low, "high": spread.high}
    return {"ratio": difference.ratio, **where, "effect": difference.effect}


def _best(summary: Summary, best: Best) -> dict[str, Any]:
    equal, as_good = ([label(summary.rows[i]) for i in some] for some in (best.equal, best.as_good))
    return {
        "figure": best.name, "value": best.mean, "settings": summary.rows[best.row].settings, "equal": equal,
        "within_noise": as_good, "against_baseline": _difference(best.from_first),
    }  # fmt: skip


def _run(plan: Plan, outcome: Outcome, index: int) -> dict[str, Any]:
    run = plan.runs[index]
    figures, failure = outcome.figures.get(run.key), outcome.failures.get(run.key)
    about = {"settings": plan.settings(run.combination), "seed": run.seed, "key": run.key, "figures": figures,
             "warnings": warnings_of(run.scenario)}  # fmt: skip
    return about | ({"error": failure.text} if failure else {})
