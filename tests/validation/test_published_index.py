"""K12 and K13 pass, and a descriptor of another size would not."""

from __future__ import annotations

import pytest

from hostsim.validation.index_runs import descriptors_by_sptes
from hostsim.validation.published_kvm import ENTRIES_OF, index_rows
from hostsim.validation.rows import Row


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(index_rows())


def test_rows_pass(rows: list[Row]) -> None:
    assert [row for row in rows if not row.passed] == []


def test_each_kind_and_each_walk_has_its_rows(rows: list[Row]) -> None:
    assert {row.id for row in rows} == {"K12/3", "K12/15", "K12/14", "K13/4x4", "K13/5x5", "K13/3x3"}


def test_the_kinds_differ_where_they_are_told_apart() -> None:
    used = {kind: descriptors_by_sptes(kind, 300)[0] for kind in ENTRIES_OF}
    assert len({tuple(counts) for counts in used.values()}) == 3
