"""The debate about the rmap: twelve claims, each with a crossing that is measured, and a closed form beside it."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import pytest

from hostsim.cli.debate_cmd import DebateOptions
from hostsim.core.errors import InputError
from hostsim.report.debate_report import condition_lines, crossing_words, debate_content, debate_tables, write_debate
from hostsim.study.rmap_debate import forms
from hostsim.study.rmap_debate.claim import OFF_MAX, Claim, Crossing, meet
from hostsim.study.rmap_debate.debate import GROUPS, all_claims, machine_words, run_claims
from hostsim.study.rmap_debate.notifying import scan
from hostsim.study.rmap_debate.runs import SHEET, costs, sheet, use_sheet
from tests.helpers.docs_tools import docs_tool
from tests.helpers.shared import once

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def claims() -> dict[int, Claim]:
    return {claim.number: claim for claim in once("claims of the debate", lambda: list(all_claims()))}


def test_there_are_the_twelve_claims_of_the_thread_with_a_verdict_each(claims: dict[int, Claim]) -> None:
    assert list(claims) == list(range(1, 13))
    assert {claim.verdict for claim in claims.values()} <= {"holds", "holds if", "fails"}
    assert all(claim.crossings and len(claim.panel.curves) >= 3 for claim in claims.values())


@pytest.mark.parametrize("number", range(1, 13))
def test_crossings_are_measured_and_near_their_closed_form(claims: dict[int, Claim], number: int) -> None:
    for crossing in claims[number].crossings:
        assert math.isfinite(crossing.measured)
        assert abs(crossing.off) < OFF_MAX or crossing.why, crossing
        assert abs(crossing.off) < 0.02, crossing


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


@pytest.mark.parametrize("power", [0.1, 1.0, 2.0, 8.0])
def test_costs_meet_where_they_are_the_same_or_nowhere(power: float) -> None:
    calls: list[float] = []

    def cost(x: float) -> float:
        calls.append(x)
        return 1.0 + x**power

    same = 1.0 + 2.0**power
    assert meet(cost, same, 0.01, 1000.0) == pytest.approx(2.0, rel=1e-3)
    assert meet(lambda _x: same, cost, 0.01, 1000.0) == pytest.approx(2.0, rel=1e-3)
    assert len(calls) < 30
    assert math.isnan(meet(cost, 0.5, 0.01, 1000.0))


def test_forms_by_hand() -> None:
    c = costs()
    assert forms.rmap_bytes(512) == pytest.approx(8 * (512 + 1 + 1 / 512) + 4096 + 184)
    assert forms.nodes_in_order_ns(c, 8, 1e12) == pytest.approx(8 * c.visit_ns + 3 * c.line_stream_ns)
    assert forms.sptes_in_order_ns(c, 512, 512, 1e12) == pytest.approx(63 * c.line_stream_ns + c.load_ns(1e12))
    assert forms.drawn_pages(1000, 1) == pytest.approx(1.0)


def test_the_tables_have_every_claim_and_crossing(claims: dict[int, Claim]) -> None:
    said, turns = debate_tables(list(claims.values()))
    assert said.cells == tuple((str(claim.number), claim.says, claim.who, claim.verdict) for claim in claims.values())
    crossings = [(claim, crossing) for claim in claims.values() for crossing in claim.crossings]
    assert [row[:2] for row in turns.cells] == [(str(claim.number), crossing.what) for claim, crossing in crossings]
    assert all({crossing.unit, crossing.apart} < set(row) for row, (_, crossing) in zip(turns.cells, crossings, strict=True))


def test_the_lines_below_say_what_it_depends_on_and_why_forms_differ(claims: dict[int, Claim]) -> None:
    text = " ".join(" ".join(condition_lines(list(claims.values()))).split())
    for claim in claims.values():
        assert f"{claim.number}. {claim.verdict.upper()}: {claim.condition}." in text
        for crossing in claim.crossings:
            assert crossing.formula in text
            assert (f"{crossing.apart}: {crossing.why}" in text) == (abs(crossing.off) >= OFF_MAX)


def test_files_hold_all_claims_and_lines(claims: dict[int, Claim], tmp_path: Path) -> None:
    content = debate_content(DebateOptions("nehalem-2010"), list(claims.values()))
    paths = write_debate(tmp_path / "out", content, list(claims.values()))
    assert {path.name for path in paths} == {
        "debate.json", "provenance.json", "verdict.txt", "debate.csv", "debate.parquet", "curves.csv", "curves.parquet",
        "debate.png", "debate.svg",
    }  # fmt: skip
    told = json.loads((tmp_path / "out" / "debate.json").read_text())
    assert [claim["number"] for claim in told["claims"]] == list(range(1, 13))
    assert told["verdict"] == [
        "VERDICT: of the 12 claims 3 hold and 9 hold under the condition that stands with each of them"
    ]
    assert told["machine"] == machine_words()
    rows = (tmp_path / "out" / "debate.csv").read_text().splitlines()
    assert len(rows) == 1 + sum(len(claim.crossings) for claim in claims.values())
    picture = (tmp_path / "out" / "debate.svg").read_text()
    assert all(line.name in picture for claim in claims.values() for line in claim.panel.curves)


def test_a_crossing_that_is_nowhere_says_so() -> None:
    nowhere = Crossing("a = b", math.nan, math.nan, "pages", "x")
    assert (crossing_words(nowhere), nowhere.apart) == ("nowhere", "-")


def test_progress_is_told_after_each_claim(claims: dict[int, Claim], monkeypatch: pytest.MonkeyPatch) -> None:
    about: list[str] = []
    for group, first in zip(GROUPS, (1, 4, 7, 10), strict=True):
        monkeypatch.setitem(GROUPS, group, tuple(partial(claims.__getitem__, first + i) for i in range(3)))
    assert run_claims(about.append) == tuple(claims.values())
    assert about == [group for group in GROUPS for _ in range(3)]


def test_one_process_debates_on_one_machine(claims: dict[int, Claim]) -> None:
    assert claims
    assert costs().visit_ns > 0  # claims of another worker priced nothing here
    with pytest.raises(AssertionError, match="priced already"):
        use_sheet("cascade-lake")
    with pytest.raises(InputError, match="cascade-lake"):
        use_sheet("cascade-lak")
    assert sheet().name == SHEET


def test_the_page_and_its_pictures_show_what_is_measured_now(claims: dict[int, Claim]) -> None:
    drawing = docs_tool("draw_rmap_debate")
    text = drawing.PAGE.read_text(encoding="utf-8")
    assert drawing.current(text) == text, "run `python docs/tools/draw_rmap_debate.py`"
    assert all(f"<!-- measured: {number} -->\n**" in text for number in claims)
    assert drawing.problems(drawing.__file__, drawing.figures()) == []
