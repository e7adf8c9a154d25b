"""EngineState: the arrays of one VM and the events it has for the host, as the parts of GuestEngine share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hostsim.core.memory import GuestMemory
from hostsim.guest.workload import Guest
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.loops.layout import DUE_CONTENDED, DUE_FAULT, DUE_GRANTED, DUE_OUT, DUE_WALKED, Kvm

GRANTED, OUT, CONTENDED, FAULT, WALKED = DUE_GRANTED, DUE_OUT, DUE_CONTENDED, DUE_FAULT, DUE_WALKED


class Due(NamedTuple):
    """An event for the host.

    ns: time of the event.
    what: GRANTED, CONTENDED, WALKED, OUT or FAULT.
    who: the host slot of GRANTED, CONTENDED and WALKED, the vCPU of OUT and FAULT.
    """

    ns: int
    what: int
    who: int


class EngineState:
    """State that the parts of a GuestEngine share.

    kvm: the arrays of the compiled loops, replaced when an array changes its shape.
    memory: content of the VM's pages.
    config: behaviour of its MMU.
    guest: work of its vCPUs.
    next_ns: lower bound of the guest's next event.
    due: events that the host has not taken yet, oldest first.
    before_protection: called before the host takes W, or the mapping, from pages; None: nothing keeps which had W.
    """

    def __init__(self, kvm: Kvm, memory: GuestMemory, config: MmuConfig, guest: Guest) -> None:
        self.kvm, self.memory, self.config, self.guest = kvm, memory, config, guest
        self.next_ns = 0
        self.due: list[Due] = []
        self.before_protection: Callable[[], None] | None = None

    def about_to_protect(self) -> None:
        """Tell the actor that keeps which pages were writable."""
        if self.before_protection is not None:
            self.before_protection()

    @property
    def n_vcpus(self) -> int:
        """Number of vCPUs."""
        return len(self.kvm.vcpus)

    def changed(self, now_ns: int) -> None:
        """Note a change by the host at ``now_ns``: the engine searches the guest's next event from there on."""
        self.next_ns = now_ns

    def collect(self) -> None:
        """Move the events that the compiled loops have left for the host to ``due``."""
        state = self.kvm.state
        self.due += [Due(*row) for row in self.kvm.due[: int(state.n_due)].tolist()]
        state.n_due = 0

    def granted(self, now_ns: int) -> list[int]:
        """Host slots to which a change at ``now_ns`` has granted mmu_lock; its other events stay in ``due``."""
        self.changed(now_ns)
        before, self.due = self.due, []
        self.collect()
        granted = [due.who for due in self.due if due.what == GRANTED]
        self.due = before + [due for due in self.due if due.what != GRANTED]
        return granted
