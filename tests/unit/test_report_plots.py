"""The picture of a migration."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from hostsim.core.errors import MissingExtraError
from hostsim.report import drawing, files, plots
from hostsim.results.rounds import ROUNDS
from hostsim.results.series import EVENTS, SERIES
from hostsim.results.tables import MigrationResult, Table
from tests.helpers.rows import row_of
from tests.helpers.synthetic import migration, run_result

S, PAGE = 1_000_000_000, 4096
"""A sample without its time: four pages remaining."""
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MANY = {"rounds": 500, "shrink": 0.9, "status": "cancelled", "throttled": True}


def labels(figure: object, panel: int) -> set[str]:
    axes = figure.axes[panel]  # type: ignore[attr-defined]
    return {text.get_text() for text in axes.get_legend().get_texts()}


def test_the_same_migration_gives_the_same_bytes() -> None:
    first, second = (plots.migration_pictures(migration(), "name") for _ in range(2))
    assert first == second
    assert first["png"].startswith(PNG_MAGIC)
    assert b"<dc:date>" not in first["svg"]


def test_the_svg_is_xml_with_readable_text() -> None:
    svg = plots.migration_pictures(migration(), "precopy_convergence")["svg"]
    words = "".join(ET.fromstring(svg).itertext())  # noqa: S314 - drawn by the line above
    assert "precopy_convergence" in words
    assert "simulated time since the migration started [s]" in words


def test_each_panel_names_its_lines() -> None:
    figure = plots.draw_migration(migration(throttled=True), "x")
    assert labels(figure, 0) == {"sync", "downtime", "remaining", "threshold"}
    assert labels(figure, 1) == {"bandwidth", "dirtied by the guest"}
    assert labels(figure, 2) == {"guest speed", "throttle"}


def test_a_migration_that_did_not_stop_has_no_downtime() -> None:
    assert "downtime" not in labels(plots.draw_migration(migration(status="cancelled"), "x"), 0)


def test_a_sync_is_a_step_of_what_it_found() -> None:
    series = [row_of(SERIES, t_ns=t_ns, remaining_bytes=4 * PAGE) for t_ns in (0, 2 * S)]
    rounds = [
        row_of(ROUNDS, start_ns=0, end_ns=S, remaining_start_bytes=8 * PAGE, newly_dirty_pages=8),
        row_of(ROUNDS, start_ns=S, end_ns=2 * S, remaining_start_bytes=5 * PAGE, newly_dirty_pages=3),
    ]
    drawn = MigrationResult(
        "active", {}, None, None, None, Table.of_dicts("rounds", ROUNDS, rounds), Table.of_dicts("series", SERIES, series),
        Table.of_dicts("events", EVENTS), {},
    )  # fmt: skip
    at_s, remaining = plots._saw_tooth(drawn)
    assert at_s.tolist() == [0, 0, 1, 1, 2]
    assert (remaining / PAGE).tolist() == [4, 8, 2, 5, 4]


def test_nothing_left_is_a_gap() -> None:
    _, remaining = plots._saw_tooth(migration())
    finished = migration()
    finished.series.columns["remaining_bytes"] = np.zeros(len(finished.series), np.int64)
    _, gaps = plots._saw_tooth(finished)
    assert np.isfinite(remaining).all()
    assert np.isnan(gaps).sum() == len(finished.series)


def test_every_round_is_marked_at_its_start() -> None:
    figure = plots.draw_migration(migration(), "x")
    at_s = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_color() == drawing.GREY]
    assert at_s == pytest.approx((migration().rounds["start_ns"] / 1e9).tolist())


def test_many_rounds_are_marked_at_the_edge() -> None:
    figure = plots.draw_migration(migration(**MANY), "x")  # type: ignore[arg-type]
    marks = next(line for line in figure.axes[0].lines if line.get_marker() == "|")
    assert len(marks.get_xdata()) == 500
    assert len(figure.axes[0].lines) == 3


@pytest.mark.parametrize(
    ("drawn", "headline"),
    [
        (migration(), "completed in 7.01 s, downtime 40 ms, 10 rounds"),
        (migration(rounds=1), "completed in 3.48 s, downtime 40 ms, 1 round"),
        (migration(rounds=2, status="cancelled"), "cancelled after 5.19 s, 2 rounds"),
        (migration(rounds=2, status="active"), "not complete after 5.19 s, 2 rounds"),
    ],
)
def test_the_headline_says_how_it_ended(drawn: MigrationResult, headline: str) -> None:
    assert plots._headline(drawn) == headline


def test_a_migration_that_hardly_began_is_drawn_too() -> None:
    empty = MigrationResult(
        "active", {"status": "setup"}, None, None, None, Table.of_dicts("rounds", ROUNDS),
        Table.of_dicts("series", SERIES), Table.of_dicts("events", EVENTS), {},
    )  # fmt: skip
    assert plots.migration_pictures(empty, "x")["png"].startswith(PNG_MAGIC)


def test_without_matplotlib_there_is_a_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "has_plots", lambda: False)
    with pytest.raises(MissingExtraError, match="pip install"):
        plots.migration_pictures(migration(), "x")


def test_a_run_without_the_extra_still_has_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "has_plots", lambda: False)
    assert files.picture_files(run_result(migration())) == {}
    assert re.fullmatch(r"no plots: .*pip install .*matplotlib>=.* .*pyarrow>=.*", files.missing_files())
    assert files.verdict_file(["VERDICT: fine.\n", "VERDICT: bad."]) == {
        "verdict.txt": b"VERDICT: fine.\n\nVERDICT: bad.\n"
    }


def test_each_migration_has_its_picture() -> None:
    drawn = files.picture_files(run_result(migration(), migration(rounds=3)))
    assert set(drawn) == {"migration.png", "migration.svg", "migration-2.png", "migration-2.svg"}
