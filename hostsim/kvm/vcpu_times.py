"""The times of vCPUs by state, and the check that no time counts twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hostsim.core.clock import NEVER_NS
from hostsim.core.errors import InvariantError
from hostsim.guest.pacing import CLOSED, IS_PLAIN, RUN_MODE, SPEED_DEN, SPEED_NUM, TICK, work_at

if TYPE_CHECKING:
    # Circle of types: the VM makes these times, and they read the VM.
    from hostsim.kvm.live_vm import LiveVm

Ns = NDArray[np.int64]


@dataclass(frozen=True)
class VcpuTimes:
    """Times of a VM from the moment at which it was made to now [ns].

    elapsed_ns: time since then; of a VM that no migration has made, the length of the run so far.
    exit_ns: int64[n_vcpus], out of the guest by exits.
    page_wait_ns: int64[n_vcpus], part of ``exit_ns`` in which the vCPU waited for a page that was not resident.
    user_space_ns: int64[n_vcpus], in user space: paused, throttled, held, or with a full dirty ring.
    """

    elapsed_ns: int
    exit_ns: Ns
    page_wait_ns: Ns
    user_space_ns: Ns

    @property
    def guest_ns(self) -> Ns:
        """int64[n_vcpus], in guest mode; a vCPU that halts because all its tasks sleep counts as in guest mode."""
        return self.elapsed_ns - self.exit_ns - self.user_space_ns


def vcpu_times(vm: LiveVm) -> VcpuTimes:
    """Times of all vCPUs of ``vm`` by now."""
    now_ns = vm.env.now_ns
    out_ns = np.array([vcpu.user_space_ns for vcpu in vm.vcpus], np.int64)
    return VcpuTimes(now_ns - vm.since_ns, vm.engine.stalls_ns(now_ns), vm.page_waits.waited_ns(now_ns), out_ns)


def check_vcpu_times(vm: LiveVm) -> None:
    """InvariantError if the parts of a vCPU's time exceed the elapsed time, or contradict the vCPU's work clocks.

    Work clocks measure guest mode; other counters measure exits and user space. So the check finds a wait that counts for
    two vCPUs, or for a vCPU although another thread waited.
    """
    times = vcpu_times(vm)
    for vcpu, guest_ns in enumerate(times.guest_ns.tolist()):
        least_ns, most_ns = _worked_ns(vm, vcpu)
        if not (least_ns <= guest_ns <= most_ns and times.page_wait_ns[vcpu] <= times.exit_ns[vcpu]):
            raise InvariantError(_times_words(times, vcpu, least_ns))


def _times_words(times: VcpuTimes, vcpu: int, worked_ns: int) -> str:
    exit_ns, wait_ns, out_ns = (int(part[vcpu]) for part in (times.exit_ns, times.page_wait_ns, times.user_space_ns))
    percent = 100 * (exit_ns + out_ns + worked_ns) / max(1, times.elapsed_ns)
    exits = f"{exit_ns} ns in exits ({wait_ns} ns of it waiting for pages)"
    parts = f"{worked_ns} ns of work, {exits}, {out_ns} ns in user space"
    return f"vCPU {vcpu}: {parts} add up to {percent:.4g} % of its {times.elapsed_ns} ns"


def _worked_ns(vm: LiveVm, vcpu: int) -> tuple[int, int]:
    """(least, most) time in guest mode that agrees with the work done; work at timer ticks sets no bound.

    Closed-loop work takes exactly its own time, unless its task slept while the vCPU ran other tasks. Open-loop work runs at
    the full speed of the vCPU at most.
    """
    least_ns, most_ns = 0, NEVER_NS
    for clock in np.flatnonzero(vm.guest.clock_vcpu == vcpu):
        row = vm.guest.clocks[clock]
        work_ns = int(work_at(row, vm.env.now_ns)) - int(vm.work_before[clock])
        if row[TICK]:
            continue
        if row[RUN_MODE] != CLOSED:
            least_ns = max(least_ns, work_ns * int(row[SPEED_DEN]) // int(row[SPEED_NUM]))
            continue
        least_ns = max(least_ns, work_ns)
        # A task that thinks, or rests between windows, leaves its vCPU idle, in guest mode.
        most_ns = most_ns if vm.page_waits.sleeps or not row[IS_PLAIN] else min(most_ns, work_ns)
    return least_ns, most_ns
