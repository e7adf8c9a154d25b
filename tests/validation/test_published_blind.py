"""B rows of suite ``published``: figures missed at first sight are kept, and the rows that miss now are known."""

from __future__ import annotations

import pytest

from hostsim.validation.published_blind import many_vcpu_rows, stream_rows
from hostsim.validation.rows import Row, published
from tests.helpers.shared import once

GIVEN = {"B2/tdp/clear1", "B2/direct/clear1", "B5/paced/get", "B7/idle-1TiB/main-thread", "B7/idle-1TiB/channels", "B9/2"}
MISSES = {
    "B1/locked/16/pass", "B1/locked/64/pass", "B1/lockless/64/pass", "B1/lockless/112/pass",
    "B2/tdp/dirty1", "B2/direct/dirty1", "B2/direct/clear2", "B2/direct/disable",
    "B3/all-set/lazy/dirty2", "B3/all-set/lazy/clear3", "B3/all-set/eager/clear1",
    "B3/all-set/eager/dirty2", "B3/all-set/eager/clear3", "B3/protect/lazy/enable", "B3/protect/lazy/dirty1",
    "B3/protect/eager/enable", "B3/protect/eager/dirty1", "B5/stated/get", "B5/stated/clear",
    "B6/plain", "B6/preempt", "B7/zeros-100GiB/main-thread", "B8/zstd",
}  # fmt: skip
"""The page Validation has the figures of each row."""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return once("rows B", lambda: [*many_vcpu_rows(), *stream_rows()])


def test_each_table_has_its_source() -> None:
    tables = {key: table for key, table in published("blind").items() if key.startswith("B")}
    assert list(tables) == [f"B{i}" for i in range(1, 10)]
    assert all(len(table["source"]) > 80 and 0 < table["tolerance"] <= 0.25 for table in tables.values())


@pytest.mark.long
def test_each_row_keeps_its_figure_at_first_sight(rows: list[Row]) -> None:
    assert {row.id for row in rows} == set(published("blind")["at_first_sight"])
    assert all("at first sight" in row.note for row in rows)


@pytest.mark.long
def test_what_misses_is_known(rows: list[Row]) -> None:
    assert {row.id for row in rows if not row.passed} == MISSES
    assert {row.id for row in rows if not row.scored} == GIVEN
