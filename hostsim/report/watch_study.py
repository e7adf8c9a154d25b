"""The view of a comparison while its runs are made: how many are finished, and the means of each combination so far."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.compare_report import figure_words
from hostsim.report.console import lines_of
from hostsim.report.watch_display import Show, View
from hostsim.study.compare.figures import figure_names
from hostsim.study.compare.plan_file import Finished, Group
from hostsim.study.compare.summary import Row
from hostsim.verdict.words import seconds_words

FIGURES = {
    "total_time_ms": "time", "downtime_ms": "downtime", "transferred_bytes": "sent", "guest_slowdown_percent": "slowdown",
}  # fmt: skip
"""Headings of the means; the last is shown where there is room."""
NONE = "-"


def watch_folder(out: Path, finished: Finished, show: Show, every_s: float) -> None:
    """Show the runs in ``out`` until all are finished."""
    began_s = time.monotonic()
    finished.look()
    before = finished.count
    while True:
        is_last = finished.is_over()
        spent_s = time.monotonic() - began_s
        left_s = _left_s(finished, before, spent_s)
        show(_view(out, finished, left_s, is_last=is_last))
        if is_last:
            return
        time.sleep(every_s)
        finished.look()


def _left_s(finished: Finished, before: int, spent_s: float) -> float | None:
    """Seconds to the end at the pace since the watch began; None before a run was finished since then."""
    done = finished.count - before
    return None if done <= 0 else spent_s * (len(finished.planned.keys) - finished.count) / done


def _view(out: Path, finished: Finished, left_s: float | None, *, is_last: bool) -> View:
    return View(
        screen=lambda width, height: screen_lines(out, finished, left_s, width, height),
        line=lambda: plain_line(finished, left_s),
        data=lambda: as_object(out, finished, left_s),
        mark=finished.count,
        is_last=is_last,
    )


def plain_line(finished: Finished, left_s: float | None) -> str:
    """``7 of 12 runs finished, about 40 s left``."""
    left = f", about {seconds_words(max(1.0, round(left_s)))} left" if left_s else ""
    return f"{finished.count} of {len(finished.planned.keys)} runs finished{left}"


def as_object(out: Path, finished: Finished, left_s: float | None) -> dict[str, Any]:
    """One line of ``--json``: counts, and for each combination the mean of each figure over its runs in ``finished``.

    out: the folder of the study. left_s: time to the end [s], None if it is not known yet.
    """
    groups = [_group(group, finished) for group in finished.planned.groups]
    told = {"folder": str(out), "finished": finished.count, "total": len(finished.planned.keys), "left_s": left_s}
    return {**told, "combinations": groups}


def _group(group: Group, finished: Finished) -> dict[str, Any]:
    row = _row(group, finished)
    runs = [figures for figures in row.by_seed if figures is not None]
    means = {name: spread.mean for name in figure_names(runs) if (spread := row.spread(name)) is not None}
    return {
        "settings": dict(group.settings), "finished": len(runs), "runs": len(group.keys), "completed": row.n_converged,
        "means": means,
    }  # fmt: skip


def _row(group: Group, finished: Finished) -> Row:
    return Row(group.settings, tuple(finished.of(group)))


def screen_lines(out: Path, finished: Finished, left_s: float | None, width: int, height: int) -> list[str]:
    """At most ``height`` lines: the head, and as many combinations as fit, those without a finished run last.

    out, finished, left_s: as in ``as_object``. width: letters of a line.
    """
    head = [f"{finished.planned.name}: {plain_line(finished, left_s)}"[:width], str(out)[:width], ""]
    groups = sorted(finished.planned.groups, key=lambda group: not any(finished.of(group)))
    n_shown = len(groups)
    while n_shown:
        table = lines_of(study_grid(groups[:n_shown], finished), width)
        left_out = len(groups) - n_shown
        more = [f"and {left_out} more combinations"] if left_out else []
        if len(head) + len(table) + len(more) <= height or n_shown == 1:
            return [*head, *table, *more][:height]
        n_shown -= max(1, (len(head) + len(table) + len(more) - height) // 3)
    return head[:height]


def study_grid(groups: list[Group], finished: Finished) -> Grid:
    """The table: a row a combination, means over the runs that are finished."""
    rows = [(group, _row(group, finished)) for group in groups]
    columns = [
        *_keys(groups),
        Column("finished", "done", of=lambda row: f"{len(row[1].by_seed)} of {len(row[0].keys)}"),
        Column("completed", "completed", of=lambda row: str(row[1].n_converged) if row[1].by_seed else NONE),
        *(_figure(name, heading) for name, heading in FIGURES.items()),
    ]
    return grid_of(columns, rows)


def _keys(groups: list[Group]) -> Iterator[Column]:
    """A column for each key that varies, under the last part of its name unless two keys have that."""
    names = list(groups[0].settings) if groups else []
    ends = Counter(name.rpartition(".")[2] for name in names)
    for name in names:
        end = name.rpartition(".")[2]
        yield Column(name, end if ends[end] == 1 else name, role=Role.KEY, of=partial(_setting, name))


def _setting(name: str, row: tuple[Group, Row]) -> str:
    return row[0].settings[name]


def _figure(name: str, heading: str) -> Column:
    role = Role.SPARE if heading == "slowdown" else Role.FIGURE
    return Column(name, heading, role=role, of=partial(_mean, name))


def _mean(name: str, row: tuple[Group, Row]) -> str:
    spread = row[1].spread(name)
    return NONE if spread is None else figure_words(name, spread.mean)
