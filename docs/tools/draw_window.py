"""Draw docs/background/window.png: three 100 ms windows of a rate-limited migration, and the pages of one burst."""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pictures import Figures, run

from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.send import LOGGED
from hostsim.report.drawing import BLUE, GREY, VERMILION, titled

N_PAGES = 16384
WRITES_PER_S = 3000
SHOWN_MS = 330
WINDOW_BEFORE_NS = 180_000_000
"""Between one and two windows: the first page after it opens the last window before the sync."""


def simulated() -> Any:
    """A 64 MiB guest over 32 MiB/s, with a log of its pages."""
    load = Workload("writer", "uniform", (0,), 4096, 8192, Fraction(WRITES_PER_S))
    spec = MachineSpec(
        lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])]), (load,), 1, load_sheet("qemu-tcg-2core"),
        migration=MigrationParameters("7.2", 32 << 20, 100),
    )  # fmt: skip
    machine = Machine(spec, log_capacity=1 << 17)
    machine.run()
    return machine.migration


def draw_windows(axes: Any, log: Any, start_ns: int, syncs: list[Any]) -> None:
    """Bytes sent over time, against an even stream and against what the guest writes."""
    t_ms = (log[:, 0] - start_ns) / 1e6
    shown = (t_ms >= 0) & (t_ms <= SHOWN_MS)
    sent_mb = np.arange(1, shown.sum() + 1) * 4104 / 1e6
    axes.step([0, *t_ms[shown], SHOWN_MS], [0, *sent_mb, sent_mb[-1]], where="post", color=BLUE, label="sent")
    even = np.array([0, SHOWN_MS])
    axes.plot(even, even / 1e3 * (32 << 20) / 1e6, color=GREY, linestyle="--", linewidth=1.4, label="an even 32 MiB/s")
    written_mb = even / 1e3 * WRITES_PER_S * 4096 / 1e6
    axes.plot(even, written_mb, color=VERMILION, linewidth=1.4, linestyle="-.", label="written by the guest")
    for i, sync in enumerate(s for s in syncs if 0 <= (s.t_ns - start_ns) / 1e6 <= SHOWN_MS):
        axes.axvline((sync.t_ns - start_ns) / 1e6, color="0.3", linewidth=0.9, linestyle=":", label="_" if i else "sync")
    axes.set(xlim=(0, SHOWN_MS), ylim=(0, 17), xlabel="time [ms]", ylabel="since the first of these windows [MB]")
    axes.legend(loc="upper left", bbox_to_anchor=(0.33, 1.0), ncols=2, fontsize=8)
    axes.set_title("Each window begins with its burst, then the thread sleeps", loc="left", fontsize=9.5)


def draw_burst(axes: Any, log: Any, start_ns: int) -> None:
    """Which page is copied when, in the burst from ``start_ns`` on."""
    t_ms = (log[:, 0] - start_ns) / 1e6
    burst = (t_ms >= 0) & (t_ms < 50)
    axes.plot(t_ms[burst], log[burst, 1], ".", color=BLUE, markersize=2)
    axes.set(xlabel="time since the sync [ms]", ylabel="gfn")
    axes.set_title(f"The burst after the sync: {burst.sum()} pages", loc="left", fontsize=9.5)


def draw() -> Figure:
    """Windows at the left, one burst at the right."""
    migration = simulated()
    log = migration.ram.send_log[: int(migration.ram.send_state[LOGGED])]
    syncs = migration.recorder.syncs
    start_ns = int(log[log[:, 0] > syncs[1].t_ns - WINDOW_BEFORE_NS, 0][0])
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    draw_windows(left, log, start_ns, syncs)
    draw_burst(right, log, int(syncs[1].t_ns))
    titled(figure, "When does a rate-limited migration send its pages?")
    return figure


def figures() -> Figures:
    """By place under docs/."""
    return {"background/window.png": draw}


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
