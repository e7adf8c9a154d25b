"""The table of a comparison: a row a combination, each figure beside its ratio to the first row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.compare_words import TITLES, ended_words, figure_words, ratio_words, spread_words
from hostsim.results.ageing import AGEING as AGEING_SECTION
from hostsim.results.columns import titles
from hostsim.results.kvm import INDEX, KVM_ROUNDS
from hostsim.results.memory import VMS
from hostsim.study.compare.figures import AGEING, JUDGED, KVM, MEMORY, MODE
from hostsim.study.compare.modes import KEY
from hostsim.study.compare.summary import Difference, Row, Summary
from hostsim.study.statistics import CONFIDENCE, has_intervals

ROWS_MAX = 60
NONE = "-"
NOISE = "~"
ENDED, ENDED_ALONE, RATIO = "converges", "ended", "x"
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
}
"""Figures of a comparison of mechanisms: shown in a table of their own, with --modes alone."""


def compare_tables(summary: Summary) -> list[Grid]:
    """A table of the judged figures and, if there are any, one of costs; rows: the first ROWS_MAX combinations in each."""
    settings, costs, rows = _settings(summary), list(_shown(summary, COSTS)), summary.rows[:ROWS_MAX]
    tables = [grid_of([*settings, *_figures(summary)], rows)]
    if KEY in summary.rows[0].settings:
        tables.append(grid_of([*settings, *_shown(summary, MODES)], rows))
    return [*tables, grid_of([*settings, *costs], rows)] if costs else tables


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
    return [*keys, Column("ended", ENDED if summary.has_migration else ENDED_ALONE, ended_words, Role.KEY, of=_itself)]


def _setting(key: str, title: str) -> Column:
    return Column(key, title, role=Role.KEY, of=lambda row: row.settings[key])


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
