"""The pages state the figures that the validation gave, and the engine still gives them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.docs.blocks import ROOT

SHARE_MAX = 0.05
CLAIM = re.compile(r"(\d+) migrations of \d+ cases;[^|]*\| (\d+) \| \*\*(\d+)\*\* \| \*\*(\d+)\*\*")
"""The first line of the README's table: migrations, cases that count, right outcomes, figures within SHARE_MAX."""
QUICK = ("small4_fit", "rand_050", "v10_seq_050")


@pytest.fixture(scope="module")
def kept() -> list[dict[str, Any]]:
    path = ROOT / "docs" / "background" / "validation.json"
    return [row for row in json.loads(path.read_text(encoding="utf-8")) if row["suite"] == "qemu"]


def test_the_readme_tells_what_was_found(kept: list[dict[str, Any]]) -> None:
    from hostsim.validation.qemu.cases import fourth_cases, load_cases, second_cases

    counted = {row["id"] for row in kept if row["scored"]}
    right = {row["id"] for row in kept if row["quantity"] == "outcome" and row["passed"]} & counted
    off = {
        row["id"] for row in kept
        if row["quantity"] in ("total_time_ms", "transferred_bytes") and abs(row["error"]) > SHARE_MAX
    }  # fmt: skip
    later = [case for case in (*second_cases(), *fourth_cases()) if str(case.inputs["accel"]).startswith("tcg")]
    migrations = sum(len(case.repeats) for case in (*load_cases(), *later))
    match = CLAIM.search(" ".join((ROOT / "README.md").read_text(encoding="utf-8").split()))
    assert match is not None
    assert [int(text) for text in match.groups()] == [migrations, len(counted), len(right), len(counted - off)]


def test_the_engine_still_gives_the_figures_of_the_page(kept: list[dict[str, Any]]) -> None:
    from hostsim.validation import run_suites

    rows = [row.to_dict() for row in run_suites(["qemu"], only=QUICK)]
    assert rows == [row for row in kept if row["id"] in QUICK]


def test_the_profiles_on_the_page_have_their_defaults() -> None:
    from hostsim.core.units import parse_bandwidth, parse_duration
    from hostsim.scenario.profiles import PROFILES

    page = (ROOT / "docs" / "howto" / "never-finishes.md").read_text(encoding="utf-8")
    shown = {line.split("|")[1].strip(" `"): [cell.strip() for cell in line.split("|")[2:-1]] for line in page.splitlines()
             if line.startswith("| `")}  # fmt: skip
    assert list(shown) == list(PROFILES)
    for name, (bandwidth, limit, auto_converge, _) in shown.items():
        defaults = {key: default.value for key, default in PROFILES[name].defaults.items()}
        assert parse_bandwidth(bandwidth.replace(" ", "")) == parse_bandwidth(str(defaults["bandwidth"]))
        assert parse_duration(limit.replace(" ", "")) == parse_duration(str(defaults["downtime_limit"]))
        assert (auto_converge == "on") == defaults["auto_converge"]
