"""Draw docs/howto/slope-floor.png: what a round leaves, for three guests that write faster than the link."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from hostsim.study.dirty_curve import DirtyCurve

mpl.use("Agg")
import matplotlib.pyplot as plt

OUT = Path(__file__).resolve().parents[1] / "howto" / "slope-floor.png"
PAGE_BYTES, WIRE_BYTES = 4096, 4104
LINK_BYTES_PER_S = 10e9 / 8
DOWNTIME_LIMIT_S = 0.3
WRITES_PER_S = 400_000
GIB = 1 << 30
GUESTS = (
    ("slope: sweeps over 8 GiB", DirtyCurve.sequential(8 * GIB // PAGE_BYTES, WRITES_PER_S), "#c0392b", 1.0),
    ("floor: random over 2 GiB", DirtyCurve.uniform(2 * GIB // PAGE_BYTES, WRITES_PER_S), "#d68910", 3.0),
    ("converges: random over 512 MiB", DirtyCurve.uniform(GIB // 8192, WRITES_PER_S), "#1e8449", 3.0),
)


def left_after_round_gib(curve: DirtyCurve, to_send_gib: NDArray[np.float64]) -> NDArray[np.float64]:
    """Dirtied [GiB] while ``to_send_gib`` (float64[n]) crosses the link."""
    seconds = to_send_gib * GIB / PAGE_BYTES * WIRE_BYTES / LINK_BYTES_PER_S
    return curve.at(seconds) * PAGE_BYTES / GIB


def staircase(curve: DirtyCurve, start_gib: float, rounds: int) -> tuple[list[float], list[float]]:
    """Corners of ``rounds`` rounds from ``start_gib``, each what the one before has left."""
    xs, ys, to_send = [], [], start_gib
    for _ in range(rounds):
        left = float(left_after_round_gib(curve, np.array([to_send]))[0])
        xs += [to_send, to_send, left]
        ys += [to_send, left, left]
        to_send = left
    return xs, ys


def main() -> int:
    """Write the picture."""
    figure, axes = plt.subplots(figsize=(7.2, 4.6), layout="constrained")
    to_send = np.linspace(0, 3.4, 400)
    threshold = LINK_BYTES_PER_S * DOWNTIME_LIMIT_S / GIB
    axes.axhspan(0, threshold, color="#d5e8d4", label=f"fits into {DOWNTIME_LIMIT_S * 1000:.0f} ms")
    axes.plot(to_send, to_send, color="0.5", linestyle="--", linewidth=1, label="left = sent: no progress")
    for label, curve, colour, start in GUESTS:
        axes.plot(to_send, left_after_round_gib(curve, to_send), color=colour, linewidth=2, label=label)
        axes.plot(*staircase(curve, start, 9), color=colour, linewidth=0.9, alpha=0.7)
    axes.set(xlim=(0, 3.4), ylim=(0, 3.4), xlabel="to send in this round [GiB]", ylabel="left after it [GiB]")
    axes.set_title("Three guests, 400 000 writes/s each, over 10 Gbit/s (304 600 pages/s)", fontsize=10)
    axes.legend(loc="upper left", fontsize=8, frameon=False)
    figure.savefig(OUT, dpi=110, metadata={"Software": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
