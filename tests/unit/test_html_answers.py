"""Pages of predict, solve, fit, measure-dirty and the sweep of auto-converge: their figures, marks and commands."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostsim.cli.report_files import ReportFiles
from hostsim.fitting.fitted import fit
from hostsim.report.charts.chart import Bars, HeatMap, Panel
from hostsim.report.fit_report import curve_table, fit_lines, fit_report
from hostsim.report.html.kinds.parts import given_command
from hostsim.report.html.kinds.predict import change_in, estimates_in, margin_in, margins_chart, runs_chart
from hostsim.report.html.kinds.tuning import unbeaten_rows
from hostsim.report.html.page import Page
from hostsim.report.html.registry import charts_of, page_of, read_content
from hostsim.report.html.render import html_bytes, tables_behind
from hostsim.report.predict_report import prediction_lines, write_prediction
from hostsim.report.predict_report import provenance as predicted_from
from hostsim.report.solve_report import provenance as solved_from
from hostsim.report.solve_report import solution_lines, write_solution
from tests.helpers.answers import answer_contents, swept
from tests.helpers.predicted import predicted, solved

CONTENTS = answer_contents("mine", {"seed": 1})


@cache
def page(name: str) -> Page:
    return page_of(CONTENTS[name])


def tiles(name: str) -> dict[str, str]:
    return {tile.name: tile.figure for tile in page(name).tiles}


@pytest.mark.parametrize("kind", ["predict", "solve"])
def test_the_command_and_the_folder_give_equal_bytes(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostsim.report.html.registry.has_plots", lambda: False)
    if kind == "predict":
        one = predicted(3, 4)
        content: dict[str, Any] = {"verdict": prediction_lines(one)} | one.to_dict()
        origin = predicted_from(one)
        write_prediction(tmp_path, one, content)
    else:
        other = solved()
        content, origin = {"verdict": solution_lines(other)} | other.to_dict(), solved_from(other)
        write_solution(tmp_path, other, content)
    (path,) = ReportFiles(tmp_path / "own.html").of_folder(kind, content, origin)
    assert path.read_bytes() == html_bytes(page_of(read_content(tmp_path)))
    assert ReportFiles().of_folder(kind, content, origin) == []


def test_objects_are_read_back_whole() -> None:
    found, solution = predicted(), solved()
    told = json.loads(json.dumps([found.to_dict(), solution.to_dict()]))
    assert estimates_in(told[0]["figures"]) == dict(found.estimates)
    assert tuple(map(margin_in, told[0]["margins"])) == found.margins
    changes = [change_in(one) for one in told[1]["changes"]]
    assert [(one.kind, one.value, one.reached, one.helps) for one in changes] == [
        (one.kind, one.value, one.reached, one.helps) for one in solution.changes
    ]


def test_a_prediction_opens_with_its_answer() -> None:
    card = page("predict").cards[0]
    assert (card.tone, card.badge) == ("good", "10 of 10 runs converge")
    assert page("predict stuck").cards[0].tone == "open"
    assert tiles("predict")["converges"] == "10 of 10"
    assert not any(line.startswith("Margin") for line in card.lines)
    assert page("predict").command == "hostsim predict mine.toml --reps 10"
    assert page("predict stuck").command.endswith("--reps 10 --no-margins")


def test_the_spread_of_runs_ends_at_the_last_run() -> None:
    found = predicted()
    chart = runs_chart(found.runs, found.estimates)
    panel = chart.panels[0]
    assert isinstance(panel, Panel)
    line = panel.lines[0]
    assert line.y[0] == 0.0
    assert line.y[-1] == 100.0
    assert line.x[1:-1].tolist() == sorted(1e6 * float(run["total_time_ms"] or 0) for run in found.runs)
    assert np.allclose(np.diff(line.y[:-1]), 10.0)
    assert runs_chart(found.runs[:1] * 4, found.estimates).lead.startswith("4 completed runs, which are equal.")


def test_each_margin_has_a_bar_or_a_reason() -> None:
    chart = margins_chart(predicted().margins)
    assert chart is not None
    bars = chart.panels[0]
    assert isinstance(bars, Bars)
    assert bars.groups[0][1][0].value == 1.0
    flip, computed, none, stuck = bars.groups[1][1]
    assert (flip.value, flip.low, flip.high) == pytest.approx((1.95, 1.95, 2.05))
    assert computed.value == pytest.approx(0.48)
    assert "not run" in computed.words
    assert none.words == "no flip down to 1 ms"
    assert stuck.words == "cannot be changed further"
    assert margins_chart(()) is None


def test_changes_of_a_solution_have_commands_to_copy() -> None:
    steps = page("solve").cards[0].steps
    assert [step.sure for step in steps] == [True, True, False, True]
    assert steps[1].command == "virsh migrate-setmaxdowntime DOMAIN 305"
    assert steps[0].command == "hostsim run mine.toml --set link.bandwidth=320Mbit/s"
    assert page("solve").command.startswith("hostsim solve mine.toml --target 'converge=0.95,downtime<=500ms,total<=600s'")


def test_runs_of_a_pair_are_framed() -> None:
    chart, _ = charts_of(CONTENTS["solve"])
    (part,) = chart.panels
    assert isinstance(part, HeatMap)
    assert part.values.tolist() == [[0, 0, 0.95], [0, 0.95, 1], [1, 1, 1]]
    assert (0, 2, "19/20 runs, 0.76 to 0.99") in part.framed
    (grid,) = tables_behind(chart)
    assert grid.cells[0][1:] == ("0", "0", "0.95, 19/20 runs, 0.76 to 0.99")


def test_settings_that_none_beats_are_framed() -> None:
    rows = swept("x")["combinations"][1:]
    assert [tuple(rows[i]["settings"].values()) for i in unbeaten_rows(rows)] == [
        ("80", "20", "10"), ("80", "20", "5"), ("80", "10", "10"), ("99", "10", "10")
    ]  # fmt: skip
    both = [part for chart in charts_of(CONTENTS["auto-converge"]) for part in chart.panels if isinstance(part, HeatMap)]
    assert [len(part.framed) for part in both] == [3, 1, 3, 1]
    assert {part.top for part in both[:2]} == {50e9}
    assert np.isnan(both[0].values[0, 0])
    assert list(tiles("auto-converge").values()) == ["0 of 2 completed", "20 s", "5 s"]
    command = "hostsim sweep auto-converge --vm mine --max 80,99 --initial 10,20 --increment 5,10 --set seed=2 --seeds 2"
    assert page("auto-converge").command == command


def test_the_best_reading_is_that_of_the_verdict() -> None:
    found = page("measure-dirty").tiles
    assert [tile.figure for tile in found] == ["19.2 s", "2.5 %", "40 %", "1 %"]
    assert found[1].aside.endswith("ring, 1s")
    assert page("measure-dirty").command == "hostsim measure-dirty mine --method page-sampling,ring --samples 512 --reps 8"
    chart = charts_of(CONTENTS["measure-dirty"])[0]
    bias = chart.panels[0]
    assert isinstance(bias, Panel)
    assert [line.name for line in bias.lines] == ["page-sampling, 512 a GiB", "ring"]
    assert np.isnan(bias.lines[1].y[1])


def test_a_real_fit_has_a_band_around_its_curve(tmp_path: Path) -> None:
    log = tmp_path / "curve.csv"
    log.write_text("seconds,pages\n0.1,1000\n1,8000\n10,30000\n60,50000\n")
    fitted = fit(log)
    curve = curve_table(fitted)
    assert (curve["low_pages"] <= curve["high_pages"]).all()
    content = fit_report("fit", fitted, {"lines": fit_lines(fitted), **fitted.to_dict()}, 1)
    text = html_bytes(page_of(content)).decode()
    assert "[vm]" in text
    assert re.search(r'"band":true', text)
    assert not page_of(content).notes


def test_a_command_has_the_options_that_were_given() -> None:
    told = given_command("whatif", ["a b.jsonl"], {"set": ["x=1", "y=2"], "mode": "", "seed": None, "reps": 3})
    assert told == "hostsim whatif 'a b.jsonl' --set x=1 --set y=2 --reps 3"
    assert given_command("fit", ["-"], {}) == "hostsim fit -"
