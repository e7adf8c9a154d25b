"""Suite ``published``: every scored row passes, and a wrong predictor would not."""

from __future__ import annotations

import json
import math

import pytest

from hostsim.theory.precopy import PrecopyOutcome
from hostsim.validation import run_suites
from hostsim.validation.published_precopy import curve_rows, fitted_classes, fitted_total_rows, run_fraction_rows
from hostsim.validation.published_zstd import zstd_rows
from hostsim.validation.rows import Row, digits, exact, relative, selected, sigma
from tests.helpers.shared import once

IDS = ("P1", "P1-fit", "P1-range", "P1-run", "P2", "P3", "P4", "P4-run")


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return once("rows of published", lambda: run_suites(["published"], IDS))


def test_scored_rows_pass(rows: list[Row]) -> None:
    assert [row for row in rows if row.scored and not row.passed] == []


def test_the_table_is_complete(rows: list[Row]) -> None:
    seconds = [row for row in curve_rows() if "rounded up" in row.quantity]
    assert len(seconds) == 24
    assert sum(row.expected == "never" for row in seconds) == 10
    assert len(list(curve_rows())) == 24 + 2 * 12
    assert {row.id.split("/")[0] for row in rows} == set(IDS)


def test_only_cells_on_a_knife_edge_are_not_scored(rows: list[Row]) -> None:
    unscored = [row.id for row in rows if not row.scored]
    assert unscored == [f"{kind}/5Gbps/{limit}ms" for kind in ("P1-fit", "P1-run") for limit in (125, 250)]
    assert all("1% higher" in row.note for row in rows if not row.scored)


def test_a_forecast_that_is_off_fails() -> None:
    late = list(fitted_total_rows(lambda _b, _l: PrecopyOutcome(True, 3, 13.0, 0.1, 1.0)))
    never = list(fitted_total_rows(lambda _b, _l: PrecopyOutcome(False, 3, 13.0, 0.1, 1.0)))
    assert sum(row.passed for row in late) == 0
    assert sum(row.passed for row in never) == 0


def test_the_fitted_guest_is_small_and_whole() -> None:
    classes = fitted_classes()
    assert 1 <= len(classes.pages) <= 6
    assert classes.sweep is None, "the engine's run writes classes alone"
    assert classes.written_pages <= 3_241_984


def test_measured_run_fractions_have_rows_of_their_own() -> None:
    rows = list(run_fraction_rows({50: 0.51, 99: 0.01}, tolerance=0.005))
    assert [(row.id, row.passed) for row in rows] == [("P4-run/50%", False), ("P4-run/99%", True)]


def test_rows_are_json(rows: list[Row]) -> None:
    written = json.loads(json.dumps([row.to_dict() for row in rows], allow_nan=False))
    keys = {"suite", "id", "quantity", "expected", "got", "error", "tolerance", "passed"}
    assert all(keys <= set(row) for row in written)


def test_a_row_fails_where_it_should() -> None:
    assert not digits("s", "i", "q", "1.02", 1.026).passed
    assert digits("s", "i", "q", "1.02", 1.0249).passed
    assert not relative("s", "i", "q", 2.0, math.nan, 0.1).passed
    assert not exact("s", "i", "q", 3, 4).passed
    assert exact("s", "i", "q", 3, 4).error == 1.0
    assert not sigma("s", "i", "q", 1.0, 2.0, -5.1).passed


def test_cases_select_whole_ids(rows: list[Row]) -> None:
    assert {row.id for row in selected(rows, ["P2"])} == {"P2/256GiB", "P2/17GiB"}
    assert selected(rows, ["P"]) == []
    assert selected(rows, None) == rows


def test_zstd_on_the_wire() -> None:
    rows = {row.quantity: row for row in zstd_rows()}
    assert all(row.passed for row in rows.values() if row.scored)
    assert sum(row.scored for row in rows.values()) == 2
    assert 0.8 < rows["cores_per_vm"].got < 1.2, "a stream at 500 MB/s fills 1 Gbit/s with less than one core's work"
