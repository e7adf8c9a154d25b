"""Work clocks of touch classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit
from hostsim.guest.pacing import work_at
from hostsim.guest.touch import CLOCK_COUNT, CLOCK_FIRST


@jit
def class_work(ints: NDArray[np.int64], clocks: NDArray[np.int64], c: int, t_ns: int) -> int:
    """Work time of class ``c`` at host time ``t_ns``: the sum over the vCPUs that feed it."""
    first = ints[c, CLOCK_FIRST]
    total = 0
    for i in range(first, first + ints[c, CLOCK_COUNT]):
        total += work_at(clocks[i], t_ns)
    return total
