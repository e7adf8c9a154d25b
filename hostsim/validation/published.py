"""Suite ``published``: figures that others measured or forecast, from the inputs they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hostsim.validation.published_blind import many_vcpu_rows, stream_rows
from hostsim.validation.published_kvm import index_rows, kvm_rows
from hostsim.validation.published_memory import far_memory_rows, hit_ratio_rows, swap_rows
from hostsim.validation.published_postcopy import postgres_rows, userfault_rows
from hostsim.validation.published_precopy import (
    curve_rows,
    fitted_guest_rows,
    never_completes_rows,
    run_fraction_rows,
    run_rows,
    wire_byte_rows,
)
from hostsim.validation.published_range import range_rows
from hostsim.validation.published_zstd import zstd_rows
from hostsim.validation.rows import Row, selected

if TYPE_CHECKING:
    from hostsim.validation import Progress


def rows(cases: Sequence[str] | None = None, _jobs: int = 1, progress: Progress | None = None) -> list[Row]:
    """All rows whose ids are in ``cases`` or below one of these (None: all), in one process.

    progress: called once, with ("published", n, n), at the end.
    All rows take about two minutes of work, those without the B and K rows seconds.
    """
    found = selected(_all_rows(cases), cases)
    if progress:
        progress("published", len(found), len(found))
    return found


def _all_rows(cases: Sequence[str] | None) -> Iterator[Row]:
    if cases is None or not all(case.startswith(("B", "K")) for case in cases):
        yield from _migration_rows()
    yield from kvm_rows(cases)
    yield from index_rows()
    yield from hit_ratio_rows()
    if cases is None or any(case.startswith("S") for case in cases):
        yield from swap_rows()
        yield from far_memory_rows()
    if cases is None or any(case.startswith("B") for case in cases):
        yield from _blind_rows()


def _migration_rows() -> Iterator[Row]:
    yield from curve_rows()
    yield from fitted_guest_rows()
    yield from range_rows()
    yield from wire_byte_rows()
    yield from never_completes_rows()
    yield from run_fraction_rows()
    yield from run_rows()
    yield from zstd_rows()
    yield from userfault_rows()
    yield from postgres_rows()


def _blind_rows() -> Iterator[Row]:
    yield from many_vcpu_rows()
    yield from stream_rows()
