"""The content of a report on a fit: what --json prints, the dirty curve with its drawn guests, the scenario as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hostsim.fitting.fitted import HIGH, LOW, GuestFit
from hostsim.fitting.guest_text import guest_text
from hostsim.report.html.page import Content
from hostsim.report.html.pictures import pictures_of
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes, table_files
from hostsim.results.provenance import git_revision
from hostsim.results.tables import Table, plain
from hostsim.study.compare.identity import versions

POINTS = 120
SHORTEST_S, LENGTH_S = 0.05, 1.0
"""The curve begins at the first, and ends at twice the second where no point says otherwise."""
COLUMNS = dict.fromkeys(("t_s", "fitted_pages", "low_pages", "high_pages"), "float64")


def fit_report(kind: str, fitted: GuestFit, told: Mapping[str, Any], seed: int) -> Content:
    """The content of the page ``kind``, fit or whatif. told: what --json prints; seed: of the drawn guests."""
    origin = plain({**versions(), "git": git_revision(), "seed": seed})
    main = json.loads(json_bytes(plain(told)))  # as hostsim report reads it
    return Content(kind, main, {"curve": curve_table(fitted)}, {"guest.toml": guest_text(fitted)}, origin=origin)


def write_fit(out: Path, content: Content, lines: Sequence[str], table: Table) -> list[Path]:
    """Write the files of a fit, or of a forecast from one: JSON, verdict, curve, ``table``, the guest, pictures.

    Returns the paths; OutputError, then ``out`` is as it was.
    """
    name = content.kind
    tables = {"curve": content.tables["curve"]} | ({} if name == "fit" else {name: table})
    files = {
        f"{name}.json": json_bytes(content.main), "provenance.json": json_bytes(content.origin),
        "verdict.txt": "".join(f"{line}\n" for line in lines).encode(),
        "guest.toml": content.texts["guest.toml"].encode(), **pictures_of(content, name),
    }  # fmt: skip
    for stem, one in tables.items():
        files |= table_files(stem, one)
    own = re.compile(rf"(curve|{name})\.(csv|parquet)|{name}(-[\w-]+)?\.(png|svg)|verdict\.txt|guest\.toml")
    return write_files(out, files, stale=own if (out / f"{name}.json").exists() else None)


def curve_table(fitted: GuestFit) -> Table:
    """The dirty curve of the fitted guest, and between which values 90 % of the drawn guests lie."""
    lengths = [point.t_s for point in fitted.found.points] or [LENGTH_S]
    t_s = np.geomspace(min(SHORTEST_S, min(lengths) / 2), 2 * max(lengths), POINTS)
    drawn = np.array([classes.curve().at(t_s) for classes in fitted.found.draws])
    low, high = np.percentile(drawn, [LOW, HIGH], axis=0) if len(drawn) else np.full((2, POINTS), np.nan)
    return Table.of("curve", COLUMNS, list(zip(t_s, fitted.classes.curve().at(t_s), low, high, strict=True)))
