"""The content of a report on a fit: what --json prints, the dirty curve with its drawn guests, the scenario as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hostsim.fitting.fitted import HIGH, LOW, GuestFit
from hostsim.fitting.guest_text import guest_text
from hostsim.report.html.page import Content
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
    return Content(kind, plain(told), {"curve": curve_table(fitted)}, {"guest.toml": guest_text(fitted)}, origin=origin)


def curve_table(fitted: GuestFit) -> Table:
    """The dirty curve of the fitted guest, and between which values 90 % of the drawn guests lie."""
    lengths = [point.t_s for point in fitted.found.points] or [LENGTH_S]
    t_s = np.geomspace(min(SHORTEST_S, min(lengths) / 2), 2 * max(lengths), POINTS)
    drawn = np.array([classes.curve().at(t_s) for classes in fitted.found.draws])
    low, high = np.percentile(drawn, [LOW, HIGH], axis=0) if len(drawn) else np.full((2, POINTS), np.nan)
    return Table.of("curve", COLUMNS, list(zip(t_s, fitted.classes.curve().at(t_s), low, high, strict=True)))
