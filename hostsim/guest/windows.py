"""Windows of a clock in which a workload is active: time inside them, and its inverse."""

from __future__ import annotations

from hostsim.compiled.jit import jit
from hostsim.core.rng import NEVER


@jit
def window_local(start: int, length: int, period: int, t_ns: int) -> int:
    """Time [ns] spent inside the active windows by time ``t_ns``.

    start, length, period: of the windows [ns]; period 0: there is one window.
    """
    if t_ns <= start:
        return 0
    if period == 0:
        return min(t_ns - start, length)
    full, rest = (t_ns - start) // period, (t_ns - start) % period
    return full * length + min(rest, length)


@jit
def window_global(start: int, length: int, period: int, local_ns: int) -> int:
    """Inverse of ``window_local``: the time at which active time passes ``local_ns``; NEVER if it does not.

    start, length, period: of the windows [ns]; period 0: there is one window.
    """
    if period == 0:
        return start + local_ns if local_ns < length else NEVER
    return start + (local_ns // length) * period + local_ns % length
