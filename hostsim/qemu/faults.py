"""Packets that a network drops: outages by schedule, and losses at random."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit

TO_DESTINATION, TO_SOURCE = 1, 2
"""Directions in which an outage drops packets; their sum: both."""
RTO_MAX_PS = 120_000_000_000_000
"""include/net/tcp.h TCP_RTO_MAX."""
RETRIES2_PS = 924_600_000_000_000
"""tcp_retries2 = 15 as a time (retransmits_timed_out with TCP_RTO_MIN): the first expiry so long after the first
retransmission breaks the connection."""


class Faults(NamedTuple):
    """Faults of a path.

    any: 1: packets may be dropped; 0: the other fields have no meaning.
    outages: int64[n, 3], start [ps], end [ps], directions.
    segment: payload of a packet [bytes].
    rto_ps: retransmission timeout, in whole jiffies.
    loss_gap: mean payload between two random losses [bytes], 0: none; loss_key: of their draws.
    """

    any: int
    outages: NDArray[np.int64]
    segment: int
    rto_ps: int
    loss_gap: int
    loss_key: tuple[int, int]


NO_FAULTS = Faults(0, np.zeros((0, 3), np.int64), 0, 0, 0, (0, 0))


@jit
def is_down(faults: Faults, at_ps: int, direction: int) -> bool:
    """Whether an outage drops packets of ``direction`` at ``at_ps``."""
    for i in range(len(faults.outages)):
        if faults.outages[i, 0] <= at_ps < faults.outages[i, 1] and faults.outages[i, 2] & direction:
            return True
    return False


@jit
def cube_root(value: int) -> int:
    """Largest integer whose cube is at most ``value``, by halving."""
    low, high = 0, 1 << 20
    while low < high:
        middle = (low + high + 1) >> 1
        if middle * middle * middle <= value:
            low = middle
        else:
            high = middle - 1
    return low
