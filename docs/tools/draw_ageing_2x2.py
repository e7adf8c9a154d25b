"""Draw docs/background/ageing-2x2.png from ageing-2x2.json; `--run` simulates that anew before, `--check` only compares."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from pictures import DOCS, Figures, run

from hostsim.report.charts.chart import Axis, Bar, Bars, Chart, Colour, Line, Panel
from hostsim.report.charts.pictures import figure_of, fixed_layout
from hostsim.study.ageing.two_by_two import FAST, SLOW, Cell, cell_guest, run_all, run_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEPT = DOCS / "background" / "ageing-2x2.json"
SIZES, PAGES, VCPUS, SEED = (512, 1024, 2048), 2048, 2, 1
LOOKS: dict[tuple[bool, str], Colour] = {
    (True, FAST): "blue", (True, SLOW): "vermilion", (False, FAST): "green", (False, SLOW): "purple",
}  # fmt: skip
UNITS = {"faults": "", "migration_s": "s"}


def name_of(a_bits: bool, index: str) -> str:
    """``bit, rmap``."""
    return f"{'bit' if a_bits else 'no bit'}, {index}"


def simulated() -> dict[str, Any]:
    """Cells of the script, and those without a migration by the pages of the VM."""
    cells = run_all(PAGES, VCPUS, SEED)
    small = {n: [run_cell(cell_guest(a, i, n, VCPUS), SEED, migrates=False) for a, i in LOOKS] for n in SIZES if n != PAGES}
    by_size = {**small, PAGES: [cell for cell in cells if not cell.migrates]}
    sizes = {n: [asdict(cell) for cell in some] for n, some in by_size.items()}
    return {"cells": [asdict(cell) for cell in cells], "by_size": sizes}


def kept() -> tuple[list[Cell], dict[int, list[Cell]]]:
    """The cells, and those of each size."""
    content = json.loads(KEPT.read_text(encoding="utf-8"))
    by_size = {int(n): [Cell(**cell) for cell in some] for n, some in content["by_size"].items()}
    return [Cell(**cell) for cell in content["cells"]], by_size


def draw() -> Figure:
    """Three panels."""
    cells, by_size = kept()
    moved = [cell for cell in cells if cell.migrates]
    faults = bars([cell for cell in cells if not cell.migrates], "faults", "faults of the guest a pass")
    panels = (growth(by_size), faults, bars(moved, "migration_s", "a migration takes", moved[0].plain_migration_s or 0.0))
    question = "With a referenced bit or without: is a fast index needed to age a guest's pages?"
    lead = "The axes of the left panel are logarithmic: a straight line twice as steep grows with the square of the pages."
    return fixed_layout(figure_of(Chart("ageing", question, Axis(""), panels, across=3, lead=lead), "screen", question))


def growth(by_size: dict[int, list[Cell]]) -> Panel:
    """The time of a pass over the size; of lines that lie on each other the first is the widest."""
    lines = []
    for number, ((a_bits, index), colour) in enumerate(LOOKS.items()):
        mine = [cell for some in by_size.values() for cell in some if (cell.a_bits, cell.index) == (a_bits, index)]
        sizes, times = np.array(list(by_size), float), np.array([cell.pass_ns for cell in mine], float)
        lines.append(Line(name_of(a_bits, index), sizes, times, colour, dash=number, marked=True))
    ticks = tuple((float(n), str(n)) for n in by_size)
    x = Axis("pages of the VM", "plain", log=True, low=420.0, high=2500.0, ticks=ticks)
    return Panel(Axis("time of a pass", "ns", log=True), tuple(lines), x=x, title="time of a pass")


def bars(cells: list[Cell], field: str, title: str, not_aged: float | None = None) -> Bars:
    """A bar a cell; not_aged: the figure of a guest whose pages are not aged."""
    rows = [name_of(cell.a_bits, cell.index) for cell in cells] + ([] if not_aged is None else ["not aged"])
    values = [float(getattr(cell, field)) for cell in cells] + ([] if not_aged is None else [not_aged])
    return Bars(Axis(title, UNITS[field]), tuple(rows), ((title, tuple(map(Bar, values))),), title, "grey")


def figures() -> Figures:
    """By place under docs/."""
    if "--run" in sys.argv[1:]:
        KEPT.write_text(json.dumps(simulated(), indent=1) + "\n", encoding="utf-8")
    return {"background/ageing-2x2.png": draw}


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
