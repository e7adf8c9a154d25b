"""Draw docs/howto/slope-floor.png: what a round leaves, for three guests that write faster than the link."""

from __future__ import annotations

import sys

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pictures import Figures, run

from hostsim.report.drawing import DASHES, GREEN, GREY, ORANGE, VERMILION, titled
from hostsim.theory.dirty_curve import DirtyCurve

PAGE_BYTES, WIRE_BYTES = 4096, 4104
LINK_BYTES_PER_S = 10e9 / 8
DOWNTIME_LIMIT_S = 0.3
WRITES_PER_S = 400_000
GB, GIB = 10**9, 1 << 30
GUESTS = (
    ("slope: sweeps over 8 GiB", DirtyCurve.sequential(8 * GIB // PAGE_BYTES, WRITES_PER_S), VERMILION, 1.1),
    ("floor: random over 2 GiB", DirtyCurve.uniform(2 * GIB // PAGE_BYTES, WRITES_PER_S), ORANGE, 3.2),
    ("converges: random over 512 MiB", DirtyCurve.uniform(GIB // 8192, WRITES_PER_S), GREEN, 3.2),
)


def left_after_round_gb(curve: DirtyCurve, to_send_gb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dirtied [GB] while ``to_send_gb`` (float64[n]) crosses the link."""
    seconds = to_send_gb * GB / PAGE_BYTES * WIRE_BYTES / LINK_BYTES_PER_S
    return curve.at(seconds) * PAGE_BYTES / GB


def staircase(curve: DirtyCurve, start_gb: float, rounds: int) -> tuple[list[float], list[float]]:
    """Corners of ``rounds`` rounds from ``start_gb``, each what the one before has left."""
    xs, ys, to_send = [], [], start_gb
    for _ in range(rounds):
        left = float(left_after_round_gb(curve, np.array([to_send]))[0])
        xs += [to_send, to_send, left]
        ys += [to_send, left, left]
        to_send = left
    return xs, ys


def draw() -> Figure:
    """What a round leaves over what it has to send."""
    figure = Figure(figsize=(8.0, 5.2), layout="constrained")
    axes = figure.subplots()
    to_send = np.linspace(0, 3.6, 400)
    threshold = LINK_BYTES_PER_S * DOWNTIME_LIMIT_S / GB
    axes.axhspan(0, threshold, color=GREY, alpha=0.3, linewidth=0, label=f"fits into {DOWNTIME_LIMIT_S * 1000:.0f} ms")
    axes.plot(to_send, to_send, color=GREY, linestyle="--", linewidth=1.2, label="left = sent: no progress")
    for dashes, (label, curve, colour, start) in zip(DASHES, GUESTS, strict=False):
        left = left_after_round_gb(curve, to_send)
        axes.plot(to_send, left, color=colour, linestyle=dashes, linewidth=2.2, label=label)
        axes.plot(*staircase(curve, start, 9), color=colour, linewidth=0.9, alpha=0.8)
    axes.set(xlim=(0, 3.6), ylim=(0, 3.6), xlabel="to send in this round [GB]", ylabel="left after this round [GB]")
    axes.grid(visible=True, axis="both")
    axes.legend(loc="upper left")
    axes.set_title("Three guests, 400 000 writes/s each, over 10 Gbit/s (304 600 pages/s)", loc="left", fontsize=9.5)
    titled(figure, "Which guests converge?")
    return figure


def figures() -> Figures:
    """By place under docs/."""
    return {"howto/slope-floor.png": draw}


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
