"""Stalls of a guest whose host has to find its pages, watched from outside: how long, and how many at a time."""

from __future__ import annotations

from hostsim.host.kvm.live_vm import LiveVm
from hostsim.host.latency import Latencies


class StallWatch:
    """faults: that came up for the host; in_flight: of these not answered; in_flight_ns: integrated over time.

    latencies: of those answered, from where the vCPU came up to the answer; of a task that slept, until it went on.
    """

    def __init__(self, vm: LiveVm) -> None:
        """Stands between ``vm`` and its host from now on."""
        assert vm.host is not None
        self.faults = self.in_flight = self.in_flight_ns = 0
        self.latencies = Latencies()
        self._vm, self._changed_ns = vm, vm.env.now_ns
        self._came_ns: dict[int, int] = {}
        self._slept_ns: dict[int, int] = {}
        self._come, self._answer = vm.host.vcpu_faults, vm.engine.look_again
        self._park, self._unpark = vm.engine.park, vm.engine.unpark
        vm.host.vcpu_faults = self._comes  # type: ignore[method-assign]
        vm.engine.look_again = self._answered  # type: ignore[method-assign]
        vm.engine.park, vm.engine.unpark = self._sleeps, self._awakes  # type: ignore[method-assign]

    def begin(self) -> None:
        """Count latencies anew; those in flight count where they end."""
        self.faults, self.latencies = 0, Latencies()

    def _comes(self, vcpu: int) -> None:
        self.faults += 1
        self._came_ns[vcpu] = self._vm.env.now_ns
        self._count(1)
        self._come(vcpu)

    def _answered(self, vcpu: int, now_ns: int) -> None:
        self._ended(self._came_ns.pop(vcpu))
        self._answer(vcpu, now_ns)

    def _sleeps(self, vcpu: int, now_ns: int) -> int:
        clock = self._park(vcpu, now_ns)
        self._slept_ns[clock] = self._came_ns.pop(vcpu)
        return clock

    def _awakes(self, vcpu: int, clock: int, now_ns: int) -> None:
        self._ended(self._slept_ns.pop(clock))
        self._unpark(vcpu, clock, now_ns)

    def _ended(self, since_ns: int) -> None:
        self._count(-1)
        self.latencies.record(self._vm.env.now_ns - since_ns)

    def _count(self, more: int) -> None:
        now_ns = self._vm.env.now_ns
        self.in_flight_ns += self.in_flight * (now_ns - self._changed_ns)
        self._changed_ns = now_ns
        self.in_flight += more
