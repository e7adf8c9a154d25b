"""No table of any command cuts a cell, or a number from its unit, however narrow the terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from hostsim.report import console
from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.layout import laid_out, wrapped
from tests.helpers.grids import every_table

PACKAGE = Path(console.__file__).parents[1]
TABLES = list(every_table())
WIDTHS = (80, 100, 120)
UNIT = r"(?:ns|us|ms|s|min|%|[kMGT]?i?B|[kMGT]?bit/s|pages)"
NUMBER_AND_UNIT = re.compile(rf"(?:^|(?<=[\s(]))[±+-]?\d[\d.,]*[kM]? {UNIT}(?![^\s,;)])")
MAKE_TABLES = {
    "cli/access_tracking_cmd.py", "cli/calibrate_cmd.py", "cli/debate_cmd.py", "cli/kvm_selftest_cmd.py",
    "cli/run_scenario.py", "cli/scenarios_cmd.py", "report/age_report.py", "report/beside.py", "report/compare_report.py",
    "report/debate_report.py", "report/fit_report.py", "report/measure_dirty_report.py", "report/predict_report.py",
    "report/reclaim_report.py", "report/solve_report.py", "report/sweep_reports.py", "report/tables.py",
    "report/watch_study.py",
}  # fmt: skip
"""Their tables are in ``every_table``."""


def test_no_table_is_missing_here() -> None:
    makes = re.compile(r"\b(grid_of|some_rows|plain_table|RichTable|rich\.table)\b")
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if makes.search(path.read_text())}
    on_the_terminal = {path for path in found if not path.startswith("report/html/")}
    assert on_the_terminal - {"report/columns.py", "report/console.py"} == MAKE_TABLES
    assert len(TABLES) >= 20


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("number", range(len(TABLES)))
def test_every_cell_is_whole(
    number: int, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = TABLES[number]
    monkeypatch.setenv("COLUMNS", str(width))
    console.show(grid)
    text = capsys.readouterr().out
    assert "…" not in text
    assert "..." not in text
    assert max(map(len, text.splitlines())) <= width
    shown = {i for i, column in enumerate(grid.columns) if column.title not in laid_out(grid, width).left_out}
    for i in shown:
        for cell in grid.of_column(i):
            whole = [cell] if not grid.columns[i].prose else NUMBER_AND_UNIT.findall(cell)
            assert all(any(piece in line for line in text.splitlines()) for piece in whole), (grid.columns[i].title, cell)
    assert all(word in text.split() or word in text for cells in grid.cells for i in shown for word in cells[i].split())


def test_wide_is_one_part_with_all_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for grid in TABLES:
        console.show(grid, wide=True)
        lines = capsys.readouterr().out.splitlines()
        heading, rule, *rows = lines[lines.index(next(line for line in lines if line.startswith("─"))) - 1 :]
        assert set(rule) == {"─"}
        assert all(column.title in heading for column in grid.columns)
        assert len([row for row in rows if row.strip()]) == len(grid.cells)


@pytest.mark.parametrize(("columns", "width"), [(None, 80), ("132", 132), ("wide", 80), ("0", 80)])
def test_a_pipe_is_as_wide_as_columns_says(columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    assert console.out_console().width == width


def figures(count: int, text: str, keys: int = 1) -> Grid:
    """``keys`` columns and ``count`` figures, all with ``text``."""
    names = [Column(f"k{i}", f"key {i}", of=lambda row: row, role=Role.KEY) for i in range(keys)]
    return grid_of([*names, *(Column(f"c{i}", f"figure {i}", of=lambda row: row) for i in range(count))], [text, text])


def test_parts_are_few_and_alike() -> None:
    parts = laid_out(figures(10, "123.45 GB"), 80).parts
    assert [len(part.widths) for part in parts] == [6, 6]


def test_rows_are_numbered_where_keys_leave_no_room() -> None:
    parts = laid_out(figures(2, "migration.bandwidth=100Gbit/s", keys=3), 80).parts
    assert all(part.headings[0][-1] == "#" and part.width <= 80 for part in parts)
    shown = {heading[-1] for part in parts for heading in part.headings}
    assert shown == {"#", "key 0", "key 1", "key 2", "figure 0", "figure 1"}


def test_joined_columns_stay_together() -> None:
    columns = [Column("k", "k", role=Role.KEY)]
    columns += [Column(f"c{i}", f"c{i}", joined=i % 2 == 1) for i in range(8)]
    row = {column.name: "0.123456789 ~" for column in columns}
    for part in laid_out(grid_of(columns, [row]), 50).parts:
        assert part.headings[1][-1] in {"c0", "c2", "c4", "c6"}
        assert len(part.widths) == 3


@pytest.mark.parametrize("width", [24, 25, 26, 27, 28, 40])
def test_prose_is_not_broken_between_a_number_and_its_unit(width: int) -> None:
    text = "    it took 3.17 s, or ±12 % of 4,096 MB at 10 Gbit/s"
    lines = wrapped(text, width, "    ")
    assert " ".join(line.strip() for line in lines) == text.strip()
    assert all(line.startswith("    ") and len(line) <= width for line in lines)
    for piece in ("3.17 s,", "±12 %", "4,096 MB", "10 Gbit/s"):
        assert any(piece in line for line in lines)


def test_a_word_that_is_wider_than_its_column_breaks_at_a_separator() -> None:
    word = "vm.workload.0.size=16GiB,link.bandwidth=25Gbit/s"
    assert wrapped(word, 25) == ["vm.workload.0.size=16GiB,", "link.bandwidth=25Gbit/s"]


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_a_command_stays_in_one_piece(width: int) -> None:
    command = "`migrate_set_capability auto-converge on; migrate_set_parameter max-cpu-throttle 11`"
    lines = wrapped(f"- the guest keeps 89 % of its CPU time: {command}", width, "  ")
    assert lines[-1] == f"  {command}"
    assert all(len(line) <= width for line in lines[:-1])


@pytest.mark.parametrize(
    ("is_terminal", "markdown", "wraps"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_verdict_is_wrapped_for_a_reader_alone(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, markdown: bool, wraps: bool
) -> None:
    screen = io.StringIO()
    shown = Console(file=screen, force_terminal=is_terminal, width=40, height=9, highlight=False)
    monkeypatch.setattr(console, "out_console", lambda: shown)
    line = "VERDICT: converges in 9 s with a downtime of 300 ms; 1.2 GB sent."
    console.say_verdict([line, ""], markdown=markdown)
    told = screen.getvalue().split("\n")
    assert (told[0] == line) is not wraps
    assert not wraps or all(len(part) <= 40 for part in told)
    assert " ".join(part.strip() for part in told if part) == line
