"""The debate about the rmap: twelve claims, each with a crossing that is measured, and a closed form beside it."""

from __future__ import annotations

import importlib.util
import math
import runpy
from pathlib import Path
from typing import Any

import pytest

from hostsim.study.rmap_debate import forms
from hostsim.study.rmap_debate.claim import OFF_MAX, Claim, Crossing, bisect
from hostsim.study.rmap_debate.debate import all_claims, shown
from hostsim.study.rmap_debate.notifying import scan
from hostsim.study.rmap_debate.runs import costs


@pytest.fixture(scope="module")
def claims() -> dict[int, Claim]:
    return {claim.number: claim for claim in all_claims()}


def test_there_are_the_twelve_claims_of_the_thread_with_a_verdict_each(claims: dict[int, Claim]) -> None:
    assert list(claims) == list(range(1, 13))
    assert {claim.verdict for claim in claims.values()} <= {"holds", "holds if", "fails"}
    assert all(claim.crossings and len(claim.panel.curves) >= 3 for claim in claims.values())


@pytest.mark.parametrize("number", range(1, 13))
def test_crossings_are_measured_and_near_their_closed_form(claims: dict[int, Claim], number: int) -> None:
    for crossing in claims[number].crossings:
        assert math.isfinite(crossing.measured)
        assert abs(crossing.off) < OFF_MAX or crossing.why, shown(crossing)
        assert abs(crossing.off) < 0.04, shown(crossing)


def test_lines_of_a_picture_lie_as_the_crossing_says(claims: dict[int, Claim]) -> None:
    """On one side of it the one design is below, on the other side the other."""
    for number, (first, second) in {1: ("list", "rmap"), 6: ("rmap of dirty gfns", "shadow-page walk")}.items():
        claim = claims[number]
        lines = {curve.name: curve for curve in claim.panel.curves}
        where = claim.crossings[0].measured
        points = zip(lines[first].x, lines[first].y, lines[second].y, strict=True)
        assert all((low < high) == (x < where) for x, low, high in points)


def test_without_the_bit_faults_are_the_pages_used_and_with_it_none() -> None:
    tracked, zapped, bit = (scan("rmap", 0.3, how) for how in ("tracked", "zapped", "bit"))
    assert tracked.faults == zapped.faults == tracked.young == zapped.young == bit.young
    assert bit.faults == 0
    assert bit.faults < tracked.faults


def test_bisection_finds_a_root_and_says_where_there_is_none() -> None:
    assert bisect(lambda x: x * x - 2, 0.1, 10.0, 12) == pytest.approx(math.sqrt(2), rel=1e-3)
    assert bisect(lambda x: 2 - x * x, 0.1, 10.0, 12) == pytest.approx(math.sqrt(2), rel=1e-3)
    assert math.isnan(bisect(lambda x: x + 1, 0.1, 10.0))
    assert shown(Crossing("a = b", math.nan, 1.0, "pages", "x")).startswith("a = b: nowhere")


def test_forms_by_hand() -> None:
    c = costs()
    assert forms.rmap_bytes(512) == pytest.approx(8 * (512 + 1 + 1 / 512) + 4096 + 184)
    assert forms.nodes_in_order_ns(c, 8, 1e12) == pytest.approx(8 * c.visit_ns + 3 * c.line_stream_ns)
    assert forms.sptes_in_order_ns(c, 512, 512, 1e12) == pytest.approx(63 * c.line_stream_ns + c.load_ns(1e12))
    assert forms.drawn_pages(1000, 1) == pytest.approx(1.0)


def test_the_script_prints_every_claim_and_crossing(
    claims: dict[int, Claim], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(root / "scenarios" / "rmap_debate.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for claim in claims.values():
        assert f"{claim.number:2}. {claim.who}: {claim.says}" in printed
        assert all(shown(crossing) in printed for crossing in claim.crossings)


def tool(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("draw_rmap_debate", root / "docs" / "tools" / "draw_rmap_debate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_is_measured_now(claims: dict[int, Claim], root: Path) -> None:
    drawing = tool(root)
    text = drawing.PAGE.read_text(encoding="utf-8")
    assert drawing.current(text) == text, "run `python docs/tools/draw_rmap_debate.py`"
    assert all(f"<!-- measured: {number} -->\n**" in text for number in claims)
