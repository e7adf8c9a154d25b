"""What all parts of the engine share: the arrays, and when something comes up next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.core.memory import GuestMemory
from hostsim.guest.workload import Guest
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.loops.layout import Kvm

Bytes = NDArray[np.uint8]


class EngineState:
    """kvm: the arrays of the compiled loops; next_ns: no event of the guest comes before it; is_walked: walkers may come."""

    def __init__(self, kvm: Kvm, memory: GuestMemory, config: MmuConfig, n_vcpus: int, guest: Guest) -> None:
        self.kvm, self.memory, self.config, self.n_vcpus, self._guest = kvm, memory, config, n_vcpus, guest
        self._tlb_levels: Bytes | None = None
        self._tlb_chances: Sequence[float] | None = None
        self.next_ns = 0
        self.is_walked = False

    def _changed(self, now_ns: int) -> None:
        """The host changed something: the next guest event has to be found anew."""
        self.next_ns = now_ns
