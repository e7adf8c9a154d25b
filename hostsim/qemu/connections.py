"""Connections over one link: they advance together, tick by tick, and share the link's time.

Within a tick one connection may fill the link. The first turn goes round, so connections with bytes to send get equal shares
over as many ticks as there are connections; a share that a connection cannot use, because its window is full, goes to the
others. On a path with faults each connection has losses, a retransmission timer and a window of its own.

The loops share parameters. row: int64[tcp_row.N_ROW], a connection; rows: int64[n, tcp_row.N_ROW]; shared: int64[N_SHARED],
the current tick, the link's time and a break; all change in place. path: constants of the connections.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part
from hostsim.core.rng import NEVER
from hostsim.qemu import tcp, tcp_loss, tcp_row
from hostsim.qemu.tcp_row import Path

TICK, FREE_PS, BROKEN_PS = range(3)
"""Columns of ``shared``: tick of all connections; when the link is free; when the first connection broke, 0: none [ps]."""
N_SHARED = 3


@part
def outstanding(row: NDArray[np.int64]) -> int:
    """Bytes that the send buffer keeps: unsent, in flight, or arrived beyond a gap."""
    return int(row[tcp_row.UNSENT] + row[tcp_row.IN_FLIGHT] + row[tcp_row.HELD])


@part
def _transmit(row: NDArray[np.int64], shared: NDArray[np.int64], path: Path, now_ps: int) -> None:
    """Send bytes of a connection as far as its windows and the link allow."""
    row[tcp_row.FREE_PS] = max(row[tcp_row.FREE_PS], shared[FREE_PS])
    if path.faults.any == 1:
        tcp_loss.transmit_faulty(row, path, now_ps)
    else:
        tcp.transmit(row, path, now_ps)
    shared[FREE_PS] = row[tcp_row.FREE_PS]


@jit
def enqueue(row: NDArray[np.int64], shared: NDArray[np.int64], path: Path, now_ps: int, n_bytes: int) -> None:
    """Put ``n_bytes`` into the send buffer of connection ``row`` at ``now_ps``, in the current tick of ``shared``."""
    row[tcp_row.TICK] = shared[TICK]
    if row[tcp_row.IN_FLIGHT] + row[tcp_row.UNSENT] == 0:
        tcp_row.restart(row, path, now_ps)
    row[tcp_row.UNSENT] += n_bytes
    _transmit(row, shared, path, now_ps)


@part
def _is_idle(row: NDArray[np.int64]) -> bool:
    return bool(row[tcp_row.IN_FLIGHT] + row[tcp_row.UNSENT] == 0 or row[tcp_row.BROKEN_PS] > 0)


@jit
def begin_tick(row: NDArray[np.int64], shared: NDArray[np.int64], path: Path) -> bool:
    """Begin the current tick of ``shared`` on connection ``row``; return whether it had bytes that were not acknowledged."""
    if _is_idle(row):
        return False
    row[tcp_row.TICK] = shared[TICK] - 1  # ticks in which the connection was idle were passed over
    # A connection with nothing to send keeps its own FREE_PS: ``tcp_row.restart`` takes it for the start of the idle time.
    if row[tcp_row.UNSENT] + row[tcp_row.LOST] + row[tcp_row.HELD] > 0:
        row[tcp_row.FREE_PS] = max(row[tcp_row.FREE_PS], shared[FREE_PS])
    if path.faults.any == 1:
        tcp_loss.next_tick_faulty(row, path, shared[TICK])
    else:
        tcp.next_tick(row, path)
    shared[FREE_PS] = max(shared[FREE_PS], row[tcp_row.FREE_PS])
    if row[tcp_row.BROKEN_PS] > 0 and shared[BROKEN_PS] == 0:
        shared[BROKEN_PS] = row[tcp_row.BROKEN_PS]
    return True


@jit
def upcoming_tick(rows: NDArray[np.int64], shared: NDArray[np.int64], path: Path) -> int:
    """Number of the next tick of ``shared`` in which anything may happen on a connection of ``rows``; NEVER: all are idle.

    The next tick; a later one where nothing but timers is left.
    """
    first = NEVER
    for row in rows:
        if _is_idle(row):
            continue
        if path.faults.any == 0:
            return int(shared[TICK]) + 1
        row[tcp_row.TICK] = shared[TICK]
        first = min(first, tcp_loss.upcoming_tick(row, path)[0])
    return first


@jit
def copy(
    rows: NDArray[np.int64], shared: NDArray[np.int64], to_rows: NDArray[np.int64], to_shared: NDArray[np.int64]
) -> None:
    """Copy connections into ``to_rows`` and ``to_shared``, number by number: compiled loops allocate no memory."""
    for j in range(len(rows)):
        for i in range(tcp_row.N_ROW):
            to_rows[j, i] = rows[j, i]
    for i in range(N_SHARED):
        to_shared[i] = shared[i]


@jit
def begin(rows: NDArray[np.int64], shared: NDArray[np.int64], path: Path, tick: int) -> None:
    """Begin tick number ``tick`` on all connections of ``rows``; ``shared`` has the tick then."""
    shared[TICK] = tick
    for k in range(len(rows)):  # another connection comes first in each tick: the first one may fill the link
        begin_tick(rows[(tick + k) % len(rows)], shared, path)


@jit
def advance(rows: NDArray[np.int64], shared: NDArray[np.int64], path: Path, last_tick: int) -> None:
    """Begin the ticks up to ``last_tick`` in which anything may happen on a connection of ``rows``."""
    while shared[TICK] < last_tick:
        tick = upcoming_tick(rows, shared, path)
        if tick > last_tick:  # nothing moves in between; a write by then finds the tick of its own time
            shared[TICK] = last_tick
            return
        begin(rows, shared, path, tick)


@jit
def deliver(row: NDArray[np.int64], path: Path) -> int:
    """Moment [ns] at which all bytes written to connection ``row`` are acknowledged; NEVER: it breaks before. In place."""
    while row[tcp_row.IN_FLIGHT] + row[tcp_row.UNSENT] > 0 and row[tcp_row.BROKEN_PS] == 0:
        tcp_loss.next_tick_faulty(row, path, NEVER)
    return NEVER if row[tcp_row.BROKEN_PS] > 0 else -(-int(row[tcp_row.TICK]) * path.tick_ps // 1000)
