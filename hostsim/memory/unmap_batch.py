"""Flushes of the host's own TLBs for pages that reclaim unmaps, beside KVM's flush in invalidate_range_start.

Linux mm/rmap.c::should_defer_flush, ::try_to_unmap_flush; mm/vmscan.c::shrink_folio_list.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from hostsim.memory.pages import VmPages

Step = Generator[simpy.Event, Any, None]


class UnmapBatch:
    """Pages of one VM that a thread has unmapped since its last flush (struct tlbflush_unmap_batch)."""

    def __init__(self, pages: VmPages) -> None:
        self._pages = pages
        self._is_pending = False

    def unmapped(self, page: int) -> Step:
        """Note that ``page`` was unmapped. A dirty pte is flushed at once: its page must not change while it is written."""
        was_dirty = self._pages.pte_dirty[page] == 1
        self._pages.pte_dirty[page] = 0
        self._is_pending = True
        if was_dirty or not self._pages.notifier.plan.batches:
            yield from self.flush()

    def flush(self) -> Step:
        """Flush for the pages that were noted since the last flush, if there are any."""
        if self._is_pending:
            self._is_pending = False
            yield from self._pages.vm.flush.shootdown()
