"""The destination of post-copy as a host of its own: the guest there, its frames and swap, and the daemon that ages it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.compiled.plain import plain
from hostsim.core.clock import Clock
from hostsim.core.memory import GuestMemory, make_memory
from hostsim.core.rng import mix32
from hostsim.guest.touch import KEY0, KEY1
from hostsim.guest.vm import VmBase
from hostsim.guest.workload import Guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops.layout import RESIDENT, UNTOUCHED
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MEASURED
from hostsim.machine.monitor import Monitor
from hostsim.machine.spec import MachineSpec
from hostsim.memory.ageing_daemon import AgeingDaemon, daemon_of
from hostsim.memory.arriving import Arrival, ArrivingFaults, ArrivingPages, check_content
from hostsim.memory.host_memory import HostMemory
from hostsim.memory.pages import MISSING
from hostsim.memory.spec import NO_LIMIT

_SALT = 0x2E57A7ED
"""Draws of the guest at the destination are keyed apart from its draws at the source."""
NAME = "vm (destination)"
"""Of the VM in results."""


class DestinationHost:
    """The host to which post-copy has moved the VM of a machine, from the switch on (hostsim.qemu.postcopy.live).

    spec: of the machine.
    vm, live_vms: the guest here.
    notifiers, memory, daemons, monitor, there: as in hostsim.machine.machine.Machine, of this host; nothing moves on.
    """

    # Model limit: pages that the destination got before the switch cost its memory nothing while they arrived. At
    # the switch the pages that do not fit are in swap, lowest gfns first, as if all pages had arrived once in the
    # order of gfns.
    # Model limit: the destination's kernel, machine and MMU are the source's, and it runs no other VM.
    # Model limit: at the destination the work of an index of sptes (vm.mmu.index) is not modelled.

    def __init__(self, env: Clock, spec: MachineSpec, source: VmBase, missing: NDArray[np.uint8]) -> None:
        """The host at the switch, now. source: the VM, which has stopped; missing: uint8[n_pages], 1: not here."""
        assert spec.destination_memory is not None, "a machine without it has no such host"
        self.env, self.spec = env, spec
        self.there: DestinationHost | None = None
        mmu = replace(spec.mmu, index=MEASURED)
        memory, guest = _content(spec, source.memory, missing), _carried(source.guest)
        self.vm: LiveVm = live_vm(
            env, memory, guest, spec.n_vcpus, spec.sheet.vm_stop_ns, mmu, spec.dirty_tracking, running=False
        )
        self.vm.call(NAME)
        self.vm.engine.carry_on(env.now_ns)
        here = np.where(memory.zero == 1, UNTOUCHED, RESIDENT)
        self.vm.engine.pages.backing[:] = np.where(missing == 1, MISSING, here)
        self.live_vms = [self.vm]
        self.notifiers = [notifier_of(self.vm, mmu, "era" if spec.ageing is None else spec.ageing.mmu_lock)]
        self.memory = HostMemory(env, spec.destination_memory, spec.seed, "destination swap")
        policy = self.memory.policy_for(mmu.era, memory.n_pages)
        self._pages = ArrivingPages(0, self.vm, self.notifiers[0], policy, NO_LIMIT)
        self._faults = ArrivingFaults(self._pages, self.memory)
        self.memory.serve(self._pages, self._faults)
        self.memory.begin(oldest_first=True)
        self.daemons = self._daemons(mmu.era)
        self.monitor = Monitor(env, self.live_vms, self.memory)

    def _daemons(self, era: str) -> list[AgeingDaemon]:
        """The daemon of [ageing], whose ages begin anew: no page has been tested here."""
        spec = self.spec.ageing
        if spec is None:
            return []
        own = replace(spec, passes=0)
        return [daemon_of(self.vm, self.notifiers[0], own, era, self._pages, self.spec.seed)]

    def name_of(self, number: int) -> str:  # noqa: ARG002  # there is one
        """Name of VM ``number`` in results."""
        return NAME

    def serve(self, there: Arrival) -> None:
        """See hostsim.qemu.postcopy.live.DestinationHost."""
        self._pages.arrival = there

    def allocate(self) -> Generator[simpy.Event, Any, int]:
        """See hostsim.qemu.postcopy.live.DestinationHost."""
        return (yield from self._faults.allocate())

    def give_back(self, n_frames: int) -> None:
        """See hostsim.qemu.postcopy.live.DestinationHost."""
        self._pages.take_in_fresh()
        self.memory.give_back(self._pages, n_frames)

    def check(self) -> None:
        """See hostsim.qemu.postcopy.live.DestinationHost."""
        self.memory.check()
        check_content(self._pages, self.memory)


def _content(spec: MachineSpec, source: GuestMemory, missing: NDArray[np.uint8]) -> GuestMemory:
    """Memory of the guest as the destination has it; a missing page holds nothing."""
    memory = make_memory(spec.blocks)
    memory.zero[:] = np.where(missing == 1, 1, source.zero)
    memory.version[:] = np.where(missing == 1, 0, source.version)
    return memory


def _carried(guest: Guest) -> Guest:
    """The work of ``guest`` from where its clocks stand, with draws of its own."""
    ints = guest.table.ints.copy()
    for key in (KEY0, KEY1):
        ints[:, key] = [plain(mix32)(int(value) ^ _SALT) for value in ints[:, key]]
    ints.flags.writeable = False
    return replace(guest, table=guest.table._replace(ints=ints), clocks=guest.clocks.copy())
