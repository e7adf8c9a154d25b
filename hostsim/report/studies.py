"""Output of all studies: figures in the cells of a table, by the unit their names end in; and files.

Files: everything as JSON, tables, latency distributions, the verdict, the picture, the origin of the data.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostsim.report.columns import Column, Role
from hostsim.report.html.registry import folder_content, pictures_of
from hostsim.results.aside import write_files
from hostsim.results.encode import csv_bytes, has_parquet, json_bytes, parquet_bytes
from hostsim.results.provenance import own_revision
from hostsim.results.tables import Table, plain
from hostsim.study.compare.identity import versions
from hostsim.study.statistics import Spread
from hostsim.verdict.words import bytes_words, number_words, span_words

if TYPE_CHECKING:
    from hostsim.core.latency import Latencies

LATENCY_COLUMNS = {"row": "int64", "what": "str", "latency_ns": "int64", "count": "int64"}
"""A line a bucket that is not empty; latency_ns: the largest of its bucket."""


def write_study(out: Path, name: str, content: dict[str, Any], tables: Mapping[str, Table]) -> list[Path]:
    """Write <name>.json, provenance.json, verdict.txt, the tables and, with matplotlib, the charts of its report.

    name: that of the command, which is the kind of the report; the first chart is <name>.png and .svg.
    Returns the paths; OutputError, then ``out`` is as it was. Files of an earlier run that are not written are removed.
    """
    origin = provenance_of(content)
    files = {
        f"{name}.json": json_bytes(content),
        "provenance.json": json_bytes(origin),
        "verdict.txt": "".join(f"{line}\n" for line in content["verdict"]).encode(),
    }
    for stem, table in tables.items():
        files[f"{stem}.csv"] = csv_bytes(table)
        if has_parquet():
            files[f"{stem}.parquet"] = parquet_bytes(table)
    files |= pictures_of(folder_content(name, content, origin, tables), name)
    stems = "|".join(map(re.escape, [name, *tables]))
    own = re.compile(rf"({stems})\.(csv|parquet)|{re.escape(name)}(-[\w-]+)?\.(png|svg)|verdict\.txt|report\.html")
    return write_files(out, files, stale=own if (out / f"{name}.json").exists() else None)


def study_content(name: str, options: Any, seeds: Sequence[int], interval: str | None, **more: Any) -> dict[str, Any]:
    """The content of <name>.json, which ``--json`` prints, too, in plain types.

    options: a dataclass; all its fields are written. interval: the method of the intervals, None with one seed.
    more: further keys, as verdict and rows.
    """
    content: dict[str, Any] = plain(
        {"format": f"hostsim-{name}/1", "version": versions()["hostsim"], "options": vars(options), "seeds": list(seeds),
         "interval": interval, **more}
    )  # fmt: skip
    return content


def provenance_of(content: dict[str, Any]) -> dict[str, Any]:
    """The content of provenance.json of a study."""
    asked = {key: content[key] for key in ("options", "seeds")}
    return {**versions(), "git": own_revision(), "python": platform.python_version(), **asked}


def spreads(figures: Mapping[str, Spread]) -> dict[str, dict[str, Any]]:
    """Figures as JSON has them."""
    return {name: vars(spread) for name, spread in figures.items()}


def figures_table(name: str, rows: Sequence[tuple[Mapping[str, str], Mapping[str, Spread], str]]) -> Table:
    """The table ``name`` for a file, a row a case: settings, for each figure mean and interval, verdict.

    rows: at least one; (settings, figures, verdict), all with the keys of the first.
    """
    settings, figures, _ = rows[0]
    schema = dict.fromkeys(settings, "str")
    for figure in figures:
        schema |= {figure: "float64", f"{figure}_low": "float64", f"{figure}_high": "float64"}
    return Table.of(name, schema | {"verdict": "str"}, [_flat(*row) for row in rows])


def _flat(settings: Mapping[str, str], figures: Mapping[str, Spread], verdict: str) -> tuple[Any, ...]:
    nan = float("nan")
    ends = [(s.mean, nan if s.low is None else s.low, nan if s.high is None else s.high) for s in figures.values()]
    return (*settings.values(), *(value for spread in ends for value in spread), verdict)


def latency_table(rows: Iterable[Mapping[str, Latencies]]) -> Table:
    """Distributions of all rows, numbered from 0 on."""
    found = []
    for number, latencies in enumerate(rows):
        for what, counted in latencies.items():
            ends_ns, counts = counted.buckets()
            found += [(number, what, ns, n) for ns, n in zip(ends_ns.tolist(), counts.tolist(), strict=True)]
    return Table.of("latencies", LATENCY_COLUMNS, found)


def cell(name: str, spread: Spread) -> str:
    """``7.17 us ±2 %``: the mean of ``spread`` in the unit of figure ``name``, and the longer side of its interval.

    Without an interval, and for a mean of 0 or less, the mean stands alone.
    """
    text = value_words(name, spread.mean)
    if not spread.reach or spread.mean <= 0:
        return text
    return f"{text} ±{number_words(100 * spread.reach / spread.mean, 2)} %"


def value_words(name: str, value: float) -> str:
    """A value alone."""
    if name.endswith("_ns"):
        return span_words(value)
    if name.endswith("_percent"):
        return f"{number_words(value)} %"
    if name.endswith("_bytes"):
        return bytes_words(value)
    return f"{value:.0f}" if value >= 100 else number_words(value)


def study_column(name: str, heading: str, role: Role = Role.FIGURE) -> Column:
    """The column of figure ``name`` over all seeds, under ``heading``, for rows that have ``figures`` by name.

    role: when the column may be left out.
    """

    def of(row: Any) -> str:
        figures: Mapping[str, Spread] = row.figures
        return cell(name, figures[name])

    return Column(name, heading, role=role, of=of)


def setting_column(key: str) -> Column:
    """The column of a setting that varies."""
    return Column(key, key, role=Role.KEY, of=lambda row: row.settings[key])
