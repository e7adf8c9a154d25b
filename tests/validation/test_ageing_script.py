"""scenarios/ageing_without_a_bits.py answers its question as it says."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from hostsim.guest.popularity import zipf_shares
from hostsim.theory.working_set import working_set_pages

SCRIPT = Path(__file__).resolve().parents[2] / "scenarios" / "ageing_without_a_bits.py"


@pytest.fixture(scope="module")
def table() -> dict[tuple[int, str], list[float]]:
    script = runpy.run_path(str(SCRIPT))
    return {
        (ms, name): [float(word.rstrip("%")) for word in script["told"](ms * 1_000_000, mmu).split()]
        for ms in script["PERIODS_MS"]
        for name, mmu in script["KERNELS"]
    }


def test_with_a_bits_no_exit_is_due_to_ageing(table: dict[tuple[int, str], list[float]]) -> None:
    assert {cells[1] for (_, name), cells in table.items() if name == "with A bits"} == {0.0}
    assert all(cells[2] < 0.5 for (_, name), cells in table.items() if name == "with A bits")


def test_a_pass_finds_the_working_set_of_its_period(table: dict[tuple[int, str], list[float]]) -> None:
    script = runpy.run_path(str(SCRIPT))
    rates = script["READS_PER_S"] * zipf_shares(script["PAGES"], 0.8)
    for (ms, name), (young, *_) in table.items():
        if name == "with A bits":
            assert young == pytest.approx(working_set_pages(np.asarray(rates), ms / 1000), rel=0.02)


def test_shorter_periods_and_older_kernels_cost_more(table: dict[tuple[int, str], list[float]]) -> None:
    periods = sorted({ms for ms, _ in table})
    for name in ("without, E4", "without, E0"):
        lost = [table[ms, name][2] for ms in periods]
        assert lost == sorted(lost, reverse=True)
    assert all(table[ms, "without, E0"][2] > table[ms, "without, E4"][2] for ms in periods)
