"""Faults that the host resolves: a frame for a first touch, a page from the swap cache, a page from swap."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.kvm.loops.layout import RESIDENT, UNTOUCHED
from hostsim.memory.fault_waits import MAJOR, MIGRATION, MINOR, POPULATE, TASK, VCPU, FaultWaits
from hostsim.memory.pages import BY_GUEST, BY_HOST, CACHED, READING, SWAPPED, WRITING, VmPages
from hostsim.memory.spec import PCP_BATCH
from hostsim.memory.swap_area import NO_SLOT
from hostsim.memory.swap_device import SwapDevice

if TYPE_CHECKING:
    # Circle of types: the host of a VM makes this path, which takes pages from that host.
    from hostsim.memory.host_memory import HostMemory

Step = Generator[simpy.Event, Any, None]


class FaultIn:
    """HostPages of one VM: resolves faults on its pages."""

    # Model limit: an asynchronous page fault puts a task to sleep in user mode and kernel mode alike.
    # Model limit: a page that is swapped in is mapped writable, so its copy in swap is freed.

    def __init__(self, pages: VmPages, memory: HostMemory) -> None:
        self._pages, self._memory, self._env, self._where = pages, memory, memory.env, pages.where

    def vcpu_faults(self, vcpu: int) -> None:
        """See HostPages."""
        self._env.process(self._for_vcpu(vcpu))

    def _for_vcpu(self, vcpu: int) -> Step:
        vm, waits = self._pages.vm, self._pages.waits[VCPU]
        page, is_write = vm.engine.pages.faults_on(vcpu), vm.engine.pages.is_write(vcpu)
        if self._where[page] == UNTOUCHED:
            yield from waits.timed(POPULATE, self._fill_up(waits))
        elif self._memory.spec.async_pf and self._where[page] in {SWAPPED, READING}:
            yield from self._asleep(vcpu, page)
            return
        else:
            yield from self._find(page, waits)
            self._pages.pte_dirty[page] |= is_write
        vm.page_is_there(vcpu)

    def _asleep(self, vcpu: int, page: int) -> Step:
        """KVM_ASYNC_PF: a worker fetches the page, to write it (virt/kvm/async_pf.c::async_pf_execute)."""
        vm = self._pages.vm
        clock = vm.put_to_sleep(vcpu)
        self._pages.counts["async_faults"] += 1
        yield from self._find(page, self._pages.waits[TASK])
        self._pages.pte_dirty[page] = 1
        vm.wake(vcpu, clock)

    def fault_in(self, page: int) -> Step:
        """See HostPages; a page that was never touched reads as zeros and stays so."""
        yield from self._find(page, self._pages.waits[MIGRATION])

    def _find(self, page: int, waits: FaultWaits) -> Step:
        place = int(self._where[page])
        if place not in {RESIDENT, UNTOUCHED}:
            kind = MAJOR if place in {SWAPPED, READING} else MINOR
            yield from waits.timed(kind, self._bring(page, waits))

    def note_read(self, pages: NDArray[np.int64]) -> None:
        """See HostPages."""
        there = pages[self._where[pages] == RESIDENT]
        self._pages.host_young[there] = 1
        self._pages.not_idle[there] |= BY_HOST

    def check(self) -> None:
        """See HostPages."""
        self._memory.check()

    def _fill_up(self, waits: FaultWaits) -> Step:
        """Refill a CPU's list of free frames (mm/page_alloc.c::rmqueue_bulk)."""
        pages, memory = self._pages, self._memory
        pages.take_in_fresh()
        yield from memory.take(pages, 1, waits)
        more = memory.at_leisure(pages, PCP_BATCH - 1)
        memory.charge(pages, more)
        pages.vm.engine.pages.add_frames(1 + more)

    def _bring(self, page: int, waits: FaultWaits) -> Step:
        """Make the page resident; another fault or reclaim may move it at each wait (mm/memory.c::do_swap_page)."""
        while (place := int(self._where[page])) != RESIDENT:
            if place == SWAPPED:
                yield from self._read(page, waits)
            elif place == READING:
                yield self._pages.arriving[page]
            else:
                yield from self._from_cache(page, waits)

    def _from_cache(self, page: int, waits: FaultWaits) -> Step:
        """Map a page of the swap cache, which was read ahead or is still being written."""
        yield self._env.timeout(self._device.spec.cache_ns)
        if self._where[page] in {CACHED, WRITING}:
            self._map(page, waits)

    def _read(self, page: int, waits: FaultWaits) -> Step:
        """Read a page, with swapped neighbours if frames are free above low (mm/swap_state.c::swapin_readahead)."""
        pages, memory = self._pages, self._memory
        yield from memory.take(pages, 1, waits)
        if self._where[page] != SWAPPED:
            memory.give_back(pages, 1)
            return
        ahead = self._ahead(page)
        ahead = ahead[: memory.at_leisure(pages, len(ahead))]
        memory.charge(pages, len(ahead))
        both, arrived = [page, *ahead], self._env.event()
        self._where[both] = READING
        pages.arriving.update(dict.fromkeys(both, arrived))
        yield self._device.submit("read", len(both), pages.number)
        self._arrive(page, ahead, waits)
        arrived.succeed()

    def _arrive(self, page: int, ahead: list[int], waits: FaultWaits) -> None:
        pages, area = self._pages, self._memory.area
        for read in (page, *ahead):
            pages.check_copy(read, area.load(int(pages.slot[read])))
            del pages.arriving[read]
        self._where[ahead] = CACHED
        pages.policy.insert(np.array(ahead, np.int64))
        pages.counts["read_ahead"] += len(ahead)
        pages.counts["swapped_in"] += 1
        self._map(page, waits)

    def _map(self, page: int, waits: FaultWaits) -> None:
        """Map the page for the waiter and free its swap slot."""
        # Model limit: a page that a read brings back from a drive gives its slot back, too. The kernel keeps its
        # slot while swap is less than half full (mm/memory.c::should_try_to_free_swap), and drops the page later
        # without a write if nothing wrote it. So a guest that reads costs the drive twice its requests here.
        # Synchronous devices are right.
        pages = self._pages
        is_listed = self._where[page] == CACHED
        self._where[page] = RESIDENT
        pages.not_idle[page] |= BY_HOST if waits is pages.waits[MIGRATION] else BY_GUEST
        self._memory.area.free(int(pages.slot[page]))
        pages.slot[page] = NO_SLOT
        if not is_listed:
            pages.policy.insert(np.array([page], np.int64))

    def _ahead(self, page: int) -> list[int]:
        """Other pages to read with ``page``: by slot from a rotational disk, by address from others, none from RAM."""
        pages, cluster = self._pages, 1 << self._memory.spec.page_cluster
        if self._device.spec.synchronous:
            return []
        if self._device.spec.rotational:
            copies = [self._memory.area.load(slot) for slot in self._memory.area.around(int(pages.slot[page]), cluster)]
            near = [copy.page for copy in copies if copy.vm == pages.number]
        else:
            first = page - page % cluster
            near = list(range(first, min(first + cluster, len(self._where))))
        return [other for other in near if other != page and self._where[other] == SWAPPED]

    @property
    def _device(self) -> SwapDevice:
        assert self._memory.device is not None, "what is away is in swap"
        return self._memory.device
