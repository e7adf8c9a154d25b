"""Draw the pictures of docs/background/rmap-debate.md and write what was measured into it; `--check` only compares."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from pictures import DOCS, Figures, problems, write

from hostsim.report.charts.pictures import figure_of, fixed_layout
from hostsim.report.debate_report import claim_objects, crossing_words, debate_tables_of, number_words
from hostsim.report.html.kinds.studies import debate_chart
from hostsim.study.rmap_debate.claim import OFF_MAX, Claim, Crossing
from hostsim.study.rmap_debate.debate import GROUPS, all_claims

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = DOCS / "background" / "rmap-debate.md"
MARK = re.compile(r"<!-- measured: (\d+) -->\n.*?<!-- end of what was measured -->", re.DOTALL)


def measured_block(claim: Claim) -> str:
    """Verdict, condition and crossings of a claim as the page shows them."""
    head = "| where | measured | closed form | apart | form, and why they differ |\n|---|---|---|---|---|"
    rows = "\n".join(_row(crossing) for crossing in claim.crossings)
    text = f"**{claim.verdict.capitalize()}**: {claim.condition}."
    return f"<!-- measured: {claim.number} -->\n{text}\n\n{head}\n{rows}\n<!-- end of what was measured -->"


def _row(crossing: Crossing) -> str:
    formula = f"`{crossing.formula}`" + (f": {crossing.why}" if abs(crossing.off) >= OFF_MAX else "")
    cells = (crossing.what, crossing_words(crossing), number_words(crossing.computed), crossing.apart, formula)
    return f"| {' | '.join(cells)} |"


def current(text: str) -> str:
    """``text`` of the page with every measured block as it comes out now."""
    claims = {claim.number: claim for claim in all_claims()}
    return MARK.sub(lambda match: measured_block(claims[int(match.group(1))]), text)


def draw(claims: Sequence[Claim]) -> Figure:
    """A panel a claim, as ``hostsim debate`` draws it."""
    chart = debate_chart(claim_objects(claims), debate_tables_of(claims)["curves"])
    return fixed_layout(figure_of(chart, "screen", chart.title))


def figures() -> Figures:
    """By place under docs/, three claims each."""
    claims = {claim.number: claim for claim in all_claims()}
    return {
        f"background/rmap-debate-{name}.png": partial(draw, [claims[3 * group + i] for i in (1, 2, 3)])
        for group, name in enumerate(GROUPS)
    }


def main(arguments: list[str]) -> int:
    """Write pictures and page, or with ``--check`` return 1 if any is out of date."""
    text = PAGE.read_text(encoding="utf-8")
    if "--check" in arguments:
        stale = problems(__file__, figures())
        stale += [] if current(text) == text else [f"{PAGE.name}: what was measured changed"]
        print("\n".join(stale))
        return int(bool(stale))
    write(__file__, figures())
    PAGE.write_text(current(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
