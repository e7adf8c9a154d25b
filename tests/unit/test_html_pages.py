"""Reports as HTML: every kind, names that try to break out, folders that are whole, partial or broken, sizes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.errors import InputError, MissingExtraError, OutputError
from hostsim.report.charts import files as chart_files
from hostsim.report.charts import pictures
from hostsim.report.charts.chart import QUANTITIES, Axis, Chart, Line, Panel, short, words
from hostsim.report.charts.memory import memory_over_time
from hostsim.report.html import render
from hostsim.report.html.data import data_of, rounded, thinned
from hostsim.report.html.registry import KINDS, charts_of, page_of, read_content, run_content
from hostsim.report.html.render import asset, html_bytes, tables_behind, value_at
from hostsim.results.read import read_folder, read_run
from hostsim.results.store import run_files
from hostsim.results.tables import RunResult
from tests.helpers.reports import EVIL, contents, host, long_run, run

CONTENTS = contents()
BYTES_MAX = 1_500_000
OUTSIDE = re.compile(r"""(?:src|href|action|url)\s*=?\s*[(=]\s*["']?\s*(?:https?:)?//""", re.IGNORECASE)


class Tags(HTMLParser):
    """Counts tags and keeps what a browser would run or load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._in_script = tag == "script" and ("type", "application/json") not in attrs
        if self._in_script:
            self.scripts.append("")
        self.loads += [str(value) for name, value in attrs if name in {"src", "href", "onerror", "onload", "srcset"}]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False if tag == "script" else self._in_script

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data


@cache
def page(name: str) -> str:
    return html_bytes(page_of(CONTENTS[name])).decode()


def told(text: str) -> Any:
    found = re.search(r'id="report-data" data-coding="(\w+)">([^<]*)</script>', text)
    assert found is not None
    content = found[2]
    if found[1] == "deflate":
        content = zlib.decompress(base64.b64decode(content), -zlib.MAX_WBITS).decode()
    return json.loads(content)


def test_every_kind_is_tried() -> None:
    assert {content.kind for content in CONTENTS.values()} == set(KINDS)


@pytest.mark.parametrize("name", CONTENTS)
def test_a_page_is_whole_small_and_asks_for_nothing(name: str) -> None:
    text = page(name)
    found = Tags(text)
    assert len(text) < BYTES_MAX
    assert all(load.startswith(("#", "data:")) for load in found.loads)
    assert not OUTSIDE.search(text)
    assert "default-src 'none'" in text
    assert text == html_bytes(page_of(CONTENTS[name])).decode()


@pytest.mark.parametrize("name", CONTENTS)
def test_names_stay_text(name: str) -> None:
    text = page(name)
    found = Tags(text)
    assert found.scripts == [asset(one) for one in render.SCRIPTS]
    assert "img" not in found.tags
    assert "<img" not in text.replace(asset("uPlot.iife.min.js"), "")
    assert "49" not in re.findall(r"alert\(1\)\S{0,12}", text)
    assert EVIL in json.dumps(told(text)) or "&lt;/script&gt;" in text


@pytest.mark.parametrize("name", CONTENTS)
def test_the_policy_names_each_script(name: str) -> None:
    text = page(name)
    for script in Tags(text).scripts:
        # A browser hashes the text between the tags as it stands.
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"&#39;sha256-{digest}&#39;" in text


@pytest.mark.parametrize("name", CONTENTS)
def test_verdict_and_figures_stand_before_charts_and_charts_have_tables(name: str) -> None:
    text = page(name)
    assert text.index('id="verdict"') < text.index("<h2")
    assert text.count("Values of this chart") == text.count("<figure>")
    for chart in charts_of(CONTENTS[name]):
        assert all(grid.cells and len(grid.cells[0]) == len(grid.columns) for grid in tables_behind(chart))


def test_a_folder_and_the_command_give_equal_bytes(tmp_path: Path) -> None:
    result = run()
    folder_of(result, tmp_path)
    (tmp_path / "verdict.txt").write_text("VERDICT: it never ends.\n")
    there = html_bytes(page_of(read_content(tmp_path)))
    assert there == html_bytes(page_of(run_content(result, ["VERDICT: it never ends."])))


def test_a_run_is_read_back_as_it_was_written() -> None:
    written = run_files(replace(run(), migrations=run().migrations))
    found, notes = read_run(written)
    again = run_files(found)
    assert notes == []
    assert {name for name in again if again[name] != written[name] and not name.endswith(".parquet")} == set()


def folder_of(result: RunResult, folder: Path) -> Path:
    for name, content in run_files(result).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", ["run.json", "rounds.csv", "series.csv", "provenance.json", "age_map.csv"])
@pytest.mark.parametrize("damage", ["gone", "half", "empty", "other"])
def test_a_broken_folder_has_a_report_of_the_rest(name: str, damage: str, tmp_path: Path) -> None:
    path = folder_of(run(), tmp_path) / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"half": content[: len(content) // 2], "empty": b"", "other": b'{"migrations": 7, "memory": []}'}[damage]
        )
    found = read_content(tmp_path)
    text = html_bytes(page_of(found)).decode()
    assert '<section class="card' in text
    if name in {"rounds.csv", "series.csv"} or (name == "run.json" and damage != "other"):
        assert "Not all of the result is here" in text


def test_an_older_run_without_some_keys_has_a_report(tmp_path: Path) -> None:
    path = folder_of(run(), tmp_path) / "run.json"
    older = json.loads(path.read_bytes())
    for key in ("facts", "verdicts", "counters", "kvm", "warnings"):
        older.pop(key, None)
    path.write_text(json.dumps(older))
    text = html_bytes(page_of(read_content(tmp_path))).decode()
    assert "no verdict in this folder" in text.lower()
    assert 'data-chart="0"' in text


@pytest.mark.parametrize(
    ("files_there", "said"),
    [({}, "no result"), ({"notes.txt": b"x"}, "no result"), ({"run.json": b"[]"}, "holds no JSON object"),
     ({"compare.json": b"{"}, "broken JSON"), ({"compare.json": b"[]"}, "another form"),
     ({"age.json": b"{}"}, "another form")],
)  # fmt: skip
def test_a_folder_without_a_result_is_refused(files_there: dict[str, bytes], said: str, tmp_path: Path) -> None:
    for name, content in files_there.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        page_of(read_content(tmp_path))


def test_an_interrupted_study_shows_its_finished_runs(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "abc.json").write_text('{"figures": {"status": "completed", "total_time_ms": 1234}}')
    (tmp_path / "runs" / "def.json").write_text("{")
    text = html_bytes(page_of(read_content(tmp_path))).decode()
    assert "1.23 s" in text
    assert "1 runs of it are" in text


def test_a_long_series_fits() -> None:
    text = html_bytes(page_of(run_content(long_run(), []))).decode()
    assert len(text) < BYTES_MAX
    assert "points are not in this file" in text
    remaining = told(text)["charts"][0]["panels"][0]["lines"][0]
    assert len(told(text)["data"][remaining["x"]]) > 10_000


def test_a_long_series_that_compresses_is_kept_whole() -> None:
    result = long_run()
    series = result.migrations[0].series
    steady = {name: np.repeat(values[:10], len(values) // 10) for name, values in series.columns.items()}
    steady["t_ns"] = np.arange(len(series)) * 100_000_000
    one = replace(result.migrations[0], series=replace(series, columns=steady))
    text = html_bytes(page_of(run_content(replace(result, migrations=(one,)), []))).decode()
    assert "points are not in this file" not in text
    assert len(text) < BYTES_MAX


def test_a_step_is_two_places_on_the_axis() -> None:
    places = np.array([3.17 - 1e-9, 3.17 + 1e-9])
    chart = Chart("a", "", Axis("", "s"), (Panel(Axis("", "bytes"), (Line("b", places, np.array([1.0, 2.0])),)),))
    assert json.loads(data_of([chart])[0])["data"][0] == [3.169999999, 3.170000001]


@given(st.lists(st.floats(-1e12, 1e12) | st.just(float("nan")), min_size=1, max_size=60), st.integers(1, 20))
def test_thinning_keeps_the_least_and_the_greatest(values: list[float], most: int) -> None:
    line = Line("x", np.arange(len(values), dtype=float), np.array(values))
    kept = thinned(line, most)
    assert len(kept) <= max(most, 2)
    finite = line.y[np.isfinite(line.y)]
    if len(finite):
        assert np.nanmax(line.y[kept]) == finite.max()
        assert np.nanmin(line.y[kept]) == finite.min()


@given(st.lists(st.floats(-1e300, 1e300), max_size=20))
def test_numbers_keep_seven_digits(values: list[float]) -> None:
    found = rounded(np.array(values, float))
    assert all(
        one == pytest.approx(value, rel=1e-6) for one, value in zip(found, values, strict=True) if abs(value) > 1e-290
    )
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("value", "quantity", "text"),
    [(0, "s", "0 s"), (1.5e-6, "s", "1.5 us"), (2.5e9, "bytes", "2.5 GB"), (999.9999999999e6, "bytes", "1 GB"),
     (12_345, "", "12.3k"),
     (9_999, "", "9999"), (7.2e12, "ns", "2 h"), (0.04, "%", "0.04 %"), (1e10, "bit/s", "10 Gbit/s"),
     (float("nan"), "s", "-"),
     (-3e6, "ns", "-3 ms")],
)  # fmt: skip
def test_values_have_units(value: float, quantity: str, text: str) -> None:
    assert words(value, quantity) == text
    assert short(0.1 + 0.2) == "0.3"
    assert all(steps[-1][0] == 0.0 for steps in QUANTITIES.values())


@pytest.mark.parametrize(("look", "found"), [("line", 20.0), ("before", 20.0), ("after", 10.0), ("level", 10.0)])
def test_a_step_has_the_value_that_holds(look: Any, found: float) -> None:
    assert value_at(Line("x", np.array([0.0, 1.0]), np.array([10.0, 20.0]), look=look), 0.7) == found


def test_the_library_is_the_published_one() -> None:
    noted = json.loads(asset("uplot.json"))
    folder = Path(render.__file__).parents[1] / "assets"
    assert noted["licence"] == "MIT"
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in noted["sha256"]} == noted["sha256"]
    assert {"uPlot.iife.min.js", "uPlot.min.css"} <= noted["sha256"].keys()


def test_without_jinja2_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(render, "has_pages", lambda: False)
    monkeypatch.setattr(render, "has_pages", lambda: False)
    for attempt in (lambda: html_bytes(page_of(CONTENTS["debate"])), lambda: render.check_html(tmp_path / "x.html")):
        with pytest.raises(MissingExtraError, match=r"jinja2 is not installed \(extra 'report'\)"):
            attempt()


def test_a_report_goes_to_a_file_named_html(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.html"):
        render.check_html(tmp_path / "x.pdf")
    (tmp_path / "x.html").mkdir()
    with pytest.raises(OutputError, match="a folder stands"):
        render.check_html(tmp_path / "x.html")
    assert read_folder(tmp_path) == {}


@pytest.mark.parametrize("kind", chart_files.KINDS)
def test_each_chart_is_a_picture_with_its_data(kind: str, tmp_path: Path) -> None:
    charts = charts_of(CONTENTS["reclaim"])
    paths = chart_files.write_plots(tmp_path / f"p.{kind}", charts, "column")
    stems = ["p", *(f"p-{chart.name}" for chart in charts[1:])]
    assert [path.name for path in paths] == [f"{stem}{end}" for stem in stems for end in (f".{kind}", "-data.csv")]
    assert (tmp_path / f"p.{kind}").read_bytes() == chart_files.picture(charts[0], kind, "column")
    assert (tmp_path / "p-data.csv").read_text().startswith("panel,line,x,y,low,high\nreclaimed,policy=idle,1000000000.0,")


@pytest.mark.parametrize("name", CONTENTS)
def test_every_chart_of_every_kind_is_drawn(name: str) -> None:
    for chart in charts_of(CONTENTS[name]):
        figure = pictures.figure_of(chart, "page")
        assert len(figure.axes) >= len(chart.panels)
        assert len(chart_files.data_table(chart)) > 0
    assert data_of(charts_of(CONTENTS[name]))[1] in {"json", "deflate"}


def test_each_host_has_a_panel_of_its_free_frames() -> None:
    near = {"vms": [{"vm": "vm"}], "watermarks": {"high": 330, "low": 280, "min": 220}}
    far_below = {"vms": [{"vm": "neighbour[0]"}], "watermarks": {"high": 30, "low": 20, "min": 10}}
    panels = memory_over_time(replace(host(), memory=near, destination_memory=far_below)).panels
    found = [panel for panel in panels if isinstance(panel, Panel) and panel.y.label.startswith("free frames")]
    assert [panel.y.label for panel in found] == ["free frames, vm", "free frames, neighbour[0]"]
    assert [len(panel.lines) for panel in found] == [4, 4]
    assert [panel.y.log for panel in found] == [False, True]
