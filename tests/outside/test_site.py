"""The site: Sphinx reads every page without a warning; its checks of built pages find what they are for.

Pages are read and their references resolved here; `make site`, which CI runs too, also writes and checks the HTML.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.blocks import ROOT

TOOLS = ROOT / "docs" / "tools"
NAMES = ("build_site", "draw_gallery")


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    monkeypatch.syspath_prepend(str(TOOLS))
    yield {name: importlib.import_module(name) for name in NAMES}
    for name in ("pictures", *NAMES):
        sys.modules.pop(name, None)


def test_sphinx_reads_every_page_without_a_warning(tmp_path: Path) -> None:
    options = ["-q", "-W", "--keep-going", "-b", "dummy", "-c", "docs/site", "docs", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "sphinx", *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_page_lists_every_page_and_says_what_is_not_modelled() -> None:
    text = (ROOT / "docs" / "README.md").read_text()
    listed = set(re.findall(r"^- \[[^\]]+\]\(([\w./-]+\.md)\)", text, re.MULTILINE))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert listed == pages
    assert "## What hostsim does not model" in text


def test_the_gallery_is_current(tools: dict[str, ModuleType]) -> None:
    assert tools["draw_gallery"].problems() == []


def test_a_changed_scenario_makes_its_picture_stale(tools: dict[str, ModuleType], tmp_path: Path) -> None:
    scenario = tmp_path / "trace_replay.toml"
    scenario.write_text((ROOT / "scenarios" / "trace_replay.toml").read_text() + "\n")
    trace = tmp_path / "trace_replay.csv"
    trace.write_bytes((ROOT / "scenarios" / "trace_replay.csv").read_bytes())
    stamp_of = tools["draw_gallery"].stamp_of
    kept = stamp_of(ROOT / "scenarios" / "trace_replay.toml")
    assert stamp_of(scenario)["scenario"] != kept["scenario"]
    scenario.write_text((ROOT / "scenarios" / "trace_replay.toml").read_text())
    assert stamp_of(scenario) == kept
    trace.write_bytes(trace.read_bytes() + b"\n")
    assert stamp_of(scenario)["scenario"] != kept["scenario"]


SOUND = '<h1 id="top">One</h1><a href="two.html#there">2</a><a href="https://example.org/x">x</a><img src="a.png">'


def test_built_pages_are_checked(tools: dict[str, ModuleType], tmp_path: Path) -> None:
    check = tools["build_site"]
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "index.html").write_text(SOUND)
    (tmp_path / "two.html").write_text('<p id="there"><a href="#there">here</a>')
    assert check.problems(tmp_path) == []
    assert check.external_links(tmp_path) == ["https://example.org/x"]
    broken = '<a href="none.html">n</a><a href="index.html#no">no</a>'
    (tmp_path / "two.html").write_text(f'{broken}<script src="//cdn.example/x.js">')
    (tmp_path / "lost.html").write_text("")
    assert check.problems(tmp_path) == [
        "index.html: two.html#there: no such place on that page",
        "two.html: none.html leads nowhere",
        "two.html: index.html#no: no such place on that page",
        "two.html: fetches //cdn.example/x.js from another site",
        "lost.html: more than 3 clicks from the first page",
    ]
