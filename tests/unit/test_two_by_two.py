"""The 2x2 of ageing: its cells, and that its words follow its figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hostsim.report.age_report import two_by_two_tables
from hostsim.study.ageing.two_by_two import Cell, run_all
from hostsim.study.ageing.two_by_two_words import verdict_lines

CELL = Cell(True, "rmap", False, 1e6, 500.0, 0.0, 0.0, 0.0, 0)


def cells(slow_with: float, slow_without: float, **without: Any) -> list[Cell]:
    found = []
    for migrates in (False, True):
        moved: dict[str, Any] = {"migration_s": 1.0, "plain_migration_s": 1.0, "completed": True} if migrates else {}
        for a_bits, slow in ((True, slow_with), (False, slow_without)):
            for index, ratio in (("rmap", 1.0), ("slot-list", slow)):
                more = moved if a_bits or not migrates else moved | without
                cell = replace(CELL, a_bits=a_bits, index=index, migrates=migrates, pass_ns=1e6 * ratio, **more)
                found.append(cell)
    return found


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ((5.0, 4.0), "only sufficient"), ((5.0, 1.1), "necessary, too"), ((1.0, 1.0), "does not hold"),
        ((1.0, 9.0), "does not hold"),
    ],
)
def test_the_verdict_follows_the_ratios(ratios: tuple[float, float], said: str) -> None:
    lines = list(verdict_lines(cells(*ratios)))
    assert f"{ratios[0]:.1f} times as long" in lines[0]
    assert said in lines[2]


def test_the_price_of_the_missing_bit_is_told() -> None:
    *_, last = verdict_lines(cells(5.0, 4.0, migration_s=3.0, completed=False))
    assert last.endswith("the migration takes 3.0 times as long and is given up.")
    alone, moved = two_by_two_tables(cells(5.0, 4.0, migration_s=3.0, completed=False))
    assert [row[:2] for row in alone.cells] == [(bit, index) for bit in ("yes", "none") for index in ("rmap", "slot-list")]
    assert [row[-2:] for row in moved.cells] == [("1 s", "1 s")] * 2 + [("3 s, given up", "1 s")] * 2


def test_cells_by_the_daemon() -> None:
    """A missing bit costs faults, and under a migration pages sent again; a list of all sptes costs look-ups."""
    found = run_all(512, 2, 1)
    assert [(cell.a_bits, cell.index, cell.migrates) for cell in found[:4]] == [
        (True, "rmap", False), (True, "slot-list", False), (False, "rmap", False), (False, "slot-list", False),
    ]  # fmt: skip
    with_bit, slow, without, _ = found[:4]
    assert slow.pass_ns > with_bit.pass_ns
    assert with_bit.faults == 0.0 < without.faults < without.used_pages
    moved, _, moved_without, _ = found[4:]
    assert moved.completed
    assert (moved_without.migration_s or 0.0) > 1.05 * (moved.migration_s or 9.0), "one pass falls into so short a migration"
