"""Claims 7 to 9: the cost of a list, chains of logged slots only, chains of writable sptes only."""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from hostsim.core.constants import NS_PER_S
from hostsim.spte_index.drive import Load, Script, drive
from hostsim.spte_index.guests import DIRECT, build_guest, shuffled
from hostsim.spte_index.protocol import Slot
from hostsim.spte_index.rmap import HEAD_BYTES
from hostsim.spte_index.spte import PRESENT, WRITABLE
from hostsim.spte_index.work import LINE_BYTES
from hostsim.study.rmap_debate import forms
from hostsim.study.rmap_debate.claim import Claim, Crossing, Curve, Panel, curve, meet
from hostsim.study.rmap_debate.runs import PAGES, between, costs, guest_of, spent

SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
SMALL_PAGES = 1 << 16
FRAME_PAGES = 4096
"""A framebuffer of 16 MiB."""
RAM_PAGES = 1 << 18
"""Beside 1 GiB of RAM that is not logged."""
FRAME_NS = NS_PER_S // 60
FRAME_WRITES = 400
"""Writes to the framebuffer in a frame."""
FRAME_DESIGNS = {
    "logged-chain": "chain while logged", "rmap": "rmap of dirty gfns", "shadow-walk": "shadow-page walk",
    "book3s-pr": "Book3S PR",
}  # fmt: skip
KEMARI_DESIGNS = {**FRAME_DESIGNS, "writable-chain": "writable chain"}
GIB_PAGES = 1 << 18
AS_TOUCHED = DIRECT.but(in_order=False)
FRAMES = (1, 2, 4, 8, 16, 32, 64)
KEMARI_NS = 20_000_000
SLOTS = (Slot(0, RAM_PAGES), Slot(RAM_PAGES, RAM_PAGES + FRAME_PAGES))
DIRTY = tuple(float(d) for d in np.geomspace(256, PAGES, 7))


def a_list_costs_memory_and_upkeep() -> Claim:
    """Claim 7."""
    measured = meet(partial(_index_bytes, "slot-list"), partial(_index_bytes, "rmap"), 0.01, 1.0)
    form = HEAD_BYTES * (1 + 1 / 512 + 1 / 512**2) / forms.NODE_BYTES
    crossings = (
        Crossing("bytes of the list = bytes of the rmap", measured, form, "of pages mapped", "s = 8.016 / 24"),
    )  # fmt: skip
    rmap_ns, list_ns = _map_ns("rmap"), _map_ns("slot-list")
    condition = (
        f"as memory beside an rmap always (24 B an spte); in place of it from {measured:.1%} of the pages mapped "
        f"on, since heads are there for every page. A mapping takes {list_ns:.0f} ns with "
        f"the list and {rmap_ns:.0f} ns with the rmap, whose head is a line of its own, while new nodes lie side "
        f"by side: {'upkeep is no argument' if list_ns <= rmap_ns else 'upkeep counts'}"
    )
    lines = (
        curve("list", SHARES, lambda s: _index_bytes("slot-list", s) / SMALL_PAGES),
        curve("rmap", SHARES, lambda s: _index_bytes("rmap", s) / SMALL_PAGES),
        curve("rmap and list", SHARES, lambda s: (_index_bytes("rmap", s) + _index_bytes("slot-list", s)) / SMALL_PAGES),
    )
    panel = Panel("share of pages mapped", "index [bytes a page of the guest]", lines, log_y=False)
    return Claim(7, "an extra list needs more memory and upkeep", "Kivity", "holds if", condition, crossings, panel)


@cache
def _index_bytes(design: str, share: float) -> float:
    guest = guest_of(design, DIRECT.but(mapped=share), SMALL_PAGES)
    return float(sum(guest.index.index_bytes().values()))


@cache
def _map_ns(design: str) -> float:
    """Time [ns] of mapping an spte, the mean of all pages touched in a drawn order."""
    guest = guest_of(design, DIRECT.but(mapped=0.0), PAGES)
    gfns = np.random.default_rng(2).permutation(PAGES)
    return spent(guest.index, lambda: guest.index.map(gfns, gfns, PRESENT | WRITABLE)).ns / PAGES


def chain_logged_slots_only() -> Claim:
    """Claim 8."""
    ram = meet(partial(_frame_of, "logged-chain"), partial(_frame_of, "shadow-walk"), 1 << 17, 1 << 20)
    ram_form = meet(_chain_frame_form, _walk_frame_form, 1 << 17, 1 << 20)
    crossings = (
        Crossing("a frame by the chain = by the walk", ram / GIB_PAGES, ram_form / GIB_PAGES, "GiB of RAM beside it",
                 "nodes + sptes = 8 tables + headers of all others"),
    )  # fmt: skip
    kemari = {design: _kemari_ms(design) for design in KEMARI_DESIGNS}
    told = ", ".join(f"{KEMARI_DESIGNS[design]} {ms:.0f}" for design, ms in kemari.items())
    second = {design: _frames_ns(design, 60) / 1e6 for design in FRAME_DESIGNS}
    beside = ", ".join(f"{label} {second[design]:.1f}" for design, label in FRAME_DESIGNS.items())
    condition = (
        f"a mapping outside logged slots costs {_penalty_ns():.1f} ns more than without the chain. A framebuffer "
        f"of 16 MiB beside 1 GiB, ms for a second of 60 frames: {beside}. So the chain beats PR's hashes at any size, "
        f"the walk of 2010 above {ram / GIB_PAGES:.1f} GiB of RAM, and a look-up of the dirty gfns never. "
        f"Under Kemari (all logged, harvested each 20 ms), ms a second: {told}"
    )
    xs = tuple(map(float, FRAMES))
    lines = tuple(Curve(label, xs, tuple(_frames_ns(d, n) / 1e6 for n in FRAMES)) for d, label in FRAME_DESIGNS.items())
    labels = "frames of a logged 16 MiB framebuffer", "time in the index, log started [ms]"
    panel = Panel(*labels, lines, log_x=True, crosses=False)
    says = "chain only slots that are logged: no penalty for normal RAM, unless Kemari or migration"
    return Claim(8, says, "Graf", "holds", condition, crossings, panel)


@cache
def _frames_ns(design: str, frames: int) -> float:
    """Time [ns] in the index for so many frames, the log's start included."""
    guest = build_guest(design, SLOTS, AS_TOUCHED)
    loads = (Load(RAM_PAGES, RAM_PAGES + FRAME_PAGES, FRAME_WRITES * 60.0),)
    return drive(guest, Script(frames * FRAME_NS, loads, {1: FRAME_NS}), costs()).total_ns


@cache
def _frame_ns(design: str, ram: int) -> float:
    """Time [ns] of one harvest of the framebuffer, half of its pages written, beside ``ram`` pages of RAM."""
    guest = build_guest(design, (Slot(0, ram), Slot(ram, ram + FRAME_PAGES)))
    guest.index.start_log(1)
    gfns = np.arange(ram, ram + FRAME_PAGES, 2)
    guest.touch(gfns, is_write=True)
    dirty = np.zeros(FRAME_PAGES, np.uint8)
    dirty[gfns - ram] = 1
    return spent(guest.index, lambda: guest.index.harvest(1, dirty)).ns


def _frame_of(design: str, ram_pages: float) -> float:
    return between(partial(_frame_ns, design), ram_pages)


def _chain_frame_form(ram_pages: float) -> float:
    c, S = costs(), FRAME_PAGES
    F = forms.rmap_bytes(ram_pages + S) + forms.NODE_BYTES * S
    return forms.nodes_in_order_ns(c, S, F) + forms.sptes_in_order_ns(c, S, S, F) + S * c.visit_ns


def _walk_frame_form(ram_pages: float) -> float:
    c, tables, others = costs(), FRAME_PAGES / 512, ram_pages / 512
    F = forms.rmap_bytes(ram_pages + FRAME_PAGES)
    table = 2 * c.load_ns(F) + 63 * c.stream_ns(F) + 513 * c.visit_ns
    return tables * table + others * (c.load_ns(F) + c.visit_ns)


def _penalty_ns() -> float:
    """Extra time [ns] of a mapping in an unlogged slot with the chain."""
    per_map = []
    for design in ("logged-chain", "rmap"):
        guest = build_guest(design, SLOTS, DIRECT.but(mapped=0.0))
        guest.index.start_log(1)
        gfns = np.random.default_rng(2).permutation(RAM_PAGES)
        per_map.append(spent(guest.index, partial(guest.index.map, gfns, gfns, PRESENT | WRITABLE)).ns / RAM_PAGES)
    return per_map[0] - per_map[1]


@cache
def _kemari_ms(design: str) -> float:
    """Time [ms] in the index in a second: 1 GiB logged, harvested each 20 ms, written 100k times a second."""
    guest = build_guest(design, SLOTS[:1], AS_TOUCHED)
    script = Script(NS_PER_S, (Load(0, RAM_PAGES, 100_000.0),), {0: KEMARI_NS})
    return drive(guest, script, costs()).total_ns / 1e6


def chain_writable_sptes_only() -> Claim:
    """Claim 9."""
    measured = meet(partial(_round_of, "writable-chain"), partial(_round_of, "shadow-walk"), 256, PAGES)
    form = meet(_chain_round_form, _walk_round_form, 256, PAGES)
    chain_ns, visited, dirty = _round_ns("writable-chain", 10_000.0)
    beside = _round_ns("rmap", 10_000.0)[0] / chain_ns
    crossings = (
        Crossing("insertions and chain = walk of shadow pages", measured, form, "dirty pages a round",
                 "D (3/2 stream + 2 allocation + 3 visit + load + act) = walk(D)",
                 "a round's faults are priced by the footprint before them, in the form by that with all its nodes"),
    )  # fmt: skip
    condition = (
        f"a round dirties fewer than {measured:.0f} pages ({measured / PAGES:.1%} of 4 GiB), against the walk. The "
        f"chain is the dirty list: for {dirty:.0f} dirty pages a harvest looks at {visited:.0f} entries (node, "
        "spte, node let go). The price is an insertion a write fault; the rmap, led by the bitmap that is there "
        f"anyway, takes {beside:.2f} of the chain's time"
    )
    names = {
        "writable-chain": "writable chain",
        "rmap": "rmap of dirty gfns",
        "shadow-walk": "shadow-page walk",
        "slot-list": "list of all sptes",
    }
    lines = tuple(curve(label, DIRTY, partial(_round_us, design)) for design, label in names.items())
    panel = Panel("pages dirtied between two harvests", "faults' upkeep and one harvest [us]", lines, log_x=True)
    return Claim(9, "chain only writable sptes", "Kivity", "holds if", condition, crossings, panel)


@cache
def _round_ns(design: str, dirty_pages: float) -> tuple[float, float, float]:
    """A steady round: time [ns] in the index of its write faults and its harvest, entries the harvest looked at, pages."""
    guest = guest_of(design)
    guest.index.start_log(0)
    total, visited, gfns = 0.0, 0, np.zeros(0, np.int64)
    for number in range(2):
        gfns = shuffled(PAGES, (3, number))[: round(dirty_pages)]
        dirty = np.zeros(PAGES, np.uint8)
        dirty[gfns] = 1
        faults = spent(guest.index, partial(guest.touch, gfns, is_write=True))
        harvest = spent(guest.index, partial(guest.index.harvest, 0, dirty))
        total, visited = faults.ns + harvest.ns, harvest.work.visited
    return total, float(visited), float(len(gfns))


def _round_of(design: str, dirty_pages: float) -> float:
    return _round_ns(design, dirty_pages)[0]


def _round_us(design: str, dirty_pages: float) -> float:
    return _round_of(design, dirty_pages) / 1e3


def _fault_form(F: float) -> float:
    """A write fault's part in the index: the spte's line, and the change."""
    return costs().load_ns(F) + forms.act_ns(costs())


def _chain_round_form(D: float) -> float:
    c, F = costs(), forms.rmap_bytes(PAGES) + forms.NODE_BYTES * D
    a_node = c.stream_ns(F) * forms.NODE_BYTES / LINE_BYTES  # the freed ones lie in a row
    linked = c.allocation_ns + c.visit_ns + 3 * a_node  # the node before it is written, too: to and fro at each line's end
    let_go = c.allocation_ns + 2 * c.visit_ns + a_node
    return D * (_fault_form(F) + linked + let_go + c.load_ns(F) + forms.act_ns(c))


def _walk_round_form(D: float) -> float:
    return D * _fault_form(forms.rmap_bytes(PAGES)) + forms.walk_flush_ns(costs(), PAGES, D)
