"""Memory of a VM at the destination of post-copy, whose pages arrive one after the other while the guest runs.

Linux 6.4, mm/userfaultfd.c::mfill_atomic_pte_copy: a page that is placed is new anonymous memory, at the head of its list.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import numpy as np
import simpy

from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.mmu_notifier import MmuNotifier
from hostsim.memory.fault_in import FaultIn
from hostsim.memory.fault_waits import MIGRATION, POPULATE
from hostsim.memory.host_memory import HostMemory
from hostsim.memory.pages import MISSING, SWAPPED, VmPages
from hostsim.memory.policies.protocol import NO_PAGES, AgeingPolicy, Pages
from hostsim.memory.spec import PCP_BATCH

Frames = Generator[simpy.Event, Any, int]


class Arrival(Protocol):
    """The migration that places pages."""

    @property
    def frames_at_hand(self) -> int:
        """Free frames at hand for pages to be placed."""
        ...

    def placed(self) -> Pages:
        """int64[k]: pages that got a frame since the last ``take_placed``, oldest first."""
        ...

    def take_placed(self) -> Pages:
        """Return ``placed`` and empty the list."""
        ...

    def touched(self, vcpu: int, page: int) -> None:
        """A vCPU has touched a missing page now, and waits for the page."""
        ...


class ArrivingPages(VmPages):
    """VmPages whose frames are allocated by threads that place pages, too; arrival: None before pages arrive."""

    def __init__(self, number: int, vm: LiveVm, notifier: MmuNotifier, policy: AgeingPolicy, limit: int) -> None:
        super().__init__(number, vm, notifier, policy, limit)
        self.arrival: Arrival | None = None

    def take_in_fresh(self) -> None:
        """See VmPages; pages that were placed go first."""
        placed: Pages = NO_PAGES if self.arrival is None else self.arrival.take_placed()
        if len(placed):
            self.counts["placed"] += len(placed)
            self.policy.insert(placed)
        super().take_in_fresh()

    def _fresh(self) -> Pages:
        fresh = super()._fresh()
        return fresh if self.arrival is None else np.concatenate([self.arrival.placed(), fresh])

    def _frames_at_hand(self) -> int:
        more = 0 if self.arrival is None else self.arrival.frames_at_hand
        return super()._frames_at_hand() + more


class ArrivingFaults(FaultIn):
    """Faults at the destination: on a missing page the vCPU waits for the migration, else for the host."""

    # Model limit: a task that touches a missing page keeps its vCPU waiting also with async_page_faults.

    def __init__(self, pages: ArrivingPages, memory: HostMemory) -> None:
        super().__init__(pages, memory)
        self._arriving = pages

    def vcpu_faults(self, vcpu: int) -> None:
        """See hostsim.kvm.live_vm.HostPages."""
        page = self._pages.vm.engine.pages.faults_on(vcpu)
        if self._where[page] == MISSING:
            assert self._arriving.arrival is not None, "the guest runs once pages arrive"
            self._arriving.arrival.touched(vcpu, page)
        else:
            super().vcpu_faults(vcpu)

    def allocate(self) -> Frames:
        """Allocate a batch of frames for a thread that places pages (mm/page_alloc.c::rmqueue_bulk); return their number."""
        pages, memory, waits = self._arriving, self._memory, self._arriving.waits[MIGRATION]
        pages.take_in_fresh()
        yield from waits.timed(POPULATE, memory.take(pages, 1, waits))
        more = memory.at_leisure(pages, PCP_BATCH - 1)
        memory.charge(pages, more)
        return 1 + more


def check_content(pages: VmPages, memory: HostMemory) -> None:
    """InvariantError unless each page of ``pages`` that is in the swap of ``memory`` alone has its newest content there."""
    for page in np.flatnonzero(pages.where == SWAPPED).tolist():
        pages.check_copy(page, memory.area.load(int(pages.slot[page])))
