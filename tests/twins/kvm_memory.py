"""Mappings, contents and dirty log of the twin: sets of words in dictionaries, pages in sets, rings in lists."""

from __future__ import annotations

from collections import Counter
from itertools import chain, groupby, takewhile

from tests.twins.kvm_case import REGION_PAGES, Case

GROUP = 8
"""Sptes of which a fault may set all."""


class TwinMemory:
    """The needs of an access, the flags that a fault sets, and the operations of the host on both."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.n_pages = case.n_pages
        self.mechanism, self.flag = case.rules.mechanism, "writable" if case.rules.mechanism == "write-protect" else "dirty"
        self.logged = False
        self.spte = {page: set(flags) for page, flags in case.spte.items()}
        self.large = {region: set(flags) for region, flags in case.large.items()}
        self.giant = {block: set(flags) for block, flags in case.giant.items()}
        self.blank = set(case.blank)
        self.dirty: set[int] = set()
        self.version: Counter[int] = Counter()
        self.rings: list[list[int]] = [[] for _ in range(case.n_vcpus)]
        self.seq, self.in_progress, self.emptied = 0, range(0), 0
        self.made_writable: set[int] = set()
        """Page tables among these are unsync; a sync takes them out."""
        self.host_pages = set(case.host_pages)
        """Numbers of host pages that are there; a host page is a region where host memory is huge."""

    # What an access needs

    def flags(self, page: int) -> set[str]:
        """Of the spte that maps ``page``."""
        region = page // REGION_PAGES
        if self._block(region) in self.giant:
            return self.giant[self._block(region)]
        return self.large[region] if region in self.large else self.spte.setdefault(page, set())

    def _block(self, region: int) -> int:
        return region // self.case.block_regions

    def _regions(self, block: int) -> range:
        return range(block * self.case.block_regions, (block + 1) * self.case.block_regions)

    def is_large(self, page: int) -> bool:
        """Whether one spte maps more than ``page``."""
        region = page // REGION_PAGES
        return region in self.large or self._block(region) in self.giant

    def needs(self, page: int, is_write: bool) -> str:
        """Kind of fault, log, fill, or nothing."""
        flags = self.flags(page)
        if "present" not in flags:
            return "map"
        if "tracked" in flags:
            return "track"
        passes = "young" if "old" in flags else ""
        if not is_write:
            return passes
        if "writable" not in flags:
            return "split" if self.is_large(page) else "wp"
        if self.logged and self.mechanism != "write-protect" and "dirty" not in flags:
            return "log"
        return "fill" if page in self.blank else passes

    def host_page(self, page: int) -> int:
        """Number of the host page of ``page``."""
        return page // self.case.host_page_size

    def pages_there(self) -> list[int]:
        """Pages that the host has, if that is modelled."""
        if not self.case.costs.populate_ns:
            return []
        return [page for page in range(self.n_pages) if self.host_page(page) in self.host_pages]

    def invalidated(self, page: int, seq: int) -> bool:
        """Whether the host page that was looked up at ``seq`` for ``page`` may be stale."""
        return self.seq != seq or page in self.in_progress

    # What a fault sets

    def handle(self, vcpu: int, kind: str, page: int, is_write: bool) -> None:
        """At the end of the hold."""
        self._change(vcpu, kind, page, is_write)
        if "writable" in self.flags(page):
            self.made_writable.add(page)

    def _change(self, vcpu: int, kind: str, page: int, is_write: bool) -> None:
        region = page // REGION_PAGES
        if kind == "map":
            self._map(vcpu, page, is_write)
        elif kind == "track":
            self._restore(vcpu, page, is_write)
        elif kind == "wp":
            self._make_writable(vcpu, page)
        elif not self.logged:
            self.flags(page).update({"writable", "dirty"})
            self.flags(page).difference_update({"old", "stale"})
        elif self.case.whole_table:
            self.halve(self._block(region))
            self.split(region)
            self._make_writable(vcpu, page)
        else:
            self.zap(range(page, page + 1))
            self._map(vcpu, page, is_write)

    def _map(self, vcpu: int, page: int, is_write: bool) -> None:
        region = page // REGION_PAGES
        flags = {"present", "writable", *(["dirty"] if is_write or self.logged else [])}
        if self.case.huge and not self.logged and self._empty(region):
            whole = self._regions(self._block(region))
            if self.case.block_regions > 1 and whole.stop <= self.case.n_regions and all(map(self._empty, whole)):
                self.giant[self._block(region)] = flags
            else:
                self.large[region] = flags
            return
        if self.full():
            self.zap(range(self.n_pages))
            self.emptied += 1
        self.spte[page] = flags
        if self.logged:
            self.mark(vcpu, page)

    def beside(self, kind: str, page: int) -> list[int]:
        """Pages that a fault on ``page`` maps as well: of the eight around it, those without mapping whose page is there."""
        is_made_large = self.is_large(page) or (kind == "map" and self.case.huge and self._empty(page // REGION_PAGES))
        is_off = self.case.prefetch == "none" or self.logged or len(self.in_progress) > 0
        if is_off or kind not in {"map", "wp"} or is_made_large:
            return []
        group = range(page - page % GROUP, page - page % GROUP + GROUP)
        runs = [list(run) for goes, run in groupby(group, lambda one: one != page and not self._is_mapped(one)) if goes]
        if self.case.prefetch == "in-order":
            runs = [[*chain(*runs)]]
        elif self.case.prefetch == "ended-runs" and runs and runs[-1][-1] == group[-1]:
            runs.pop()
        there = [list(takewhile(self._is_there, run)) for run in runs]
        return [*chain(*takewhile(bool, there))]

    def _is_mapped(self, page: int) -> bool:
        return "present" in self.flags(page)

    def _is_there(self, page: int) -> bool:
        return not self.case.costs.populate_ns or self.host_page(page) in self.host_pages

    def prefetch(self, pages: list[int]) -> None:
        """They are mapped, unless they are already, or a log has begun."""
        for page in pages:
            if not self.logged and not self._is_mapped(page):
                self.spte[page] = {"present", "writable", "dirty", "old"}
                self.made_writable.add(page)

    def full(self) -> bool:
        """Whether one more spte has to make room first."""
        return bool(self.case.cap_pages) and sum("present" in flags for flags in self.spte.values()) >= self.case.cap_pages

    def is_small(self, page: int) -> bool:
        """Whether a 4 KiB spte maps it."""
        return not self.is_large(page) and "present" in self.spte.get(page, set())

    def _empty(self, region: int) -> bool:
        return not self.is_large(region * REGION_PAGES) and not any(self.spte.get(page) for page in pages_of(region))

    def _restore(self, vcpu: int, page: int, is_write: bool) -> None:
        self.flags(page).difference_update({"tracked", "old", "stale"})
        if not is_write:
            return
        if not self.is_large(page):
            self._make_writable(vcpu, page)
        elif not self.logged:
            self.flags(page).update({"writable", "dirty"})

    def _make_writable(self, vcpu: int, page: int) -> None:
        self.spte.setdefault(page, set()).update({"writable", "dirty"})
        self.spte[page].difference_update({"old", "stale"})
        if self.logged:
            self.mark(vcpu, page)

    def mark(self, vcpu: int, page: int) -> None:
        """Into the dirty log, and the ring of the vCPU that found it."""
        if page in self.dirty:
            return
        self.dirty.add(page)
        if self.case.rules.ring_entries:
            self.rings[vcpu].append(page)
            assert len(self.rings[vcpu]) <= self.case.rules.ring_entries, "the drawn ring is too small"

    def soft_full(self, vcpu: int) -> bool:
        return bool(self.case.rules.ring_entries) and len(self.rings[vcpu]) >= self.case.rules.ring_soft

    # What the host does

    def halve(self, block: int) -> None:
        """If one spte maps the block, large ones with its flags do from now on."""
        if block in self.giant:
            flags = self.giant.pop(block)
            self.large.update({region: set(flags) for region in self._regions(block)})

    def split(self, region: int) -> None:
        """512 sptes with the flags of the large one."""
        flags = self.large.pop(region)
        self.spte.update({page: set(flags) for page in pages_of(region)})

    def zap(self, pages: range) -> None:
        """No page of ``pages`` is mapped, nor a page that shares a large spte with one of them."""
        for region in range(pages.start // REGION_PAGES, -(-pages.stop // REGION_PAGES)):
            self.large.pop(region, None)
            self.giant.pop(self._block(region), None)
        for page in pages:
            if self.logged and self.mechanism == "d-bit" and "dirty" in self.spte.get(page, set()):
                self.dirty.add(page)
            self.spte.pop(page, None)

    def young(self, pages: range) -> list[int]:
        """Those that were accessed since they were made old."""
        return [page for page in pages if "present" in self.flags(page) and not self.flags(page) & {"old", "tracked"}]

    def age(self, pages: list[int], *, flushed: bool) -> None:
        """They are made old, with all that shares a large spte with them; stale if a TLB may have their translation."""
        stale = {"stale"} if self.case.tlb is not None and not flushed else set()
        for page in pages:
            if self.case.ageing.old == "a-bit":
                self.flags(page).update({"old"} | stale)
            elif self.case.ageing.old == "access-tracking":
                self.flags(page).add("tracked")
                self.flags(page).discard("writable")
            else:
                self.zap(range(page, page + 1))

    def flush_translations(self) -> None:
        """No TLB has any."""
        for flags in (*self.spte.values(), *self.large.values(), *self.giant.values()):
            flags.discard("stale")

    def mapped(self, pages: range) -> bool:
        return any("present" in self.flags(page) for page in pages)

    def open_large(self, pages: range) -> int:
        """Large sptes of ``pages``; if they are to be split, tables that takes."""
        regions = range(pages.start // REGION_PAGES, -(-pages.stop // REGION_PAGES))
        blocks = {self._block(region) for region in regions} & set(self.giant)
        split = [region for region in regions if self._block(region) in blocks] if self.case.rules.eager else []
        return len(blocks) + len(split) + sum(region in self.large for region in regions)

    def open_small(self) -> int:
        return sum(self.flag in flags for flags in self.spte.values())

    def start_log(self, all_set: bool) -> None:
        self.logged = True
        self.dirty = set(range(self.n_pages)) if all_set else set()
        if not all_set:
            self.close_large(range(self.n_pages))
            for flags in self.spte.values():
                flags.discard(self.flag)

    def close_large(self, pages: range) -> None:
        """Split them, or take W from them."""
        for region in range(pages.start // REGION_PAGES, -(-pages.stop // REGION_PAGES)):
            if not self.case.rules.eager:
                if self.is_large(region * REGION_PAGES):
                    self.flags(region * REGION_PAGES).discard("writable")
                continue
            self.halve(self._block(region))
            if region in self.large:
                self.split(region)

    def recoverable(self) -> tuple[list[int], list[int]]:
        """Regions of huge host memory that are mapped in small sptes; blocks of larger pages that have large ones."""
        if not self.case.huge or self.case.rules.recovery == "none":
            return [], []
        mapped = {page // REGION_PAGES for page, flags in self.spte.items() if flags}
        return sorted(mapped - set(self.large)), self._whole({self._block(region) for region in self.large})

    def turns(self) -> list[int]:
        """Sptes that are zapped: small ones region by region, then large ones block by block."""
        small, halved = self.recoverable()
        mapped = [sum(bool(self.spte.get(page)) for page in pages_of(region)) for region in small]
        return [*mapped, *(sum(region in self.large for region in self._regions(block)) for block in halved)]

    def _whole(self, blocks: set[int]) -> list[int]:
        """Those that one spte may map."""
        whole = [block for block in sorted(blocks) if self._regions(block).stop <= self.case.n_regions]
        return whole if self.case.block_regions > 1 else []

    def stop_log(self) -> None:
        regions, halved = self.recoverable()
        full = {"present", "writable", "dirty"}
        for region in regions:
            self.zap(pages_of(region))
            if self.case.rules.recovery == "in-place":
                self.large[region] = set(full)
        both = {*halved, *(self._block(region) for region in regions)}
        for block in self._whole(both):
            if block in halved or self.case.rules.recovery == "in-place":
                for region in self._regions(block):
                    self.zap(pages_of(region))
                if self.case.rules.recovery == "in-place":
                    self.giant[block] = set(full)
        self.logged = False
        self.dirty = set()
        for ring in self.rings:
            ring.clear()

    def written(self) -> set[int]:
        """Pages with a record: in the log, or where D bits are the log with that bit in a small spte."""
        if self.mechanism != "d-bit":
            return set(self.dirty)
        return self.dirty | {page for page, flags in self.spte.items() if "dirty" in flags}

    def clear(self, pages: set[int]) -> None:
        """Their records go, and the flags that would let a write pass without a new record."""
        self.dirty -= pages
        for page in pages:
            self.spte.get(page, set()).discard(self.flag)
            self.version[page] += 1


def pages_of(region: int) -> range:
    return range(region * REGION_PAGES, (region + 1) * REGION_PAGES)
