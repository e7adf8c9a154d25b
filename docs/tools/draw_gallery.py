"""Write the gallery of scenarios, docs/scenarios.md and docs/gallery: each scenario run, its question and its picture.

A picture keeps digests of the scenario and of the code that drew it. ``--check`` compares them and runs nothing;
``draw_gallery.py NAME ...`` draws these scenarios alone, without names those that are out of date, with ``--all`` all.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pictures import KEY, drawing_code, read_stamp
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hostsim import run
from hostsim.report.charts import chart, memory, migration
from hostsim.report.charts.files import picture as bytes_of
from hostsim.report.html.registry import charts_of, run_content
from hostsim.scenario import load_scenario
from hostsim.scenario.catalogue import Entry, catalogue

if TYPE_CHECKING:
    from hostsim.report.charts.chart import Chart
    from hostsim.results.tables import RunResult

ROOT = Path(__file__).resolve().parents[2]
PAGE, FOLDER, SCENARIOS = ROOT / "docs" / "scenarios.md", ROOT / "docs" / "gallery", ROOT / "scenarios"
TABLES_ALONE = ("calc_dirty_rate",)
"""Scenarios that have no picture."""
PICTURES_OF_SCRIPTS = {
    "rmap_debate": ("background/rmap-debate-flushing.png", "background/rmap-debate.md"),
    "ageing_2x2": ("background/ageing-2x2.png", "background/ageing-2x2.md"),
}
"""Picture and page of a script whose answer is a page of its own."""
SHOWN = ("migration", "age_map", "latencies")
"""Names of charts, the first that a run has is shown."""
DESCRIPTIONS = (chart, migration, memory)
"""Modules that describe these charts: a picture of the gallery keeps no digest of the data drawn."""
WIDTH, COLORS = 800, 64
"""Of a picture of the gallery: thirty of them are kept."""
OPENING = """# Scenarios

All scenarios of hostsim, by the question that each asks. `hostsim run NAME` runs one in any folder, and
`hostsim scenarios --copy DIR` copies them; [how to write one](howto/write-a-scenario.md). The comment at the top of each
file says what to expect. Pictures are those that `hostsim run` draws; `docs/tools/draw_gallery.py` writes this page.
"""


def chart_of(result: RunResult) -> Chart | None:
    """The chart that the gallery shows of a run: its migration, else ages or waits of its host; None: tables alone."""
    charts = {chart.name: chart for chart in charts_of(run_content(result, []))}
    return next((charts[name] for name in SHOWN if name in charts), None)


def stamp_of(scenario: Path) -> dict[str, str]:
    """Digests of the scenario, with a trace of its name, and of the code that draws."""
    inputs = [path for path in (scenario, scenario.with_suffix(".csv")) if path.exists()]
    described = [Path(module.__file__) for module in DESCRIPTIONS]
    return {"scenario": _digest(inputs), "code": _digest([*drawing_code(Path(__file__)), *described])}


def _digest(paths: list[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        found.update(path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def picture(entry: Entry) -> Path:
    """The place of a scenario's picture."""
    return FOLDER / f"{Path(entry.path).stem}.png"


def draw(scenario: Path, there: Path) -> None:
    """Run a scenario and draw it; a scenario of tables alone gets no picture."""
    result = run(load_scenario(scenario))
    shown = chart_of(result)
    if shown is None:
        there.unlink(missing_ok=True)
        return
    there.parent.mkdir(exist_ok=True)
    stamp = PngInfo()
    stamp.add_text(KEY, json.dumps(stamp_of(scenario), sort_keys=True))
    content = BytesIO(bytes_of(shown, "png", "screen", result.name))
    with Image.open(content) as image:
        small = image.convert("RGB").resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
        small.quantize(COLORS).save(there, optimize=True, pnginfo=stamp)


def page(entries: list[Entry]) -> str:
    """The gallery as Markdown."""
    return "\n".join([OPENING, *(line for entry in entries for line in _lines(entry))])


def _lines(entry: Entry) -> Iterator[str]:
    stem = Path(entry.path).stem
    yield f"## {stem}\n"
    yield f"{entry.question}\n"
    if stem in PICTURES_OF_SCRIPTS:
        image, about = PICTURES_OF_SCRIPTS[stem]
        yield f"[The answer]({about})\n\n![the answer of {stem}]({image})\n"
    elif picture(entry).exists():
        yield f"![{stem}, run](gallery/{stem}.png)\n"
    yield f"`hostsim run {Path(entry.path).name}`\n"


def problems() -> list[str]:
    """A line for each picture that is out of date, and one for the page."""
    entries = catalogue(SCENARIOS)
    found = [
        f"docs/gallery/{stem}.png: {name} changed since it was drawn; run: python docs/tools/draw_gallery.py"
        for stem in _drawn_stems(entries)
        for name, digest in stamp_of(SCENARIOS / f"{stem}.toml").items()
        if read_stamp(FOLDER / f"{stem}.png").get(name) != digest
    ]
    there = {path.stem for path in FOLDER.glob("*.png")}
    found += [f"docs/gallery/{stem}.png: there is no such scenario" for stem in sorted(there - set(_drawn_stems(entries)))]
    current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page(entries)
    return found + ([] if current else ["docs/scenarios.md is out of date; run: python docs/tools/draw_gallery.py"])


def _drawn_stems(entries: list[Entry]) -> list[str]:
    stems = [Path(entry.path).stem for entry in entries if entry.path.endswith(".toml")]
    return [stem for stem in stems if stem not in TABLES_ALONE]


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit code."""
    if "--check" in arguments:
        stale = problems()
        for line in stale:
            print(line)
        return int(bool(stale))
    entries = catalogue(SCENARIOS)
    named = [name for name in arguments if not name.startswith("--")]
    for stem in named or _drawn_stems(entries):
        scenario, there = SCENARIOS / f"{stem}.toml", FOLDER / f"{stem}.png"
        if named or "--all" in arguments or read_stamp(there) != stamp_of(scenario):
            print(stem)
            draw(scenario, there)
    PAGE.write_text(page(catalogue(SCENARIOS)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
