"""The memory of a host: its frames, its swap, and the VMs that share them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import simpy

from hostsim.core.clock import Clock
from hostsim.core.trace import tracer
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import RESIDENT
from hostsim.kvm.mmu_notifier import MmuNotifier
from hostsim.memory.fault_in import FaultIn
from hostsim.memory.fault_waits import FaultWaits
from hostsim.memory.frames import Frames, kept_at_start
from hostsim.memory.pages import SWAPPED, VmPages
from hostsim.memory.policies.protocol import AgeingPolicy
from hostsim.memory.policies.registry import policy_of
from hostsim.memory.reclaim import Reclaim
from hostsim.memory.spec import NO_LIMIT, PCP_BATCH, HostMemorySpec
from hostsim.memory.swap_area import SwapArea
from hostsim.memory.swap_device import SwapDevice
from hostsim.memory.swap_sheet import load_swap


class OutOfMemory(NamedTuple):
    """The moment at which reclaim failed for good, and the VM that the kernel would kill: the one with the most frames."""

    ns: int
    vm: int


class HostMemory:
    """Frames and swap of a host, shared by its VMs.

    Build it, ``add`` the VMs before any of them has run, then ``begin``.
    frames: free frames and watermarks.
    area: swap slots.
    device: the swap device, None: no swap.
    vms: pages of each VM, by its number.
    exhausted: an event that fires when memory has run out.
    """

    def __init__(self, env: Clock, spec: HostMemorySpec, seed: int, device: str = "swap") -> None:
        """``device`` names the random streams of the swap device. InputError if there is no such swap device."""
        self.env, self.spec = env, spec
        self.frames = Frames(env, spec.frames)
        has_swap = spec.swap != "none"
        self.area = SwapArea(spec.swap_pages if has_swap else 0)
        self.device = SwapDevice(env, load_swap(spec.swap), seed, device) if has_swap else None
        self.vms: list[VmPages] = []
        self.exhausted: simpy.Event = env.event()
        self.out_of_memory: OutOfMemory | None = None
        self.reclaim = Reclaim(env, self.frames, self.area, self.device, self.vms)

    def add(
        self, vm: LiveVm, notifier: MmuNotifier, limit: int = NO_LIMIT, era: str = "E6", policy: AgeingPolicy | None = None
    ) -> VmPages:
        """Serve the pages of ``vm`` from this memory.

        limit: most frames of the VM (memory.max of its memory cgroup).
        era: of its kernel.
        policy: used in place of the host's policy.
        InputError if the host's policy does not exist.
        """
        made = policy or self.policy_for(era, vm.memory.n_pages)
        pages = VmPages(len(self.vms), vm, notifier, made, limit)
        self.serve(pages, FaultIn(pages, self))
        return pages

    def serve(self, pages: VmPages, faults: FaultIn) -> None:
        """Serve ``pages``, which have the next number, from this memory; ``faults`` resolves the faults of their VM."""
        vm = pages.vm
        self.vms.append(pages)
        vm.engine.tlb.model(self.env.now_ns)
        # All vCPUs may wait for a batch at the same time.
        vm.engine.pages.ask_for_frames((PCP_BATCH + 1) * (vm.engine.n_vcpus + 1))
        vm.host = faults

    def policy_for(self, era: str, n_pages: int) -> AgeingPolicy:
        """The host's policy in a kernel of ``era``, without a page. InputError if it does not exist."""
        evicts = policy_of(self.spec.policy, era, "memory").evicts
        assert evicts is not None, "policy_of refuses what does not evict"
        made: AgeingPolicy = evicts(n_pages)
        return made

    def begin(self, *, oldest_first: bool = False) -> None:
        """Swap out the pages that do not fit, the highest gfns of each VM in proportion to its pages, and start kswapd.

        oldest_first: the lowest gfns, as of a VM whose pages have arrived in the order of gfns.
        """
        filled, limits = [pages.charged for pages in self.vms], [pages.limit for pages in self.vms]
        for pages, kept in zip(self.vms, kept_at_start(filled, limits, self.frames.total), strict=True):
            self._swap_out_at_start(pages, kept, oldest_first=oldest_first)
            self.frames.take(pages.charged)
        self.env.process(self.reclaim.kswapd())
        if self.spec.proactive_ns:
            self.env.process(self._age())

    def _swap_out_at_start(self, pages: VmPages, kept: int, *, oldest_first: bool) -> None:
        resident = np.flatnonzero(pages.where == RESIDENT)
        resident = np.roll(resident, kept) if oldest_first else resident
        pages.charged = min(kept, len(resident))
        for page in resident[kept:].tolist():
            slot = self.area.take()
            assert slot >= 0, "a scenario is checked for room"
            self.area.store(slot, pages.copy_of(page))
            pages.slot[page], pages.where[page], pages.pte_dirty[page] = slot, SWAPPED, 0
            pages.vm.engine.mmu.zap(page, page + 1, self.env.now_ns)
        pages.policy.insert(resident[:kept])

    def take(self, pages: VmPages, n: int, waits: FaultWaits) -> Generator[simpy.Event, Any, None]:
        """Allocate ``n`` frames for a VM: below the low watermark wake kswapd, below min reclaim in this thread (``waits``).

        mm/page_alloc.c::__alloc_pages_slowpath; mm/memcontrol.c::try_charge_memcg.
        """
        tries = 0
        while not self._has_room(pages, n):
            self.reclaim.wake()
            is_over = pages.charged + n > pages.limit
            progress = yield from self.reclaim.direct([pages] if is_over else self.vms, pages, waits)
            tries = 0 if progress else tries + 1
            if tries > MAX_RECLAIM_RETRIES:
                yield from self._run_out([pages] if is_over else self.vms)
        self.charge(pages, n)

    def charge(self, pages: VmPages, n: int) -> None:
        """Charge ``n`` free frames to the VM, and wake kswapd below the low watermark."""
        self.frames.take(n)
        pages.charged += n
        if self.frames.free < self.frames.low:
            self.reclaim.wake()

    def give_back(self, pages: VmPages, n: int) -> None:
        """Free ``n`` frames of the VM."""
        pages.charged -= n
        self.frames.give(n)

    def at_leisure(self, pages: VmPages, most: int) -> int:
        """Frames, ``most`` at most, that the VM can take without waking kswapd."""
        return max(0, min(most, self.frames.free - self.frames.low, pages.limit - pages.charged))

    def _has_room(self, pages: VmPages, n: int) -> bool:
        return self.frames.free - n >= self.frames.min and pages.charged + n <= pages.limit

    def _run_out(self, vms: Sequence[VmPages]) -> Generator[simpy.Event, Any, None]:
        """End the run; the victim is the one of ``vms`` with the most frames (mm/oom_kill.c::out_of_memory)."""
        # Model limit: a run ends when memory runs out: no VM is killed so that the other VMs can continue.
        if self.out_of_memory is None:
            victim = max(vms, key=lambda pages: pages.charged)
            self.out_of_memory = OutOfMemory(self.env.now_ns, victim.number)
            tracer().debug("mark_victim", t_ns=self.env.now_ns, vm=victim.number)
            self.exhausted.succeed()
        yield self.env.event()

    def _age(self) -> Generator[simpy.Event, Any, None]:
        while True:
            yield self.env.timeout(self.spec.proactive_ns)
            for pages in self.vms:
                pages.vm.engine.tlb.model(self.env.now_ns)
                yield from self.reclaim.age(pages)

    def check(self) -> None:
        """InvariantError if a frame is lost, has two owners, or a page is in two places or in none."""
        used = sum(pages.charged for pages in self.vms)
        for pages in self.vms:
            pages.check()
        self.reclaim.check(used)


def attach(env: Clock, spec: HostMemorySpec, vms: Sequence[tuple[LiveVm, MmuNotifier]], seed: int) -> HostMemory:
    """A host memory of ``spec`` that serves all ``vms`` on the clock ``env`` and has begun; ``seed``: of its draws."""
    memory = HostMemory(env, spec, seed)
    for vm, notifier in vms:
        memory.add(vm, notifier)
    memory.begin()
    return memory


MAX_RECLAIM_RETRIES = 16
"""mm/internal.h."""
