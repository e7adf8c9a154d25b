"""Draw the pictures of docs/background/rmap-debate.md and write what was measured into it; `--check` only compares."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

from hostsim.study.rmap_debate.claim import Claim, Crossing
from hostsim.study.rmap_debate.debate import GROUPS, all_claims

mpl.use("Agg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).resolve().parents[1] / "background"
PAGE = FOLDER / "rmap-debate.md"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#9aa0a6", "#000000")
MARK = re.compile(r"<!-- measured: (\d+) -->\n.*?<!-- end of what was measured -->", re.DOTALL)


def measured_block(claim: Claim) -> str:
    """Verdict, condition and crossings of a claim as the page shows them."""
    head = "| where | measured | closed form | apart | |\n|---|---|---|---|---|"
    rows = "\n".join(_row(crossing) for crossing in claim.crossings)
    text = f"**{claim.verdict.capitalize()}**: {claim.condition}."
    return f"<!-- measured: {claim.number} -->\n{text}\n\n{head}\n{rows}\n<!-- end of what was measured -->"


def _row(crossing: Crossing) -> str:
    measured = "nowhere" if math.isnan(crossing.measured) else f"{crossing.measured:.3g} {crossing.unit}"
    formula = f"`{crossing.formula}`"
    return f"| {crossing.what} | {measured} | {crossing.computed:.3g} | {crossing.off:+.1%} | {formula} |"


def current(text: str) -> str:
    """``text`` of the page with every measured block as it comes out now."""
    claims = {claim.number: claim for claim in all_claims()}
    return MARK.sub(lambda match: measured_block(claims[int(match.group(1))]), text)


def draw(name: str, claims: list[Claim]) -> None:
    """Three panels side by side."""
    figure, panels = plt.subplots(1, len(claims), figsize=(4.4 * len(claims), 3.9), layout="constrained")
    for axes, claim in zip(panels, claims, strict=True):
        _draw_panel(axes, claim)
    figure.savefig(FOLDER / f"rmap-debate-{name}.png", dpi=100, metadata={"Software": None})
    plt.close(figure)


def _draw_panel(axes: Any, claim: Claim) -> None:
    panel = claim.panel
    for colour, line in zip(COLOURS, panel.curves, strict=False):
        style = {"linestyle": "--", "linewidth": 1.0} if line.level else {"marker": "o", "markersize": 3, "linewidth": 1.3}
        axes.plot(line.x, line.y, color=colour, label=line.name, **style)
    axes.set(xlabel=panel.x_label, ylabel=panel.y_label, xscale="log" if panel.log_x else "linear")
    axes.set_yscale("log" if panel.log_y else "linear")
    axes.set_title(f"Claim {claim.number}", fontsize=10)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def main(arguments: list[str]) -> int:
    """Write pictures and page, or with ``--check`` return 1 if the page is out of date."""
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in arguments:
        return int(current(text) != text)
    claims = {claim.number: claim for claim in all_claims()}
    for group, name in enumerate(GROUPS):
        draw(name, [claims[3 * group + i] for i in (1, 2, 3)])
    PAGE.write_text(current(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
