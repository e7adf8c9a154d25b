"""Work clocks, one case after the other: when, in host time, does the touch of a given work time take place?"""

from __future__ import annotations

from hostsim.core.rng import NEVER
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Workload


class TwinClock:
    """Work of one vCPU for one workload. A host event at T sees exactly the touches before T."""

    def __init__(self, pacing: Pacing, windows: tuple[int, int, int] = (0, 0, 0)) -> None:
        self.pacing, self.windows = pacing, windows
        self.running = self.missed_tick = False
        self.work_ns = 0
        self.since_ns = 0
        self.last_tick_ns = 0
        self.tick_ns = pacing.tick_ns
        self.awake_ns = 0
        self.gone_ns = 0
        self.left_behind_ns = self.on(0) if pacing.open_loop else 0

    def enter(self, now_ns: int) -> None:
        if 0 < self.pacing.gap_ns < now_ns - self.gone_ns:
            self.left_behind_ns += self.on(now_ns) - self.on(self.gone_ns)
        self.since_ns, self.running = now_ns, True
        self.missed_tick = self.tick_ns > 0 and self._tick_before(now_ns) > self.last_tick_ns

    def on(self, now_ns: int) -> int:
        """Time inside the windows of the host's clock by ``now_ns``, window after window."""
        begin_ns, length_ns, period_ns = self.windows
        if not length_ns:
            return now_ns
        on_ns = 0
        while begin_ns < now_ns:
            on_ns += min(now_ns - begin_ns, length_ns)
            if not period_ns:
                break
            begin_ns += period_ns
        return on_ns

    def when_on(self, on_ns: int) -> int:
        """Host time at which the time inside the windows passes ``on_ns``."""
        begin_ns, length_ns, period_ns = self.windows
        while length_ns and on_ns >= length_ns:
            if not period_ns:
                return NEVER
            begin_ns, on_ns = begin_ns + period_ns, on_ns - length_ns
        return begin_ns + on_ns

    def leave(self, now_ns: int) -> None:
        self.gone_ns = now_ns
        if self.pacing.burst_ns:
            self.work_ns, self.awake_ns = self._think_until(now_ns)
            self.running = False
            return
        self.work_ns = self.work_before(now_ns)
        if self.tick_ns and (now_ns > self.since_ns or not self.missed_tick):
            self.last_tick_ns = max(self._last_earning_tick(), self._tick_before(now_ns))
        self.running = False

    def work_before(self, now_ns: int) -> int:
        """Work done strictly before ``now_ns``."""
        if not self.running:
            return self.work_ns
        if self.pacing.burst_ns:
            return self._think_until(now_ns)[0]
        if self.pacing.open_loop:
            arrived = self._tick_before(now_ns) if self.tick_ns else now_ns
            return max(self.work_ns, min(self.on(arrived) - self.left_behind_ns, self._able(now_ns)))
        if self.tick_ns:
            missed_ns = self._missed_work() if now_ns > self.since_ns else 0
            return self.work_ns + missed_ns + self._earned(self._tick_before(now_ns))
        return self.work_ns + self.on(now_ns) - self.on(self.since_ns)

    def when(self, touch_ns: int) -> int:
        """Host time of the touch at work time ``touch_ns``, if the vCPU stays in the guest."""
        if self.pacing.burst_ns:
            return self._think_to(touch_ns)
        if self.pacing.open_loop:
            due_ns = self.when_on(touch_ns + self.left_behind_ns)
            arrives = (due_ns // self.tick_ns + 1) * self.tick_ns if self.tick_ns else due_ns
            return max(arrives, self._first_able(touch_ns), self.since_ns)
        if not self.tick_ns:
            return self.when_on(self.on(self.since_ns) + touch_ns - self.work_ns)
        done_ns = self.work_ns + self._missed_work()
        if touch_ns < done_ns:
            return self.since_ns
        first_ns = self.when_on(self.on(self._last_earning_tick()) + touch_ns - done_ns)
        return first_ns if first_ns == NEVER else self._next_tick(first_ns + 1)

    def _earned(self, tick_ns: int) -> int:
        """Work of the ticks after the last that earned, up to that at ``tick_ns``."""
        return max(0, self.on(tick_ns) - self.on(self._last_earning_tick()))

    def _think_until(self, now_ns: int) -> tuple[int, int]:
        """(work done before ``now_ns``, when the task wakes or last woke): burst after burst, sleep after sleep."""
        work_ns, awake_ns, time_ns = self.work_ns, self.awake_ns, max(self.on(self.since_ns), self.awake_ns)
        now_ns = self.on(now_ns)
        while time_ns < now_ns:
            step = min(now_ns - time_ns, self.pacing.burst_ns - work_ns % self.pacing.burst_ns)
            work_ns, time_ns = work_ns + step, time_ns + step
            if work_ns % self.pacing.burst_ns == 0:
                awake_ns = time_ns = time_ns + self.pacing.think_ns
        return work_ns, awake_ns

    def _think_to(self, touch_ns: int) -> int:
        work_ns, time_ns = self.work_ns, max(self.on(self.since_ns), self.awake_ns)
        while work_ns < touch_ns:
            step = min(touch_ns - work_ns, self.pacing.burst_ns - work_ns % self.pacing.burst_ns)
            work_ns, time_ns = work_ns + step, time_ns + step
            if work_ns % self.pacing.burst_ns == 0:
                time_ns += self.pacing.think_ns
        return self.when_on(time_ns)

    def _missed_work(self) -> int:
        """The work that a tick earns which came while the vCPU was out: it fires when the vCPU is back, or is too late."""
        gap_ns = self.since_ns - self.last_tick_ns
        too_late = 0 < self.pacing.tick_late_ns < gap_ns
        return self.on(self.since_ns) - self.on(self.last_tick_ns) if self.missed_tick and not too_late else 0

    def _last_earning_tick(self) -> int:
        return self.since_ns if self.missed_tick else self.last_tick_ns

    def _tick_before(self, now_ns: int) -> int:
        return max(0, (now_ns - 1) // self.tick_ns * self.tick_ns)

    def _next_tick(self, now_ns: int) -> int:
        """First tick at or after ``now_ns``; there is none at time 0."""
        return max(1, -(-now_ns // self.tick_ns)) * self.tick_ns if self.tick_ns else 0

    def _able(self, now_ns: int) -> int:
        """The work of a vCPU at full speed since it entered the guest."""
        speed = self.pacing.catch_up
        return self.work_ns + (now_ns - self.since_ns) * speed.numerator // speed.denominator

    def _first_able(self, touch_ns: int) -> int:
        """Last instant at whose start ``touch_ns`` is not done yet, at full speed."""
        speed = self.pacing.catch_up
        needed = (touch_ns - self.work_ns + 1) * speed.denominator
        return self.since_ns + -(-needed // speed.numerator) - 1


def clock_of(load: Workload) -> TwinClock:
    """The clock of one vCPU for ``load``."""
    return TwinClock(load.pacing, load.host_windows)
