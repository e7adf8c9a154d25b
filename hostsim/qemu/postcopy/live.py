"""The destination of post-copy whose memory may run short: a VM under KVM with sptes, frames and swap of its own.

The guest's exits are those of its engine, events of the phase those of hostsim.qemu.postcopy.loop. A touch of a page that
is missing goes from the engine to the phase (handle_userfault), a vCPU that runs again from the phase to the engine, and the
phase places pages. So engine and phase advance in turns, each up to the next event of the other.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.errors import InvariantError
from hostsim.core.rng import NEVER
from hostsim.guest.first_touch import FirstTouches
from hostsim.guest.pacing import N_FIELDS
from hostsim.qemu.postcopy import frames
from hostsim.qemu.postcopy import state as at
from hostsim.qemu.postcopy.destination import Destination, LinkBrokenError
from hostsim.qemu.postcopy.loop import run_phase, upcoming_ns
from hostsim.qemu.postcopy.turns import wake_fault_thread

if TYPE_CHECKING:
    from hostsim.kvm.live_vm import LiveVm

FRESH_MAX = 1 << 10
"""Room for pages that are placed between two allocations: each of two threads has a batch of 63 frames at most."""
Pages = NDArray[np.int64]


class DestinationHost(Protocol):
    """The host to which the guest has moved; vm: the guest there, whose vCPUs are held in user space at first."""

    vm: LiveVm

    def serve(self, there: LiveDestination) -> None:
        """Report touches of missing pages to ``there``, and count its frames and its fresh pages, from now on."""
        ...

    def allocate(self) -> Generator[simpy.Event, Any, int]:
        """Allocate frames for a thread that places pages, one at least, and list fresh pages; return their number."""
        ...

    def give_back(self, n_frames: int) -> None:
        """The last page is placed: list fresh pages, and free ``n_frames`` that are at hand."""
        ...

    def check(self) -> None:
        """InvariantError if a frame is lost or has two owners, or a page has lost a write."""
        ...


class LiveDestination(Destination):
    """The phase, beside a guest that runs in an engine of its own; host: the destination's host."""

    def __init__(self, host: DestinationHost, *given: Any) -> None:
        """``given``: the parameters of Destination."""
        super().__init__(*given)
        self.host, self._waiting, self._stale, self._event_ns = host, set[int](), True, 0
        vm = host.vm
        none, no_clocks = np.zeros(0, np.int64), np.zeros((0, N_FIELDS), np.int64)
        self.phase = self.phase._replace(
            clocks=no_clocks, clock_vcpu=none, classes=np.zeros((0, at.N_CLASS), np.int64), places=vm.backing,
            zero_there=vm.memory.zero, version_there=vm.memory.version, fresh=np.zeros(FRESH_MAX, np.int64),
        )  # fmt: skip
        host.serve(self)

    def _first_touches(self, missing: NDArray[np.uint8], clocks: NDArray[np.int64]) -> list[FirstTouches]:
        """None: the engine finds all touches."""
        return []

    @property
    def clocks(self) -> NDArray[np.int64]:
        """See Destination."""
        return self.host.vm.guest.clocks

    def work_ns(self) -> int:
        """See Destination."""
        return self.host.vm.work_ns()

    @property
    def frames_at_hand(self) -> int:
        """Free frames at hand for pages to be placed."""
        return int(self.phase.p[at.FRAMES])

    def placed(self) -> Pages:
        """int64[k]: pages that got a frame since the last ``take_placed``, oldest first."""
        return self.phase.fresh[: int(self.phase.p[at.PLACED_FRESH])].copy()

    def take_placed(self) -> Pages:
        """Return ``placed`` and empty the list."""
        found = self.placed()
        self.phase.p[at.PLACED_FRESH] = 0
        return found

    # -- time

    def advance(self, until_ns: int = NEVER, started_ns: int = 0) -> Generator[simpy.Event, Any, int]:
        """Advance the phase to ``until_ns``; see Destination.advance. started_ns: start of ram_save_iterate [ns]."""
        env, p = self._env, self.phase.p
        self._stale = True
        while True:
            bound_ns = self._bound_ns(until_ns)
            horizon_ns, at_ns = self._horizon(bound_ns)
            reason = at.HORIZON
            if horizon_ns > env.now_ns or bound_ns == env.now_ns:
                reason = int(run_phase(self.phase, self.rules, self._table, horizon_ns, started_ns))
                self._stale = True
            if reason == at.GROW:
                self._grow()
                continue
            if reason != at.HORIZON:
                yield env.timeout(int(p[at.NOW_NS]) - env.now_ns)
                if not self._handled(reason):
                    return reason
                continue
            if at_ns > env.now_ns or bound_ns == env.now_ns:
                yield env.timeout(at_ns - env.now_ns)
            if env.now_ns >= self.broken_ns:
                raise LinkBrokenError
            if env.now_ns >= until_ns:
                return reason

    def _horizon(self, bound_ns: int) -> tuple[int, int]:
        """(time up to which the phase may run alone, time at which the host's clock looks again), ``bound_ns`` at most [ns].

        The guest goes first, up to the next event of the phase: until then the phase changes nothing. Then the phase goes on
        to the guest's next event. Of events of one instant the host's come first.
        """
        env, guest = self._env, self.host.vm
        if self._stale:
            self._event_ns, self._stale = upcoming_ns(self.phase, self.rules), False
        event_ns = max(self._event_ns, env.now_ns)
        if bound_ns == env.now_ns:
            return bound_ns, bound_ns
        if guest.next_ns < min(event_ns, bound_ns):
            came_up_ns = env.settle(min(event_ns, bound_ns))
            if came_up_ns < event_ns:
                return came_up_ns, came_up_ns
        if event_ns >= bound_ns:
            return bound_ns, bound_ns
        if self._knobs.window_ns:
            bound_ns = min(bound_ns, event_ns + self._knobs.window_ns)
        horizon_ns = min(bound_ns, max(guest.next_ns, event_ns + 1))
        return horizon_ns, env.now_ns

    def _handled(self, reason: int) -> bool:
        """Whether the reason, due now, concerns the hosts and not the migration thread; then the phase goes on."""
        p = self.phase.p
        if reason in (at.AWAY, at.AWAY_BACK):
            self._env.process(self._swap_in(reason))
        elif reason == at.WOKEN:
            self._run(int(p[at.WOKEN_VCPU]))
        elif reason == at.NO_FRAME:
            channel = int(p[at.LACKING])
            frames.wait_for_frame(self.phase, channel)
            self._env.process(self._allocate(channel))
        elif reason == at.BROKEN:
            raise LinkBrokenError
        else:
            return False
        return True

    def _swap_in(self, reason: int) -> Generator[simpy.Event, Any, None]:
        yield from super()._swap_in(reason)
        self._stale = True

    def _allocate(self, channel: int) -> Generator[simpy.Event, Any, None]:
        """The thread that loads ``channel`` allocates the frame of its page; below the min watermark it reclaims."""
        life, since_ns = self._life, self._env.now_ns
        self.phase.p[at.FRAMES] += yield from self.host.allocate()
        if channel == at.MAIN:
            self.frames_ns += self._env.now_ns - since_ns
        if life == self._life:
            frames.go_on(self.phase, self.rules, channel, self._env.now_ns)
        self._stale = True

    def written(self) -> Generator[simpy.Event, Any, None]:
        """See Destination; the time at which a page that waits for a frame is placed cannot be computed ahead."""
        p = self.phase.p
        if p[at.IS_BLOCKED]:
            p[at.AWAITS_ROOM] = 1
            yield from self.advance()
            p[at.AWAITS_ROOM] = 0

    # -- the guest

    def touched(self, vcpu: int, page: int) -> None:
        """A vCPU has touched a missing page now (fs/userfaultfd.c::handle_userfault): the fault thread is woken."""
        phase, now_ns = self.phase, self._env.now_ns
        p, row = phase.p, phase.vcpus[vcpu]
        wake_fault_thread(phase, self.rules, page, now_ns)
        row[[at.IS_WAITING, at.WAITS_FOR, at.SINCE_NS]] = 1, page, now_ns
        row[at.HANDLE_NS], row[at.BEGIN_NS] = p[at.FAULT_FREE_NS], -1
        p[[at.FAULTS, at.WAITING]] += 1
        self._waiting.add(vcpu)
        self._stale = True

    def _run(self, vcpu: int) -> None:
        """A vCPU enters the guest: the page that it waited for is placed, or the guest starts at the destination."""
        if vcpu in self._waiting:
            self._waiting.discard(vcpu)
            self.host.vm.page_is_there(vcpu)
        else:
            self.host.vm.vcpus[vcpu].release()

    def _run_later(self, vcpu: int, at_ns: int) -> Generator[simpy.Event, Any, None]:
        yield self._env.timeout(at_ns - self._env.now_ns)
        self._run(vcpu)

    # -- invariants

    def check_complete(self) -> None:
        """See Destination; the guest goes on without the phase, and the frames at hand are freed."""
        super().check_complete()
        stale = np.flatnonzero(self.phase.version_there != self.phase.version)
        if len(stale):
            raise InvariantError(f"gfn {int(stale[0])}: the guest at the destination runs on an old copy of the page")
        p, vcpus = self.phase.p, self.phase.vcpus
        left, p[at.FRAMES] = self.frames_at_hand, 0
        self.host.give_back(left)
        for vcpu in np.flatnonzero(vcpus[:, at.WAKE_NS] != NEVER).tolist():
            self._env.process(self._run_later(vcpu, int(vcpus[vcpu, at.WAKE_NS])))
        self.host.check()
