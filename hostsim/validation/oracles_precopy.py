"""O3-O7: pre-copy as a map, at the digits of the check vectors."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.floor import converges, longest_standing_pass_s
from hostsim.theory.precopy import (
    Caps,
    PrecopyOutcome,
    geometric_precopy,
    iterate_precopy,
    page_seconds,
    saturating_curve,
    saturating_fixed_point,
)
from hostsim.validation.published_precopy import measured_curve
from hostsim.validation.rows import Row, absolute, digits, exact, published
from hostsim.validation.samples import SUITE

PAGES = 262_144
PAGE_S = page_seconds(10e9 / 8)
LIMIT_S = 0.030

GEOMETRIC = {
    50_000: ("1.02515", 3, "23.19", "312242"),
    100_000: ("1.27648", 5, "10.00", "388792"),
    200_000: ("2.44972", 9, "29.75", "746139"),
    280_000: ("10.3260", 41, "29.72", "3145102"),
}
"""Dirty rate, pages/s: total s, passes, last pass ms, pages sent."""

SATURATING = {"0.3": ("1.16723", 4), "0.6": ("1.69458", 7), "0.9": ("3.19770", 18), "0.95": ("3.96327", 26)}
"""rho: total s, passes."""


def precopy_rows() -> Iterator[Row]:
    """Geometric, saturating, general and capped pre-copy."""
    for rate, geometric in GEOMETRIC.items():
        yield from _geometric_rows(rate, *geometric)
    yield from _slow_and_never_rows()
    for rho, (total_s, passes) in SATURATING.items():
        yield from _saturating_rows(rho, total_s, passes)
    yield from _near_one_rows()
    yield from _general_map_rows()
    yield from _cap_rows()


def saturating(rho: float, limit_s: float = LIMIT_S) -> PrecopyOutcome:
    """Pre-copy of the check vectors' VM under uniform writes at ``rho`` times the rate pages are sent."""
    return iterate_precopy(saturating_curve(PAGES, rho / PAGE_S), PAGES, PAGE_S, limit_s)


def _geometric_rows(rate: int, total_s: str, passes: int, last_ms: str, sent: str) -> Iterator[Row]:
    got, where = geometric_precopy(PAGES, rate, PAGE_S, LIMIT_S), f"O4/{rate // 1000}k"
    yield digits(SUITE, where, "total time, s", total_s, got.total_s)
    yield exact(SUITE, where, "passes", passes, got.passes)
    yield digits(SUITE, where, "last pass, ms", last_ms, got.last_pass_s * 1000.0)
    yield digits(SUITE, where, "pages sent", sent, got.pages_sent)
    swept = iterate_precopy(DirtyCurve.sequential(PAGES, rate), PAGES, PAGE_S, LIMIT_S)
    yield digits(SUITE, f"O3/{rate // 1000}k", "total time by the sweep's curve, s", total_s, swept.total_s)


def _slow_and_never_rows() -> Iterator[Row]:
    curve = DirtyCurve.sequential(PAGES, 304_000)
    slow = iterate_precopy(curve, PAGES, PAGE_S, LIMIT_S, max_passes=200)
    yield digits(SUITE, "O4/304k", "lambda", ".9981", 304_000 * PAGE_S)
    yield exact(SUITE, "O4/304k", "converged after 200 passes", False, slow.converged)
    never = geometric_precopy(PAGES, 310_000, PAGE_S, LIMIT_S)
    yield exact(SUITE, "O4/310k", "ever converges", False, never.converged)


def _saturating_rows(rho: str, total_s: str, passes: int) -> Iterator[Row]:
    got = saturating(float(rho))
    yield digits(SUITE, f"O5/rho={rho}", "total time, s", total_s, got.total_s)
    yield exact(SUITE, f"O5/rho={rho}", "passes", passes, got.passes)


def _near_one_rows() -> Iterator[Row]:
    floor_ms = saturating_fixed_point(1.05) * PAGES * PAGE_S * 1000.0
    yield digits(SUITE, "O5/rho=1.05", "shortest pass, ms", "80.6", floor_ms)
    yield exact(SUITE, "O5/rho=1.05", "converges at 30 ms", False, saturating(1.05).converged)
    yield exact(SUITE, "O5/rho=1.05", "converges at 100 ms", True, saturating(1.05, 0.100).converged)


def _general_map_rows() -> Iterator[Row]:
    """The largest fixed point decides: against the map iterated on the published curve, and against O5."""
    data, curve = published("dirty_curve"), measured_curve()
    for name, bit_per_s in data["bandwidths_bit_per_s"].items():
        page_s = page_seconds(bit_per_s / 8.0, data["page_bytes"])
        limits_s = [limit_ms / 1000.0 for limit_ms in data["limits_ms"] if limit_ms is not None]
        table = [total is not None for total in data["table_s"][name]][: len(limits_s)]
        decided = [converges(curve, page_s, limit_s) for limit_s in limits_s]
        yield exact(SUITE, f"O6/{name}", "converges, limits 125 ms to 5 s", _marks(table), _marks(decided))
    floors = [longest_standing_pass_s(curve, page_seconds(gbps * 2**27)) for gbps in range(1, 41)]
    yield exact(
        SUITE, "O6/monotone", "floor never rises with bandwidth", True, floors == sorted(floors, reverse=True)
    )
    share = longest_standing_pass_s(DirtyCurve.uniform(PAGES, 1.2 / PAGE_S), PAGE_S) / (PAGES * PAGE_S)
    yield absolute(SUITE, "O6/uniform", "share re-sent at rho 1.2", saturating_fixed_point(1.2), share, 1e-4)


def _cap_rows() -> Iterator[Row]:
    """A guest that never converges, stopped by each cap in turn."""
    caps = Caps()
    by_pages = iterate_precopy(saturating_curve(PAGES, 3.0 / PAGE_S), PAGES, PAGE_S, LIMIT_S, caps=caps)
    by_passes = iterate_precopy(
        saturating_curve(PAGES, 1.05 / PAGE_S), PAGES, PAGE_S, LIMIT_S, caps=Caps(29, 99.0)
    )
    yield exact(SUITE, "O7/3V", "live passes", 4, by_pages.passes - 1)
    yield exact(SUITE, "O7/29", "live passes", 29, by_passes.passes - 1)
    in_bounds = PAGES * PAGE_S <= by_pages.total_s < caps.time_bound_s(PAGES, PAGE_S)
    yield exact(SUITE, "O7/3V", "V/B <= total < 5 V/B", True, in_bounds)
    short = by_pages.last_pass_s <= caps.downtime_bound_s(PAGES, PAGE_S)
    yield exact(SUITE, "O7/3V", "downtime <= V/B", True, short)


def _marks(decisions: list[bool]) -> str:
    return " ".join("yes" if decision else "never" for decision in decisions)
