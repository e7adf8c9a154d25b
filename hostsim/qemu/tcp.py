"""One TCP connection as a fluid: send buffer, congestion window, receive window and the acknowledgements that open them.

A connection is one row of integers. A write advances the row to the moment of the write, in *ticks*: bytes that have left
the host within a tick are acknowledged one round trip later, at the start of that later tick. So a write costs one step a
tick (a 64th of the round trip, or the link's time for a page if that is longer) and one a page, and pauses of the caller
change no result.

Linux 6.12: net/ipv4/tcp_output.c::tcp_write_xmit, ::tcp_cwnd_validate, ::tcp_cwnd_application_limited, ::tcp_cwnd_restart;
net/ipv4/tcp_cong.c::tcp_slow_start, ::tcp_cong_avoid_ai; net/ipv4/tcp_cubic.c::cubictcp_cong_avoid, ::hystart_update;
net/ipv4/tcp_input.c::tcp_init_cwnd; net/core/stream.c::sk_stream_wait_memory; include/net/tcp.h::tcp_is_cwnd_limited,
::tcp_slow_start_after_idle_check.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined, jit

(FREE_PS, TICK, UNSENT, IN_FLIGHT, ACKED, CWND, SSTHRESH, LIMITED, MAX_OUT, USAGE_END, USED, STAMP_PS, ACKS) = range(13)
"""Columns: when the last byte has left [ps], number of the current tick, bytes that wait in the send buffer, bytes sent and
not acknowledged, bytes acknowledged so far, snd_cwnd, snd_ssthresh, is_cwnd_limited, max_packets_out, cwnd_usage_seq,
snd_cwnd_used (in bytes), snd_cwnd_stamp [ps]; from ACKS on the bytes that are acknowledged at coming ticks, a ring.
"""
TICKS_MAX = 64
_RING = 128
N_ROW = ACKS + _RING
UNBOUNDED = 1 << 62
"""TCP_INFINITE_SSTHRESH: no congestion was seen."""
PIECE_BYTES = 8 + 4096
"""Most bytes handed to the link at once, and most bytes of one acknowledgement: a page with its header."""
CUBIC_SHARE = 20
"""Without a loss, cubic's window grows by 5 % a round trip (tcp_cubic.c::bictcp_update, last_max_cwnd == 0)."""
PS_PER_S = 1_000_000_000_000


class Path(NamedTuple):
    """Constants of a connection.

    rtt_ps: round trip; 0: no latency, and no window limits the stream.
    tick_ps: length of a tick, at least ``piece_ps``.
    ticks: ticks of a round trip.
    link_bytes_per_s: bandwidth, 0: no limit.
    piece_ps: the link's time for PIECE_BYTES.
    send_buffer_bytes: payload that the send buffer holds.
    window_bytes: most bytes in flight, the smaller of receive window and send buffer.
    initial_cwnd: congestion window at the start [bytes].
    train_bytes: smallest window at which hystart_update ends slow start.
    rto_ps: idle time after which the window shrinks; 0: the window does not shrink.
    """

    rtt_ps: int
    tick_ps: int
    ticks: int
    link_bytes_per_s: int
    piece_ps: int
    send_buffer_bytes: int
    window_bytes: int
    initial_cwnd: int
    train_bytes: int
    rto_ps: int


NO_LATENCY = Path(0, 1, 1, 0, 0, 0, 0, 0, 0, 0)


@inlined
def _is_cwnd_limited(row: NDArray[np.int64]) -> bool:
    """Whether an acknowledgement may enlarge the window; in slow start half of it in use is enough (tcp_is_cwnd_limited)."""
    return bool(row[LIMITED] == 1 or row[CWND] < min(row[SSTHRESH], 2 * row[MAX_OUT]))


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
def _remember_thresh(row: NDArray[np.int64]) -> None:
    """Let slow start grow back to three quarters of the current window, which is about to shrink (tcp_current_ssthresh)."""
    row[SSTHRESH] = max(row[SSTHRESH], (row[CWND] >> 1) + (row[CWND] >> 2))


@inlined
def _validate(row: NDArray[np.int64], path: Path, now_ps: int) -> None:
    """After a send, note whether the window is in use; a window unused for an RTO shrinks half-way (tcp_cwnd_validate)."""
    out, is_full = row[IN_FLIGHT], row[IN_FLIGHT] >= row[CWND]
    if is_full or row[ACKED] >= row[USAGE_END] or (row[LIMITED] == 0 and out > row[MAX_OUT]):
        row[LIMITED], row[MAX_OUT], row[USAGE_END] = int(is_full), out, row[ACKED] + out
    if _is_cwnd_limited(row):
        row[USED], row[STAMP_PS] = 0, now_ps
        return
    row[USED] = max(row[USED], out)
    if path.rto_ps == 0 or now_ps - row[STAMP_PS] < path.rto_ps:
        return
    row[STAMP_PS] = now_ps
    used = max(row[USED], path.initial_cwnd)
    if out + row[UNSENT] > path.send_buffer_bytes:  # SOCK_NOSPACE: the writer waits for the socket, so it is not slow
        return
    if used < row[CWND]:
        _remember_thresh(row)
        row[CWND] = (row[CWND] + used) >> 1
    row[USED] = 0


@inlined
def restart(row: NDArray[np.int64], path: Path, now_ps: int) -> None:
    """Halve the window for each RTO that the connection was idle, down to the initial one (tcp_cwnd_restart)."""
    idle_ps = now_ps - row[FREE_PS]
    if path.rto_ps == 0 or idle_ps <= path.rto_ps:
        return
    _remember_thresh(row)
    least = min(path.initial_cwnd, row[CWND])
    halvings = (idle_ps - 1) // path.rto_ps
    row[CWND] = max(row[CWND] >> min(halvings, 62), least)
    row[STAMP_PS], row[USED] = now_ps, 0


@inlined
def transmit(row: NDArray[np.int64], path: Path, now_ps: int) -> None:
    """Hand bytes to the link as far as the windows allow and the current tick lasts (tcp_write_xmit)."""
    if row[UNSENT] == 0:
        return
    end_ps = (row[TICK] + 1) * path.tick_ps
    before = row[IN_FLIGHT]
    while row[UNSENT] > 0:
        n_bytes = min(row[UNSENT], min(row[CWND], path.window_bytes) - row[IN_FLIGHT])
        free_ps = max(row[FREE_PS], now_ps)
        if n_bytes <= 0 or free_ps >= end_ps:
            break
        if path.link_bytes_per_s > 0:
            n_bytes = min(n_bytes, PIECE_BYTES)
            free_ps += path.piece_ps if n_bytes == PIECE_BYTES else n_bytes * PS_PER_S // path.link_bytes_per_s
        tick = row[TICK] + path.ticks + (1 if free_ps > end_ps else 0)
        row[ACKS + (tick & (_RING - 1))] += n_bytes
        row[FREE_PS] = free_ps
        row[IN_FLIGHT] += n_bytes
        row[UNSENT] -= n_bytes
    if row[IN_FLIGHT] > before or row[IN_FLIGHT] >= row[CWND]:
        _validate(row, path, now_ps)


@inlined
def next_tick(row: NDArray[np.int64], path: Path) -> None:
    """Begin the next tick: take its acknowledgements one by one, and after each send the bytes that it allows.

    A receiver acknowledges each second segment. One acknowledgement for the whole tick would find a full window unused.
    """
    row[TICK] += 1
    at = ACKS + (row[TICK] & (_RING - 1))
    n_bytes, now_ps = row[at], row[TICK] * path.tick_ps
    row[at] = 0
    while n_bytes > PIECE_BYTES:
        _acknowledge(row, path, PIECE_BYTES)
        transmit(row, path, now_ps)
        n_bytes -= PIECE_BYTES
    _acknowledge(row, path, n_bytes)
    transmit(row, path, now_ps)


@jit
def write(row: NDArray[np.int64], path: Path, t_ns: int, n_bytes: int) -> int:
    """Moment [ns] at which the send buffer has taken the last of ``n_bytes`` written at ``t_ns``, and the writer continues.

    row: int64[N_ROW], in place. The buffer keeps a byte until it is acknowledged.

    # Model limit: the send buffer counts payload, is as large from the start as it will be, and its writer goes on at the
    # first free byte. Linux counts truesize (a page of payload takes 1.1 to 1.6 of it), enlarges the buffer with the window
    # (tcp_sndbuf_expand), wakes the writer when a third is free, and tests the limit only where a new skb begins: with GSO
    # (64 KiB) a smaller buffer is exceeded.
    """
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


def connect(row: NDArray[np.int64], path: Path) -> None:
    """A new connection: the initial window, no congestion seen (tcp_init_cwnd, tcp_init_sock). In place."""
    row[:] = 0
    row[CWND], row[SSTHRESH] = path.initial_cwnd, UNBOUNDED
