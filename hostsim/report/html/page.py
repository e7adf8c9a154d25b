"""A report before it is HTML: verdicts, key figures, sections of charts, tables and texts, and the origin of its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hostsim.report.charts.chart import Chart
from hostsim.report.columns import Grid
from hostsim.results.tables import Table

Tone = Literal["good", "bad", "open", "told"]
SIGNS: Mapping[Tone, str] = {"good": "✓", "bad": "✕", "open": "?", "told": "i"}


@dataclass(frozen=True)
class Content:
    """The result that a report is made of.

    kind: key of KINDS.
    main: the object that the command prints with --json, {} if a folder has none.
    tables: by name. texts: other files of the folder by name.
    notes: parts that are missing or cannot be read.
    origin: content of provenance.json.
    result: the result itself, for a kind that reads an object rather than ``main``.
    """

    kind: str
    main: Mapping[str, Any]
    tables: Mapping[str, Table] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None


@dataclass(frozen=True)
class Step:
    """A change that would help: its text, the command to copy, and whether runs have confirmed it."""

    text: str
    command: str = ""
    tag: str = ""
    sure: bool = False


@dataclass(frozen=True)
class Card:
    """A verdict. badge: the outcome in a word or two; lines: the figures and assumptions behind it; steps: remedies."""

    tone: Tone
    badge: str
    headline: str
    lines: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    title: str = ""

    @property
    def sign(self) -> str:
        """The outcome as a sign, for readers that see no colours."""
        return SIGNS[self.tone]


@dataclass(frozen=True)
class Tile:
    """A key figure with its unit, and a remark below."""

    name: str
    figure: str
    aside: str = ""


@dataclass(frozen=True)
class Words:
    """Paragraphs."""

    lines: tuple[str, ...]
    form: str = "words"


@dataclass(frozen=True)
class Tabled:
    """A table; behind a line to open if ``folded``."""

    grid: Grid
    summary: str
    folded: bool = True
    form: str = "table"


@dataclass(frozen=True)
class Drawn:
    """A chart with the table behind it."""

    chart: Chart
    form: str = "chart"


@dataclass(frozen=True)
class Listing:
    """A text to copy, as a scenario or a command; behind a line to open if ``folded``."""

    text: str
    summary: str
    folded: bool = False
    form: str = "listing"


Part = Words | Tabled | Drawn | Listing


@dataclass(frozen=True)
class Section:
    """A heading with parts below; lead: a sentence that says how to read them."""

    title: str
    parts: tuple[Part, ...]
    lead: str = ""


def chart_section(title: str, chart: Chart | None) -> Section | None:
    """The section of one chart; None without a chart."""
    return None if chart is None else Section(title, (Drawn(chart),))


@dataclass(frozen=True)
class Page:
    """A report. kicker: the kind of result; origin: (name, value) of versions, seeds and files."""

    title: str
    kicker: str
    cards: tuple[Card, ...] = ()
    tiles: tuple[Tile, ...] = ()
    sections: tuple[Section, ...] = ()
    origin: tuple[tuple[str, str], ...] = ()
    command: str = ""
    listings: tuple[Listing, ...] = ()
    question: str = ""
    notes: tuple[str, ...] = ()

    @property
    def charts(self) -> list[Chart]:
        """Every chart of the report, in its order."""
        return [part.chart for section in self.sections for part in section.parts if isinstance(part, Drawn)]
