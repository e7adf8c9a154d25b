"""Draw docs/background/validation.png: simulated against measured total times, and the distribution of errors."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pictures import DOCS, Figures, run

from hostsim.report.drawing import BLUE, GREEN, GREY, VERMILION, label_ticks, titled

FOLDER = DOCS / "background"
RANGE = re.compile(r"measured (\S+) to ([^\s;]+)")
KINDS = {
    "rate-limited": (BLUE, "o"), "over a link": (GREEN, "s"), "auto-converge": (VERMILION, "D"), "not counted": (GREY, "v"),
}  # fmt: skip
BOUND_PERCENT = 5.0
SHOWN_S = (1.8, 34.0)
"""Two cases that time the measuring host, 0.04 s and 0.4 s, lie outside."""


def rows_of(quantity: str) -> list[dict[str, Any]]:
    """Rows of suite qemu with ``quantity``."""
    rows = json.loads((FOLDER / "validation.json").read_text(encoding="utf-8"))
    return [row for row in rows if row["suite"] == "qemu" and row["quantity"] == quantity]


def kind(row: dict[str, Any]) -> str:
    """What stands in a legend for the row's case."""
    if not row["scored"]:
        return "not counted"
    if "ac_" in row["id"]:
        return "auto-converge"
    return "over a link" if "link_" in row["id"] else "rate-limited"


def deviation_percent(row: dict[str, Any]) -> float:
    """Simulated median against the measured one."""
    return float(100 * (row["got"] / row["expected"] - 1))


def draw_scatter(axes: Any) -> None:
    """Measured range across, simulated median up."""
    for label, (colour, marker) in KINDS.items():
        rows = [row for row in rows_of("total_time_ms") if kind(row) == label]
        low, high = np.array([[float(v) for v in RANGE.search(row["note"]).groups()] for row in rows]).T / 1000
        measured = np.array([row["expected"] for row in rows]) / 1000
        got = np.array([row["got"] for row in rows]) / 1000
        axes.errorbar(
            measured, got, xerr=[measured - low, high - measured], fmt=marker, markersize=4.5, color=colour, elinewidth=1.2,
            markeredgecolor="white", markeredgewidth=0.5, label=f"{label} ({len(rows)})", capsize=2,
        )  # fmt: skip
    axes.plot(SHOWN_S, SHOWN_S, color="0.4", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlim=SHOWN_S, ylim=SHOWN_S)
    ticks = [2, 3, 5, 10, 20, 30]
    label_ticks(axes, "x", ticks, str)
    label_ticks(axes, "y", ticks, str)
    axes.set(xlabel="measured total time [s], bar: its repeats", ylabel="simulated total time [s]")
    axes.legend(loc="upper left", fontsize=8, frameon=False)


def draw_histogram(axes: Any) -> None:
    """Deviations of the counted cases, spread or not."""
    figures = (("total time", "total_time_ms", BLUE), ("transferred bytes", "transferred_bytes", VERMILION))
    bins = np.arange(-5.25, 5.5, 0.5)
    drawn = [np.array([deviation_percent(row) for row in rows_of(name) if row["scored"]]) for _, name, _ in figures]
    labels = [f"{label} ({len(values)} cases)" for (label, _, _), values in zip(figures, drawn, strict=True)]
    axes.hist([np.clip(v, -5.2, 5.2) for v in drawn], bins=bins, color=[c for *_, c in figures], label=labels)
    for edge in (-BOUND_PERCENT, BOUND_PERCENT):
        axes.axvline(edge, color="0.4", linestyle="--", linewidth=0.9)
    beyond = [int((abs(values) > BOUND_PERCENT).sum()) for values in drawn]
    note = f"bound: {BOUND_PERCENT:.0f} %\noutside: {beyond[0]} of the times,\n{beyond[1]} of the byte counts"
    axes.text(0.12, 0.97, note, transform=axes.transAxes, va="top", fontsize=8)
    axes.set(xlabel="simulated over measured median, less 1 [%]", ylabel="cases")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, fontsize=8)


def draw() -> Figure:
    """Times against each other, and how far they are apart."""
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_scatter(left)
    draw_histogram(right)
    titled(figure, "Does a simulated migration take as long as the real one?")
    return figure


def figures() -> Figures:
    """By place under docs/."""
    return {"background/validation.png": draw}


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
