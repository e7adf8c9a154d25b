"""The registry of result columns and the list of exit kinds: files, tables, pictures and pages follow them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet
import pytest

from hostsim import Scenario, run
from hostsim.costs.exits import COST_KEYS, COSTED, EXITS, N_KINDS, RETRY, USER_SPACE, WP
from hostsim.kvm.loops import layout
from hostsim.kvm.tally import Tally, exits_of
from hostsim.report.columns import Role, shown
from hostsim.report.tables import LATENCY_COLUMNS, PASS_COLUMNS, VM_COLUMNS, migration_tables
from hostsim.results import collect, tables
from hostsim.results.ageing import AGEING
from hostsim.results.columns import INT, Column, Columns, in_place, labels, names, read_row, titles
from hostsim.results.kvm import KVM_ROUNDS, Spent
from hostsim.results.memory import VMS
from hostsim.results.registry import IN_RUN_JSON, OF_HOST, OF_MIGRATIONS, UNDER_KVM
from hostsim.results.rounds import ROUNDS
from hostsim.results.series import KVM_SERIES, SERIES
from hostsim.results.store import write_run
from hostsim.verdict.logging_cost import KINDS
from tests.helpers.docs_tools import docs_tool
from tests.helpers.kvm_synthetic import kvm_migration

SMALL = {
    "vm": {"memory": "16MiB", "workload": [{"pattern": "uniform", "size": "4MiB", "write_rate": "500/s"}]},
    "migration": {"bandwidth": "32MiB/s"},
}
ADDED: Column[Any] = Column(
    "dirtied_pages", INT, "pages", "dirtied", "pages that the sync found dirty", lambda row: row.sync.dirtied_pages
)
EVERY: list[Columns[Any]] = [
    (*ROUNDS, *KVM_ROUNDS), (*SERIES, *KVM_SERIES), *OF_HOST.values(), *IN_RUN_JSON.values(),
]  # fmt: skip


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return docs_tool("write_results")


def test_files_the_terminal_and_the_page_follow_one_entry(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    columns = (*ROUNDS, ADDED)
    for module in (collect, tables):
        monkeypatch.setattr(module, "ROUNDS", columns)
    result = run(Scenario.model_validate(SMALL))
    write_run(result, tmp_path / "out")
    with (tmp_path / "out" / "rounds.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = [int(line["dirtied_pages"]) for line in lines]
    assert max(found) > 0
    content = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [row["dirtied_pages"] for row in content["rounds"][0]] == found
    table = pyarrow.parquet.read_table(tmp_path / "out" / "rounds.parquet")
    assert table["dirtied_pages"].to_pylist() == found
    assert table.schema.field("dirtied_pages").metadata == {b"unit": b"pages", b"description": ADDED.words.encode()}
    cell = shown(columns)[-1]
    assert (cell.heading, cell.cell({"dirtied_pages": 1_234_567})) == ("dirtied", "1.23M")
    monkeypatch.setitem(tool.TABLES, "rounds", columns)
    assert "| `dirtied_pages` | pages | pages that the sync found dirty |" in tool.page(tool.PAGE.read_text())


def test_a_table_without_marks_on_the_page_is_found(tool: ModuleType) -> None:
    text = tool.PAGE.read_text().replace("<!-- columns: vcpu_times -->", "")
    with pytest.raises(AssertionError, match="vcpu_times"):
        tool.page(text)


@pytest.mark.parametrize("columns", EVERY)
def test_names_are_distinct_and_meanings_are_one_cell(columns: Columns[Any]) -> None:
    assert len(set(names(columns))) == len(columns)
    for column in columns:
        assert column.words, column.name
        assert not column.words.endswith(".")
        assert "|" not in column.words
        assert "\n" not in column.words


@pytest.mark.parametrize(("unit", "name"), [("ns", "wait"), ("bytes", "sent_ns"), ("pages/s", "rate_pages")])
def test_a_name_without_its_unit_is_refused(unit: str, name: str) -> None:
    with pytest.raises(AssertionError, match="ends in"):
        Column(name, INT, unit, "", "x", lambda row: row)


def test_tables_with_files_have_no_lists() -> None:
    of_files = [*OF_MIGRATIONS.values(), *UNDER_KVM.values(), *OF_HOST.values()]
    assert [column.name for columns in of_files for column in columns if column.dtype == "json"] == []


def test_cells_are_written_by_unit() -> None:
    units = {"ns": "1.23 ms", "bytes": "1.23 MB", "pages": "1.23M", "bytes/s": "9.88 Mbit/s", "percent": "1234567 %"}
    ends = {"ns": "x_ns", "bytes": "x_bytes", "pages": "x", "bytes/s": "x_bytes_per_s", "percent": "x_percent"}
    for unit, words in units.items():
        (column,) = shown([Column(ends[unit], INT, unit, "x", "x", lambda row: row)])
        assert column.cell({ends[unit]: 1_234_567}) == words


def test_columns_are_keys_spare_and_sorted_as_entries_say() -> None:
    def entry(name: str, **more: Any) -> Column[Any]:
        return Column(name, INT, "", name, "x", lambda row: row, **more)

    columns = (entry("last", place=1), entry("key", key=True), entry("none"), entry("spare", spare=True, if_any=True))
    found = shown(columns, none={"heading": "other"})
    assert [column.heading for column in found] == ["key", "other", "spare", "last"]
    assert [column.role for column in found] == [Role.KEY, Role.FIGURE, Role.SPARE, Role.FIGURE]
    assert [column.if_any for column in found] == [False, False, True, False]
    assert shown([Column("x", INT, "", "", "x", lambda row: row)]) == ()


@pytest.mark.parametrize(("table", "columns"), [(VM_COLUMNS, VMS), (PASS_COLUMNS, OF_HOST["ageing_passes"]),
                                                (LATENCY_COLUMNS, IN_RUN_JSON["latencies[]"])])  # fmt: skip
def test_tables_of_a_host_show_what_has_a_heading(table: Any, columns: Columns[Any]) -> None:
    assert [column.heading for column in table] == [column.heading for column in in_place(columns) if column.heading]


def test_titles_and_labels_follow_entries() -> None:
    assert titles(AGEING, "ageing.") == {
        "ageing.pass_max_ns": "longest ageing pass", "ageing.young_pages": "young", "ageing.false_old_pages": "false old",
    }  # fmt: skip
    assert labels(KVM_ROUNDS)["reap_ns"] == "reap"
    assert labels(KVM_ROUNDS)["flushes"] == "flushes"


def test_exits_are_numbered_as_the_engine_numbers_them() -> None:
    assert (layout.RETRY, 1 + sum(kind.number != USER_SPACE for kind in EXITS)) == (RETRY, layout.N_EXITS)
    assert [kind.number for kind in COSTED] == list(range(1, N_KINDS))
    assert [COST_KEYS[kind.number] for kind in COSTED] == [kind.cost for kind in COSTED]


def test_each_kind_of_exit_is_counted_shown_drawn_and_named() -> None:
    kinds = [kind.name for kind in EXITS]
    columns = names(KVM_ROUNDS)
    assert [name for name in columns if name in kinds] == kinds
    assert list(KINDS) == kinds
    assert set(kinds) <= {column.name for column in shown(KVM_ROUNDS)}
    assert all(isinstance(getattr(Tally(), name), int) for name in kinds)


def test_a_tally_grows_kind_by_kind() -> None:
    before = Tally(now_ns=10, exits=exits_of(wp_faults=3, retries=1), stall_ns=7)
    after = Tally(now_ns=30, exits=exits_of(wp_faults=8, retries=1, pml_full=2), stall_ns=9)
    grown = after - before
    assert grown == Tally(now_ns=20, exits=exits_of(wp_faults=5, pml_full=2), stall_ns=2)
    assert before + grown == after
    assert (grown.wp_faults, grown.exits[WP], grown.retries, grown.faults) == (5, 5, 0, 5)
    assert read_row(KVM_ROUNDS, Spent(grown, 2))["pml_full"] == 2
    with pytest.raises(AttributeError, match="no_such_faults"):
        _ = grown.no_such_faults


def test_what_never_happened_is_not_shown() -> None:
    found = kvm_migration()
    (_, costs) = migration_tables(found)
    assert [column.heading for column in costs.columns] == [
        "round", "wp", "flushes", "syncs", "host hold", "lock wait", "guest lost",
    ]  # fmt: skip
