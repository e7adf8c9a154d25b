"""Draw docs/background/cost.png from cost.json beside it: CPU time against exits, and an exit against vCPUs.

``python -m benchmarks growth --json FILE`` measures; ``python docs/tools/draw_cost.py --keep FILE`` keeps what it wrote.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pictures import DOCS, Figures, run

from hostsim.report.drawing import COLOURS, DASHES, GREY, MARKERS, log_axis, short_words, titled

DATA = DOCS / "background" / "cost.json"
NS_PER_S = 1e9
Rows = list[dict[str, Any]]


def kept_rows() -> Rows:
    """A row a guest: kind, gib, vcpus, exits, seconds of CPU."""
    rows: Rows = json.loads(DATA.read_text(encoding="utf-8"))
    return rows


def seconds_words(value: float) -> str:
    """0.01 -> "10 ms", 3 -> "3 s"."""
    return f"{value:g} s" if value >= 1 else f"{value * 1e3:g} ms"


def draw_totals(axes: Axes, rows: Rows) -> None:
    """CPU time over exits, a line for each number of vCPUs and one for drawn writes."""
    walks = [row for row in rows if row["kind"] == "walk"]
    numbers = sorted({row["vcpus"] for row in walks})
    lines = {f"a walk, {n} vCPU{'s' * (n > 1)}": [row for row in walks if row["vcpus"] == n] for n in numbers}
    drawn = [row for row in rows if row["kind"] == "drawn"]
    lines[f"drawn, {drawn[0]['gib']} GiB, {drawn[0]['vcpus']} vCPUs"] = drawn
    for (label, some), colour, dashes, marker in zip(lines.items(), COLOURS, DASHES, MARKERS, strict=False):
        exits, seconds = [row["exits"] for row in some], [row["seconds"] for row in some]
        axes.plot(exits, seconds, color=colour, linestyle=dashes, marker=marker, markersize=4, linewidth=1.2, label=label)
    ends = [min(row["exits"] for row in rows), max(row["exits"] for row in rows)]
    axes.plot(ends, [end * 100 / NS_PER_S for end in ends], color=GREY, linewidth=0.9, zorder=0, label="100 ns an exit")
    log_axis(axes, "x", [[row["exits"] for row in rows]], short_words)
    log_axis(axes, "y", [[row["seconds"] for row in rows]], seconds_words)
    axes.set(xlabel="exits", ylabel="CPU time")
    axes.set_title("1 GiB to 1 TiB, one exit a page; drawn: 3 ms to 3 s", fontsize=9, loc="left")
    axes.legend(fontsize=8, loc="upper left")


def draw_exits(axes: Axes, rows: Rows) -> None:
    """An exit over the number of vCPUs, a line for some sizes."""
    walks = [row for row in rows if row["kind"] == "walk"]
    sizes = sorted({row["gib"] for row in walks})
    some_sizes = dict.fromkeys([*sizes[::2], sizes[-1]])
    for gib, colour, dashes, marker in zip(some_sizes, COLOURS, DASHES, MARKERS, strict=False):
        some = [row for row in walks if row["gib"] == gib]
        each = [row["seconds"] / row["exits"] * NS_PER_S for row in some]
        label = f"{gib} GiB" if gib < 1024 else f"{gib // 1024} TiB"
        axes.plot(
            [row["vcpus"] for row in some], each, color=colour, linestyle=dashes, marker=marker, markersize=4, linewidth=1.2,
            label=label,
        )  # fmt: skip
    log_axis(axes, "x", [[row["vcpus"] for row in walks]], short_words)
    log_axis(axes, "y", [[10.0, 1000.0]], lambda ns: f"{ns:g} ns")
    axes.set(xlabel="vCPUs", ylabel="CPU time of an exit")
    axes.set_title("the same walks", fontsize=9, loc="left")
    axes.legend(fontsize=8, loc="lower right")


def draw() -> Figure:
    """Totals on the left, single exits on the right."""
    rows = kept_rows()
    figure = Figure(figsize=(10.4, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    draw_totals(left, rows)
    draw_exits(right, rows)
    titled(figure, "Does cost follow exits?")
    return figure


def figures() -> Figures:
    """By place under docs/."""
    return {"background/cost.png": draw}


def keep(path: Path) -> None:
    """Keep the rows that ``benchmarks growth`` wrote to ``path``, one a line."""
    rows = json.loads(path.read_text(encoding="utf-8"))["growth"]
    DATA.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    if "--keep" in sys.argv:
        keep(Path(sys.argv.pop()))
        sys.argv.remove("--keep")
    sys.exit(run(__file__, figures))
