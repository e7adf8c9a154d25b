"""Fenced code blocks of the documentation: where they are, whether they run, what they show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONTINUED = re.compile(r"^\$ (?:.*\\\n)+.*", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\s*$")
NOT_RUN = re.compile(r"^<!-- not run: (\S.*\S) -->$")
LATER = re.compile(r"^<!-- run by make (long|swarm): \S.*\S -->$")
EXITS = re.compile(r"^<!-- exits (\d+) -->$")
SAVED_AS = re.compile(r"^<!-- file: ([\w./-]+) -->$")


@dataclass(frozen=True)
class Block:
    """One fenced block and what the HTML comments right above it say."""

    page: str
    line: int
    language: str
    text: str
    not_run: str = ""
    later: str = ""
    exits: int = 0
    saved_as: str = ""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a console block with the lines shown below it."""

    line: str
    shown: tuple[str, ...]


def pages() -> list[Path]:
    """Every page with blocks to run."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    return list(parse(str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")))


def parse(page: str, text: str) -> Iterator[Block]:
    """Blocks of ``text`` in order; a block's indentation is taken off."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        if match := FENCE.match(lines[number].strip()):
            end = next(i for i in range(number + 1, len(lines)) if lines[i].strip() == "```")
            body = _dedented(lines[number + 1 : end], len(lines[number]) - len(lines[number].lstrip()))
            yield Block(page, number + 1, match.group(1), body, **_notes_above(lines, number))
            number = end
        number += 1


def _dedented(lines: list[str], indent: int) -> str:
    return "".join(f"{line[indent:]}\n" for line in lines)


def _notes_above(lines: list[str], fence: int) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    while fence > 0 and lines[fence - 1].strip().startswith("<!--"):
        fence -= 1
        comment = lines[fence].strip()
        if match := NOT_RUN.match(comment):
            notes["not_run"] = match.group(1)
        if match := LATER.match(comment):
            notes["later"] = match.group(1)
        if match := EXITS.match(comment):
            notes["exits"] = int(match.group(1))
        if match := SAVED_AS.match(comment):
            notes["saved_as"] = match.group(1)
    return notes


def commands(block: Block) -> list[Command]:
    """Commands of a console block: lines that open with ``$ ``, continued after a backslash, as lines they print are not."""
    found: list[tuple[str, list[str]]] = []
    for line in CONTINUED.sub(lambda match: match[0].replace("\\\n", ""), block.text).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return [Command(line, tuple(shown)) for line, shown in found]


def shows(shown: tuple[str, ...], output: str) -> bool:
    """Whether ``output`` is what is shown: ``...`` alone stands for any lines, inside a line for any text."""
    got = "".join(f"{line.rstrip()}\n" for line in output.strip().splitlines())
    wanted = "".join(_line_pattern(line.rstrip()) for line in "\n".join(shown).strip().splitlines())
    return re.fullmatch(wanted, got) is not None


def _line_pattern(line: str) -> str:
    if line.strip() == "...":
        return "(?:[^\n]*\n)*"
    return "[^\n]*".join(re.escape(part) for part in line.split("...")) + "\n"
