"""Draw docs/background/validation.png: simulated against measured total times, and the distribution of errors."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).resolve().parents[1] / "background"
RANGE = re.compile(r"measured (\S+) to ([^\s;]+)")
BLUE, VERMILION, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#9aa0a6"
KINDS = {"rate-limited": BLUE, "over a link": GREEN, "auto-converge": VERMILION, "not counted": GREY}
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
    for label, colour in KINDS.items():
        rows = [row for row in rows_of("total_time_ms") if kind(row) == label]
        low, high = np.array([[float(v) for v in RANGE.search(row["note"]).groups()] for row in rows]).T / 1000
        measured = np.array([row["expected"] for row in rows]) / 1000
        got = np.array([row["got"] for row in rows]) / 1000
        axes.errorbar(
            measured, got, xerr=[measured - low, high - measured], fmt="o", markersize=4.5, color=colour, elinewidth=1.2,
            markeredgecolor="white", markeredgewidth=0.5, label=f"{label} ({len(rows)})", capsize=2,
        )  # fmt: skip
    axes.plot(SHOWN_S, SHOWN_S, color="0.4", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlim=SHOWN_S, ylim=SHOWN_S)
    ticks = [2, 3, 5, 10, 20, 30]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
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
    axes.text(0.10, 0.97, note, transform=axes.transAxes, va="top", fontsize=8)
    axes.set(xlabel="simulated over measured median, less 1 [%]", ylabel="cases")
    axes.legend(loc="upper right", fontsize=8, frameon=False)


def main() -> int:
    """Write the picture."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.4), layout="constrained")
    draw_scatter(left)
    draw_histogram(right)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FOLDER / "validation.png", dpi=110, metadata={"Software": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
