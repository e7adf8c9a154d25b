"""The verdict, the table and the files of a comparison.

Verdict: combinations that converge, the best for each figure, and whether chance may explain it. Table: a row a combination,
each figure beside its ratio to the first row. Files: tables, JSON, the verdict, the picture, the origin of the data.
"""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.html.registry import folder_content, pictures_of
from hostsim.report.origin_words import rows_rest_on
from hostsim.results.ageing import AGEING as AGEING_SECTION
from hostsim.results.aside import write_files
from hostsim.results.columns import titles
from hostsim.results.encode import json_bytes, table_files
from hostsim.results.kvm import INDEX, KVM_ROUNDS
from hostsim.results.memory import VMS
from hostsim.results.provenance import config_sha256, own_revision
from hostsim.results.tables import Table, or_nan, plain
from hostsim.scenario.assumed import assumptions_of
from hostsim.scenario.plausible import warnings_of
from hostsim.study.compare.best import Best, all_best
from hostsim.study.compare.figures import AGEING, JUDGED, KVM, MEMORY, MODE, NO_MIGRATION, OUTCOMES, RAN_OUT, figure_names
from hostsim.study.compare.identity import plugin_versions, versions
from hostsim.study.compare.modes import KEY
from hostsim.study.compare.modes import KEY as MODES_KEY
from hostsim.study.compare.plan import Plan
from hostsim.study.compare.record import record_name
from hostsim.study.compare.runner import Outcome
from hostsim.study.compare.summary import Difference, Row, Summary
from hostsim.study.statistics import CONFIDENCE, Spread, has_intervals, method
from hostsim.verdict.render import warning_lines
from hostsim.verdict.words import bytes_words, number_words, percent_words, seconds_words

TITLES: Mapping[str, str] = {
    "total_time_ms": "total time",
    "downtime_ms": "downtime",
    "transferred_bytes": "sent",
    "guest_slowdown_percent": "guest slowdown",
    "ageing.pass_mean_ns": "ageing pass",
}
ENDED = {"active": "not complete", NO_MIGRATION: "at its end", RAN_OUT: "out of memory"}
LISTED_MAX = 3


def figure_words(name: str, value: float) -> str:
    """A figure as people read it, by the unit its name ends in."""
    if name.endswith("_ms"):
        return seconds_words(value / 1000)
    if name.endswith("_ns"):
        return seconds_words(value / 1e9)
    if name.endswith("_bytes"):
        return bytes_words(value)
    if name.endswith("_share"):
        return percent_words(value)
    return percent_words(value / 100) if name.endswith("_percent") else number_words(value, 6)


def spread_words(name: str, spread: Spread) -> str:
    """``5.25 s ±2 %``: the mean of ``spread`` in the unit of figure ``name``, and the longer side of its interval.

    Without an interval, and for a mean of 0 or less, the mean stands alone.
    """
    text = figure_words(name, spread.mean)
    if spread.reach is None or spread.mean <= 0:
        return text
    return f"{text} ±{number_words(100 * spread.reach / spread.mean, 2)} %"


def ratio_words(ratio: float) -> str:
    """0.3521 -> "0.352x"."""
    return f"{number_words(ratio)}x"


def label(row: Row) -> str:
    """``link.bandwidth=1Gbit/s, migration.downtime_limit=100ms``; a mechanism by its name alone."""
    return setting_words(row.settings)


def setting_words(settings: Mapping[str, object]) -> str:
    """As ``label``, of keys and values."""
    return ", ".join(f"{value}" if key == MODES_KEY else f"{key}={value}" for key, value in settings.items())


def ended_words(row: Row) -> str:
    """The end of a combination's runs: "yes", "cancelled", or the count of its seeds that completed."""
    if len(row.statuses) > 1:
        return f"{row.n_converged} of {len(row.statuses)}"
    status = row.statuses[0]
    return "yes" if status == "completed" else ENDED.get(status, status)


def verdict_lines(summary: Summary, bests: Sequence[Best]) -> list[str]:
    """The verdict on ``summary``: the first line opens with VERDICT; then a line for each of ``bests``, one a figure."""
    lines = [f"VERDICT: {_convergence(summary)}."] if summary.has_migration else [f"VERDICT: {_ran(summary)}."]
    lines += [f"{_best_line(summary, best)}." for best in bests]
    return lines


def _convergence(summary: Summary) -> str:
    rows, n = summary.rows, len(summary.rows)
    good = sum(row.converges for row in rows)
    if n == 1:
        return "the only combination " + ("converges" if good else f"does not converge ({_seeds(rows[0])})")
    if good == n:
        return f"all {n} combinations converge"
    others = listed([f"{label(row)} ({_seeds(row)})" for row in rows if not row.converges])
    if any(row.n_converged for row in rows):
        return f"{good} of {n} combinations converge{' with every seed' * (len(summary.seeds) > 1)}; not: {others}"
    return f"none of {n} combinations converges: {others}"


def _seeds(row: Row) -> str:
    text, (status, *others) = ended_words(row), set(row.statuses)
    if len(row.statuses) > 1 and not others and not row.converges:
        return f"{ENDED.get(status, status)} with all {len(row.statuses)} seeds"
    return f"{text} seeds" if len(row.statuses) > 1 else text


def _ran(summary: Summary) -> str:
    done = sum(row.converges for row in summary.rows)
    gone = [label(row) for row in summary.rows if RAN_OUT in row.statuses]
    ran_out = f"; out of memory: {listed(gone)}" if gone else ""
    return f"{done} of {len(summary.rows)} combinations ran to their end; the scenario has no migration{ran_out}"


def _best_line(summary: Summary, best: Best) -> str:
    title = TITLES[best.name].capitalize()
    value = figure_words(best.name, best.mean)
    if best.all_equal:
        return f"{title}: {value} with all{_of_those(summary, best)}"
    if best.all_as_good:
        return f"{title}: about {value} with all{_of_those(summary, best)}; the seeds differ by more than the combinations"
    winner = " and ".join(label(summary.rows[i]) for i in (best.row, *best.equal[:1]))
    more = f" and {len(best.equal) - 1} more" if len(best.equal) > 1 else ""
    others = [label(summary.rows[i]) for i in best.as_good]
    noise = f"; equally good with these seeds: {listed(others)}" if others else ""
    return f"{title}: best {value} with {winner}{more}{_against_first(summary, best)}{noise}"


def _of_those(summary: Summary, best: Best) -> str:
    if best.judged == len(summary.rows):
        return ""
    return " that converge" if any(row.converges for row in summary.rows) else f" {best.judged} that have it"


def _against_first(summary: Summary, best: Best) -> str:
    first = summary.baseline(best.name)
    alike = {best.row, *best.equal, *best.as_good}
    if first in alike or best.from_first is None or best.from_first.ratio is None:
        return ""
    against = "the first combination" if first == 0 else label(summary.rows[first])
    ratio = number_words(best.from_first.ratio)
    return f" (about as much as with {against})" if ratio == "1" else f" ({ratio} times that of {against})"


def listed(texts: Sequence[str]) -> str:
    """The first three of ``texts``, and how many more there are."""
    more = len(texts) - LISTED_MAX
    return "; ".join([*texts[:LISTED_MAX], *([f"{more} more"] if more > 0 else [])])


ROWS_MAX = 60
FEW = 12
"""More mechanisms than that are shown with few figures each."""
NONE = "-"
NOISE = "~"
CONVERGES, ENDED_ALONE, RATIO = "converges", "ended", "x"
"""Heads of columns: how runs ended, with a migration and without; a figure over that of the first row."""
ALSO = {"syncs": "syncs", "throttle_max_percent": "throttle"}
"""Shown without a ratio."""
COSTS = {
    **titles(KVM_ROUNDS, KVM), **titles(INDEX, KVM),
    **titles(VMS, MEMORY), f"{MEMORY}swap_in_p99_ns": "swap-in p99",
    **titles(AGEING_SECTION, AGEING), f"{AGEING}lock_wait_p99_ns": "vCPU waits p99",
}  # fmt: skip
"""Figures of finding dirty pages under KVM, of a host that is short of memory, and of ageing: shown in a table of their
own, if any combination has more than 0.
"""


MODES = {
    f"{MODE}sent_percent": "sent / RAM", f"{MODE}sender_cpu_ns": "sender CPU", f"{MODE}outage_ms": "outage",
    f"{MODE}exposed_ns": "needs both hosts", f"{MODE}exposed_slowdown_percent": "slowdown then",
    f"{MODE}page_wait_p99_ns": "page wait p99",
    f"{MODE}guest_before_ms": "guest / GiB before", f"{MODE}guest_during_ms": "guest / GiB during",
}
"""Figures of a comparison of mechanisms: shown in a table of their own, with --modes alone."""


def compare_tables(summary: Summary) -> list[Grid]:
    """A table of the judged figures and, if there are any, one of costs; rows: the first ROWS_MAX combinations in each."""
    settings, costs, rows = _settings(summary), list(_shown(summary, _costs(summary))), summary.rows[:ROWS_MAX]
    first = _figures(summary) if len(summary.rows) <= FEW or KEY not in summary.rows[0].settings else _few_figures(summary)
    tables = [grid_of([*settings, *first], rows)]
    if KEY in summary.rows[0].settings:
        ended = Column("how", "how it ended", prose=True, of=_how)
        tables.append(grid_of([settings[0], *_shown(summary, MODES), ended], rows))
    return [*tables, grid_of([*settings, *costs], rows)] if costs else tables


def _costs(summary: Summary) -> Mapping[str, str]:
    """COSTS; between mechanisms those that every row has, for one mechanism alone may need another dirty log."""
    if KEY not in summary.rows[0].settings:
        return COSTS
    return {name: title for name, title in COSTS.items() if all(row.spread(name) for row in summary.rows)}


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Key to its last part where that is unique, else to the whole key."""
    last = {key: key.rpartition(".")[2] for key in keys}
    counts = Counter(last.values())
    short = {key: short if counts[short] == 1 else key for key, short in last.items()}
    return short | ({KEY: "mode"} if KEY in last else {})


def shown_figures(summary: Summary) -> list[str]:
    """The judged figures that any combination has."""
    return [name for name in JUDGED if any(row.spread(name) for row in summary.rows)]


def caption(summary: Summary) -> str:
    """The line below the tables: the meaning of the ratios and of the signs beside them."""
    others = any(summary.baseline(name) for name in shown_figures(summary))
    which = " that converges" if summary.has_migration else " that has it"
    parts = ["x: ratio to the first row" + (which if others else "")]
    if len(summary.seeds) > 1:
        what = f"{CONFIDENCE:.0%} confidence interval" if has_intervals() else "farthest"
        parts += [f"±: {what} of {len(summary.seeds)} seeds", f"{NOISE}: within noise of that row"]
    if len(summary.rows) > ROWS_MAX:
        parts.append(f"{len(summary.rows) - ROWS_MAX} more rows in compare.csv")
    return "; ".join(parts)


def _settings(summary: Summary) -> list[Column]:
    titles = short_keys(list(summary.rows[0].settings))
    keys = [_setting(key, title) for key, title in titles.items()]
    return [*keys, Column("ended", CONVERGES if summary.has_migration else ENDED_ALONE, ended_words, Role.KEY, of=_itself)]


def _setting(key: str, title: str) -> Column:
    return Column(key, title, role=Role.KEY, of=lambda row: row.settings[key])


def _how(row: Row) -> str:
    """The ends of a combination's runs in words, each once."""
    return ", ".join(dict.fromkeys(str(one[f"{MODE}ended"]) for one in row.by_seed if one and f"{MODE}ended" in one)) or NONE


def _itself(row: Row) -> Row:
    return row


def _figures(summary: Summary) -> Iterator[Column]:
    """A column for each figure and, if there are any, a column of its ratios to the first row."""
    for name in shown_figures(summary):
        ratios = {_ratio(summary.against_baseline(row, name)) for row in summary.rows}
        yield _mean_column(name, TITLES[name])
        if ratios != {NONE}:
            yield _ratio_column(summary, name)
    for name, title in ALSO.items():
        if any(row.spread(name) for row in summary.rows):
            yield _mean_column(name, title)


def _few_figures(summary: Summary) -> Iterator[Column]:
    """Total time and downtime alone, of many mechanisms: the table of mechanisms has the others."""
    for name in OUTCOMES[:2]:
        yield _mean_column(name, TITLES[name])
        yield _ratio_column(summary, name)


def _mean_column(name: str, title: str) -> Column:
    return Column(name, title, of=lambda row: _mean(row, name))


def _ratio_column(summary: Summary, name: str) -> Column:
    """The column of ratios of figure ``name``, joined to the column before in every layout."""
    return Column(f"{name}_ratio", RATIO, of=lambda row: _ratio(summary.against_baseline(row, name)), joined=True)


def _shown(summary: Summary, figures: Mapping[str, str]) -> Iterator[Column]:
    """A column for each of ``figures`` (name to title) of which any combination has more than 0."""
    for name, title in figures.items():
        spreads = [row.spread(name) for row in summary.rows]
        if any(spread is not None and spread.mean > 0 for spread in spreads):
            yield _mean_column(name, title)


def _mean(row: Row, name: str) -> str:
    spread = row.spread(name)
    if spread is None:
        return NONE
    return spread_words(name, spread) if name in JUDGED else figure_words(name, spread.mean)


def _ratio(difference: Difference | None) -> str:
    if difference is None or difference.ratio is None:
        return NONE
    mark = f" {NOISE}" if difference.effect == "within noise" else ""
    return f"{ratio_words(difference.ratio)}{mark}"


FORMAT = "hostsim-compare/1"
OWN_FILES = re.compile(r"(compare|runs)\.(csv|parquet)|compare(-[\w-]+)?\.(png|svg)|verdict\.txt|report\.html")


def write_comparison(out: Path, plan: Plan, outcome: Outcome, summary: Summary, content: dict[str, Any]) -> list[Path]:
    """Write the files of the comparison to ``out``, beside those of single runs, which are there already; returns the paths.

    content: of ``as_content``; plan, outcome: for runs.csv and provenance.json; summary: for compare.csv.
    Files of an earlier comparison are replaced. OutputError, then ``out`` is as it was.
    """
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
    """The content of compare.json, with the verdict on ``summary`` worked out here.

    The lines: verdict, warnings of the scenarios of ``plan``, assumptions, ``notes``, and the seeds.
    outcome: figures of each run, for the list of runs.
    """
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
    """The content of compare.json, which ``--json`` prints, too, in plain types.

    outcome: figures of the runs of ``plan``. bests: of ``summary``, one a figure. lines: the verdict, as people read it.
    """
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
    """All data to run ``plan`` again, for each run that ``outcome`` has figures of: seed, settings, hash of the scenario.

    Each run's own file has the scenario as resolved.
    """
    request = plan.request
    runs = {
        run.key: {"seed": run.seed, "settings": plan.settings(run.combination),
                  "config_sha256": config_sha256(run.scenario.resolved())}
        for run in plan.runs if outcome.figures.get(run.key) is not None
    }  # fmt: skip
    return {
        **versions(), "git": own_revision(), "python": platform.python_version(), "file": request.file.name,
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
    """A row for each run of ``plan``: settings, seed, status, figures, file.

    A run without figures in ``outcome`` has the status "failed", NaN for each figure, and no file.
    """
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
