"""XBZRLE: a page that was sent before travels as the difference from a cached copy.

QEMU 7.2 and 10.x: migration/ram.c::save_xbzrle_page, migration/page_cache.c, migration/xbzrle.c.

The loop is hostsim.qemu.xbzrle_send, the length of a delta hostsim.qemu.xbzrle_delta. Here are the cache's memory, QEMU's
counters, and the rates that QEMU computes at syncs. The cache has no bytes of pages: a slot knows when its copy was taken,
and the writes since then decide the runs that the encoder finds.

# Model limit: the slot of a page is its gfn modulo the size of the cache; QEMU takes ram_addr, in which RAMBlocks lie apart.
# Model limit: a page that KVM logs though the guest only read it counts as written where a workload writes to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.content import Content
from hostsim.qemu.xbzrle_delta import FOUND, GFN, N_SLOT, Course
from hostsim.qemu.xbzrle_send import (
    BUSY_NS,
    BYTES,
    CACHE_MISS,
    DELTAS,
    N_COUNTERS,
    OVERFLOWS,
    PAGES,
    PROCESSED,
    PageCache,
    send_with_xbzrle,
)

_SYNCS_AT_FIRST = 64


@dataclass(frozen=True)
class XbzrleCounters:
    """xbzrle-cache of query-migrate (qapi/migration.json::XBZRLECacheStats).

    cache_size, bytes: bytes; pages, cache_miss, overflow: pages; cache_miss_rate: misses over pages sent in the last period;
    encoding_rate: bytes of encoded pages over bytes of their deltas in it.
    """

    cache_size: int
    bytes: int
    pages: int
    cache_miss: int
    cache_miss_rate: float
    encoding_rate: float
    overflow: int


def is_cache_size(size: int) -> bool:
    """Whether QEMU takes ``size`` [bytes] for xbzrle-cache-size (migration/options.c::migrate_params_check)."""
    return size >= PAGE_BYTES and size & (size - 1) == 0


class Xbzrle:
    """The cache and the counters of one migration; ``age``: dirty-sync-count, which ages the slots."""

    def __init__(
        self, cache_size: int, n_pages: int, content: Content, n_classes: int, n_chunks: int, sheet: HostSheet
    ) -> None:
        """``n_pages``: of the guest; ``n_chunks``: chunks of the dirty log that are cleared one at a time."""
        self.cache_size, self.age = cache_size, 0
        used = min(cache_size // PAGE_BYTES, 1 << (n_pages - 1).bit_length())  # no page is put into a slot behind these
        self._slots = np.zeros((used, N_SLOT), np.int64)
        self._slots[:, GFN] = -1
        self._counters = np.zeros(N_COUNTERS, np.int64)
        self._content, self._sheet = content, sheet
        self._cleared_ns = np.zeros(n_chunks, np.int64)
        self._sync_ns = np.zeros(_SYNCS_AT_FIRST, np.int64)
        self._sync_work = np.zeros((_SYNCS_AT_FIRST, n_classes), np.int64)
        self._n_syncs = 0
        self._saved = np.empty((0, N_SLOT), np.int64)
        self._before = self._counters.copy()
        self._miss_rate = self._encoding_rate = 0.0
        self._period = (0, 0, 0, 0)

    @property
    def pages(self) -> int:
        """Pages found in the cache, sent or not."""
        return int(self._counters[PAGES])

    @property
    def deltas(self) -> int:
        """Pages sent as a delta."""
        return int(self._counters[DELTAS])

    @property
    def processed(self) -> int:
        """Pages taken from the bitmap, sent or not."""
        return int(self._counters[PROCESSED])

    @property
    def busy_ns(self) -> int:
        """CPU time of the cache and of encodings [ns]."""
        return int(self._counters[BUSY_NS])

    @property
    def counters(self) -> XbzrleCounters:
        """xbzrle-cache of query-migrate now."""
        c = self._counters
        return XbzrleCounters(
            self.cache_size, int(c[BYTES]), int(c[PAGES]), int(c[CACHE_MISS]), self._miss_rate, self._encoding_rate,
            int(c[OVERFLOWS]),
        )  # fmt: skip

    def begin_sync(self, dirty_sync_count: int) -> None:
        """The sync of this number begins; it ages the slots."""
        self.age = dirty_sync_count

    def note_sync(self, now_ns: int, works_ns: list[int], bmap: NDArray[np.uint8]) -> None:
        """A sync has harvested into ``bmap`` (uint8[n_pages]); ``works_ns``: work of each touch class by now [ns]."""
        gfns, found = self._slots[:, GFN], self._slots[:, FOUND]
        # A send clears the bit of its page, so a bit that is set was found since; slots without a page have gfn -1.
        found[(bmap[gfns] == 1) & (gfns >= 0) & (found < 0)] = self._n_syncs
        if self._n_syncs == len(self._sync_ns):
            self._sync_ns = np.concatenate([self._sync_ns, np.zeros_like(self._sync_ns)])
            self._sync_work = np.concatenate([self._sync_work, np.zeros_like(self._sync_work)])
        self._sync_ns[self._n_syncs], self._sync_work[self._n_syncs] = now_ns, works_ns
        self._n_syncs += 1

    def note_clear(self, chunk: int, now_ns: int) -> None:
        """The log of ``chunk`` has been cleared."""
        self._cleared_ns[chunk] = now_ns

    def cache(self, journal_pages: int, last_stage: bool) -> PageCache:
        """Arrays for a call of the loop; ``journal_pages``: most pages that the call may have to take back."""
        if len(self._saved) < journal_pages:
            self._saved = np.empty((journal_pages, N_SLOT), np.int64)
        self._before[:] = self._counters
        course = Course(self._sync_ns, self._sync_work, self._n_syncs, last_stage)
        sheet = self._sheet
        return PageCache(
            self._slots, self._counters, self._saved, self._cleared_ns, course, self._content, self.age, last_stage,
            sheet.xbzrle_encode_ns, sheet.xbzrle_run_ns, sheet.xbzrle_insert_ns,
        )  # fmt: skip

    def send(self, arguments: tuple[Any, ...], journal_pages: int, *, last_stage: bool) -> int:
        """Send pages as hostsim.qemu.send::send_pages does with ``arguments``; return its reason.

        journal_pages: most pages that the call may have to take back.
        last_stage: the guest is stopped, and QEMU updates the cache no more.
        """
        every: tuple[Any, ...] = (*arguments, self.cache(journal_pages, last_stage))
        return int(send_with_xbzrle(*every))

    @property
    def processed_in_call(self) -> int:
        """Pages that the last call of the loop took from the bitmap."""
        return int(self._counters[PROCESSED] - self._before[PROCESSED])

    def take_back(self, gfns: NDArray[np.int64]) -> None:
        """Undo the last call of the loop, which took the pages ``gfns`` (int64[k]) from the bitmap, in this order."""
        for i in range(len(gfns) - 1, -1, -1):
            self._slots[int(gfns[i]) % len(self._slots)] = self._saved[i]
        self._counters[:] = self._before

    def update_rates(self, target_pages: int) -> None:
        """Rates since the last evaluation (ram.c::migration_update_rates); ``target_pages``: pages sent so far."""
        c = self.counters
        pages, misses, hits, n_bytes = self._period
        self._period = (target_pages, misses, hits, n_bytes)
        if target_pages == pages:
            return
        self._miss_rate = (c.cache_miss - misses) / (target_pages - pages)
        has_rate = c.pages > hits and c.bytes > n_bytes
        self._encoding_rate = (c.pages - hits) * PAGE_BYTES / (c.bytes - n_bytes) if has_rate else 0.0
        self._period = (target_pages, c.cache_miss, c.pages, c.bytes)
