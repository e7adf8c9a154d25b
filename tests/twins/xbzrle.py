"""XBZRLE's cache as a dict of copies, each a count of writes: equal counts are equal contents."""

from __future__ import annotations

from typing import Any

from hostsim.machine.spec import MachineSpec

WHOLE = -1
CHANGED_BYTES = 4000
"""A write of the machines that are compared changes so many bytes: they begin in the first 97 bytes of the page, so uleb128
takes one byte for the gap before them, and every delta has 1 + 2 + 4000 bytes."""


class TwinXbzrle:
    def __init__(self, spec: MachineSpec) -> None:
        self.sheet, self.size = spec.sheet, spec.migration.xbzrle_cache_size
        self.copies: dict[int, tuple[int, int]] = {}
        self.ages: dict[int, int] = {}
        self.started = False
        self.age = 0
        self.pages = self.bytes = self.misses = self.deltas = 0
        self.miss_rate = self.encoding_rate = 0.0
        self.at_period = (0, 0, 0, 0)

    def send(self, gfn: int, content: int, is_zero: bool, last_stage: bool) -> tuple[int, int]:
        """(bytes of the delta, 0: equal, or WHOLE; CPU time [ns])."""
        slot = gfn % (self.size // 4096)
        if is_zero:
            self._insert(slot, gfn, content)
            return WHOLE, 0
        if slot not in self.copies or self.copies[slot][0] != gfn:
            self.misses += 1
            is_kept = not last_stage and self._insert(slot, gfn, content)
            return WHOLE, self.sheet.xbzrle_insert_ns if is_kept else 0
        self.pages += 1
        self.ages[slot] = self.age
        if self.copies[slot][1] == content:
            return 0, self.sheet.xbzrle_encode_ns
        if not last_stage:
            self.copies[slot] = gfn, content
        self.deltas += 1
        self.bytes += 3 + 3 + CHANGED_BYTES
        return 3 + CHANGED_BYTES, self.sheet.xbzrle_encode_ns + self.sheet.xbzrle_run_ns

    def _insert(self, slot: int, gfn: int, content: int) -> bool:
        if slot in self.copies and self.copies[slot][0] != gfn and self.ages[slot] + 2 > self.age:
            return False
        self.copies[slot], self.ages[slot] = (gfn, content), self.age
        return True

    def end_period(self, whole_pages: int) -> None:
        """Rates of the period since the last one, unless nothing was sent in it."""
        now = (whole_pages + self.deltas, self.misses, self.pages, self.bytes)
        pages, misses, hits, n_bytes = (a - b for a, b in zip(now, self.at_period, strict=True))
        self.at_period = (now[0], *self.at_period[1:]) if pages == 0 else now
        if pages:
            self.miss_rate = misses / pages
            self.encoding_rate = hits * 4096 / n_bytes if hits and n_bytes else 0.0

    def answer(self) -> dict[str, Any]:
        """xbzrle-cache of query-migrate."""
        return {
            "cache_size": self.size, "bytes": self.bytes, "pages": self.pages, "cache_miss": self.misses,
            "cache_miss_rate": self.miss_rate, "encoding_rate": self.encoding_rate, "overflow": 0,
        }  # fmt: skip
