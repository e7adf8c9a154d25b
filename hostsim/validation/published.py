"""Suite ``published``: figures that others measured or forecast, from the inputs they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hostsim.validation.published_curve import curve_rows, fitted_guest_rows
from hostsim.validation.published_field import never_completes_rows, run_fraction_rows, wire_byte_rows
from hostsim.validation.published_run import run_rows
from hostsim.validation.rows import Row, selected

if TYPE_CHECKING:
    from hostsim.validation import Progress


def rows(cases: Sequence[str] | None = None, _jobs: int = 1, progress: Progress | None = None) -> list[Row]:
    """All rows, in one process: seconds of work."""
    found = selected(_all_rows(), cases)
    if progress:
        progress("published", len(found), len(found))
    return found


def _all_rows() -> Iterator[Row]:
    yield from curve_rows()
    yield from fitted_guest_rows()
    yield from wire_byte_rows()
    yield from never_completes_rows()
    yield from run_fraction_rows()
    yield from run_rows()
