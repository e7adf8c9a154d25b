"""The table of a comparison: a row a combination, each figure beside its ratio to the first row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostsim.report.compare_words import TITLES, ended_words, figure_words, ratio_words, spread_words
from hostsim.study.compare.figures import AGEING, JUDGED, KVM, MEMORY
from hostsim.study.compare.spread import CONFIDENCE, has_intervals
from hostsim.study.compare.summary import Difference, Row, Summary

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Column:
    """A title and a cell for each combination."""

    title: str
    cells: Sequence[str]
    is_figure: bool = True

    @property
    def width(self) -> int:
        """Places it takes, the space between columns included."""
        return max(map(len, [self.title, *self.cells])) + 3


ROWS_MAX = 60
NONE = "-"
NOISE = "~"
ENDED, ENDED_ALONE, RATIO = "converges", "ended", "x"
"""Heads of columns: how runs ended, with a migration and without; a figure over that of the first row."""
ALSO = {"syncs": "syncs", "throttle_max_percent": "throttle"}
"""Shown without a ratio."""
COSTS = {
    "wp_faults": "wp faults", "map_faults": "map faults", "split_faults": "split faults", "pml_full": "PML full",
    "ring_full": "ring full", "flushes": "flushes", "sync_ns": "in sync", "clear_ns": "in CLEAR", "reap_ns": "in reaps",
    "host_hold_ns": "host holds", "lock_wait_ns": "vCPUs waiting", "host_wait_ns": "host waiting",
    "page_wait_ns": "page waits", "stall_share": "vCPUs stalled", "start_ns": "log begins", "index_bytes": "index",
}  # fmt: skip
"""Shown in a table of their own, under KVM, if any combination has more than 0."""
MEMORY_COSTS = {
    "stall_share": "stalled for host", "swapped_in": "swapped in", "swap_in_p99_ns": "swap-in p99",
    "direct_reclaims": "direct reclaims", "migration_wait_ns": "migration waiting",
}  # fmt: skip
"""In the same table, where memory runs short."""
AGEING_COSTS = {
    "pass_max_ns": "longest ageing pass", "young_pages": "young", "false_old_pages": "false old",
    "lock_wait_p99_ns": "vCPU waits p99",
}  # fmt: skip
"""And where memory is aged."""


def compare_tables(summary: Summary, width: int) -> list[Table]:
    """One table, or several with the same rows where one is wider than ``width``; at most ROWS_MAX rows."""
    sheets = _sheets(summary, width, list(_figures(summary)))
    costs = [[column] for column in _costs(summary)]
    sheets += _sheets(summary, width, costs) if costs else []
    return [_table([*_settings(summary), *columns]) for columns in sheets]


def _table(columns: Sequence[Column]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.is_figure else "left", no_wrap=True)
    for cells in zip(*(column.cells[:ROWS_MAX] for column in columns), strict=True):
        table.add_row(*cells)
    return table


def _sheets(summary: Summary, width: int, groups: Sequence[list[Column]]) -> list[list[Column]]:
    """Columns of figures, cut between ``groups`` so that those of a sheet fit beside the settings."""
    room = width - sum(column.width for column in _settings(summary))
    sheets: list[list[Column]] = [[]]
    for group in groups:
        wanted = sum(column.width for column in (*sheets[-1], *group))
        sheets += [[]] if sheets[-1] and wanted > room else []
        sheets[-1] += group
    return sheets


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key where that tells them apart, else all of it."""
    last = {key: key.rpartition(".")[2] for key in keys}
    counts = Counter(last.values())
    return {key: short if counts[short] == 1 else key for key, short in last.items()}


def shown_figures(summary: Summary) -> list[str]:
    """Those that any combination has."""
    return [name for name in JUDGED if any(row.spread(name) for row in summary.rows)]


def caption(summary: Summary) -> str:
    """What the ratios, and the signs beside them, mean: a line below the tables."""
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
    keys = [Column(title, [row.settings[key] for row in summary.rows], False) for key, title in titles.items()]
    head = ENDED if summary.has_migration else ENDED_ALONE
    return [*keys, Column(head, [ended_words(row) for row in summary.rows], False)]


def _figures(summary: Summary) -> Iterator[list[Column]]:
    """Columns that stay together: a figure and its ratios."""
    for name in shown_figures(summary):
        ratios = [_ratio(summary.against_baseline(row, name)) for row in summary.rows]
        means = Column(TITLES[name], [_mean(row, name) for row in summary.rows])
        yield [means, *([Column(RATIO, ratios)] if set(ratios) != {NONE} else [])]
    for name, title in ALSO.items():
        if any(row.spread(name) for row in summary.rows):
            yield [Column(title, [_mean(row, name) for row in summary.rows])]


def _costs(summary: Summary) -> Iterator[Column]:
    """What finding dirty pages cost under KVM, what a host did that is short of memory, and what ageing did."""
    names = {f"{KVM}{name}": title for name, title in COSTS.items()}
    names |= {f"{MEMORY}{name}": title for name, title in MEMORY_COSTS.items()}
    names |= {f"{AGEING}{name}": title for name, title in AGEING_COSTS.items()}
    for name, title in names.items():
        spreads = [row.spread(name) for row in summary.rows]
        if any(spread is not None and spread.mean > 0 for spread in spreads):
            yield Column(title, [_mean(row, name) for row in summary.rows])


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
