"""The picture of a migration, from the chart that its report shows."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from hostsim.report import drawing, files
from hostsim.report.charts.chart import Marks, Panel
from hostsim.report.charts.files import picture
from hostsim.report.charts.migration import NUDGE_S, headline, saw_tooth, timeline
from hostsim.report.charts.pictures import figure_of
from hostsim.report.html.registry import pictures_of, run_content
from hostsim.report.verdict_texts import verdict_file
from hostsim.results.rounds import ROUNDS
from hostsim.results.series import EVENTS, SERIES
from hostsim.results.tables import MigrationResult, RunResult, Table
from tests.helpers.rows import row_of
from tests.helpers.synthetic import migration, run_result

S, PAGE = 1_000_000_000, 4096
"""A sample without its time: four pages remaining."""
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MANY = {"rounds": 500, "shrink": 0.9, "status": "cancelled", "throttled": True}


def drawn(found: MigrationResult, heading: str = "") -> Any:
    return figure_of(timeline(found), "screen", heading)


def labels(figure: Any, panel: int) -> list[str]:
    return [text.get_text() for text in figure.axes[panel].get_legend().get_texts()]


def pictures(result: RunResult) -> dict[str, bytes]:
    return pictures_of(run_content(result, []))


def test_the_same_migration_gives_the_same_bytes() -> None:
    first, second = (pictures(run_result(migration())) for _ in range(2))
    assert first == second
    assert first["migration.png"].startswith(PNG_MAGIC)
    assert b"<dc:date>" not in first["migration.svg"]


def test_the_svg_is_xml_with_readable_text() -> None:
    svg = picture(timeline(migration()), "svg", "screen", "precopy_convergence")
    words = "".join(ET.fromstring(svg).itertext())  # noqa: S314 - drawn by the line above
    assert "precopy_convergence" in words
    assert "Completed in 7.01 s, downtime 40 ms, 10 rounds." in words
    assert "simulated time since the migration started" in words


def test_each_panel_names_its_lines_before_its_marks() -> None:
    figure = drawn(migration(throttled=True))
    assert labels(figure, 0) == ["remaining", "threshold", "sync", "downtime"]
    assert labels(figure, 1) == ["bandwidth", "dirtied by the guest"]
    assert labels(figure, 2) == ["guest speed", "throttle"]


def test_a_migration_that_did_not_stop_has_no_downtime() -> None:
    assert "downtime" not in labels(drawn(migration(status="cancelled")), 0)


@pytest.mark.parametrize(("end_s", "named"), [(0.001, False), (0.5, True)])
def test_a_span_narrower_than_a_pixel_has_no_name(end_s: float, named: bool) -> None:
    span = Marks("setup", np.array([0.0]), np.array([end_s]))
    chart = replace(timeline(migration()), marks=(span,))
    assert ("setup" in labels(figure_of(chart), 0)) is named


def test_the_heading_stands_above_all_panels_and_its_lines_below_it() -> None:
    figure = drawn(migration(), "a name")
    figure.draw_without_rendering()
    heading, lead = figure.texts
    assert (heading.get_text(), lead.get_text()[:25]) == ("a name", "The migration over time. ")
    top = max(axes.get_legend().get_window_extent().y1 for axes in figure.axes)
    assert heading.get_window_extent().y0 > lead.get_window_extent().y1 > lead.get_window_extent().y0 > top


def test_a_sync_is_a_step_of_what_it_found() -> None:
    series = [row_of(SERIES, t_ns=t_ns, remaining_bytes=4 * PAGE) for t_ns in (0, 2 * S)]
    rounds = [
        row_of(ROUNDS, start_ns=0, end_ns=S, remaining_start_bytes=8 * PAGE, newly_dirty_pages=8),
        row_of(ROUNDS, start_ns=S, end_ns=2 * S, remaining_start_bytes=5 * PAGE, newly_dirty_pages=3),
    ]
    found = MigrationResult(
        "active", {}, None, None, None, Table.of_dicts("rounds", ROUNDS, rounds), Table.of_dicts("series", SERIES, series),
        Table.of_dicts("events", EVENTS), {},
    )  # fmt: skip
    at_s, remaining = saw_tooth(found)
    assert at_s.tolist() == [0, NUDGE_S, 1 - NUDGE_S, 1 + NUDGE_S, 2]
    assert (remaining / PAGE).tolist() == [4, 8, 2, 5, 4]


def test_nothing_left_is_a_gap() -> None:
    _, remaining = saw_tooth(migration())
    finished = migration()
    finished.series.columns["remaining_bytes"] = np.zeros(len(finished.series), np.int64)
    _, gaps = saw_tooth(finished)
    assert np.isfinite(remaining).all()
    assert np.isnan(gaps).sum() == len(finished.series)


def test_a_rate_over_an_instant_is_a_gap() -> None:
    found = migration()
    t_ns = found.series.columns["t_ns"].copy()
    t_ns[5] = t_ns[4] + 1_000_000
    found.series.columns["t_ns"] = t_ns
    found.series.columns["dirtied_pages_per_s"] = np.full(len(t_ns), 1e3)
    panel = timeline(found).panels[1]
    assert isinstance(panel, Panel)
    assert np.flatnonzero(np.isnan(panel.lines[1].y)).tolist() == [0, 5]


def test_every_round_is_marked_at_its_start() -> None:
    at_s = [line.get_xdata()[0] for line in drawn(migration()).axes[0].lines if line.get_color() == drawing.GREY]
    assert at_s == pytest.approx((migration().rounds["start_ns"] / 1e9).tolist())


def test_many_rounds_are_marked_at_the_edge() -> None:
    figure = drawn(migration(**MANY))  # type: ignore[arg-type]
    marks = next(line for line in figure.axes[0].lines if line.get_marker() == "|")
    assert len(marks.get_xdata()) == 500
    assert len(figure.axes[0].lines) == 3


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (migration(), "completed in 7.01 s, downtime 40 ms, 10 rounds"),
        (migration(rounds=1), "completed in 3.48 s, downtime 40 ms, 1 round"),
        (migration(rounds=2, status="cancelled"), "cancelled after 5.19 s, 2 rounds"),
        (migration(rounds=2, status="active"), "not complete after 5.19 s, 2 rounds"),
    ],
)
def test_the_headline_says_how_it_ended(found: MigrationResult, told: str) -> None:
    assert headline(found) == told


def test_a_migration_that_hardly_began_has_no_picture() -> None:
    empty = MigrationResult(
        "active", {"status": "setup"}, None, None, None, Table.of_dicts("rounds", ROUNDS),
        Table.of_dicts("series", SERIES), Table.of_dicts("events", EVENTS), {},
    )  # fmt: skip
    assert pictures(run_result(empty)) == {}


def test_a_run_without_the_extra_still_has_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostsim.report.html.registry.has_plots", lambda: False)
    monkeypatch.setattr(files, "has_plots", lambda: False)
    assert pictures(run_result(migration())) == {}
    assert re.fullmatch(r"no plots: .*pip install .*matplotlib>=.* .*pyarrow>=.*", files.missing_files())
    assert verdict_file(["VERDICT: fine.\n", "VERDICT: bad."]) == {
        "verdict.txt": b"VERDICT: fine.\n\nVERDICT: bad.\n"
    }


def test_each_migration_has_its_picture() -> None:
    found = pictures(run_result(migration(), migration(rounds=3)))
    assert set(found) == {"migration.png", "migration.svg", "migration-2.png", "migration-2.svg"}
