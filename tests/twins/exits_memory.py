"""Mappings of the twin: sets of words in dictionaries, and the dirty log as a set of pages."""

from __future__ import annotations

from tests.twins.exits_case import REGION_PAGES, Case


class TwinMappings:
    """What an access needs, and what handling a fault of some kind sets."""

    def __init__(self, case: Case) -> None:
        self.logged, self.huge = case.logged, case.huge
        self.uses_pml = case.logged and case.pml
        self.spte = {page: set(flags) for page, flags in case.spte.items()}
        self.large = {region: set(flags) for region, flags in case.large.items()}
        self.dirty: set[int] = set()

    def flags(self, page: int) -> set[str]:
        """Of the spte that maps ``page``."""
        region = page // REGION_PAGES
        return self.large[region] if region in self.large else self.spte.setdefault(page, set())

    def needs(self, page: int, is_write: bool) -> str:
        """Kind of exit, or nothing."""
        flags = self.flags(page)
        if "present" not in flags:
            return "map"
        if "tracked" in flags:
            return "track"
        if is_write and "writable" not in flags:
            return "split" if page // REGION_PAGES in self.large else "wp"
        return ""

    def hardware_logs(self, page: int) -> bool:
        """A write that faults no more: whether the D bit had to be set, and with it an entry of the PML buffer."""
        if not self.uses_pml or "dirty" in self.flags(page):
            return False
        self.flags(page).add("dirty")
        self.dirty.add(page)
        return True

    def handle(self, kind: str, page: int, is_write: bool) -> None:
        """At the end of the hold."""
        if kind == "map":
            self._map(page, is_write)
        elif kind == "track":
            self._restore(page, is_write)
        elif kind == "wp":
            self._make_writable(page)
        elif kind == "split" and self.logged:
            self._zap(page // REGION_PAGES)
            self._map(page, is_write)
        elif kind == "split":
            self.large[page // REGION_PAGES] |= {"writable", "dirty"}

    def _map(self, page: int, is_write: bool) -> None:
        flags = {"present", "writable", *(["dirty"] if is_write or self.logged else [])}
        if self.huge and not self.logged and self._empty(page // REGION_PAGES):
            self.large[page // REGION_PAGES] = flags
            return
        self.spte[page] = flags
        if self.logged:
            self.dirty.add(page)

    def _restore(self, page: int, is_write: bool) -> None:
        self.flags(page).discard("tracked")
        if not is_write:
            return
        if page // REGION_PAGES not in self.large:
            self._make_writable(page)
        elif not self.logged:
            self.large[page // REGION_PAGES] |= {"writable", "dirty"}

    def _make_writable(self, page: int) -> None:
        self.spte.setdefault(page, set()).update({"writable", "dirty"})
        if self.logged:
            self.dirty.add(page)

    def _empty(self, region: int) -> bool:
        return region not in self.large and not any(self.spte.get(page) for page in pages_of(region))

    def _zap(self, region: int) -> None:
        self.large.pop(region, None)
        for page in pages_of(region):
            self.spte.pop(page, None)


def pages_of(region: int) -> range:
    return range(region * REGION_PAGES, (region + 1) * REGION_PAGES)
