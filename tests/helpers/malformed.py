"""Seeded damage to inputs that are right, and names of what no command may say."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

EXCEPTION_NAME = re.compile(r"\b(?:[A-Z][A-Za-z]*)?(?:Error|Exception|Traceback)\b")
"""A Python exception in a message; the "Error:" with which a usage line opens is none."""

NUMBERS = ["0", "-1", "9" * 25, "9" * 400, "1e400", "nan", "inf", "-inf", "0x", "1_000", "٣", "½", "1.5.2", "--1", "1e-400"]
TEXTS = ['"', "'", "[", "]", "{", "}", "=", ",", "\n", "\r\n", "\0", "\t", "é", "\ufeff", "\u202e", "\ud800", "#", "\\", "%"]

Damage = Callable[[random.Random, bytes], bytes]


def cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def flip(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def strange_number(draw: random.Random, content: bytes) -> bytes:
    """Another number in the place of one."""
    places = list(re.finditer(rb"\d+", content))
    if not places:
        return content
    place = draw.choice(places)
    return content[: place.start()] + draw.choice(NUMBERS).encode() + content[place.end() :]


def strange_text(draw: random.Random, content: bytes) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[:at] + draw.choice(TEXTS).encode("utf-8", "surrogatepass") * draw.choice([1, 1, 50]) + content[at:]


def twice(_: random.Random, content: bytes) -> bytes:
    return content + content


def shuffled(draw: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    draw.shuffle(lines)
    return b"".join(lines)


def wide(draw: random.Random, content: bytes) -> bytes:
    return content.decode("utf-8", "replace").encode(draw.choice(["utf-16", "utf-16-le", "utf-32", "latin-1"]), "replace")


def long_line(draw: random.Random, content: bytes) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[:at] + draw.choice([b"9", b"a", b"[", b"a.", b" ", b"1,"]) * 200_000 + content[at:]


def other_type(draw: random.Random, content: bytes) -> bytes:
    """Behind a sign of assignment something of another type."""
    places = list(re.finditer(rb"[=:] *", content))
    if not places:
        return content
    place = draw.choice(places)
    values = [b"[]", b"{}", b"true", b"null", b"1979-05-27", b'""', b"[[1]]", b"{a = 1}", b"-0", b"''''"]
    return content[: place.end()] + draw.choice(values) + content[place.end() :].lstrip(b'"0123456789')


def empty(draw: random.Random, _: bytes) -> bytes:
    return draw.choice([b"", b"\n", b"\xef\xbb\xbf", b"#", b" " * 1000])


def binary(draw: random.Random, _: bytes) -> bytes:
    return draw.randbytes(draw.choice([1, 100, 5000]))


DAMAGES: tuple[Damage, ...] = (
    cut,
    flip,
    strange_number,
    strange_text,
    twice,
    shuffled,
    wide,
    long_line,
    other_type,
    empty,
    binary,
)


def damaged(seed: int, content: bytes) -> bytes:
    """``content`` with one to three damages; the same for the same seed."""
    draw = random.Random(seed)
    for damage in draw.sample(DAMAGES, draw.choice([1, 1, 2, 3])):
        content = damage(draw, content) if content else binary(draw, content)
    return content


def said_exceptions(text: str) -> list[str]:
    """Names of exceptions in ``text``."""
    return [name for name in EXCEPTION_NAME.findall(text) if name not in {"Error", "error"}]
