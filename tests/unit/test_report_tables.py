"""Tables for the terminal."""

from __future__ import annotations

import numpy as np
import pytest

from hostsim.core.errors import InputError, Problem
from hostsim.report import console
from hostsim.report.columns import Grid
from hostsim.report.layout import laid_out
from hostsim.report.tables import evenly, plain_table, rounds_table, summary_table, validation_tables
from hostsim.results.tables import Table
from hostsim.validation.rows import Row
from tests.helpers.synthetic import migration


def text_of(*grids: Grid) -> str:
    """Titles, headings and cells, a row a line."""
    lines = []
    for grid in grids:
        (part,) = laid_out(grid, None).parts
        rows = [part.headings, *part.rows]
        lines += [grid.title, *(" ".join(" ".join(cell) for cell in row).strip() for row in rows)]
    return "\n".join(lines)


@pytest.mark.parametrize("count", [0, 1, 11, 12, 13, 500])
def test_first_last_and_evenly_between(count: int) -> None:
    shown = evenly(count)
    assert len(shown) == min(count, 12)
    assert shown == sorted(set(shown))
    assert shown[:1] == ([0] if count else [])
    assert shown[-1:] == ([count - 1] if count else [])


def test_gaps_differ_by_at_most_one() -> None:
    assert set(np.diff(evenly(500))) <= {45, 46}


def test_many_rounds_are_cut_and_say_so() -> None:
    text = text_of(rounds_table(migration(rounds=500, shrink=0.9).rounds))
    assert "Rounds (12 of 500)" in text
    assert sum("Gbit/s" in line for line in text.splitlines()) == 12


def test_a_round_is_told_in_units() -> None:
    text = text_of(rounds_table(migration().rounds))
    assert text.startswith("Rounds\n")
    assert "10 Gbit/s" in text
    assert "4.29 GB" in text


def test_any_table_under_its_own_names() -> None:
    text = text_of(plain_table(Table("guest", {"vcpu": np.arange(2), "share": np.array([0.5, 1 / 3])})))
    assert "guest" in text
    assert "0.33333" in text


ROWS = [
    Row("qemu", "idle", "total_time_ms", 10.0, 10.1, 0.01, 0.05, passed=True),
    Row("qemu", "busy", "total_time_ms", 10.0, 12.0, 0.2, 0.05, passed=False),
    Row("qemu", "host", "total_time_ms", 10.0, 30.0, 2.0, 0.05, passed=False, scored=False, note="host speed"),
    Row("oracles", "O1", "mean", 1.0, None, None, None, passed=True),
]


def test_every_row_is_shown_and_failures_stand_out() -> None:
    lines = text_of(*validation_tables(ROWS)).splitlines()
    assert sum("FAILED" in line for line in lines) == 1
    assert sum("shown" in line.split() for line in lines) == 1
    assert sum(line.split()[-1] == "ok" or " ok " in line for line in lines if line) == 2


def test_rows_that_are_shown_only_do_not_count() -> None:
    lines = text_of(summary_table(ROWS)).splitlines()
    figures = {line.split()[0]: line.split()[1:] for line in lines if line.split()[:1] in (["qemu"], ["oracles"])}
    assert figures == {"qemu": ["1", "1", "1"], "oracles": ["1", "0", "0"]}


def test_what_qemu_does_not_know_yet_is_a_dash() -> None:
    """No bandwidth and no threshold before the first window ends; no rate of dirtying before the second sync."""
    rounds = migration(rounds=2).rounds
    unknown = {"bandwidth_bytes_per_s": np.array([0.0, 1.25e9]), "threshold_bytes": np.array([0, 375_000_000])}
    grid = rounds_table(Table("rounds", {**rounds.columns, **unknown}))
    headings = [column.heading for column in grid.columns]
    at = [headings.index(heading) for heading in ("dirtied at", "bandwidth", "threshold")]
    assert [[row[i] for i in at] for row in grid.cells] == [["-", "-", "-"], ["5 Gbit/s", "10 Gbit/s", "375 MB"]]


def test_markdown_tables_have_bars(capsys: pytest.CaptureFixture[str]) -> None:
    console.show(rounds_table(migration(rounds=2).rounds), markdown=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert set(lines[1]) <= set("|-: ")


def test_every_problem_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [Problem("a.toml", f"vm.workload[{i}].size", "[red]", "bytes") for i in range(2)]
    console.show_error(InputError(problems))
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: a.toml: vm.workload[") for line in lines] == [True, True]
    assert all("got [red], wanted bytes" in line for line in lines)


def test_text_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = "- migrate_set_parameter [bold] " + "x" * 200
    console.say([line])
    assert capsys.readouterr().out == line + "\n"
