"""Claims 4 to 6: the share of memory that is mapped, the rate of mapping, and the savings of laziness."""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np

from hostsim.spte_index.fan_out import published_guest
from hostsim.spte_index.guests import DIRECT, build_guest, distinct, in_drawn_order, one_slot
from hostsim.spte_index.rmap import RmapIndex
from hostsim.spte_index.spaces import ShadowGuest
from hostsim.spte_index.spte import PRESENT, WRITABLE
from hostsim.spte_index.tables import ENTRIES, make_tables, take_tables
from hostsim.study.rmap_debate import forms
from hostsim.study.rmap_debate.claim import Claim, Crossing, Curve, Panel, curve, meet
from hostsim.study.rmap_debate.runs import PAGES, costs, flush, guest_of, spent

NEARLY = 0.95
"""The share of pages that counts as "nearly every page"."""
TOUCHES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Accesses, as a multiple of the pages."""
SMALL_PAGES = 1 << 16
"""Number of sptes of the guest, whether an spte maps 4 KiB or 2 MiB."""
ALL_TOUCHED = 30
"""Touches a page that leave e^-30 of them out."""
SHARED_PAGES = 1 << 15
WRITES_PER_S = 100_000.0
INTERVALS_MS = (10.0, 50.0, 200.0, 1000.0, 5000.0, 20000.0, 60000.0)


def nearly_every_page_is_mapped() -> Claim:
    """Claim 4."""
    small = meet(lambda x: mapped_share(x, 1), NEARLY, 0.03, 30.0)
    large = meet(lambda x: mapped_share(x, ENTRIES), NEARLY, 0.03 / ENTRIES, 30.0 / ENTRIES)
    x = math.log(1 / (1 - NEARLY))
    why = f"one draw of {SMALL_PAGES} sptes, the same for both sizes: the standard deviation is 0.5 %"
    crossings = (
        Crossing("95 % mapped in 4 KiB sptes", small, x, "accesses a page", "ln 20", why),
        Crossing("95 % mapped in 2 MiB sptes", large, x / ENTRIES, "accesses a page", "ln 20 / 512", why),
    )
    before, after = _split_flushes()
    condition = (
        f"the guest has made {small:.1f} random accesses a page, all pages alike; with Zipf's popularity 10 "
        f"accesses a page have mapped {zipf_share(10.0):.0%}. 2 MiB pages do it after 1/512 of the accesses, with "
        f"1/512 of the sptes, until logging splits them: a flush of 4 GiB then takes {after / 1e6:.1f} ms in place "
        f"of {before / 1e6:.1f} ms"
    )
    lines = (
        curve("4 KiB, uniform", TOUCHES, lambda x: mapped_share(x, 1)),
        curve("4 KiB, Zipf 0.99", TOUCHES, zipf_share),
        curve("2 MiB, uniform", TOUCHES, lambda x: mapped_share(x, ENTRIES)),
    )
    panel = Panel("accesses made, over pages", "share of memory mapped", lines, log_x=True, log_y=False)
    return Claim(4, "usually nearly every page is mapped at least once", "Kivity", "holds if", condition, crossings, panel)


@cache
def mapped_share(touches_a_page: float, pages_an_spte: int) -> float:
    """Share of memory mapped after uniform accesses, ``touches_a_page`` a page; the structure is driven, and counted.

    pages_an_spte: 4 KiB pages that an spte maps.
    """
    rng = np.random.default_rng(4)
    touches = min(max(1, round(touches_a_page * pages_an_spte * SMALL_PAGES)), ALL_TOUCHED * SMALL_PAGES)
    return _mapped(distinct(rng, SMALL_PAGES, touches), pages_an_spte)


def zipf_share(touches_a_page: float) -> float:
    """``mapped_share`` with Zipf popularity, exponent 0.99, pages in a drawn order."""
    rng = np.random.default_rng(4)
    weights = 1.0 / np.arange(1, SMALL_PAGES + 1) ** 0.99
    edges = np.cumsum(weights) / weights.sum()
    ranks = np.searchsorted(edges, rng.random(round(touches_a_page * SMALL_PAGES)))
    return _mapped(np.unique(np.minimum(ranks, SMALL_PAGES - 1)), 1)


def _mapped(units: np.ndarray, pages_an_spte: int) -> float:
    """Map each of ``units`` (of SMALL_PAGES) in sptes of that size; share of memory that the rmap then has."""
    n_pages = SMALL_PAGES * pages_an_spte
    guest = build_guest("rmap", one_slot(n_pages), DIRECT.but(mapped=0.0)) if pages_an_spte == 1 else None
    if guest is not None:
        guest.touch(units, is_write=False)
        return guest.mapped_pages() / n_pages
    index = _large_index(n_pages)
    index.map(units.astype(np.int64), units * pages_an_spte, PRESENT)
    return int(index.tables.used.sum()) * pages_an_spte / n_pages


def _large_index(n_pages: int) -> RmapIndex:
    tables = make_tables(-(-n_pages // ENTRIES**2))
    take_tables(tables, np.arange(len(tables.level)) * ENTRIES**2, level=1)
    return RmapIndex(tables, one_slot(n_pages))


def _split_flushes() -> tuple[float, float]:
    """One flush [ns] of a guest mapped in 2 MiB sptes, and one when all are split into 4 KiB sptes."""
    index = _large_index(PAGES)
    regions = np.arange(PAGES // ENTRIES)
    index.map(regions, regions * ENTRIES, PRESENT | WRITABLE)
    return spent(index, lambda: index.protect_slot(0)).ns, flush("rmap").ns


def pages_are_mapped_often() -> Claim:
    """Claim 5."""
    n = 50
    measured = meet(partial(_shared_twice, n), 0.5, 0.001, 0.5)
    form = meet(partial(_twice_form, n), 0.5, 0.001, 0.5)
    crossings = (
        Crossing("half of the mapped pages have two or more sptes, 50 processes", measured, form, "of pages in each process",
                 "1 - n q (1-q)^(n-1) / (1 - (1-q)^n) = 1/2",
                 f"one draw of {SHARED_PAGES} pages: the standard deviation is 0.7 %"),
    )  # fmt: skip
    often, mean = _idle_guest()
    condition = (
        f"many processes share: with {n}, from a share of {measured:.1%} of memory each on. After forks it does; "
        f"on an idle guest that was measured {often:.0%} of the mapped pages are mapped twice or more, {mean:.2f} "
        "sptes a page. Under tdp it is one"
    )
    shares = tuple(float(q) for q in np.geomspace(0.003, 0.3, 6))
    lines = (
        curve("50 processes", shares, lambda q: _shared_twice(n, q)),
        Curve("idle guest, measured", (shares[0], shares[-1]), (often, often), level=True),
        Curve("tdp", (shares[0], shares[-1]), (0.0, 0.0), level=True),
    )
    panel = Panel(
        "share of memory that each process maps", "of mapped pages, mapped twice or more", lines, log_x=True, log_y=False
    )
    return Claim(
        5,
        "pages are mapped very often under shadow, very rarely under tdp",
        "Kivity",
        "holds if",
        condition,
        crossings,
        panel,
    )


def _idle_guest() -> tuple[float, float]:
    """(share mapped twice or more, sptes a page) of the mapped pages of the published guest."""
    idle = published_guest("rmap", 6 << 18).index
    assert isinstance(idle, RmapIndex)
    lengths = idle.lengths()[idle.lengths() > 0]
    return float((lengths > 1).mean()), float(lengths.mean())


@cache
def _shared_twice(processes: int, share: float) -> float:
    """Share of mapped pages that are mapped twice or more, if each process maps each page with probability ``share``."""
    rng = np.random.default_rng(8)
    guest = ShadowGuest("rmap", SHARED_PAGES, processes * SHARED_PAGES // ENTRIES)
    for _ in range(processes):
        gfns = rng.permutation(np.flatnonzero(rng.random(SHARED_PAGES) < share))
        if len(gfns):
            guest.touch(guest.spawn(0, gfns), np.arange(len(gfns)), is_write=False)
    assert isinstance(guest.index, RmapIndex)
    lengths = guest.index.lengths()
    return float(np.count_nonzero(lengths > 1)) / max(1, int(np.count_nonzero(lengths)))


def _twice_form(n: int, q: float) -> float:
    once = n * q * (1 - q) ** (n - 1)
    return 1 - once / (1 - (1 - q) ** n)


def laziness_loses_with_time() -> Claim:
    """Claim 6."""
    c = costs()
    measured = meet(partial(harvest_ns, "rmap"), partial(harvest_ns, "shadow-walk"), 10.0, 60_000.0)
    form = meet(_lookups_form, lambda t: forms.walk_flush_ns(c, PAGES, PAGES * _dirty_share(t)), 10.0, 60_000.0)
    crossings = (
        Crossing("looking up dirty gfns = walking all shadow pages", measured, form, "ms between harvests",
                 "lookups(D(T)) = walk(D(T)), D(T) = P (1 - (1 - 1/P)^(w T))",
                 "one draw of the pages written: the look-ups of its lines cost 0.2 % less than the mean that the form has"),
    )  # fmt: skip
    dirty = PAGES * _dirty_share(measured)
    late = INTERVALS_MS[-1]
    listed = harvest_ns("slot-list", late) / harvest_ns("shadow-walk", late)
    condition = (
        f"both do. At 100k writes/s looking up the dirty gfns wins up to {measured:.0f} ms between harvests, "
        f"{dirty / (PAGES / ENTRIES):.0f} dirty pages a table (the hybrid of 2011 switched at one); after that, "
        f"walking all shadow pages wins. The list of all sptes never wins: {listed:.2f} of the walk when all is dirty"
    )
    designs = {"rmap": "rmap of dirty gfns", "shadow-walk": "shadow-page walk", "hybrid": "hybrid of 2011",
               "slot-list": "list of all sptes", "writable-chain": "writable chain"}  # fmt: skip
    lines = tuple(curve(label, INTERVALS_MS, partial(_harvest_us, design)) for design, label in designs.items())
    panel = Panel("time between harvests at 100k writes/s [ms]", "one harvest of 4 GiB [us]", lines, log_x=True)
    return Claim(
        6,
        "lazy spte updates matter; yet in time the guest touches all its memory",
        "Graf / Kivity",
        "holds if",
        condition,
        crossings,
        panel,
    )


def _harvest_us(design: str, interval_ms: float) -> float:
    return harvest_ns(design, interval_ms) / 1e3


def _dirty_share(interval_ms: float) -> float:
    return forms.drawn_pages(PAGES, WRITES_PER_S * interval_ms / 1e3) / PAGES


def _lookups_form(interval_ms: float) -> float:
    return forms.lookups_ns(costs(), PAGES, PAGES * _dirty_share(interval_ms))


@cache
def _written(interval_ms: float) -> np.ndarray:
    """Gfns written in so long, in a drawn order."""
    gfns = distinct(np.random.default_rng(9), PAGES, round(WRITES_PER_S * interval_ms / 1e3))
    return in_drawn_order(gfns, PAGES, (9, 1))


@cache
def harvest_ns(design: str, interval_ms: float) -> float:
    """Time [ns] of one GET after ``interval_ms``: all pages are mapped, only pages written since are writable."""
    guest = guest_of(design)
    guest.index.start_log(0)
    gfns = _written(interval_ms)
    guest.touch(gfns, is_write=True)
    dirty = np.zeros(PAGES, np.uint8)
    dirty[gfns] = 1
    return spent(guest.index, lambda: guest.index.harvest(0, dirty)).ns
