"""Tables and results."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.results.columns import Columns, schema
from hostsim.results.registry import OF_HOST, OF_MIGRATIONS, UNDER_KVM
from hostsim.results.series import EVENTS
from hostsim.results.tables import Table, plain
from tests.helpers.synthetic import migration, run_result


def test_columns_are_copies_that_cannot_be_written() -> None:
    source = np.arange(3)
    table = Table("t", {"a": source})
    source[0] = 99
    assert table["a"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        table["a"][0] = 1


def test_columns_have_one_length() -> None:
    with pytest.raises(AssertionError, match="lengths"):
        Table("t", {"a": np.arange(3), "b": np.arange(2)})


def test_a_column_has_one_dimension() -> None:
    with pytest.raises(AssertionError, match="dimension"):
        Table("t", {"a": np.zeros((2, 2))})


@pytest.mark.parametrize("columns", [*OF_MIGRATIONS.values(), *UNDER_KVM.values(), *OF_HOST.values(), EVENTS])
def test_an_empty_table_has_its_columns_and_types(columns: Columns[Any]) -> None:
    table = Table.read("t", columns, [])
    assert list(table.columns) == list(schema(columns))
    assert len(table) == 0
    assert all(table[name].dtype.kind == np.dtype(dtype).kind for name, dtype in schema(columns).items())


def test_rows_and_columns_are_the_same_table() -> None:
    table = Table.of("t", schema(EVENTS), [(1, "stop", 2), (3, "go", 4)])
    assert list(table.rows()) == [
        {"t_ns": 1, "event": "stop", "value": 2},
        {"t_ns": 3, "event": "go", "value": 4},
    ]


def test_a_row_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(AssertionError, match="2 values for 3 columns"):
        Table.of("t", schema(EVENTS), [(1, "stop")])


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (Table("t", {"a": np.array([1.0, np.nan])}), True),
        (Table("t", {"a": np.array([1.0, 2.0])}), False),
        (Table("t", {"b": np.array([1.0, np.nan])}), False),
        (Table("u", {"a": np.array([1.0, np.nan])}), False),
    ],
)
def test_tables_compare_by_content(other: Table, equal: bool) -> None:
    assert (Table("t", {"a": np.array([1.0, np.nan])}) == other) is equal


def test_only_a_completed_migration_converged() -> None:
    states = {status: migration(status=status).converged for status in ("completed", "cancelled", "active")}
    assert states == {"completed": True, "cancelled": False, "active": False}


def test_migrations_in_run_json_are_the_answers_alone() -> None:
    result = run_result(migration(), migration(status="cancelled"))
    content = result.to_dict()
    assert content["migrations"] == [m.query for m in result.migrations]
    assert [len(rounds) for rounds in content["rounds"]] == [10, 10]
    assert content["facts"][0]["downtime_limit_ms"] == 300


numbers = st.floats() | st.integers(-(2**53), 2**53) | st.booleans() | st.none() | st.text()
trees = st.recursive(numbers, lambda kids: st.lists(kids) | st.dictionaries(st.text(), kids), max_leaves=20)


@given(trees)
def test_plain_is_what_json_holds(tree: object) -> None:
    unwrapped = plain(tree)
    assert json.loads(json.dumps(unwrapped, allow_nan=False)) == unwrapped


def test_plain_unwraps_numpy() -> None:
    tree = {"a": np.int64(3), "b": np.array([1.5, np.inf]), "c": (np.bool_(True),)}
    assert plain(tree) == {"a": 3, "b": [1.5, None], "c": [True]}
