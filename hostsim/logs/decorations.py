"""Signs around each line that the program did not write: quotes of a mail, numbers of lines, names that a log shipper adds.

A decoration counts if nearly all lines have it. The number of lines stays as it was, but that a line is put in where
another file, or guest, begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

SHARE = 0.8
"""So large a part of the lines has the decoration: a post has sentences before and after its log (assumed)."""
LINES_MIN = 3
LAYERS_MAX = 4
SOME = 100
"""If half as many of so many lines have a decoration as would have to, all lines are looked at."""
FILE = r"(?:[\w.@+-]{0,100}/[\w./@+-]{1,200}|[\w.@+-]{1,100}\.(?:log|txt|jsonl?|out|csv|ya?ml|gz)(?:\.\d{1,2})?)"
"""A path, or a name that ends as logs do: ``ram.remaining`` is the name of a figure."""
FIGURE = re.compile(r"\s*-?[\d.]+(?=\s|$)")
"""A body that begins so is a row of a table of figures."""
Matches = Sequence[re.Match[str]]


def _any(_: Matches) -> bool:
    return True


def _few_names(matches: Matches) -> bool:
    """Whether the lines have a few names: each is a file, or a guest."""
    return len({match["name"] for match in matches}) <= max(1, len(matches) // LINES_MIN)


def _counted(matches: Matches) -> bool:
    """Whether the lines are numbered one by one, before something other than figures."""
    numbers = [int(match["name"]) for match in matches]
    steps = sum(b - a == 1 for a, b in pairwise(numbers))
    figures = sum(bool(FIGURE.match(match["body"])) and match["cut"].isspace() for match in matches)
    return steps >= SHARE * (len(numbers) - 1) and figures < SHARE * len(numbers)


def _rising(matches: Matches) -> bool:
    """Whether grep named a file and the number of each line, and no part of a time."""
    numbers = [int(match["line"]) for match in matches]
    return _few_names(matches) and sum(b > a for a, b in pairwise(numbers)) >= SHARE * (len(numbers) - 1)


def _no_table(matches: Matches) -> bool:
    """Whether the lines have one cell each."""
    return sum("|" in match["body"] for match in matches) < (1 - SHARE) * len(matches)


def _few_services(matches: Matches) -> bool:
    return _few_names(matches) and _no_table(matches)


@dataclass(frozen=True)
class Decoration:
    """One kind. pattern: of a whole line, with the group ``body``; holds: whether the matches of all lines agree."""

    kind: str
    pattern: re.Pattern[str]
    holds: Callable[[Matches], bool] = _any
    share: float = SHARE


DECORATIONS = (
    Decoration("quoted in a mail", re.compile(r"(?:> ?)+(?P<body>.*)"), share=0.3),
    Decoration("added in a diff", re.compile(r"\+(?P<body>.*)")),
    Decoration("code", re.compile(r"\s*`(?P<body>.*)`\s*")),
    Decoration("of a list", re.compile(r"\s*[*\u2022\u00b7-] (?P<body>.*)")),
    Decoration("in a frame", re.compile(r"\s*[|\u2502\u2503](?P<body>.*?)[|\u2502\u2503]?\s*"), _no_table),
    Decoration("numbered", re.compile(r"\s*(?P<name>\d{1,6})(?P<cut>\t|[:.)|] ?| {2,})(?P<body>.*)"), _counted),
    Decoration("found by grep -n", re.compile(rf"(?P<name>{FILE})[:-](?P<line>\d{{1,7}})[:-](?P<body>.*)"), _rising),
    Decoration("found by grep", re.compile(rf"(?P<name>{FILE}):(?P<body>.*)"), _few_names),
    Decoration("of Python's logging", re.compile(r"(?:DEBUG|INFO|WARNING|ERROR):(?P<name>[\w.]+):(?P<body>.*)"), _few_names),
    Decoration("of kubectl logs --prefix", re.compile(r"\[(?P<name>pod/[^\]\s]+)\] (?P<body>.*)"), _few_names),
    Decoration("of stern", re.compile(r"(?P<name>\S+ \u203a \S+) (?P<body>.*)"), _few_names),
    Decoration("of docker compose", re.compile(r"(?P<name>[a-z][\w.-]*) +\| (?P<body>.*)"), _few_services),
)  # fmt: skip


def undecorated(text: str) -> str:
    """``text`` without the decorations that nearly all of its lines have."""
    lines = text.split("\n")
    for _ in range(LAYERS_MAX):
        kind = next((kind for kind in DECORATIONS if _has(lines, kind)), None)
        if kind is None:
            break
        lines = list(_bodies(lines, kind.pattern))
    return "\n".join(_once(lines))


def _once(lines: list[str]) -> list[str]:
    """``lines``, or every other one of them where each line is written twice, as a logger with two handlers does."""
    full = [i for i, line in enumerate(lines) if line.strip()]
    seconds = [b for a, b in zip(full[::2], full[1::2], strict=False) if lines[a] == lines[b]]
    if len(full) < 2 * LINES_MIN or len(full) % 2 or len(seconds) < len(full) // 2:
        return lines
    twice = set(seconds)
    return ["" if i in twice else line for i, line in enumerate(lines)]


def _bodies(lines: Sequence[str], pattern: re.Pattern[str]) -> Iterator[str]:
    """The lines without what matches around them; a line before each change of name, as ``tail`` prints it."""
    matches = [pattern.fullmatch(line) for line in lines]
    is_named = "name" in pattern.groupindex and "cut" not in pattern.groupindex
    several = is_named and len({match["name"] for match in matches if match}) > 1
    last = ""
    for line, match in zip(lines, matches, strict=True):
        if match and several and match["name"] != last:
            last = match["name"]
            yield f"==> {last} <=="
        yield match["body"] if match else line


def _has(lines: Sequence[str], kind: Decoration) -> bool:
    full = [line for line in lines if line.strip()]
    some = full[:: len(full) // SOME + 1]
    if sum(kind.pattern.fullmatch(line) is not None for line in some) < kind.share / 2 * len(some):
        return False
    matches = [match for line in full if (match := kind.pattern.fullmatch(line))]
    return len(matches) >= max(LINES_MIN, kind.share * len(full)) and kind.holds(matches)
