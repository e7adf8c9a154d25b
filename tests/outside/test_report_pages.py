"""Reports in a browser: every kind opens without an error, fits a phone, can be zoomed and read out, and passes axe-core."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostsim.report.html.registry import read_content, run_content
from hostsim.report.html.render import write_html
from hostsim.results.store import run_files
from tests.helpers.browser import Browser
from tests.helpers.needs import axe_source, needs_browser
from tests.helpers.reports import contents, long_run

pytestmark = needs_browser
WRITTEN_MAX_S, OPENED_MAX_S = 5.0, 2.0
CONTENTS = contents()
AXE_RUN = """
axe.run(document, {resultTypes: ["violations"]}).then((found) => JSON.stringify(found.violations
  .filter((one) => ["serious", "critical"].includes(one.impact))
  .map((one) => [one.id, one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + (node.any[0]?.message || ""))])))
"""
PLOTS = "hostsimReport.figures[0].group.plots"
RANGES = f"JSON.stringify({PLOTS}.map((plot) => [plot.scales.x.min, plot.scales.x.max]))"
BOX = f"{PLOTS}[0].over.getBoundingClientRect()"
FITS = """
new Promise((done) => {
  const until = performance.now() + 2000;
  const look = () => {
    const fits = [...document.querySelectorAll(".uplot")].every((plot) => plot.getBoundingClientRect().right <= 390);
    if (fits || performance.now() > until) done(fits); else setTimeout(look, 20);
  };
  look();
})
"""
"""Whether all charts fit a phone within 2 s: they are drawn anew at a frame after the window has changed."""
STEPS = """
(() => {
  const { plot, lines } = hostsimReport.figures.flatMap((figure) => figure.chart.panels)
    .find((panel) => (panel.lines || []).some((line) => line.look === "LOOK"));
  const drawn = [], real = Path2D;
  const keep = (letter) => function (x, y) { drawn.push(letter + x + "," + y); };
  Path2D = class {};
  Path2D.prototype.moveTo = keep("M");
  Path2D.prototype.lineTo = keep("L");
  const at = lines.findIndex((line) => line.look === "LOOK") + 1;
  const made_up = { data: [XS, YS], over: { clientWidth: 100 }, valToPos: (value) => value };
  plot.series[at].paths(made_up, 1, 0, made_up.data[0].length - 1);
  Path2D = real;
  return drawn.join(" ");
})()
"""
"""The path that the page draws for a line of values YS over places XS."""
PLACE = f"JSON.stringify((({{left, top, width, height}}) => [left, top, width, height])({BOX}))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for name, content in CONTENTS.items():
        write_html(folder / f"{name}.html", content)
    return folder


@pytest.mark.parametrize("name", CONTENTS)
def test_a_report_opens_and_fits(name: str, browser: Browser, pages: Path) -> None:
    browser.size(1280, 900)
    browser.scheme("light")
    browser.open(pages / f"{name}.html")
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
    assert browser.value("document.querySelectorAll('[data-chart]').length === hostsimReport.figures.length")
    browser.size(390, 844)
    browser.scheme("dark")
    assert browser.value("new Promise((done) => setTimeout(() => done(document.documentElement.scrollWidth), 60))") <= 390
    assert browser.value(FITS)
    assert browser.problems == []


@pytest.mark.parametrize("name", ["run", "compare names", "compare", "explain"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_serious(name: str, width: int, scheme: str, browser: Browser, pages: Path) -> None:
    source = axe_source()
    browser.size(width, 900)
    browser.scheme(scheme)
    browser.open(pages / f"{name}.html")
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.value(f"{source}; 0")
    assert json.loads(browser.value(AXE_RUN)) == []


def test_hovering_shows_values_in_all_panels(browser: Browser, pages: Path) -> None:
    browser.size(1280, 900)
    browser.open(pages / "run.html")
    browser.value(f"{PLOTS}[0].root.scrollIntoView({{block: 'center'}})")
    left, top, width, height = json.loads(browser.value(PLACE))
    browser.mouse("mouseMoved", left + 0.4 * width, top + 0.5 * height)
    figure = "hostsimReport.figures[0]"
    assert " s · status " in browser.value(f"{figure}.readout.textContent")
    outputs = f"{figure}.chart.panels.flatMap((panel) => panel.outputs.map((one) => one.textContent))"
    told = json.loads(browser.value(f"JSON.stringify({outputs})"))
    assert len(told) == 6
    assert all(text and text[0].isdigit() for text in told)
    places = json.loads(browser.value(f"JSON.stringify({PLOTS}.map((plot) => plot.cursor.left))"))
    assert max(places) - min(places) < 2


def test_dragging_zooms_all_panels_and_a_double_click_shows_all(browser: Browser, pages: Path) -> None:
    browser.size(1280, 900)
    browser.open(pages / "run.html")
    browser.value(f"{PLOTS}[0].root.scrollIntoView({{block: 'center'}})")
    before = json.loads(browser.value(RANGES))
    left, top, width, height = json.loads(browser.value(PLACE))
    browser.mouse("mouseMoved", left + 0.2 * width, top + 0.5 * height)
    browser.mouse("mousePressed", left + 0.2 * width, top + 0.5 * height)
    browser.mouse("mouseMoved", left + 0.6 * width, top + 0.5 * height, pressed=True)
    browser.mouse("mouseReleased", left + 0.6 * width, top + 0.5 * height)
    zoomed = json.loads(browser.value(RANGES))
    low, high = before[0]
    assert all(after == pytest.approx([low + 0.2 * (high - low), low + 0.6 * (high - low)], rel=0.02) for after in zoomed)
    browser.value("document.querySelector('[aria-label=\"show all\"]').click()")
    assert json.loads(browser.value(RANGES)) == before


def test_the_keyboard_zooms_and_reads_out(browser: Browser, pages: Path) -> None:
    browser.open(pages / "run.html")
    before = json.loads(browser.value(RANGES))[0]
    browser.value("document.querySelector('.plots').focus()")
    browser.press("+")
    low, high = json.loads(browser.value(RANGES))[-1]
    assert high - low == pytest.approx((before[1] - before[0]) / 2)
    browser.press("ArrowRight")
    assert "remaining" in browser.value("hostsimReport.figures[0].live.textContent")
    browser.press("0")
    assert json.loads(browser.value(RANGES))[-1] == before


def test_a_remedy_is_copied_and_a_line_hidden(browser: Browser, pages: Path) -> None:
    browser.open(pages / "run.html")
    browser.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    browser.value("document.querySelector('button.copy').click()")
    text = "document.querySelector('button.copy').textContent"
    assert browser.value(f"new Promise((done) => setTimeout(() => done({text}), 50))") == "copied"
    browser.value("document.querySelector('.legend button').click()")
    assert browser.value(f"{PLOTS}[0].series[1].show") is False
    assert browser.problems == []


def test_scripts_see_the_units_that_python_sees(browser: Browser, pages: Path) -> None:
    from hostsim.report.charts.chart import words

    browser.open(pages / "run.html")
    values = ((1.5e-6, "s"), (2.5e9, "bytes"), (12_345, ""), (9_999, ""), (7.2e12, "ns"), (1e10, "bit/s"), (-3e6, "ns"))
    for value, quantity in values:
        assert browser.value(f"hostsimReport.words({value}, '{quantity}')") == words(value, quantity)


@pytest.mark.parametrize(
    ("look", "xs", "ys", "path"),
    [
        ("after", [0, 1, 2], [5, None, None], "M0,5 L1,5"),
        ("after", [0, 1, 2, 3], [5, None, 7, 8], "M0,5 L1,5 M2,7 L3,7 L3,8"),
        ("before", [0, 1, 2, 3], [0, 5, None, 7], "M0,5 L1,5 M2,7 L3,7"),
    ],
)
def test_a_step_before_a_gap_is_as_long_as_its_value_holds(
    look: str, xs: list[int], ys: list[int | None], path: str, browser: Browser, pages: Path
) -> None:
    browser.open(pages / "run.html")
    script = STEPS.replace("LOOK", look).replace("XS", json.dumps(xs)).replace("YS", json.dumps(ys))
    assert browser.value(script) == path


def test_paper_gets_a_light_page(browser: Browser, pages: Path) -> None:
    browser.scheme("dark")
    browser.open(pages / "run.html")
    assert browser.pdf().startswith(b"%PDF")
    assert browser.value("document.documentElement.dataset.theme") is None
    browser.scheme("light")


def test_a_hundred_thousand_samples_are_quick(browser: Browser, tmp_path: Path) -> None:
    for name, content in run_files(long_run()).items():
        (tmp_path / name).write_bytes(content)
    start = time.process_time()
    path = write_html(tmp_path / "report.html", read_content(tmp_path))
    assert time.process_time() - start < WRITTEN_MAX_S
    # Time of its processor, not of the clock: other work on the machine does not count.
    browser.call("Performance.enable", timeDomain="threadTicks")
    browser.open(path)
    spent = {one["name"]: one["value"] for one in browser.call("Performance.getMetrics")["metrics"]}
    assert 0 < spent["TaskDuration"] < OPENED_MAX_S
    assert browser.problems == []


def test_a_run_is_read_from_memory_as_from_its_folder(tmp_path: Path) -> None:
    result = long_run(500)
    for name, content in run_files(result).items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "verdict.txt").write_text("VERDICT: none.\n")
    paths = [write_html(tmp_path / name, content) for name, content in
             (("a.html", read_content(tmp_path)), ("b.html", run_content(result, ["VERDICT: none."])))]  # fmt: skip
    assert paths[0].read_bytes() == paths[1].read_bytes()
