"""Draw docs/background/real-kvm.png from real-kvm.json beside it: phases of the dirty log and migrations under KVM.

``python docs/tools/draw_real_kvm.py --measure`` runs `hostsim validate --suite kvm` first and writes real-kvm.json anew.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from matplotlib.figure import Figure
from pictures import DOCS, Figures, run

from hostsim.report.drawing import BLUE, GREEN, GREY, ORANGE, VERMILION, titled

LATER = ("migration/blind_", "migration/second_", "migration/third_", "migration/fourth_")
"""Groups of migrations that have tables of their own."""
DATA = DOCS / "background" / "real-kvm.json"
LOOKS = {
    "populate": (GREY, "v"), "dirty": (VERMILION, "D"), "enable": (ORANGE, "^"), "get": (BLUE, "o"), "clear": (GREEN, "s"),
    "ring_reset": (GREEN, "P"), "disable": (GREY, "X"),
}  # fmt: skip
BOUND = 0.15
SPAN_NS = (0.1, 1e4)


def kept_rows() -> list[dict[str, Any]]:
    """Rows of suite kvm as they were when the page was written."""
    rows: list[dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))
    return rows


def draw_phases(axes: Any) -> None:
    """Real across, simulated up, ns of one page, access or entry."""
    rows = [row for row in kept_rows() if row["quantity"] == "ns a page or entry"]
    for phase, (colour, marker) in LOOKS.items():
        mine = [row for row in rows if row["id"].rpartition("/")[2].rstrip("12") == phase]
        for scored, face in ((True, colour), (False, "white")):
            some = [row for row in mine if row["scored"] is scored]
            axes.plot(
                [row["expected"] for row in some], [row["got"] for row in some], marker, color=colour, markerfacecolor=face,
                markersize=5, linestyle="none", label=phase.replace("_", " ") if scored is (phase != "populate") else None,
            )  # fmt: skip
    axes.plot(SPAN_NS, SPAN_NS, color="0.4", linewidth=0.8, zorder=0)
    low, high = ([end * factor for end in SPAN_NS] for factor in (1 - BOUND, 1 + BOUND))
    axes.fill_between(SPAN_NS, low, high, color="0.9", zorder=0)
    axes.set(xscale="log", yscale="log", xlim=SPAN_NS, ylim=SPAN_NS)
    axes.set(xlabel="real KVM, median of 7 repeats [ns]", ylabel="simulated [ns]")
    axes.set_title("phases of the dirty log, ns of one page or entry; hollow: not scored", fontsize=9, loc="left")
    axes.legend(fontsize=8, loc="upper left")


def draw_migrations(axes: Any) -> None:
    """Total time of each migration that completed, real beside simulated."""
    timed = [row for row in kept_rows() if row["quantity"] == "total_time_ms" and row["scored"]]
    rows = [row for row in timed if not row["id"].startswith(LATER)]
    names = [row["id"].rpartition("/")[2].replace("_", " ") for row in rows]
    at = range(len(rows))
    for key, shift, colour, label in (("expected", -0.2, GREY, "real QEMU 7.2"), ("got", 0.2, BLUE, "simulated")):
        seconds = [row[key] / 1000 for row in rows]
        axes.barh([y + shift for y in at], seconds, height=0.38, color=colour, label=label)
    axes.set_yticks(list(at), names)
    axes.invert_yaxis()
    axes.set(xlabel="total time [s]", xlim=(0, 3))
    axes.set_title("migrations under KVM", fontsize=9, loc="left")
    axes.legend(fontsize=8, loc="lower right")


def draw() -> Figure:
    """Phases on the left, migrations on the right."""
    figure = Figure(figsize=(10.4, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    draw_phases(left)
    draw_migrations(right)
    titled(figure, "hostsim against real KVM (Linux 6.18, shadow MMU)")
    return figure


def figures() -> Figures:
    """By place under docs/."""
    return {"background/real-kvm.png": draw}


def measure() -> None:
    """Run the suite and keep its rows, one a line."""
    from hostsim.validation import run_suites

    rows = ",\n".join(json.dumps(row.to_dict()) for row in run_suites(["kvm"]))
    DATA.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure()
        sys.argv.remove("--measure")
    sys.exit(run(__file__, figures))
