"""A verdict in at most eight lines, warnings and assumptions of the scenario not counted, as text or markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hostsim.verdict.model import Remedy, Verdict

LINES_MAX = 8


def render(verdict: Verdict, style: Literal["text", "markdown"] = "text") -> str:
    """The verdict to paste into a ticket; the first line opens with VERDICT."""
    head, closing = f"VERDICT: {verdict.headline}.", _closing(verdict)
    room = max(0, LINES_MAX - 1 - len(verdict.findings) - bool(closing))
    lines = [head, *warning_lines(verdict.warnings), *verdict.findings]
    lines += [f"- {_remedy(r)}" for r in verdict.remedies[:room]]
    lines += [f"Assumption: {text}." for text in verdict.rests_on]
    lines += [closing] if closing else []
    if style == "markdown":
        lines = [marked(line) for line in lines]
    return "\n".join(lines)


def warning_lines(warnings: Sequence[str]) -> list[str]:
    """A line for each of ``warnings``; none is ever left out."""
    return [f"Warning: {text}." for text in warnings]


def _remedy(remedy: Remedy) -> str:
    command = f": `{remedy.command}`" if remedy.command and remedy.helps else ""
    return f"{remedy.text}{command}"


def _closing(verdict: Verdict) -> str:
    parts = []
    if verdict.confidence and not verdict.converged:
        parts.append(f"Confidence: {verdict.confidence.level} ({verdict.confidence.reason})")
    parts += [a[:1].upper() + a[1:] for a in verdict.assumptions]
    parts += verdict.notes
    if verdict.measure_next:
        parts.append("Measure next: " + "; ".join(verdict.measure_next))
    return ". ".join(parts) + "." if parts else ""


def marked(line: str) -> str:
    """A line of a verdict with its subject marked up."""
    if line.startswith("VERDICT:"):
        return f"**VERDICT:**{line.removeprefix('VERDICT:')}"
    word, colon, rest = line.partition(":")
    return line if line.startswith("- ") or not colon or " " in word else f"- *{word}:*{rest}"
