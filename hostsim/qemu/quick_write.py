"""Two writes of a page to a busy connection, each in one step: nearly all of a long stream.

Where the bottleneck is the link, the send buffer is full: the writer waits for the next tick, which acknowledges a page and
sends one, and the window stays as it is. Where it is the sender, the page leaves at once. ``tcp.write`` goes step by step
through the same, in twice the time and more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined
from hostsim.qemu.tcp_row import (
    ACKED,
    ACKS,
    CWND,
    FREE_PS,
    IN_FLIGHT,
    LIMITED,
    MAX_OUT,
    PIECE_BYTES,
    RING,
    SSTHRESH,
    STAMP_PS,
    TICK,
    UNBOUNDED,
    UNSENT,
    USAGE_END,
    USED,
    Path,
    validate,
)

NOT_FULL = -1


@inlined
def _passes_on_a_page(row: NDArray[np.int64], path: Path, t_ns: int) -> bool:
    """Whether the next tick, and none before, acknowledges a page, and sends one, and makes room for the write."""
    end_ps, free_ps = (row[TICK] + 1) * path.tick_ps, row[FREE_PS]
    return bool(
        t_ns * 1000 < end_ps and free_ps < end_ps + path.tick_ps <= free_ps + path.piece_ps
        and row[ACKS + ((row[TICK] + 1) & (RING - 1))] == PIECE_BYTES
        and path.send_buffer_bytes - PIECE_BYTES < row[IN_FLIGHT] + row[UNSENT] <= path.send_buffer_bytes
        and row[IN_FLIGHT] <= path.window_bytes
        and path.faults.any == 0
    )


@inlined
def _keeps_its_window(row: NDArray[np.int64], path: Path) -> bool:
    """Whether the window is not full, was not fuller before, and is too wide to grow and not idle enough to shrink."""
    out, cwnd, ssthresh = row[IN_FLIGHT], row[CWND], row[SSTHRESH]
    is_open = row[LIMITED] == 0 and out < cwnd and out <= row[MAX_OUT] and ssthresh < UNBOUNDED
    is_used = path.rto_ps == 0 or (row[TICK] + 1) * path.tick_ps - row[STAMP_PS] < path.rto_ps
    return bool(is_open and is_used and min(ssthresh, 2 * row[MAX_OUT]) <= cwnd)


@inlined
def write_to_full(row: NDArray[np.int64], path: Path, t_ns: int) -> int:
    """``tcp.write`` of PIECE_BYTES at ``t_ns`` where each of its steps takes its usual course; NOT_FULL: nothing is done.

    row: int64[tcp_row.N_ROW], in place. path: constants of the connection.
    """
    if not (_passes_on_a_page(row, path, t_ns) and _keeps_its_window(row, path)):
        return NOT_FULL
    tick, out = row[TICK] + 1, row[IN_FLIGHT]
    now_ps, free_ps = tick * path.tick_ps, row[FREE_PS] + path.piece_ps
    row[TICK], row[FREE_PS] = tick, free_ps
    row[ACKED] += PIECE_BYTES
    row[ACKS + (tick & (RING - 1))] = 0
    row[ACKS + ((tick + path.ticks + (1 if free_ps > now_ps + path.tick_ps else 0)) & (RING - 1))] += PIECE_BYTES
    row[USED] = max(row[USED], out)
    if row[ACKED] >= row[USAGE_END]:
        row[MAX_OUT], row[USAGE_END] = out, row[ACKED] + out
    return max(t_ns, int(-(-now_ps // 1000)))


@inlined
def leaves_at_once(row: NDArray[np.int64], path: Path, t_ns: int, n_bytes: int) -> bool:
    """Do ``tcp.write`` of ``n_bytes`` at ``t_ns`` and return True, if it only hands one whole piece to the link.

    row: int64[tcp_row.N_ROW], in place, unchanged if False is returned. path: constants of the connection.
    Most pages of a busy stream are such pieces. A call of ``tcp.write`` hands on 30 words, which takes as long as the rest.
    """
    if path.faults.any == 1 or n_bytes != PIECE_BYTES or path.link_bytes_per_s == 0:
        return False
    tick, out = row[TICK], row[IN_FLIGHT] + n_bytes
    now_ps, end_ps = max(t_ns * 1000, tick * path.tick_ps), (tick + 1) * path.tick_ps
    free_ps = max(row[FREE_PS], now_ps)
    is_idle, is_blocked = row[IN_FLIGHT] == 0, row[UNSENT] > 0 or free_ps >= end_ps
    # window_bytes is at most the send buffer (hostsim.qemu.link.LinkSpec)
    if is_idle or is_blocked or out > min(row[CWND], path.window_bytes):
        return False
    free_ps += path.piece_ps
    row[ACKS + ((tick + path.ticks + (1 if free_ps > end_ps else 0)) & (RING - 1))] += n_bytes
    row[FREE_PS], row[IN_FLIGHT] = free_ps, out
    validate(row, path, now_ps)
    return True
