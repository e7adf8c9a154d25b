"""A vCPU and the loader of post-copy on one core, written out."""

from __future__ import annotations

from typing import Any

from hostsim.core.rng import keyed_word

FAULT_KEY = 0x0FA17
TICK, SLICE = 4_000_000, 1_400_000


class CoreTurns:
    """A vCPU and the loader on one of two cores: the one that has run less goes first, at the scheduler's next look."""

    def __init__(self, phase: Any) -> None:
        self.phase, self.costs = phase, phase.costs
        self.on = self.costs.turn_block_ns > 0 and phase.spec.link.latency_ns == 0
        self.from_ns: int | None = None
        self.waiter: int | None = None
        self.ahead_ns = self.since_ns = 0

    def _guest_has_it(self) -> bool:
        return self.from_ns is not None and self.from_ns <= self.phase.now

    def fault_ns(self, page: int) -> int:
        if not self._guest_has_it():
            return int(self.costs.fault_ns)
        spread = self.costs.turn_fault_spread_ns
        drawn = keyed_word(FAULT_KEY, page, self.phase.faults) * 2 * spread >> 32
        return int(self.costs.turn_block_ns + self.costs.turn_fault_ns - spread + drawn)

    def vcpu_sleeps(self) -> None:
        if not self._guest_has_it():
            return
        self.since_ns = self.phase.now + self.costs.turn_block_ns
        self.ahead_ns += self.since_ns - self.from_ns
        self.from_ns = self.waiter = None
        self._loader_goes_on(self.since_ns + self.costs.turn_place_ns)

    def _loader_goes_on(self, at_ns: int) -> None:
        """The first page is placed at ``at_ns``, each later one when it is there and the one before is placed."""
        phase = self.phase
        for i, entry in enumerate(phase.wire):
            cost = self.costs.place_page_ns if entry[1] >= 4104 else self.costs.place_zero_ns
            at_ns = entry[2] = max(at_ns, entry[2] - cost) + cost if i else at_ns
            phase.await_place(entry, at_ns)
        if phase.wire:
            phase.read_until = max(phase.read_until, at_ns)

    def takes_core(self) -> bool:
        phase = self.phase
        is_early = phase.now < phase.fault_busy + self.costs.request_ns
        return bool(self.on and is_early and phase.sending and phase.wire and self.from_ns is None)

    def take(self, vcpu: int) -> int:
        now = self.phase.now
        if self.ahead_ns > 0:
            self.ahead_ns = max(0, self.ahead_ns - max(0, now - self.since_ns))
        self.from_ns = now
        if self.ahead_ns > 0:
            self.waiter, self.from_ns = vcpu, ((now + self.ahead_ns) // TICK + 1) * TICK
            self.ahead_ns -= self.from_ns - now
        return self.from_ns

    def schedule(self) -> None:
        """The sender is woken on this core, or the loader sleeps."""
        phase = self.phase
        if self.waiter is None or phase.now >= self.from_ns:
            return
        ahead_ns = self.ahead_ns + self.from_ns - phase.now
        if phase.wire and ahead_ns > 0:
            return
        vcpu, self.ahead_ns, self.waiter = self.waiter, ahead_ns, None
        self.from_ns = phase.now if phase.wire else None
        phase.wake(vcpu, phase.now + self.costs.wake_ns)

    def put_off(self) -> int:
        """When a page that is due now is placed."""
        now = self.phase.now
        return now if self.from_ns is None or now <= self.from_ns else max(now, self.from_ns + SLICE)

    def loader_places(self) -> None:
        """After a whole slice of the guest the loader has its core again."""
        now = self.phase.now
        if self.from_ns is None or self.from_ns >= now:
            return
        self.ahead_ns, self.since_ns = self.ahead_ns + now - self.from_ns, now
        self.from_ns = self.waiter = None
        self._loader_goes_on(now)
