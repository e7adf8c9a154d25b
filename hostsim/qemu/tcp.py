"""One TCP connection as a fluid: send buffer, congestion window, receive window and the acknowledgements that open them.

A connection is one row of integers. A write advances the row to the moment of the write, in *ticks*: bytes that have left
the host within a tick are acknowledged one round trip later, at the start of that later tick. So a write costs one step a
tick (a 64th of the round trip, or the link's time for a page if that is longer) and one a page, and pauses of the caller
change no result.

Linux 6.12: net/ipv4/tcp_output.c::tcp_write_xmit; net/ipv4/tcp_cong.c::tcp_slow_start, ::tcp_cong_avoid_ai;
net/ipv4/tcp_cubic.c::cubictcp_cong_avoid, ::hystart_update; net/core/stream.c::sk_stream_wait_memory.

A path with faults drops packets: ``write_faulty`` (hostsim.qemu.tcp_loss), which a path without faults does not enter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit, late
from hostsim.qemu.tcp_loss import write_faulty
from hostsim.qemu.tcp_row import (
    ACKED,
    ACKS,
    CUBIC_SHARE,
    CWND,
    FREE_PS,
    IN_FLIGHT,
    LIMITED,
    MAX_OUT,
    PIECE_BYTES,
    PS_PER_S,
    RING,
    SSTHRESH,
    TICK,
    UNBOUNDED,
    UNSENT,
    Path,
    restart,
    validate,
)


@inlined
def _acknowledge(row: NDArray[np.int64], path: Path, n_bytes: int) -> None:
    """Acknowledge ``n_bytes``: the window grows by ``n_bytes`` in slow start, by a twentieth beyond (cubictcp_cong_avoid).

    A window that was not full grows in slow start alone, and to twice the bytes that were in flight at most.
    """
    row[IN_FLIGHT] -= n_bytes
    row[ACKED] += n_bytes
    top = row[SSTHRESH] if row[LIMITED] == 1 else min(row[SSTHRESH], 2 * row[MAX_OUT])
    grown = min(n_bytes, max(top - row[CWND], 0))
    row[CWND] += grown + (n_bytes - grown) // CUBIC_SHARE * row[LIMITED]
    if row[SSTHRESH] == UNBOUNDED and row[CWND] >= path.train_bytes:
        row[SSTHRESH] = row[CWND]


@inlined
def transmit(row: NDArray[np.int64], path: Path, now_ps: int) -> None:
    """Hand bytes of ``row`` to the link at ``now_ps`` as windows allow and the current tick lasts (tcp_write_xmit)."""
    if row[UNSENT] == 0:
        return
    end_ps = (row[TICK] + 1) * path.tick_ps
    before = row[IN_FLIGHT]
    while row[UNSENT] > 0:
        n_bytes = min(row[UNSENT], min(row[CWND], path.window_bytes) - row[IN_FLIGHT])
        free_ps = max(row[FREE_PS], now_ps)
        if n_bytes <= 0 or free_ps >= end_ps:  # bytes that the link takes in a later tick are handed on in that tick
            break
        if path.link_bytes_per_s > 0:
            n_bytes = min(n_bytes, PIECE_BYTES)
            free_ps += path.piece_ps if n_bytes == PIECE_BYTES else n_bytes * PS_PER_S // path.link_bytes_per_s
        tick = row[TICK] + path.ticks + (1 if free_ps > end_ps else 0)  # the last byte may leave in the next tick
        row[ACKS + (tick & (RING - 1))] += n_bytes
        row[FREE_PS] = free_ps
        row[IN_FLIGHT] += n_bytes
        row[UNSENT] -= n_bytes
    if row[IN_FLIGHT] > before or row[IN_FLIGHT] >= row[CWND]:  # it sent, or the window keeps it from sending
        validate(row, path, now_ps)


@inlined
def next_tick(row: NDArray[np.int64], path: Path) -> None:
    """Begin the next tick of ``row``: take its acknowledgements one by one, and after each send the bytes that it allows.

    A receiver acknowledges each second segment. One acknowledgement for the whole tick would find a full window unused.
    """
    row[TICK] += 1
    at = ACKS + (row[TICK] & (RING - 1))
    n_bytes, now_ps = row[at], row[TICK] * path.tick_ps
    row[at] = 0
    while n_bytes > PIECE_BYTES:
        _acknowledge(row, path, PIECE_BYTES)
        transmit(row, path, now_ps)
        n_bytes -= PIECE_BYTES
    _acknowledge(row, path, n_bytes)
    transmit(row, path, now_ps)


@late
def write(row: NDArray[np.int64], path: Path, t_ns: int, n_bytes: int) -> int:
    """Moment [ns] at which the send buffer has taken the last of ``n_bytes`` written at ``t_ns``, and the writer continues.

    row: int64[N_ROW], in place. The buffer keeps a byte until it is acknowledged.

    # Model limit: the send buffer counts payload, is as large from the start as it will be, and its writer goes on
    # at the first free byte. Linux counts truesize (a page of payload takes 1.1 to 1.6 of it) and enlarges the
    # buffer with the window (tcp_sndbuf_expand). It wakes the writer when a third is free. It tests the limit only
    # where a new skb begins, so with GSO (64 KiB) a smaller buffer is exceeded.
    """
    if path.faults.any == 1:
        return write_faulty(row, path, t_ns, n_bytes)
    now_ps = t_ns * 1000
    while row[IN_FLIGHT] + row[UNSENT] > 0 and (row[TICK] + 1) * path.tick_ps <= now_ps:
        next_tick(row, path)
    if row[IN_FLIGHT] + row[UNSENT] == 0:
        row[TICK] = max(row[TICK], now_ps // path.tick_ps)
        restart(row, path, now_ps)
    row[UNSENT] += n_bytes
    transmit(row, path, max(now_ps, row[TICK] * path.tick_ps))
    if row[IN_FLIGHT] + row[UNSENT] <= path.send_buffer_bytes:
        return t_ns
    while row[IN_FLIGHT] + row[UNSENT] > path.send_buffer_bytes:
        next_tick(row, path)
    return max(t_ns, -(-int(row[TICK]) * path.tick_ps // 1000))


@jit
def drain(row: NDArray[np.int64], path: Path) -> None:
    """Advance until all written bytes have left the host, at FREE_PS. Changes ``row`` in place, so pass a copy."""
    while row[UNSENT] > 0:
        next_tick(row, path)
