"""Work clocks: the work that a vCPU has done by a host time, in integer nanoseconds.

One row of int64 a clock; ``work_at`` is the only reader. A touch at work time u has happened before the host
event at T if and only if ``u < work_at(row, T)``: host events come first at equal times (rank 0).
Closed-loop work stops with the vCPU; open-loop work arrives all the time, and the vCPU catches up with it. The clock of work
in windows of the host's time stands between the windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, late, part
from hostsim.guest.windows import window_global, window_local

STOPPED, CLOSED, OPEN = 0, 1, 2
(MODE, T0, W0, SPEED_NUM, SPEED_DEN, TICK, LATE, LAST, RUN_MODE, MISSED, BURST, THINK, AWAKE, LEFT, IS_PLAIN, ON_START,
 ON_LENGTH, ON_PERIOD) = range(18)  # fmt: skip
N_FIELDS = 18
"""MISSED: 1 while a tick that was missed fires at T0, which is after the host events of T0.

AWAKE: ``on_ns`` up to which the task sleeps, or one that has passed [ns].
LEFT: time of gaps whose work the guest has left, open loop, and ``on_ns`` at host time 0 [ns].
IS_PLAIN: 1: the task neither thinks nor works in windows of the host's clock.
ON_START, ON_LENGTH, ON_PERIOD: windows of the host's clock in which work is done or arrives [ns]; ON_LENGTH 0: always.
"""


@dataclass(frozen=True)
class Pacing:
    """The relation of work to the host's clock.

    open_loop: work arrives at its own rate; else the vCPU starts the next work when it has done the last.
    catch_up: full speed of the vCPU over its nominal speed (open loop only).
    tick_ns: period of timer ticks at which alone the guest works, 0: the guest works all the time.
    tick_late_ns: closed loop; a tick later than this after the last tick adds no work, as in a guest that does not trust a
    long gap; 0: every tick adds work.
    burst_ns, think_ns: closed loop; after each ``burst_ns`` of work the task sleeps ``think_ns`` of the host's time, by a
    timer that goes on while the vCPU is out of the guest. 0: it never sleeps.
    gap_ns: open loop; work that arrives while the vCPU is out of the guest for longer is left, as by a guest that looks at
    its clock all the time and distrusts a long gap; 0: the vCPU catches up with all work.
    """

    open_loop: bool = False
    catch_up: Fraction = Fraction(10)
    tick_ns: int = 0
    tick_late_ns: int = 0
    burst_ns: int = 0
    think_ns: int = 0
    gap_ns: int = 0

    @property
    def duty(self) -> Fraction:
        """Share of the time in which the task works if the vCPU is always in the guest."""
        return Fraction(self.burst_ns, self.burst_ns + self.think_ns) if self.burst_ns else Fraction(1)


def clock_row(pacing: Pacing, windows: tuple[int, int, int] = (0, 0, 0)) -> NDArray[np.int64]:
    """int64 row of a clock that is stopped at host time 0 with no work done.

    windows: ON_START, ON_LENGTH, ON_PERIOD [ns].
    """
    row = np.zeros(N_FIELDS, np.int64)
    row[[ON_START, ON_LENGTH, ON_PERIOD]] = windows
    row[IS_PLAIN] = pacing.burst_ns == 0 and windows[1] == 0
    row[LEFT] = window_local(*windows, 0) if pacing.open_loop and windows[1] else 0
    speed = pacing.catch_up.limit_denominator(1_000_000)
    row[SPEED_NUM], row[SPEED_DEN] = speed.numerator, speed.denominator
    row[TICK], row[LATE] = pacing.tick_ns, pacing.gap_ns if pacing.open_loop else pacing.tick_late_ns
    row[BURST], row[THINK] = pacing.burst_ns, pacing.think_ns
    row[RUN_MODE] = OPEN if pacing.open_loop else CLOSED
    return row


@jit
def last_tick_before(tick_ns: int, t_ns: int) -> int:
    """Time of the last timer tick strictly before ``t_ns`` (a tick at ``t_ns`` follows the host event of ``t_ns``)."""
    return ((t_ns - 1) // tick_ns) * tick_ns if t_ns > 0 else 0


@late
def _windows_ns(row: NDArray[np.int64], t_ns: int) -> int:
    return int(window_local(row[ON_START], row[ON_LENGTH], row[ON_PERIOD], t_ns))


@part
def on_ns(row: NDArray[np.int64], t_ns: int) -> int:
    """Time [ns] that has passed in the windows of the clock by host time ``t_ns``; without windows the host time."""
    return int(t_ns) if row[ON_LENGTH] == 0 else int(_windows_ns(row, t_ns))


@late
def window_touch_ns(row: NDArray[np.int64], on: int) -> int:
    """Host time at which ``on_ns`` passes ``on`` [ns]; NEVER if it does not."""
    return int(window_global(row[ON_START], row[ON_LENGTH], row[ON_PERIOD], on)) if row[ON_LENGTH] else int(on)


@part
def burst_left(row: NDArray[np.int64]) -> int:
    """Work [ns] from W0 to the end of the burst."""
    return int(row[BURST] - row[W0] % row[BURST])


@late
def _bursts_work(row: NDArray[np.int64], t_ns: int) -> int:
    """Work of a task that thinks: the rest of its burst, whole cycles of sleep and burst, and a part of the last burst."""
    worked, left = on_ns(row, t_ns) - max(on_ns(row, row[T0]), row[AWAKE]), burst_left(row)
    if worked <= left:
        return int(row[W0] + max(worked, 0))
    cycles, rest = (worked - left) // (row[THINK] + row[BURST]), (worked - left) % (row[THINK] + row[BURST])
    return int(row[W0] + left + cycles * row[BURST] + max(rest - row[THINK], 0))


@jit
def note_sleep(row: NDArray[np.int64], t_ns: int) -> None:
    """Keep in AWAKE when the task wakes up that has fallen asleep by ``t_ns``, at which a running clock stops. In place."""
    # Model limit: a task that sleeps leaves its vCPU idle in guest mode; neither its halt nor the timer is an exit.
    if row[BURST] == 0:
        return
    now = on_ns(row, t_ns)
    worked, left = now - max(on_ns(row, row[T0]), row[AWAKE]), burst_left(row)
    if worked >= left:
        cycle = row[THINK] + row[BURST]
        row[AWAKE] = now - (worked - left) % cycle + row[THINK]


@late
def closed_touch_ns(row: NDArray[np.int64], work_ns: int) -> int:
    """Host time of the touch at ``work_ns`` of a closed-loop task that thinks, or works in windows, on a clock that runs.

    It is the inverse of the task's work.
    """
    begin, ahead = max(on_ns(row, row[T0]), row[AWAKE]), work_ns - row[W0]
    left = burst_left(row) if row[BURST] else ahead + 1
    if ahead < left:
        return int(window_touch_ns(row, begin + ahead))
    cycles, rest = (ahead - left) // row[BURST], (ahead - left) % row[BURST]
    return int(window_touch_ns(row, begin + left + cycles * (row[THINK] + row[BURST]) + row[THINK] + rest))


@part
def _closed_work(row: NDArray[np.int64], t_ns: int) -> int:
    if row[BURST] != 0:
        return _bursts_work(row, t_ns)
    if row[TICK] == 0:
        return int(row[W0] + on_ns(row, t_ns) - on_ns(row, row[T0]))
    if row[MISSED] == 0:
        return int(row[W0] + _ticks_work(row, row[LAST], t_ns))
    if t_ns <= row[T0]:
        return int(row[W0])
    is_owed = row[LATE] == 0 or row[T0] - row[LAST] <= row[LATE]
    owed = on_ns(row, row[T0]) - on_ns(row, row[LAST]) if is_owed else 0
    return int(row[W0] + owed + _ticks_work(row, row[T0], t_ns))


@part
def _ticks_work(row: NDArray[np.int64], from_ns: int, t_ns: int) -> int:
    """Work of the ticks after ``from_ns`` and before ``t_ns``."""
    return max(on_ns(row, last_tick_before(row[TICK], t_ns)) - on_ns(row, from_ns), 0)


@part
def _open_work(row: NDArray[np.int64], t_ns: int) -> int:
    arrived = on_ns(row, t_ns if row[TICK] == 0 else last_tick_before(row[TICK], t_ns)) - row[LEFT]
    elapsed = t_ns - row[T0]
    whole, rest = elapsed // row[SPEED_DEN], elapsed % row[SPEED_DEN]
    able = row[W0] + whole * row[SPEED_NUM] + rest * row[SPEED_NUM] // row[SPEED_DEN]
    return int(max(min(arrived, able), row[W0]))


@jit
def leave_gap(row: NDArray[np.int64], t_ns: int) -> None:
    """Leave the work of the gap that ends at ``t_ns``, of a clock stopped since T0, if the guest does not make up for it."""
    if row[RUN_MODE] == OPEN and t_ns - row[T0] > row[LATE]:
        row[LEFT] += on_ns(row, t_ns) - on_ns(row, row[T0])


@jit
def work_at(row: NDArray[np.int64], t_ns: int) -> int:
    """Work time [ns] below which every touch lies before the host event at ``t_ns`` (>= the row's last change)."""
    mode = row[MODE]
    if mode == CLOSED:
        return _closed_work(row, t_ns)
    if mode == OPEN:
        return _open_work(row, t_ns)
    return int(row[W0])


def stop(row: NDArray[np.int64], t_ns: int) -> None:
    """The vCPU leaves the guest at ``t_ns``; the row is changed in place."""
    if row[MODE] == STOPPED:
        return
    work_ns = work_at(row, t_ns)
    note_sleep(row, t_ns)
    row[W0] = work_ns
    if row[TICK] and (row[MISSED] == 0 or t_ns > row[T0]):
        fired = row[T0] if row[MISSED] else row[LAST]
        row[LAST] = max(int(fired), last_tick_before(int(row[TICK]), t_ns))
    row[T0], row[MODE], row[MISSED] = t_ns, STOPPED, 0


def resume(row: NDArray[np.int64], t_ns: int) -> None:
    """The vCPU enters the guest at ``t_ns``; a tick missed meanwhile fires at once. In place."""
    if row[MODE] != STOPPED:
        return
    if row[LATE]:
        leave_gap(row, t_ns)
    row[T0], row[MODE] = t_ns, row[RUN_MODE]
    row[MISSED] = row[TICK] > 0 and row[RUN_MODE] == CLOSED and last_tick_before(int(row[TICK]), t_ns) > row[LAST]
