"""The base of all readers: each takes the items of a log that have its form and keeps their answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hostsim.logs.figures import quantity
from hostsim.logs.items import Item
from hostsim.logs.model import DirtyReading, Sample
from hostsim.logs.whose import head_of


@dataclass
class Reader:
    """Base of the readers of one form. refusals: reasons why an object of this form holds no answer about a migration."""

    samples: list[Sample] = field(default_factory=list)
    readings: list[DirtyReading] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def survey(self, text: str) -> None:
        """Look at the whole text, before its lines and objects are taken."""

    def take(self, item: Item) -> None:
        """Keep the answer in ``item``, if it has this reader's form."""

    def finish(self) -> None:
        """The text has ended."""

    def add(self, item: Item, status: str, tag: str = "") -> Sample:
        """A new answer with ``status`` of migration ``tag``, taken at the time of ``item``."""
        named = item.domain or head_of(item.heading, "")
        head = head_of(item.text if item.value is not None else "", named)
        sample = Sample(item.line, status, tag, head=head, domain=item.domain)
        if item.stamp_s is not None:
            sample.figures["stamp_s"] = item.stamp_s
        self.samples.append(sample)
        return sample

    def last(self, tag: str) -> Sample | None:
        """The newest answer of the migration ``tag``."""
        return next((s for s in reversed(self.samples) if s.tag == tag), None)


def keep(sample: Sample, name: str, text: str | None, kind: str, key: str = "") -> None:
    """Keep the figure in ``text``, if there is one, as ``name`` in the unit of ``kind``."""
    if text is not None:
        sample.take(name, quantity(text, kind), key or name, text)


COLONS_MAX = 12
"""Before a label stand a date, a host and a program at most."""
LABEL_WORDS_MAX = 4
JOINED_MIN = 2
LABEL_CHARS = 80
BEFORE = "|>])[(\"'"


class Labels:
    """A set of labels of several words, with their last words: most lines of a log have none before a colon."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self.last_words = frozenset(name.rsplit(None, 1)[-1] for name in self.names)


def labelled(text: str, labels: Labels) -> tuple[str, str] | None:
    """(label, text behind its colon) of the first of ``labels`` that ends at a colon of ``text``; None without one."""
    at = -1
    for _ in range(COLONS_MAX):
        at = text.find(":", at + 1)
        if at < 0:
            return None
        key = _label_before(text[max(0, at - LABEL_CHARS) : at], labels)
        if key:
            return key, text[at + 1 :].strip(" \t\r\xa0|")
    return None


def all_labelled(text: str, labels: Labels) -> list[tuple[str, str]]:
    """(label, text behind it) of each of ``labels`` in ``text``: a shell may have joined the lines of an answer into one."""
    first = labelled(text, labels)
    if first is None or text.count(":") < JOINED_MIN:
        return [first] if first else []
    found: list[tuple[str, int, int]] = []
    at = -1
    while (at := text.find(":", at + 1)) >= 0:
        begin = max(found[-1][2] if found else 0, at - LABEL_CHARS)
        key = _label_before(text[begin:at], labels)
        if key:
            found.append((key, text.lower().rindex(key.split()[0], begin, at), at + 1))
    ends = [start for _, start, _ in found[1:]] + [len(text)]
    values = [text[begin:end].strip() for (_, _, begin), end in zip(found, ends, strict=True)]
    if len(found) > 1:
        values = [_first_words(value) for value in values]
    return [(key, value) for (key, _, _), value in zip(found, values, strict=True)]


def _first_words(value: str) -> str:
    """A number and its unit, or the two words of an operation, without the sign between two answers of one line."""
    return value if "=" in value else " ".join(word.strip("|,;") for word in value.split()[:2]).strip()


def _label_before(text: str, labels: Labels) -> str:
    words = text.lower().split()[-LABEL_WORDS_MAX:]
    if not words or (words[-1].lstrip(BEFORE) not in labels.last_words and words[-1] not in labels.last_words):
        return ""
    keys = (" ".join([words[first].lstrip(BEFORE), *words[first + 1 :]]) for first in range(len(words)))
    return next((key for key in keys if key in labels.names), "")
