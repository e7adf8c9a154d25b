"""Reclaim: kswapd, and threads in direct reclaim, take pages from VMs, swap them out and free their frames."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import simpy

from hostsim.core.clock import Clock
from hostsim.core.errors import InvariantError
from hostsim.core.timeline import Track
from hostsim.core.trace import tracer
from hostsim.kvm.loops.layout import RESIDENT
from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, TEST_YOUNG
from hostsim.memory.fault_waits import FaultWaits
from hostsim.memory.frames import Frames
from hostsim.memory.pages import BY_GUEST, CACHED, SWAPPED, WRITING, VmPages
from hostsim.memory.policies.protocol import Pages
from hostsim.memory.swap_area import NO_SLOT, SwapArea
from hostsim.memory.swap_device import SwapDevice
from hostsim.memory.unmap_batch import UnmapBatch

Step = Generator[simpy.Event, Any, None]
Progress = Generator[simpy.Event, Any, int]
SWAP_CLUSTER_MAX = 32
"""include/linux/swap.h: pages that are reclaimed at a time."""
MAX_FAILURES = 16
"""mm/internal.h::MAX_RECLAIM_RETRIES: kswapd sleeps after this many attempts without progress, until it is woken."""
THROTTLE_NS = 20_000_000
"""mm/vmscan.c::reclaim_throttle, VMSCAN_THROTTLE_NOPROGRESS: 20 ms (HZ / 50)."""
RETRY_NS = 100_000_000
"""mm/vmscan.c::kswapd_try_to_sleep naps HZ / 10 before it really sleeps."""
KSWAPD, DIRECT = Track("host", "kswapd"), Track("host", "direct reclaim", nests=False)
IDLE_ROUNDS = 8
"""Reclaim gives up on a policy that names no page this often in turn."""


class Reclaim:
    """kswapd and direct reclaim of a host; writing: pages under writeback."""

    # Model limit: swap holds anonymous memory only: there is no page cache that could shrink first.

    def __init__(
        self, env: Clock, frames: Frames, area: SwapArea, device: SwapDevice | None, vms: Sequence[VmPages]
    ) -> None:
        self.writing = 0
        self._env, self._frames, self._area, self._device, self._vms = env, frames, area, device, vms
        self._shares: dict[int, float] = {}
        self._woken: simpy.Event = env.event()

    def wake(self) -> None:
        """Wake kswapd (wakeup_kswapd)."""
        if not self._woken.triggered:
            self._woken.succeed()

    def kswapd(self) -> Step:
        """Free frames up to the high watermark after each wake-up (mm/vmscan.c::kswapd, ::balance_pgdat)."""
        while True:
            yield self._woken
            self._trace("mm_vmscan_kswapd_wake")
            yield from self._env.traced(KSWAPD, "balance_pgdat", self._balance())
            self._trace("mm_vmscan_kswapd_sleep")
            self._woken = self._env.event()
            if self._frames.free < self._frames.low:
                yield self._env.timeout(RETRY_NS)
                self.wake()

    def _trace(self, event: str, **fields: int) -> None:
        told = {"free_frames": self._frames.free, **fields}
        tracer().debug(event, t_ns=self._env.now_ns, **told)
        self._env.timeline.mark(KSWAPD if "kswapd" in event else DIRECT, event, self._env.now_ns, told)

    def _balance(self) -> Step:
        failures = 0
        while self._frames.free < self._frames.high and failures < MAX_FAILURES:
            if self.writing and self._frames.free + self.writing >= self._frames.high:
                yield self._frames.freed()
                continue
            taken = yield from self.shrink(self._next(self._vms), SWAP_CLUSTER_MAX)
            failures = 0 if taken else failures + 1
            if not taken:
                yield from self._pause()

    def _pause(self) -> Step:
        """Wait until a writeback ends, or for THROTTLE_NS without writeback (mm/vmscan.c::reclaim_throttle)."""
        if self.writing:
            yield self._frames.freed()
        else:
            yield self._env.timeout(THROTTLE_NS)

    def direct(self, vms: Sequence[VmPages], asker: VmPages, waits: FaultWaits) -> Progress:
        """Reclaim one batch from ``vms`` in a thread of ``asker``, and wait for writeback if there is any.

        waits: of the faulting thread; records the time. Returns the progress [pages], 0: none.
        """
        started_ns, charged = self._env.now_ns, sum(pages.charged for pages in vms)
        self._trace("mm_vmscan_direct_reclaim_begin", vm=asker.number)
        begun = self._env.timeline.begin(DIRECT, "try_to_free_pages", started_ns, vm=asker.vm.name)
        taken = yield from self.shrink(self._next(vms), SWAP_CLUSTER_MAX)
        was_writing = self.writing
        if was_writing:
            yield self._frames.freed()
        elif not taken:
            yield self._env.timeout(THROTTLE_NS)
        waits.reclaims.record(self._env.now_ns - started_ns)
        self._env.timeline.end(begun, self._env.now_ns, taken=taken)
        asker.counts["direct_reclaims"] += 1
        self._trace("mm_vmscan_direct_reclaim_end", vm=asker.number, taken=taken)
        return taken + was_writing + max(0, charged - sum(pages.charged for pages in vms))

    def _next(self, vms: Sequence[VmPages]) -> VmPages:
        """The VM to reclaim from next, each in proportion to its frames (mm/vmscan.c::shrink_node_memcgs)."""
        pages = min(vms, key=lambda vm: (self._shares.get(vm.number, 0.0), vm.number))
        self._shares[pages.number] = self._shares.get(pages.number, 0.0) + 1 / max(1, pages.charged)
        return pages

    def shrink(self, pages: VmPages, wanted: int) -> Progress:
        """Page out ``wanted`` pages of a VM that its policy names; return their number. Scan each page twice at most."""
        taken = scanned = idle = 0
        pages.take_in_fresh()
        if not self._can_reclaim(pages):
            return 0
        while taken < wanted and scanned <= 2 * pages.charged + SWAP_CLUSTER_MAX and idle < IDLE_ROUNDS:
            if pages.policy.wants_ageing():
                scanned += yield from self.age(pages)
            scan = pages.policy.evict(pages.look(), wanted - taken)
            pages.isolated.update(scan.evicted.tolist())
            yield from self._ask(pages, scan.asked)
            taken += yield from self._page_out(pages, scan.evicted.tolist())
            looked = len(scan.asked) + len(scan.evicted)
            idle = 0 if looked else idle + 1
            scanned += looked
        return taken

    def _can_reclaim(self, pages: VmPages) -> bool:
        """Whether a swap slot is left or the swap cache has a page to drop (mm/vmscan.c::can_reclaim_anon_pages)."""
        # Model limit: with all slots taken, unmapped pages of the swap cache are still dropped.
        return self._area.left > 0 or bool((pages.where == CACHED).any())

    def age(self, pages: VmPages, event: str = CLEAR_FLUSH_YOUNG) -> Progress:
        """Age a VM by one step; return the number of tested pages. ``event``: the call that clears accessed bits."""
        pages.take_in_fresh()
        scan = pages.policy.age(pages.look())
        tested = scan.tested[pages.where[scan.tested] == RESIDENT]
        if len(tested):
            yield from pages.notifier.each(TEST_YOUNG, tested, 1, np.zeros_like(pages.host_young))
        yield from self._ask(pages, scan.asked, event)
        return len(scan.asked)

    def _ask(self, pages: VmPages, asked: Pages, event: str = CLEAR_FLUSH_YOUNG) -> Step:
        """folio_referenced of each page: clear its young bit through the notifier, if the host maps the page."""
        young, mapped = np.zeros_like(pages.host_young), asked[pages.where[asked] == RESIDENT]
        pages.host_young[asked] = 0
        yield from pages.notifier.each(event, mapped, 1, young)
        pages.not_idle[mapped[young[mapped] == 1]] |= BY_GUEST

    def _page_out(self, pages: VmPages, evicted: list[int]) -> Progress:
        """Unmap and write pages, drop those with a copy in swap; return their number (mm/vmscan.c::shrink_folio_list)."""
        unmapped: list[tuple[int, int]] = []
        batch, dropped = UnmapBatch(pages), 0
        for page in evicted:
            if pages.where[page] == CACHED:
                self._drop(pages, page)
                dropped += 1
            elif (slot := self._area.take()) != NO_SLOT:
                yield from self._unmap(pages, page, slot)
                yield from batch.unmapped(page)
                unmapped.append((page, slot))
            else:
                self._keep(pages, page)
        yield from batch.flush()
        for run in _adjacent(unmapped):
            yield from self._write(pages, run)
        return dropped + len(unmapped)

    def _drop(self, pages: VmPages, page: int) -> None:
        pages.isolated.discard(page)
        pages.where[page] = SWAPPED
        pages.counts["dropped"] += 1
        self._release(pages)

    def _keep(self, pages: VmPages, page: int) -> None:
        """Put the page back into the policy: no swap slot is left."""
        pages.isolated.discard(page)
        pages.policy.insert(np.array([page]))
        pages.counts["no_slot"] += 1

    def _unmap(self, pages: VmPages, page: int, slot: int) -> Step:
        """Unmap the page (mm/rmap.c::try_to_unmap); from then on it is in the swap cache."""
        yield from pages.notifier.invalidate_range_start(page, page + 1)
        pages.isolated.discard(page)
        # PG_young and PG_idle belong to the folio; a swap-in puts the page into another folio.
        pages.host_young[page] = pages.not_idle[page] = 0
        pages.where[page], pages.slot[page] = WRITING, slot
        self._area.store(slot, pages.copy_of(page))
        self.writing += 1
        yield from pages.notifier.invalidate_range_end(page, page + 1)

    def _write(self, pages: VmPages, run: list[tuple[int, int]]) -> Step:
        """Write the pages of ``run``, whose slots are adjacent, by one request."""
        assert self._device is not None
        pages.counts["swapped_out"] += len(run)
        tokens = [int(pages.token[page]) for page, _ in run]
        written = self._device.submit("write", len(run), pages.number)
        written.callbacks.append(lambda _: self._all_written(pages, run, tokens))
        if self._device.spec.synchronous:
            yield written

    def _all_written(self, pages: VmPages, run: list[tuple[int, int]], tokens: list[int]) -> None:
        for (page, slot), token in zip(run, tokens, strict=True):
            self._written(pages, page, slot, token)

    def _written(self, pages: VmPages, page: int, slot: int, token: int) -> None:
        """End the writeback: free the frame, unless a fault has mapped the page again meanwhile."""
        self.writing -= 1
        if pages.where[page] == WRITING and pages.slot[page] == slot and pages.token[page] == token:
            pages.where[page] = SWAPPED
            self._release(pages)
        else:
            self._frames.wake()

    def _release(self, pages: VmPages) -> None:
        pages.charged -= 1
        self._frames.give(1)

    def check(self, used: int) -> None:
        """InvariantError unless ``used`` and free frames are all there are."""
        if used + self._frames.free != self._frames.total:
            raise InvariantError(f"{used} frames are used, {self._frames.free} free, of {self._frames.total}")


def _adjacent(unmapped: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """(page, slot) in runs of slots that follow each other, as the block layer merges requests of one plug."""
    runs: list[list[tuple[int, int]]] = []
    for page, slot in unmapped:
        if runs and runs[-1][-1][1] + 1 == slot:
            runs[-1].append((page, slot))
        else:
            runs.append([(page, slot)])
    return runs
