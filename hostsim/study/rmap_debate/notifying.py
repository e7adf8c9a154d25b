"""Claims 10 to 12: may unmapping be slow, must ageing be fast, and what has the referenced bit to do with it."""

from __future__ import annotations

from functools import cache

import numpy as np

from hostsim.host.spte_index.guests import DIRECT, Layout
from hostsim.study.rmap_debate import forms
from hostsim.study.rmap_debate.claim import Claim, Crossing, Curve, Panel, bisect, curve
from hostsim.study.rmap_debate.runs import PAGES, age_one, costs, fault_ns, guest_of, spent, unmap_one

GIB_PAGES = 1 << 18
DISK_NS, FLASH_NS, ZRAM_NS = 8e6, 90e3, 10e3
"""Reading a page back: a disk of 2010 (assumed), NVMe 80-100 us (assumed), zram 5-15 us (assumed)."""
SIZES = tuple(float(1 << i) for i in range(12, 22, 2))
SCAN_NS = 120e9
"""A page untouched for 120 s is cold (Google's far memory); one pass in that time is one core busy with nothing else."""
CHURNED = DIRECT.but(churned=True)
LISTED = {"slot-list": "list", "table-scan": "scan of all tables", "rmap": "rmap", "book3s-pr": "Book3S PR"}
SCANNED_PAGES = 1 << 16
REFERENCED = tuple(float(x) for x in np.geomspace(0.01, 1.0, 7))


def swapping_is_slow_anyway() -> Claim:
    """Claim 10."""
    flash = bisect(lambda n: unmap_one("slot-list", CHURNED, round(n)) - FLASH_NS, 512, 1 << 20)
    disk = bisect(lambda n: unmap_one("slot-list", CHURNED, round(n)) - DISK_NS, 1 << 14, 1 << 20)
    scan = bisect(lambda n: unmap_one("table-scan", DIRECT, round(n)) - FLASH_NS, 512, 1 << 20)
    crossings = (
        _size_crossing("one page's unmapping by the list = NVMe read", flash, FLASH_NS, _list_scan_form),
        _size_crossing("one page's unmapping by the list = disk read", disk, DISK_NS, _list_scan_form),
        _size_crossing("one page's unmapping by a scan of all tables = NVMe read", scan, FLASH_NS, _table_scan_form),
    )
    zram = unmap_one("rmap", DIRECT, PAGES)
    condition = (
        f"sptes looked at x their cost stay below the device: {disk / GIB_PAGES:.2f} GiB of guest for a disk of 2010, "
        f"{flash / GIB_PAGES * 1024:.0f} MiB for NVMe. Since mmu_lock is held meanwhile, every vCPU that faults waits as long. "
        f"The rmap takes {zram:.0f} ns at any size"
    )
    lines = (
        *(curve(label, SIZES, lambda n, d=d: unmap_one(d, CHURNED, round(n)) / 1e3) for d, label in LISTED.items()),
        *(Curve(name, (SIZES[0], SIZES[-1]), (ns / 1e3, ns / 1e3)) for name, ns in
          (("disk of 2010", DISK_NS), ("NVMe", FLASH_NS), ("zram", ZRAM_NS))),
    )  # fmt: skip
    panel = Panel("guest pages, all mapped", "unmapping one page [us]", lines, log_x=True)
    return Claim(10, "swapping is slow either way, so a slow notifier path may do", "Graf", "holds if", condition, crossings, panel)


def _size_crossing(what: str, pages: float, device_ns: float, form_of: object) -> Crossing:
    assert callable(form_of)
    computed = bisect(lambda n: form_of(n) - device_ns, 512, 1 << 23, 40)
    return Crossing(what, pages, computed, "pages", "S cost an entry = latency of the device")


def _list_scan_form(S: float) -> float:
    """One page looked for in a list whose nodes are scattered: of each node the spte's table is asked for its gfn."""
    c, F = costs(), forms.list_bytes(S, S)
    return S * (c.load_ns(F) + c.visit_ns + c.load_ns(F))


def _table_scan_form(S: float) -> float:
    c, F = costs(), forms.tables_bytes(S)
    return S / 512 * (2 * c.load_ns(F) + 63 * c.stream_ns(F) + 513 * c.visit_ns)


def ageing_must_be_fast() -> Claim:
    """Claim 11."""
    measured = bisect(lambda n: n * age_one("slot-list", CHURNED, round(n)) - SCAN_NS, 512, 1 << 19)
    computed = bisect(lambda n: n * _list_scan_form(n) - SCAN_NS, 512, 1 << 23, 40)
    crossings = (
        Crossing("ageing page by page through the list = 120 s", measured, computed, "pages", "S^2 cost an entry = 120 s"),
    )  # fmt: skip
    whole = {design: _pass_ns(design) / 1e6 for design in ("rmap", "slot-list", "book3s-hv", "tdp", "table-scan")}
    told = ", ".join(f"{design} {ms:.0f}" for design, ms in whole.items())
    condition = (
        f"page by page (two-list LRU) a list keeps a core busy from {measured / GIB_PAGES:.2f} GiB on, where the rmap takes "
        f"{PAGES * age_one('rmap', DIRECT, PAGES) / 1e9:.2f} s for 4 GiB. One call for all memory makes it a matter of a factor, ms: {told}. "
        "Book3S PR takes no time and finds every page old"
    )
    lines = tuple(curve(label, SIZES, lambda n, d=d: n * age_one(d, CHURNED, round(n)) / 1e9) for d, label in LISTED.items() if d != "book3s-pr")
    panel = Panel("guest pages, all mapped", "one pass, page by page [s]", lines, log_x=True)
    return Claim(11, "page ageing needs to be fast", "Kivity", "holds", condition, crossings, panel)


@cache
def _pass_ns(design: str, layout: Layout = DIRECT) -> float:
    """One ageing of all memory in a single call."""
    guest = guest_of(design, layout)
    young = np.zeros(guest.n_pages, np.uint8)
    return spent(guest.index, lambda: guest.index.clear_young(0, guest.n_pages, young)).ns


def referenced_bit_needs_a_fast_rmap() -> Claim:
    """Claim 12."""
    fast, slow = "rmap", "slot-list"
    measured = bisect(lambda w: scan(fast, w, bit=False)[1] - scan(fast, w, bit=False)[0], 0.0005, 1.0)
    computed = bisect(_fault_less_pass_form, 0.0005, 1.0, 40)
    crossings = (
        Crossing("faults without the bit = the pass itself, rmap", measured, computed, "of memory used between scans",
                 "w (fault + upkeep) = lock + head + spte + visits + w (change + atomic)"),
    )  # fmt: skip
    cells = {(bit, design): scan(design, 0.3, bit=bit) for bit in (True, False) for design in (fast, slow)}
    told = "; ".join(
        f"{'bit' if bit else 'no bit'}, {design}: pass {index / 1e6:.0f} ms, guest {guest / 1e6:.0f} ms ({faults} faults)"
        for (bit, design), (index, guest, faults) in cells.items()
    )
    with_bit = cells[True, slow][0] / cells[True, fast][0]
    without = sum(cells[False, slow][:2]) / sum(cells[False, fast][:2])
    condition = (
        f"as sufficient, not as necessary. 256 MiB aged page by page, 30 % used between scans: {told}. With the bit no guest "
        f"faults, so the pass is the index: the slow one costs {with_bit:.0f} times the fast. Without it the guest's faults "
        f"come on top, as many as pages it used, and the same look-ups are made: still {without:.0f} times"
    )
    lines = tuple(
        curve(f"{'bit' if bit else 'no bit'}, {design}", REFERENCED, lambda w, b=bit, d=design: sum(scan(d, w, bit=b)[:2]) / 1e6)
        for design in (fast, slow)
        for bit in (True, False)
    )
    panel = Panel("share of memory used between scans", "one scan of 256 MiB, pass and faults [ms]", lines, log_x=True)
    says = "with a hardware referenced bit you need a fast rmap for the notifiers"
    return Claim(12, says, "Kivity", "holds", condition, crossings, panel)


@cache
def scan(design: str, used: float, *, bit: bool) -> tuple[float, float, int]:
    """A scan page by page: (time [ns] in the index, time [ns] of the guest's faults until the next, how many).

    used: share of pages accessed between scans, drawn. Without the bit an aged spte has no access: the next one faults
    (access tracking), and gets it back lockless or not at the price of a fault.
    """
    guest = guest_of(design, CHURNED, SCANNED_PAGES)
    young = np.zeros(guest.n_pages, np.uint8)
    guest.index.clear_young(0, guest.n_pages, young)
    touched = np.random.default_rng(11).random(guest.n_pages) < used
    faults = 0 if bit else int(touched.sum())
    guest.touch(np.flatnonzero(touched), is_write=False)
    young[:] = 0
    found = _age_pages(guest.index, touched)
    return found, faults * fault_ns(), faults


def _age_pages(index: object, touched: np.ndarray) -> float:
    """Time [ns] of a call a page: a mean of drawn young and old pages, times how many there are of each."""
    rng, total = np.random.default_rng(12), 0.0
    for is_young in (False, True):
        gfns = np.flatnonzero(touched == is_young)
        sample = rng.permutation(gfns)[:16]
        if len(sample):
            total += len(gfns) * float(np.mean([_age_call(index, int(g)) for g in sample]))
    return total


def _age_call(index: object, gfn: int) -> float:
    from hostsim.host.spte_index.base import BaseIndex

    assert isinstance(index, BaseIndex)
    return spent(index, lambda: index.clear_young(gfn, gfn + 1, np.zeros(1, np.uint8))).ns


def _fault_less_pass_form(used: float) -> float:
    c, F = costs(), forms.rmap_bytes(SCANNED_PAGES)
    lookup = c.lock_pair_ns + 4 * c.load_ns(F) + 4 * c.visit_ns  # a head of each level, far apart, and the spte
    return used * fault_ns() - lookup - used * (c.change_ns + c.atomic_ns)
