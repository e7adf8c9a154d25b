"""Pictures on the pages show what would be drawn today: their stamps are compared, nothing is rendered."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.blocks import ROOT, pages
from tests.helpers.command import PAGE_COLUMNS

TOOLS = ROOT / "docs" / "tools"
NAMES = ("draw_ageing_2x2", "draw_clear", "draw_cost", "draw_postcopy", "draw_real_kvm", "draw_run", "draw_slope_floor",
         "draw_validation", "draw_window")  # fmt: skip
LATER = pytest.mark.long
"""Of draw_run, which runs the scenarios of several pages."""
SHOT = "report.png"
"""Taken of a browser's window by docs/tools/shoot_report.py: it is looked at, not compared."""
DEBATE = "draw_rmap_debate"
"""Its claims are run once for all tests: tests/validation/test_rmap_debate.py."""
GALLERY = "draw_gallery"
"""Checked by tests/outside/test_site.py, without a run."""


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(TOOLS))
    yield TOOLS
    for name in ("pictures", *NAMES):
        sys.modules.pop(name, None)


def tool(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize("name", [pytest.param(name, marks=LATER) if name == "draw_run" else name for name in NAMES])
def test_pictures_are_current(name: str) -> None:
    module = tool(name)
    assert tool("pictures").problems(module.__file__, module.figures()) == []


def test_every_picture_has_a_tool_and_every_tool_is_run() -> None:
    drawn = {path.stem for path in TOOLS.glob("draw_*.py")}
    assert drawn == {*NAMES, DEBATE, GALLERY}
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"docs/tools/{name}.py" in makefile for name in drawn)
    source = "".join((TOOLS / f"{name}.py").read_text() for name in drawn)
    named = set(re.findall(r'"((?:background|howto|tutorial)/[\w-]+\.png)"', source))
    debate = {f"background/rmap-debate-{group}.png" for group in ("flushing", "mapping", "chaining", "notifying")}
    pictures = [path for path in (ROOT / "docs").rglob("*.png") if path.parent.name != "gallery"]
    there = {str(path.relative_to(ROOT / "docs")) for path in pictures}
    assert there == named | debate | {SHOT}


def test_the_page_of_the_2x2_shows_the_cells_that_are_drawn() -> None:
    from hostsim.report.age_report import two_by_two_tables
    from hostsim.report.layout import laid_out
    from hostsim.study.ageing.two_by_two import Cell

    folder = ROOT / "docs" / "background"
    content = json.loads((folder / "ageing-2x2.json").read_text(encoding="utf-8"))
    page = " ".join((folder / "ageing-2x2.md").read_text(encoding="utf-8").split())
    for table in two_by_two_tables([Cell(**cell) for cell in content["cells"]]):
        for part in laid_out(table, int(PAGE_COLUMNS)).parts:
            for row in part.rows:
                assert " ".join(" ".join(line for cell in row for line in cell).split()) in page
    same = [Cell(**cell) for cell in content["by_size"]["2048"]]
    assert same == [Cell(**cell) for cell in content["cells"] if not cell["migrates"]]


@pytest.mark.usefixtures("tools")
def test_a_picture_of_other_data_code_or_version_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = tool("pictures")
    monkeypatch.setattr(pictures, "DOCS", tmp_path)
    code = tmp_path / "draw.py"
    code.write_text("one")

    def figures(height: float) -> dict[str, object]:
        def draw() -> object:
            from matplotlib.figure import Figure

            figure = Figure()
            figure.subplots().bar([1, 2], [1.0, height])
            return figure

        return {"x.png": draw}

    assert "code, data, matplotlib" in pictures.problems(str(code), figures(2.0))[0]
    pictures.write(str(code), figures(2.0))
    assert pictures.problems(str(code), figures(2.0 + 1e-12)) == []
    assert pictures.problems(str(code), figures(2.1))[0].startswith("docs/x.png: data changed")
    code.write_text("two")
    assert pictures.problems(str(code), figures(2.0))[0].startswith("docs/x.png: code changed")
    monkeypatch.setattr("matplotlib.__version__", "9.9")
    assert "matplotlib changed" in pictures.problems(str(code), figures(2.0))[0]


def test_every_picture_of_a_page_is_there() -> None:
    shown = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")
    for page in pages():
        for name in shown.findall(page.read_text(encoding="utf-8")):
            assert (page.parent / name).exists(), f"{page.name}: {name}"
