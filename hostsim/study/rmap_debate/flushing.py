"""Claims 1 to 3: is a list faster to flush, do sptes dominate, are they scattered."""

from __future__ import annotations

from functools import partial

import numpy as np

from hostsim.spte_index.guests import DIRECT, Layout
from hostsim.spte_index.work import SPTES
from hostsim.study.rmap_debate import forms
from hostsim.study.rmap_debate.claim import Claim, Cost, Crossing, Panel, curve, meet
from hostsim.study.rmap_debate.runs import PAGES, POINTS, between, costs, flush, guest_of, spent

SHARES = tuple(float(x) for x in np.geomspace(0.005, 1.0, POINTS))
RUNS = tuple(float(2**i) for i in range(0, 13, 2))


def _at(share: float, *, churned: bool = False) -> Layout:
    return DIRECT.but(mapped=round(share, 6), churned=churned)


def _flush_of(design: str, *, churned: bool = False) -> Cost:
    return lambda share: flush(design, _at(share, churned=churned)).ns


def list_speeds_up_flushing() -> Claim:
    """Claim 1."""
    c = costs()
    fresh = meet(_flush_of("slot-list"), _flush_of("rmap"), 0.005, 1.0)
    churned = meet(_flush_of("slot-list", churned=True), _flush_of("rmap"), 0.001, 1.0)
    walk = meet(_flush_of("slot-list"), _flush_of("shadow-walk"), 0.001, 1.0)
    crossings = (
        _share_crossing("list in order of touching = rmap", fresh, _list, _rmap,
                        "s (3/8 stream + visit) = 1/8 stream + visit"),
        _share_crossing("list after churn = rmap", churned, partial(_list, scattered=True), _rmap,
                        "s (2 load + visit) = heads + sptes in order"),
        _share_crossing("list = walk of shadow pages", walk, _list, lambda S: forms.walk_flush_ns(c, PAGES, S),
                        "list(s) = U (2 load + 63 stream + 513 visit)",
                        "the lines meet at a small angle: which pages are mapped is chance, 0.02 % of a cost, and moves "
                        "the crossing many times as far"),
    )  # fmt: skip
    lines = [
        curve("rmap", SHARES, lambda s: flush("rmap", _at(s)).ns / 1e3),
        curve("shadow-page walk", SHARES, lambda s: flush("shadow-walk", _at(s)).ns / 1e3),
        curve("list", SHARES, lambda s: flush("slot-list", _at(s)).ns / 1e3),
        curve("list after churn", SHARES, lambda s: flush("slot-list", _at(s, churned=True)).ns / 1e3),
    ]
    condition = (
        f"fewer than {fresh:.0%} of the slot's pages are mapped ({churned:.1%} once the list's nodes lie "
        f"scattered), against the rmap. Against the walk of shadow pages, which x86 then did, below {walk:.0%}"
    )
    panel = Panel("share of pages mapped", "one flush of 4 GiB [us]", tuple(lines), log_x=True)
    return Claim(
        1, "a per-slot list of sptes speeds up dirty bitmap flushing", "Graf", "holds if", condition, crossings, panel
    )


def _share_crossing(what: str, measured: float, one: Cost, other: Cost, formula: str, why: str = "") -> Crossing:
    """A crossing over the share of pages mapped; ``one`` and ``other`` are forms of the number of sptes."""
    computed = meet(lambda s: one(s * PAGES), lambda s: other(s * PAGES), 0.001, 1.0)
    return Crossing(what, measured, computed, "of pages mapped", formula, why)


def _list(S: float, *, scattered: bool = False) -> float:
    return forms.list_flush_ns(costs(), PAGES, S, scattered=scattered)


def _rmap(S: float) -> float:
    return forms.rmap_flush_ns(costs(), PAGES, S)


def sptes_dominate() -> Claim:
    """Claim 2."""
    c = costs()
    heads = flush("rmap", _at(0.0)).ns
    measured = meet(_flush_of("rmap"), 2 * heads, 0.001, 1.0)
    idle = meet(_second_flush, 2 * heads, 0.001, 1.0)
    F = forms.rmap_bytes(PAGES)
    heads_form = forms.heads_ns(c, PAGES, F)
    crossings = (
        _share_crossing("sptes = heads, each loses W", measured, _rmap, lambda _S: 2 * heads_form,
                        "sptes(s) + s P (visit + change + atomic) = heads"),
        _share_crossing("sptes = heads, none has W", idle,
                        lambda S: forms.sptes_in_order_ns(c, PAGES, S, F) + S * c.visit_ns, lambda _S: heads_form,
                        "sptes(s) + s P visit = heads"),
    )  # fmt: skip
    lines = [
        curve("heads", SHARES, lambda _s: heads / 1e3),
        curve("sptes that lose W", SHARES, lambda s: (flush("rmap", _at(s)).ns - heads) / 1e3),
        curve("sptes without W", SHARES, lambda s: (_second_flush(s) - heads) / 1e3),
    ]
    condition = f"more than {measured:.1%} of the pages are mapped and lose W; where nothing has W, from {idle:.0%} on"
    panel = Panel("share of pages mapped", "part of one flush of 4 GiB [us]", tuple(lines), log_x=True)
    return Claim(2, "the cost is O(pages) + O(sptes), and sptes dominate", "Kivity", "holds if", condition, crossings, panel)


def _second_flush(share: float) -> float:
    guest = guest_of("rmap", _at(share))
    guest.index.protect_slot(0)
    return spent(guest.index, lambda: guest.index.protect_slot(0)).ns


def sptes_scattered() -> Claim:
    """Claim 3."""
    c = costs()
    measured = meet(lambda r: between(_waiting_ns, r, 1), lambda r: between(_streaming_ns, r, 1), 2.0, 4096.0)
    F = forms.rmap_bytes(PAGES, direct=False)
    load, stream = c.load_ns(F), c.stream_ns(F)
    form = (load + stream / 8) / (stream * (1 / 8 - 1 / 512) - load / 512)
    formula = "load (1/r + 1/512) = stream (1/8 - 1/(8 r) - 1/512)"
    why = (
        "a run of an even number of pages begins at some of the 8 places of a line only, the form takes all for as "
        "likely; runs of odd lengths are as it says"
    )
    crossings = (Crossing("waiting for spte lines = streaming them", measured, form, "pages in a row", formula, why),)
    lines = [
        curve("rmap, indirect map", RUNS, lambda r: flush("rmap", _run(r)).ns / PAGES),
        curve("shadow-page walk", RUNS, lambda r: flush("shadow-walk", _run(r)).ns / PAGES),
        curve("rmap, direct map", RUNS, lambda _r: flush("rmap").ns / PAGES),
    ]
    direct, scattered = flush("rmap").ns / PAGES, flush("rmap", _run(1)).ns / PAGES
    condition = (
        f"the map is indirect and guest memory is in runs below {measured:.0f} pages: {scattered:.0f} ns a page "
        f"against {direct:.0f} ns of a direct map, whose sptes lie as the heads do"
    )
    panel = Panel(
        "pages in a row, guest-virtual and guest-physical", "one flush [ns a page]", tuple(lines), log_x=True, log_y=False
    )
    return Claim(3, "heads are linear in memory, sptes are scattered", "Kivity", "holds if", condition, crossings, panel)


def _run(run_pages: float) -> Layout:
    return Layout(run_pages=round(run_pages))


def _waiting_ns(run_pages: int) -> float:
    flushed = flush("rmap", _run(run_pages))
    return flushed.work.dependent[SPTES] * costs().load_ns(flushed.footprint_bytes)


def _streaming_ns(run_pages: int) -> float:
    flushed = flush("rmap", _run(run_pages))
    return flushed.work.streamed[SPTES] * costs().stream_ns(flushed.footprint_bytes)
