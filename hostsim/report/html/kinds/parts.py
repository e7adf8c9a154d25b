"""Parts that pages of several kinds have: cards of verdicts, where a result comes from, parts that may be missing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hostsim.report.html.page import Card, Content, Listing, Section, Step, Tile, Tone
from hostsim.results.read import MALFORMED
from hostsim.verdict.mechanism import outcomes

TONES: Mapping[str, Tone] = {
    "completed": "good", "would converge": "good",
    "not converging": "bad", "failed": "bad", "stopped in device state": "bad",
}  # fmt: skip
"""Of outcomes of any migration; the others leave the question open. Mechanisms say the tones of their own."""
PREFIX = "VERDICT: "


def verdict_card(verdict: Mapping[str, Any], title: str = "") -> Card:
    """The card of a verdict as data (hostsim.verdict.model.Verdict.to_dict)."""
    outcome = str(verdict.get("outcome", "cannot tell"))
    lines = [f"Warning: {text}." for text in verdict.get("warnings") or ()]
    lines += list(verdict.get("findings") or ())
    lines += [f"Assumption: {text}." for text in verdict.get("rests_on") or ()]
    confidence = verdict.get("confidence")
    if confidence and not verdict.get("converged"):
        lines.append(f"Confidence: {confidence['level']} ({confidence['reason']}).")
    lines += [
        f"{text[:1].upper()}{text[1:]}." for text in (*(verdict.get("assumptions") or ()), *(verdict.get("notes") or ()))
    ]
    lines += [f"Measure next: {'; '.join(verdict['measure_next'])}."] if verdict.get("measure_next") else []
    steps = tuple(_step(remedy) for remedy in verdict.get("remedies") or ())
    headline = str(verdict.get("headline", outcome))
    return Card(_tone(outcome), outcome, f"{headline[:1].upper()}{headline[1:]}.", tuple(lines), steps, title)


def _tone(outcome: str) -> Tone:
    own = outcomes().get(outcome)
    return TONES.get(outcome, "open") if own is None else own.tone


def _step(remedy: Mapping[str, Any]) -> Step:
    if not remedy.get("helps", True):
        return Step(remedy["text"], tag="would not help")
    sure = bool(remedy.get("confirmed"))
    return Step(remedy["text"], remedy.get("command") or "", "confirmed by a run" if sure else "computed, not run", sure)


def lines_card(lines: Sequence[str], tone: Tone = "open", badge: str = "verdict") -> Card:
    """The card of a verdict in ``lines``, of which the first may open with VERDICT; without lines it says so.

    tone: sign and colour of the card. badge: its label in a word or two.
    """
    head, *others = lines or ("no verdict in this folder",)
    head = head.removeprefix(PREFIX)
    return Card(
        tone,
        badge,
        f"{head[:1].upper()}{head[1:]}",
        tuple(f"{line[:1].upper()}{line[1:]}" for line in others if line.strip()),
    )


def origin_of(provenance: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Versions, seeds and hashes of provenance.json."""
    libraries = provenance.get("libraries") or {}
    rows = [
        ("hostsim", provenance.get("hostsim")), ("revision", provenance.get("git")), ("Python", provenance.get("python")),
        ("libraries", ", ".join(f"{name} {version}" for name, version in libraries.items())),
        ("seed", provenance.get("seed")), ("seeds", ", ".join(map(str, provenance.get("seeds") or ()))),
        ("scenario, SHA-256", provenance.get("config_sha256")), ("sources, SHA-256", provenance.get("code_sha256")),
    ]  # fmt: skip
    return tuple((name, str(value)) for name, value in rows if value not in (None, ""))


def command_words(words: Iterable[str]) -> str:
    """A command as one types it."""
    return shlex.join([str(word) for word in words])


def given_command(name: str, arguments: Iterable[str], options: Mapping[str, Any]) -> str:
    """``hostsim <name>`` with arguments and the options that were given; a list repeats its option."""
    given = options_words(options)
    return command_words(["hostsim", name, *arguments]) + (f" {given}" if given else "")


def options_words(options: Mapping[str, Any]) -> str:
    """Options that were given, as one types them."""
    lists = {flag: value if isinstance(value, list | tuple) else [value] for flag, value in options.items()}
    every = [(flag, one) for flag, values in lists.items() for one in values]
    return command_words(word for flag, one in every if one not in (None, "") for word in (f"--{flag}", one))


def options_command(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any], file: str | None = None) -> str:
    """``hostsim <name>`` with the options that are not at their defaults. file: its argument, None: without."""
    words = ["hostsim", name, *([] if file is None else [file])]
    for key, value in options.items():
        if key not in defaults or value == defaults[key] or value is None:
            continue
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            words += [flag, str(value)]
    return command_words(words)


def sections_of(notes: list[str], *makers: tuple[str, Callable[[], Section | None]]) -> tuple[Section, ...]:
    """The sections of a page in the order of ``makers``; a section without parts is left out.

    makers: (name, function that makes the section, None: no such section).
    notes: gets a line for each section that raises one of MALFORMED, as content of another form does.
    """
    found = []
    for name, make in makers:
        try:
            section = make()
        except MALFORMED as error:
            reason = f"{type(error).__name__}: {error!s:.80}"
            notes.append(f"{name}: left out, for the files are not of the form expected ({reason})")
            continue
        if section is not None and section.parts:
            found.append(section)
    return tuple(found)


@dataclass(frozen=True)
class Saved:
    """A scenario to be saved as ``file``."""

    file: str
    listing: Listing


def saved_scenario(table: Mapping[str, Any], name: str) -> Saved:
    """The scenario ``table`` as TOML, for people to save and to run.

    name: of the file without ".toml"; characters that a file name should not have become "-", and 60 are kept.
    """
    from hostsim.scenario.toml_text import scenario_text

    kept = re.sub(r"[^\w.]+", "-", name).strip("-.")[:60]
    file = f"{kept or 'scenario'}.toml"
    named = f"The scenario with every default, to be saved as {file}"
    return Saved(file, Listing(scenario_text(table), named, folded=True))


def tiles_of(notes: list[str], make: Callable[[], Iterable[Tile]]) -> tuple[Tile, ...]:
    """The key figures that ``make`` yields; none, and a line in ``notes``, where it fails on content of another form."""
    try:
        return tuple(make())
    except MALFORMED as error:
        notes.append(f"Key figures: left out, for the files are not of the form expected ({type(error).__name__})")
        return ()


def noted(content: Content, notes: Iterable[str]) -> tuple[str, ...]:
    """Notes of the folder (in ``content``), then ``notes`` of the page, each once."""
    return tuple(dict.fromkeys([*content.notes, *notes]))
