"""The output of ``hostsim debate``: a table of the claims, the conditions of their verdicts, and their curves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.studies import study_content, write_study
from hostsim.results.tables import Table, plain
from hostsim.study.rmap_debate.claim import OFF_MAX, Claim, Crossing
from hostsim.study.rmap_debate.debate import machine_words
from hostsim.verdict import words

NAME = "debate"
CLAIM_COLUMNS = {
    "claim": "int64", "says": "str", "who": "str", "verdict": "str", "turns": "str", "measured": "float64",
    "computed": "float64", "unit": "str", "formula": "str", "why": "str",
}  # fmt: skip
CURVE_COLUMNS = {"claim": "int64", "x_label": "str", "y_label": "str", "line": "str", "x": "float64", "y": "float64"}
SAID = (
    Column("number", "#", role=Role.KEY, of=lambda claim: claim.number),
    Column("says", "claim", prose=True, of=lambda claim: claim.says),
    Column("who", "who", of=lambda claim: claim.who),
    Column("verdict", "verdict", of=lambda claim: claim.verdict),
)
TURNS = (
    Column("number", "#", role=Role.KEY, of=lambda pair: pair[0].number),
    Column("what", "where it turns", prose=True, of=lambda pair: pair[1].what),
    Column("unit", "in", prose=True, of=lambda pair: pair[1].unit),
    Column("measured", "measured", of=lambda pair: number_words(pair[1].measured)),
    Column("computed", "closed form", of=lambda pair: number_words(pair[1].computed)),
    Column("apart", "apart", of=lambda pair: pair[1].apart),
)
"""Columns over rows (claim, crossing)."""


def debate_content(options: Any, claims: Sequence[Claim]) -> dict[str, Any]:
    """The content of debate.json: ``options`` (a dataclass), ``claims`` as objects, their summary, and the machine."""
    told = claim_objects(claims)
    return study_content(NAME, options, [], None, verdict=[_summary(claims)], machine=machine_words(), claims=told)


def claim_objects(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """The claims as debate.json has them."""
    told: list[dict[str, Any]] = plain([
        {"number": claim.number, "says": claim.says, "who": claim.who, "verdict": claim.verdict,
         "condition": claim.condition, "crossings": [vars(crossing) for crossing in claim.crossings],
         "panel": _panel_facts(claim)}
        for claim in claims
    ])  # fmt: skip
    return told


def _panel_facts(claim: Claim) -> dict[str, Any]:
    """Forms of the axes of a claim's chart; levels: lines that were not run; crosses: crossings lie on its axis x."""
    panel = claim.panel
    levels = [curve.name for curve in panel.curves if curve.level]
    return {"log_x": panel.log_x, "log_y": panel.log_y, "crosses": panel.crosses, "levels": levels}


def write_debate(out: Path, content: dict[str, Any], claims: Sequence[Claim]) -> list[Path]:
    """Write ``content`` (of ``debate_content``) and the table of ``claims`` to folder ``out``.

    Returns the paths. OutputError.
    """
    return write_study(out, NAME, content, debate_tables_of(claims))


def debate_tables_of(claims: Sequence[Claim]) -> dict[str, Table]:
    """The tables of ``claims`` that have files, by name."""
    return {NAME: claims_data(claims), "curves": _curves_table(claims)}


def debate_tables(claims: Sequence[Claim]) -> list[Grid]:
    """The claims with their verdicts, then a line a crossing."""
    crossings = [(claim, crossing) for claim in claims for crossing in claim.crossings]
    return [grid_of(SAID, claims), grid_of(TURNS, crossings)]


def condition_lines(claims: Sequence[Claim]) -> Iterator[str]:
    """The condition of each verdict, with the numbers found, and the reason where a crossing is off its closed form."""
    for claim in claims:
        yield f"{claim.number:2}. {claim.verdict.upper()}: {claim.condition}."
        for crossing in claim.crossings:
            yield f"    {crossing.what}: {crossing.formula}"
            if crossing.why and abs(crossing.off) >= OFF_MAX:
                yield f"      {crossing.apart}: {crossing.why}"


def crossing_words(crossing: Crossing) -> str:
    """``0.562 of pages mapped``."""
    return "nowhere" if math.isnan(crossing.measured) else f"{number_words(crossing.measured)} {crossing.unit}"


def number_words(value: float) -> str:
    """0.56171 -> "0.562", 16623.4 -> "16,623"."""
    return "nowhere" if math.isnan(value) else words.number_words(value)


def _summary(claims: Sequence[Claim]) -> str:
    counts = Counter(str(claim.verdict) for claim in claims)
    told = {"holds": "hold", "holds if": "hold under the condition that stands with each of them", "fails": "do not hold"}
    parts = [f"{counts[verdict]} {words}" for verdict, words in told.items() if counts[verdict]]
    return f"VERDICT: of the {len(claims)} claims {' and '.join(parts)}"


def claims_data(claims: Sequence[Claim]) -> Table:
    """The main table: a row a line of the table on the terminal."""
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
