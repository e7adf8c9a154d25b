"""Work clocks of vCPUs that exit: stopped at an exit, running again from the entry on."""

from __future__ import annotations

from hostsim.compiled.jit import inlined, inlined_and_called
from hostsim.core.rng import NEVER
from hostsim.guest.pacing import (
    CLOSED,
    IS_PLAIN,
    LATE,
    LEFT,
    MODE,
    RUN_MODE,
    SPEED_DEN,
    SPEED_NUM,
    STOPPED,
    T0,
    W0,
    closed_touch_ns,
    leave_gap,
    note_sleep,
    window_touch_ns,
    work_at,
)
from hostsim.guest.touch import (
    ALWAYS,
    CLOCK_COUNT,
    WINDOW_LENGTH,
    WINDOW_PERIOD,
    WINDOW_START,
)
from hostsim.guest.windows import window_global, window_local
from hostsim.kvm.loops.layout import Ints, Kvm


@inlined_and_called
def touch_ns(row: Ints, work_ns: int) -> int:
    """Host time of a touch at ``work_ns`` of a clock that runs: it comes after the host events of that instant."""
    if row[MODE] == CLOSED:
        return int(row[T0] + work_ns - row[W0]) if row[IS_PLAIN] == 1 else closed_touch_ns(row, work_ns)
    able = row[T0] - 1 - (-(work_ns + 1 - row[W0]) * row[SPEED_DEN] // row[SPEED_NUM])
    arrives = work_ns + row[LEFT] if row[IS_PLAIN] == 1 else window_touch_ns(row, work_ns + row[LEFT])
    return int(max(arrives, able, row[T0]))


@inlined
def stop_clocks(k: Kvm, v: int, now_ns: int) -> None:
    """The vCPU ``v`` is out of the guest from ``now_ns`` on."""
    vcpu = k.vcpus[v]
    for at in range(vcpu.clock_first, vcpu.clock_end):
        if k.own_clocks[at] < 0:  # its task sleeps until the host has the page
            continue
        row = k.clocks[k.own_clocks[at]]
        # The work of a clock that neither thinks, rests nor lags, which most do, is not worth a call.
        if row[MODE] == CLOSED and row[IS_PLAIN] == 1:
            row[W0] += now_ns - row[T0]
        else:
            work_ns = work_at(row, now_ns)
            if row[MODE] == CLOSED:
                note_sleep(row, now_ns)
            row[W0] = work_ns
        row[T0], row[MODE] = now_ns, STOPPED
    vcpu.away_since_ns = now_ns


@inlined
def start_clocks(k: Kvm, v: int, now_ns: int) -> None:
    """Start the clocks of vCPU ``v``, in the guest again at ``now_ns``; clocks of parked tasks (parking.py) stand still."""
    vcpu = k.vcpus[v]
    for at in range(vcpu.clock_first, vcpu.clock_end):
        if k.own_clocks[at] < 0:  # its task sleeps until the host has the page
            continue
        row = k.clocks[k.own_clocks[at]]
        if row[LATE]:  # most have none, and it is not worth a call
            leave_gap(row, now_ns)
        row[T0], row[MODE] = now_ns, row[RUN_MODE]
    vcpu.stall_ns += now_ns - vcpu.away_since_ns


@inlined
def _window(row: Ints) -> tuple[int, int, int]:
    """Start, length and period of the active windows of a class, in the time of one of its clocks."""
    start, length, period, n = row[WINDOW_START], row[WINDOW_LENGTH], row[WINDOW_PERIOD], row[CLOCK_COUNT]
    if n > 1:  # three divisions at each touch of a sweep, which mostly has a clock of its own
        start, length, period = start // n, length // n, period // n
    return int(start), int(length), int(period)


@inlined
def active_time(row: Ints, work_ns: int) -> int:
    """Time spent in the active windows of a class by one of its clocks [ns], when the clock has run ``work_ns``.

    row: int64[N_INTS], the class.
    """
    if row[WINDOW_LENGTH] == ALWAYS:
        return int(work_ns)
    start, length, period = _window(row)
    return window_local(start, length, period, work_ns)


@inlined
def work_time(row: Ints, active_ns: int) -> int:
    """Work time [ns] at which a clock of the class ``row`` has spent ``active_ns`` in active windows."""
    if row[WINDOW_LENGTH] == ALWAYS or active_ns >= NEVER:
        return int(active_ns)
    start, length, period = _window(row)
    return window_global(start, length, period, active_ns)
