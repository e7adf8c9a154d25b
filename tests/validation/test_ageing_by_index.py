"""scenarios/ageing_by_index.py answers its question as it says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scenarios" / "ageing_by_index.py"
SHOWN = ("rmap", "tdp", "slot-list", "writable-chain", "logged-writable-chain", "table-scan", "book3s-pr")


@pytest.fixture(scope="module")
def aged() -> dict[str, tuple[float, float, float]]:
    script = runpy.run_path(str(SCRIPT))
    return {design: script["told"](design, aged=True) for design in SHOWN}


def test_an_index_by_gfn_looks_at_what_is_asked_for(aged: dict[str, tuple[float, float, float]]) -> None:
    pass_ms = {design: told[0] for design, told in aged.items()}
    assert pass_ms["slot-list"] > 20 * pass_ms["rmap"]
    assert pass_ms["table-scan"] > 10 * pass_ms["tdp"]
    assert aged["slot-list"][2] > 1.2 * aged["rmap"][2]


def test_a_chain_ages_as_the_index_that_it_names(aged: dict[str, tuple[float, float, float]]) -> None:
    assert aged["writable-chain"][0] == pytest.approx(aged["rmap"][0], rel=0.1)
    assert aged["logged-writable-chain"][0] == pytest.approx(aged["table-scan"][0], rel=0.1)


def test_book3s_pr_takes_no_time_and_finds_nothing(aged: dict[str, tuple[float, float, float]]) -> None:
    pass_ms, young, lost = aged["book3s-pr"]
    assert young == 0
    assert pass_ms < 0.1 * aged["rmap"][0]
    assert lost > aged["slot-list"][2]
