"""Claims 10 to 12: may unmapping be slow, must ageing be fast, and does that depend on the referenced bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.spte_index.guests import DIRECT, IndexedGuest, Layout
from hostsim.study.rmap_debate import forms
from hostsim.study.rmap_debate.claim import Claim, Crossing, Curve, Panel, curve, meet
from hostsim.study.rmap_debate.runs import PAGES, age_one, between, costs, fault_ns, guest_of, spent, unmap_one

GIB_PAGES = 1 << 18
DISK_NS, FLASH_NS, ZRAM_NS = 8e6, 90e3, 10e3
"""Reading a page back: a disk of 2010 (assumed), NVMe 80-100 us (assumed), zram 5-15 us (assumed)."""
SIZES = tuple(float(1 << i) for i in range(12, 22, 2))
SCAN_NS = 120e9
"""A page untouched for 120 s is cold (Google's far memory); one pass in that time is one core busy with nothing else."""
CHURNED = DIRECT.but(churned=True)
LISTED = {"slot-list": "list", "table-scan": "scan of all tables", "rmap": "rmap", "book3s-pr": "Book3S PR"}
SCANNED_PAGES = 1 << 16
SAMPLES = 16
FAST, SLOW, USED = "rmap", "slot-list", 0.3
How = Literal["bit", "tracked", "zapped"]
HOWS: dict[How, str] = {"bit": "bit", "tracked": "tracked", "zapped": "unmapped"}
REFERENCED = tuple(float(x) for x in np.geomspace(0.01, 1.0, 7))


def swapping_is_slow_anyway() -> Claim:
    """Claim 10."""
    flash = meet(partial(_unmap_ns, "slot-list", CHURNED), FLASH_NS, 1 << 12, 1 << 16)
    disk = meet(partial(_unmap_ns, "slot-list", CHURNED), DISK_NS, 1 << 16, 1 << 20)
    scan = meet(partial(_unmap_ns, "table-scan", DIRECT), FLASH_NS, 1 << 12, 1 << 18)
    crossings = (
        _size_crossing("one page's unmapping by the list = NVMe read", flash, FLASH_NS, _list_scan_form,
                       f"so few pages have {flash / 512:.0f} tables: one node in so many is of the table looked at last"),
        _size_crossing("one page's unmapping by the list = disk read", disk, DISK_NS, _list_scan_form),
        _size_crossing("one page's unmapping by a scan of all tables = NVMe read", scan, FLASH_NS, _table_scan_form),
    )
    condition = (
        f"sptes looked at x their cost stay below the device: up to {disk / GIB_PAGES:.2f} GiB of guest for a disk "
        f"of 2010, {flash / GIB_PAGES * 1024:.0f} MiB for NVMe. mmu_lock is held meanwhile, so every vCPU that "
        f"faults waits as long. The rmap takes {unmap_one('rmap', DIRECT, PAGES):.0f} ns for 4 GiB"
    )
    lines = (
        *(curve(label, SIZES, partial(_unmap_us, d)) for d, label in LISTED.items()),
        *(Curve(name, (SIZES[0], SIZES[-1]), (ns / 1e3, ns / 1e3), level=True) for name, ns in
          (("disk of 2010", DISK_NS), ("NVMe", FLASH_NS), ("zram", ZRAM_NS))),
    )  # fmt: skip
    panel = Panel("guest pages, all mapped", "unmapping one page [us]", lines, log_x=True)
    return Claim(
        10, "swapping is slow either way, so a slow notifier path may do", "Graf", "holds if", condition, crossings, panel
    )


def _unmap_ns(design: str, layout: Layout, n_pages: float) -> float:
    return between(partial(unmap_one, design, layout), n_pages)


def _unmap_us(design: str, n_pages: float) -> float:
    return _unmap_ns(design, CHURNED, n_pages) / 1e3


def _pass_s(design: str, n_pages: float) -> float:
    return _pass_by_page_ns(design, n_pages) / 1e9


def _pass_by_page_ns(design: str, n_pages: float) -> float:
    return n_pages * between(partial(age_one, design, CHURNED), n_pages)


def _scan_ms(how: How, design: str, used: float) -> float:
    return scan(design, used, how).total_ns / 1e6


def _size_crossing(
    what: str, pages: float, device_ns: float, form_of: Callable[[float], float], why: str = ""
) -> Crossing:
    computed = meet(form_of, device_ns, 512, 1 << 23)
    return Crossing(what, pages, computed, "pages", "S cost an entry = latency of the device", why)


def _list_scan_form(S: float) -> float:
    """Time [ns] to search a list of S scattered nodes for a page: each node's gfn is read from its spte's table."""
    c, F = costs(), forms.list_bytes(S, S)
    return S * (c.load_ns(F) + c.visit_ns + c.load_ns(F))


def _table_scan_form(S: float) -> float:
    c, F = costs(), forms.tables_bytes(S)
    return S / 512 * (2 * c.load_ns(F) + 63 * c.stream_ns(F) + 513 * c.visit_ns)


def ageing_must_be_fast() -> Claim:
    """Claim 11."""
    measured = meet(partial(_pass_by_page_ns, "slot-list"), SCAN_NS, 1 << 12, 1 << 18)
    computed = meet(lambda n: n * _list_scan_form(n), SCAN_NS, 512, 1 << 23)
    crossings = (
        Crossing("ageing page by page through the list = 120 s", measured, computed, "pages", "S^2 cost an entry = 120 s"),
    )  # fmt: skip
    whole = {design: _pass_ns(design) / 1e6 for design in ("rmap", "slot-list", "book3s-hv", "tdp", "table-scan")}
    told = ", ".join(f"{design} {ms:.0f}" for design, ms in whole.items())
    by_page_s = PAGES * age_one("rmap", DIRECT, PAGES) / 1e9
    condition = (
        f"page by page, as the two-list LRU asks, the list keeps a core busy from {measured / GIB_PAGES:.2f} GiB "
        f"on; the rmap takes {by_page_s:.2f} s for 4 GiB. Asked for all memory in one call they differ by a "
        f"factor, ms for 4 GiB: {told}. Book3S PR takes no time, and finds every page old"
    )
    lines = tuple(curve(label, SIZES, partial(_pass_s, d)) for d, label in LISTED.items() if d != "book3s-pr")
    panel = Panel("guest pages, all mapped", "one pass, page by page [s]", lines, log_x=True)
    return Claim(11, "page ageing needs to be fast", "Kivity", "holds", condition, crossings, panel)


@cache
def _pass_ns(design: str, layout: Layout = DIRECT) -> float:
    """Time [ns] of one ageing of all memory in a single call."""
    guest = guest_of(design, layout)
    young = np.zeros(guest.n_pages, np.uint8)
    return spent(guest.index, lambda: guest.index.clear_young(0, guest.n_pages, young)).ns


def referenced_bit_needs_a_fast_rmap() -> Claim:
    """Claim 12."""
    tracked = partial(scan, FAST, how="tracked")
    measured = meet(lambda w: tracked(w).guest_ns, lambda w: tracked(w).index_ns, 0.0005, 1.0)
    computed = meet(lambda w: w * fault_ns(), _pass_form, 0.0005, 1.0)
    crossings = (
        Crossing("faults without the bit = the pass itself, rmap", measured, computed, "of memory used between scans",
                 "w fault = lock + 4 load + 4 visit + w (change + atomic)"),
    )  # fmt: skip
    cells = {(how, design): scan(design, USED, how) for how in ("bit", "zapped") for design in (FAST, SLOW)}
    told = "; ".join(
        f"{'bit' if how == 'bit' else 'none'}, {LISTED[design]}: {cell.index_ns / 1e6:.0f} + {cell.guest_ns / 1e6:.0f} ms"
        for (how, design), cell in cells.items()
    )
    with_bit = cells["bit", SLOW].index_ns / cells["bit", FAST].index_ns
    without = cells["zapped", SLOW].total_ns / cells["zapped", FAST].total_ns
    condition = (
        f"as a sufficient condition, not a necessary one. 256 MiB aged page by page, {USED:.0%} used between "
        f"scans, index + guest's faults: {told}. With the bit no guest faults, so the pass is the index; the list "
        f"takes {with_bit:.0f} times as long as the rmap. Without it (2010: aged pages are unmapped) the "
        f"{cells['zapped', FAST].faults} pages used fault, and the same look-ups are made: still {without:.0f} "
        "times"
    )
    lines = tuple(
        curve(f"{label}, {LISTED[design]}", REFERENCED, partial(_scan_ms, how, design))
        for design in (FAST, SLOW)
        for how, label in HOWS.items()
        if (design, how) != (SLOW, "tracked")  # as with the bit: the faults are lost beside such a pass
    )
    panel = Panel("share of memory used between scans", "one scan of 256 MiB, pass and faults [ms]", lines, log_x=True)
    says = "with a hardware referenced bit you need a fast rmap for the notifiers"
    return Claim(12, says, "Kivity", "holds", condition, crossings, panel)


@dataclass(frozen=True)
class Scan:
    """Time in the index, time of the guest's faults until the next scan, and how many."""

    index_ns: float
    guest_ns: float
    faults: int
    young: int

    @property
    def total_ns(self) -> float:
        """Time in the index plus time of the guest."""
        return self.index_ns + self.guest_ns


@cache
def scan(design: str, used: float, how: How) -> Scan:
    """A scan, a call a page, of a guest that uses the share ``used`` of its pages between scans, drawn.

    how: "bit": the hardware sets A. "tracked": an aged spte has no access, the next one faults (access tracking). "zapped":
    it is gone, the next access is a map fault (x86 without A bits, 2010).
    """
    guest = guest_of(design, CHURNED, SCANNED_PAGES)
    touched = np.random.default_rng(11).random(guest.n_pages) < used
    upkeep = _make_old(guest, np.flatnonzero(touched), how)
    faults = 0 if how == "bit" else int(touched.sum())
    index_ns, young = _age_pages(guest, touched, how)
    return Scan(index_ns + upkeep, faults * fault_ns(), faults, young)


def _make_old(guest: IndexedGuest, gfns: NDArray[np.int64], how: How) -> float:
    """Age all pages, then access ``gfns``. Returns the time [ns] in the index to map zapped pages again."""
    if how == "zapped":
        guest.index.zap_all()
        return spent(guest.index, lambda: guest.touch(np.random.default_rng(13).permutation(gfns), is_write=False)).ns
    guest.index.clear_young(0, guest.n_pages, np.zeros(guest.n_pages, np.uint8))
    guest.touch(gfns, is_write=False)
    return 0.0


def _age_pages(guest: IndexedGuest, touched: NDArray[np.bool_], how: How) -> tuple[float, int]:
    """A call a page: a mean of drawn young and old pages, times how many there are; and how many the samples say are young.

    Where ageing unmaps, the samples are taken when half of the pages have gone: that is their mean.
    """
    rng, total, young = np.random.default_rng(12), 0.0, 0.0
    if how == "zapped":
        present = np.flatnonzero(touched)
        guest.index.drop(guest.spte_of[rng.permutation(present)[: len(present) // 2]])
    there = guest.index.tables.flags[guest.spte_of] != 0
    for of_young in (False, True):
        pages = np.flatnonzero(touched == of_young)
        sample = rng.permutation(np.flatnonzero((touched == of_young) & (there | (not of_young))))[:SAMPLES]
        calls = [_age_call(guest, int(gfn), how) for gfn in sample]
        total += len(pages) * float(np.mean([ns for ns, _ in calls])) if calls else 0.0
        young += len(pages) * float(np.mean([found for _, found in calls])) if calls else 0.0
    return total, round(young)


def _age_call(guest: IndexedGuest, gfn: int, how: How) -> tuple[float, int]:
    found: list[int] = []
    if how == "zapped":
        return spent(guest.index, lambda: found.append(guest.index.unmap(gfn, gfn + 1))).ns, found[0]
    return spent(guest.index, lambda: found.append(guest.index.clear_young(gfn, gfn + 1, np.zeros(1, np.uint8)))).ns, found[
        0
    ]


def _pass_form(used: float) -> float:
    c, F = costs(), forms.rmap_bytes(SCANNED_PAGES)
    lookup = c.lock_pair_ns + 4 * c.load_ns(F) + 4 * c.visit_ns  # a head of each level, far apart, and the spte
    return lookup + used * (c.change_ns + c.atomic_ns)
