"""What ``hostsim debate`` prints and writes: the claims as a table, what their verdicts depend on, and their curves."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostsim.report.debate_plot import draw_debate
from hostsim.report.study_files import study_content, write_study
from hostsim.report.tables import titled_table
from hostsim.results.encode import csv_bytes
from hostsim.results.tables import Table
from hostsim.study.rmap_debate.claim import OFF_MAX, Claim, Crossing
from hostsim.study.rmap_debate.debate import machine_words
from hostsim.verdict import words

if TYPE_CHECKING:
    from rich.table import Table as RichTable

NAME = "debate"
COLUMNS = ("", "claim", "who", "verdict", "where it turns", "measured", "closed form", "apart")
LEFT_ALIGNED = 5
CLAIM_COLUMNS = {
    "claim": "int64", "says": "str", "who": "str", "verdict": "str", "turns": "str", "measured": "float64",
    "computed": "float64", "unit": "str", "formula": "str", "why": "str",
}  # fmt: skip
CURVE_COLUMNS = {"claim": "int64", "x_label": "str", "y_label": "str", "line": "str", "x": "float64", "y": "float64"}
WIDTH = 118


def debate_content(options: Any, claims: Sequence[Claim]) -> dict[str, Any]:
    """The content of debate.json."""
    told = [
        {"number": claim.number, "says": claim.says, "who": claim.who, "verdict": claim.verdict,
         "condition": claim.condition, "crossings": [vars(crossing) for crossing in claim.crossings]}
        for claim in claims
    ]  # fmt: skip
    return study_content(NAME, options, [], None, verdict=[_summary(claims)], machine=machine_words(), claims=told)


def write_debate(out: Path, content: dict[str, Any], claims: Sequence[Claim]) -> list[Path]:
    """All files; OutputError."""
    tables = {NAME: _claims_table(claims), "curves": _curves_table(claims)}
    return write_study(out, NAME, content, tables, lambda: draw_debate(claims))


def claims_csv(claims: Sequence[Claim]) -> bytes:
    """The table alone."""
    return csv_bytes(_claims_table(claims))


def debate_table(claims: Sequence[Claim]) -> RichTable:
    """A line a crossing; the claim beside its first."""
    table = titled_table("", COLUMNS, left=0)
    for column, name in zip(table.columns, COLUMNS, strict=True):
        column.justify = "left" if name in COLUMNS[1:LEFT_ALIGNED] else "right"
        column.no_wrap = name in {"", "who", "verdict", "apart"}
    for claim in claims:
        head = (str(claim.number), claim.says, claim.who, claim.verdict)
        for i, crossing in enumerate(claim.crossings):
            table.add_row(*(head if i == 0 else ("",) * len(head)), crossing.what, *_cells(crossing))
    return table


def condition_lines(claims: Sequence[Claim]) -> Iterator[str]:
    """What each verdict depends on, with the numbers found, and why a crossing is not where its form has it."""
    for claim in claims:
        yield from _wrapped(f"{claim.number:2}. {claim.verdict.upper()}: {claim.condition}.", "    ")
        for crossing in claim.crossings:
            yield from _wrapped(f"    {crossing.what}: {crossing.formula}", "      ")
            if crossing.why and abs(crossing.off) >= OFF_MAX:
                yield from _wrapped(f"      {crossing.apart}: {crossing.why}", "        ")


def crossing_words(crossing: Crossing) -> str:
    """``0.562 of pages mapped``."""
    return "nowhere" if math.isnan(crossing.measured) else f"{number_words(crossing.measured)} {crossing.unit}"


def number_words(value: float) -> str:
    """0.56171 -> "0.562", 16623.4 -> "16,623"."""
    return "nowhere" if math.isnan(value) else words.number_words(value)


def _cells(crossing: Crossing) -> tuple[str, str, str]:
    return crossing_words(crossing), number_words(crossing.computed), crossing.apart


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent)


def _summary(claims: Sequence[Claim]) -> str:
    counts = Counter(str(claim.verdict) for claim in claims)
    told = {"holds": "hold", "holds if": "hold under the condition that stands with each of them", "fails": "do not hold"}
    parts = [f"{counts[verdict]} {words}" for verdict, words in told.items() if counts[verdict]]
    return f"VERDICT: of the {len(claims)} claims {' and '.join(parts)}"


def _claims_table(claims: Sequence[Claim]) -> Table:
    rows = [
        (claim.number, claim.says, claim.who, claim.verdict, one.what, one.measured, one.computed, one.unit,
         one.formula, one.why)
        for claim in claims for one in claim.crossings
    ]  # fmt: skip
    return Table.of(NAME, CLAIM_COLUMNS, rows)


def _curves_table(claims: Sequence[Claim]) -> Table:
    rows = [
        (claim.number, claim.panel.x_label, claim.panel.y_label, line.name, x, y)
        for claim in claims for line in claim.panel.curves for x, y in zip(line.x, line.y, strict=True)
    ]  # fmt: skip
    return Table.of("curves", CURVE_COLUMNS, rows)
