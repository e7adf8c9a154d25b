"""Objects printed over many lines by a logger that writes its prefix before each of them."""

from __future__ import annotations

import re

OPENS = re.compile(r"""[{\[]\s*(?:["'][^"'\n]{1,80}["']\s*:.*)?$""")
"""The end of a line on which an object opens; what stands before it (a date, a name) is kept."""
PART = re.compile(r"""(?:[{\[]\s*)?(?:["'][^"'\n]{1,80}["']\s*:\s*\S.*|[}\]][}\],\s]*)$""")
"""A key with its value, or closing brackets: the rest of such a line."""
PREFIX_MAX = 200


def without_prefixes(text: str) -> str:
    """``text`` with every line of an object cut down to its part of the object; the number of lines stays."""
    return "\n".join(_inner(line) for line in text.split("\n"))


def _inner(line: str) -> str:
    part = PART.search(line, 0) if len(line) < 4096 else None
    if part is None or part.start() > PREFIX_MAX or _opens_here(line, part.start()):
        return line
    return line[part.start() :]


def _opens_here(line: str, at: int) -> bool:
    """Whether the object opens on this line: then its prefix may hold the time."""
    return line[at] in "{[" and OPENS.match(line, at) is not None
