"""Draw docs/background/cost.png from cost.json beside it: CPU time against exits, and an exit against vCPUs.

``python -m benchmarks growth --json FILE`` measures; ``python docs/tools/draw_cost.py --keep FILE`` keeps what it wrote.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pictures import DOCS, Figures, run

from hostsim.report.charts.chart import COLOURS, Axis, Chart, Colour, Line, Panel
from hostsim.report.charts.pictures import figure_of, fixed_layout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA = DOCS / "background" / "cost.json"
NS_PER_S = 1e9
GUIDE_NS = 100
Rows = list[dict[str, Any]]


def kept_rows() -> Rows:
    """A row a guest: kind, gib, vcpus, exits, seconds of CPU."""
    rows: Rows = json.loads(DATA.read_text(encoding="utf-8"))
    return rows


def totals(rows: Rows) -> Panel:
    """CPU time over exits, a line for each number of vCPUs and one for drawn writes, beside a line of equal cost."""
    walks, drawn = ([row for row in rows if row["kind"] == kind] for kind in ("walk", "drawn"))
    numbers = sorted({row["vcpus"] for row in walks})
    some = {f"a walk, {n} vCPU{'s' * (n > 1)}": [row for row in walks if row["vcpus"] == n] for n in numbers}
    some[f"drawn, {drawn[0]['gib']} GiB, {drawn[0]['vcpus']} vCPUs"] = drawn
    lines = [_line(name, mine, "exits", "seconds", i) for i, (name, mine) in enumerate(some.items())]
    ends = np.array([min(row["exits"] for row in rows), max(row["exits"] for row in rows)], float)
    lines.append(Line(f"{GUIDE_NS} ns an exit", ends, ends * GUIDE_NS / NS_PER_S, "grey"))
    title = "walks over 1 GiB to 1 TiB"
    return Panel(Axis("CPU time", "s", log=True), tuple(lines), x=Axis("exits", log=True), title=title)


def exits(rows: Rows) -> Panel:
    """An exit over the number of vCPUs, a line for some sizes."""
    walks = [row | {"each": row["seconds"] / row["exits"] * NS_PER_S} for row in rows if row["kind"] == "walk"]
    sizes = sorted({row["gib"] for row in walks})
    shown = dict.fromkeys([*sizes[::2], sizes[-1]])
    by_size = [(_size(gib), [row for row in walks if row["gib"] == gib]) for gib in shown]
    lines = [_line(name, mine, "vcpus", "each", i) for i, (name, mine) in enumerate(by_size)]
    ticks = tuple((float(n), str(n)) for n in sorted({row["vcpus"] for row in walks}))
    x = Axis("vCPUs", "plain", log=True, low=0.8, high=1.25 * ticks[-1][0], ticks=ticks)
    y = Axis("CPU time of an exit", "ns", log=True, low=10.0, high=1000.0)
    return Panel(y, tuple(lines), x=x, title="CPU time of an exit of the same walks")


def _size(gib: int) -> str:
    return f"{gib} GiB" if gib < 1024 else f"{gib // 1024} TiB"


def _line(name: str, rows: Rows, x: str, y: str, number: int) -> Line:
    colour: Colour = COLOURS[number % len(COLOURS)]
    xs, ys = (np.array([row[key] for row in rows], float) for key in (x, y))
    return Line(name, xs, ys, colour, dash=number, marked=True)


def draw() -> Figure:
    """Totals on the left, single exits on the right."""
    rows, question = kept_rows(), "Does cost follow exits?"
    lead = "All axes are logarithmic: where cost follows exits, a line on the left rises like the grey one."
    chart = Chart("cost", question, Axis(""), (totals(rows), exits(rows)), across=2, lead=lead)
    return fixed_layout(figure_of(chart, "screen", question))


def figures() -> Figures:
    """By place under docs/."""
    return {"background/cost.png": draw}


def keep(path: Path) -> None:
    """Keep the rows that ``benchmarks growth`` wrote to ``path``, one a line."""
    rows = json.loads(path.read_text(encoding="utf-8"))["figures"]["growth"]
    DATA.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    if "--keep" in sys.argv:
        keep(Path(sys.argv.pop()))
        sys.argv.remove("--keep")
    sys.exit(run(__file__, figures))
