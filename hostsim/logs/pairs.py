"""Reader of figures by their names: ``remaining=5 total=9`` in a line, YAML, a table, and the tuple of libvirt's jobInfo."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hostsim.logs.figures import QUANTITY, decimal_read, quantity, written
from hostsim.logs.items import Item
from hostsim.logs.metrics import keep_named, with_ends
from hostsim.logs.model import Sample
from hostsim.logs.named import TAGS, Named, figure_named, is_status
from hostsim.logs.prose import EITHER, figures_in
from hostsim.logs.query_migrate import STATUSES
from hostsim.logs.reader import Reader
from hostsim.logs.stamps import epoch_s
from hostsim.logs.table import JOB_TYPES, tables_of
from hostsim.logs.whose import head_of

PAIR = re.compile(
    r"(?<![\w.-])([A-Za-z][\w.-]*)(?:=|: ?(?=-?\d))"
    r"(\"[^\"]*\"|'[^']*'|\d{1,3}(?:,\d{3})+(?![\w,])|[^\s,;|&{}()]+(?: ?[KMGTP]i?B\b)?)"
)
"""``key=value`` of logfmt and InfluxDB, ``Key:value`` of Go, and ``key: 5 GiB`` of people's scripts."""
YAML = re.compile(r"(\s*)(?:- )?([a-z][\w.-]*):(?:\s+(\S+))?\s*")
WHOLE = re.compile(r"(-?\d+)i")
"""A whole number of InfluxDB."""
NANOSECONDS = re.compile(r"\s(\d{19})\s*$")
TUPLE = re.compile(r"[\[(]\s*([0-5])((?:,\s*\d+[lL]?){11})\s*[\])]")
JOB_INFO = (
    "", "total_time_ms", "", "total_bytes", "transferred_bytes", "remaining_bytes", "total_bytes", "transferred_bytes",
    "remaining_bytes", "disk_total_bytes", "disk_transferred_bytes", "disk_remaining_bytes",
)  # fmt: skip
"""virDomainJobInfo as Python's jobInfo() returns it: the data of the job, then of the memory, then of files."""
SECTIONS = ("ram", "disk", "xbzrle-cache", "vfio")
NEEDED = "remaining_bytes"
FIGURES_MIN = 2
LEVELS_MAX = 3
LEFT = ("emain", "left", "Left", "to go")
"""A sentence about a migration has one of these words."""
QMP = frozenset(("return", "ram", "execute", "event", "error"))


@dataclass
class Pairs(Reader):
    """``block``: of figures one a line, the answer so far; ``section``: the YAML key above it, and its indent."""

    block: Sample | None = None
    section: str = ""
    indent: int = -1
    told: set[str] = field(default_factory=set)

    def survey(self, text: str) -> None:
        """Tables: their rows have no words by which a line is known."""
        self.samples += tables_of(text)

    def take(self, item: Item) -> None:
        """A line with pairs, a line of YAML, or a tuple."""
        if isinstance(item.value, dict):
            self._object(item, item.value)
        if item.value is not None or self._tuple(item) or self._line(item) or self._sentence(item):
            return
        found = YAML.fullmatch(item.text)
        if found:
            self._yaml(item, *found.groups())

    def finish(self) -> None:
        """Answers without what remains are of other programs."""
        self.samples = [s for s in self.samples if NEEDED in s.figures and _told(s) >= FIGURES_MIN]
        with_ends(self.samples)

    def _tuple(self, item: Item) -> bool:
        found = TUPLE.search(item.text) if "," in item.text else None
        if found is None:
            return False
        numbers = [float(one.strip(" lL")) for one in f"{found.group(1)}{found.group(2)}".split(",")]
        if not numbers[3] or numbers[5] > numbers[3]:
            return False
        sample = self.add(item, JOB_TYPES.get(found.group(1), "active"))
        has_disk = numbers[9] > 0
        for name, value in zip(JOB_INFO, numbers, strict=True):
            if name and (has_disk or not name.startswith("disk")):
                sample.figures[name] = value
        return True

    def _line(self, item: Item) -> bool:
        pairs = PAIR.findall(item.text)
        if len(pairs) < FIGURES_MIN:
            return False
        named = [(figure_named(key), text.strip("\"'")) for key, text in pairs]
        if NEEDED not in {one.column for one, _ in named if one}:
            return False
        status = next((text.strip("\"'") for key, text in pairs if is_status(key)), "")
        tag = next((text.strip("\"'") for key, text in pairs if key.lower() in TAGS), "")
        sample = self.add(item, status if status in STATUSES else JOB_TYPES.get(status.lower(), "active"), tag)
        self._head(sample, item, PAIR)
        sample.remark = decimal_read(text for one, text in named if one)
        for one, text in named:
            _keep(sample, one, text)
        nanoseconds = NANOSECONDS.search(item.text)
        at = epoch_s(nanoseconds.group(1)) if nanoseconds else None
        if at is not None:
            sample.figures["stamp_s"] = at
        return True

    def _object(self, item: Item, record: dict[str, Any]) -> None:
        """Names and figures of an object that no reader of QMP or libvirt knows, its inner objects included."""
        if QMP & record.keys():
            return
        flat = list(_flat(record))
        named = [(figure_named(key), value) for key, value in flat if isinstance(value, int | float | str)]
        if NEEDED not in {one.column for one, _ in named if one}:
            return
        told = {key.rsplit(".", 1)[-1].lower(): str(value) for key, value in flat}
        status = next((text for key, text in told.items() if is_status(key)), told.get("type", "active"))
        tag = next((told[key] for key in TAGS if key in told), "")
        sample = self.add(item, status if status in STATUSES else JOB_TYPES.get(status.lower(), "active"), tag)
        for one, value in named:
            _keep(sample, one, str(value))

    def _sentence(self, item: Item) -> bool:
        figures = figures_in(item.text) if any(word in item.text for word in LEFT) else {}
        if figures:
            sample = self.add(item, "active")
            sample.figures.update(figures)
            sample.remark = decimal_read([item.text])
            self._head(sample, item, EITHER)
        return bool(figures)

    @staticmethod
    def _head(sample: Sample, item: Item, first: re.Pattern[str]) -> None:
        """The text before the first figure may name the guest."""
        found = first.search(item.text)
        sample.head = head_of(item.text[: found.start()] if found else "", sample.head)

    def _yaml(self, item: Item, indent: str, key: str, text: str | None) -> None:
        """Keys of QMP, one a line: an answer ends where a key comes again."""
        if len(indent) <= self.indent:
            self.section, self.indent = "", -1
        if text is None:
            self.section, self.indent = (key, len(indent)) if key in SECTIONS else ("", -1)
            return
        name = f"{self.section}.{key}"
        named = figure_named(key) if self.section in ("", "ram", "disk") else None
        is_known = named is not None or (key == "status" and text in STATUSES)
        if not is_known:
            return
        if self.block is None or name in self.told:
            self.block, self.told = self.add(item, "active"), set()
        self.told.add(name)
        if key == "status":
            self.block.status = text
        elif named and self.section == "disk":
            _keep(self.block, Named(f"disk_{named.column}", named.factor), text)
        else:
            _keep(self.block, named, text)


def _flat(record: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of ``record``; those of an inner object behind the name of the object."""
    for key, value in record.items():
        if isinstance(value, dict):
            if before.count(".") < LEVELS_MAX:
                yield from _flat(value, f"{before}{key}.")
        elif not isinstance(value, bool):
            yield f"{before}{key}", value


def _told(sample: Sample) -> int:
    return len(sample.figures.keys() - {"stamp_s", "t_s"}) + bool(sample.figures.keys() & {"stamp_s", "t_s"})


def _keep(sample: Sample, named: Named | None, text: str) -> None:
    """Keep the figure ``text``; one that is no number is no figure of a migration."""
    whole = WHOLE.fullmatch(text)
    value = quantity(whole.group(1) if whole else text, "plain")
    match = QUANTITY.fullmatch(text)
    if named is not None and not whole and match and match["unit"] and named.column.endswith("_bytes"):
        value = written(text, "bytes") / named.factor
    if named is not None and value >= 0:
        keep_named(sample.figures, named, value)
