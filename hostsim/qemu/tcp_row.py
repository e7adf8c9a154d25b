"""The row of integers that a TCP connection is, the constants of its path, and what its window does when it is not full.

Linux 6.12: net/ipv4/tcp_output.c::tcp_cwnd_validate, ::tcp_cwnd_application_limited, ::tcp_cwnd_restart;
net/ipv4/tcp_input.c::tcp_init_cwnd; include/net/tcp.h::tcp_is_cwnd_limited, ::tcp_slow_start_after_idle_check.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import inlined
from hostsim.core.rng import keyed_exponential
from hostsim.qemu.faults import NO_FAULTS, Faults

(FREE_PS, TICK, UNSENT, IN_FLIGHT, ACKED, CWND, SSTHRESH, LIMITED, MAX_OUT, USAGE_END, USED, STAMP_PS, ACKS) = range(13)
"""Columns: when the last byte has left [ps], number of the current tick, bytes that wait in the send buffer, bytes sent and
not acknowledged, bytes acknowledged so far, snd_cwnd, snd_ssthresh, is_cwnd_limited, max_packets_out, cwnd_usage_seq,
snd_cwnd_used (in bytes), snd_cwnd_stamp [ps]; from ACKS on the bytes that are acknowledged at coming ticks, a ring.
"""
TICKS_MAX = 64
RING = 128
(LOST, LOST_TICK, UNHEARD, HELD, MODE, RECOVERY_END, TIMER_PS, BACKOFF, RETRANS_PS, LAST_SENT_PS, LAST_MAX, EPOCH_PS, ORIGIN,
 CUBIC_K, RENO_CWND, CWND_CNT, SENT, NEXT_LOSS, LOSSES, KEY0, KEY1, BROKEN_PS, RETRANSMITTED, TIMEOUTS, EXPIRED) = range(
    ACKS + RING, ACKS + RING + 25
)  # fmt: skip
EXPIRIES_KEPT = 32
"""More than expire during one write, which a broken connection ends."""
N_ROW = EXPIRED + 2 * EXPIRIES_KEPT
"""Columns of a path with faults, times in ps and sizes in bytes.

LOST: in flight and dropped; LOST_TICK: tick in which the first of them was sent; UNHEARD: in flight, and the acknowledgement
was dropped; HELD: arrived beyond a gap, so they stay in the send buffer.
MODE: OPEN, RECOVERY or LOSS; RECOVERY_END: value of ACKED that ends the last two.
TIMER_PS: expiry of the retransmission timer, 0: off; BACKOFF: expiries in a row; RETRANS_PS: retrans_stamp; LAST_SENT_PS.
LAST_MAX, EPOCH_PS, ORIGIN, CUBIC_K [2^-10 s], RENO_CWND [2^-10 bytes], CWND_CNT: last_max_cwnd, epoch_start,
bic_origin_point, bic_K, tcp_cwnd and snd_cwnd_cnt.
SENT: sent in all; NEXT_LOSS: value of SENT at the next drawn loss; LOSSES: drawn losses; KEY0, KEY1: of their draws.
BROKEN_PS: moment at which the connection broke, 0: it stands; RETRANSMITTED: sent again; TIMEOUTS: expiries in all; from
EXPIRED on a ring of (time, RETRANSMITTED) of the last expiries, because a write that blocks advances the row beyond now.
"""
OPEN, RECOVERY, LOSS = range(3)
NEVER_NS = 1 << 62
"""Return of a write to a connection that is broken."""
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
    faults: packets that the path drops.
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
    faults: Faults = NO_FAULTS


NO_LATENCY = Path(0, 1, 1, 0, 0, 0, 0, 0, 0, 0)


@inlined
def _is_cwnd_limited(row: NDArray[np.int64]) -> bool:
    """Whether an acknowledgement may enlarge the window; in slow start half of it in use is enough (tcp_is_cwnd_limited)."""
    return bool(row[LIMITED] == 1 or row[CWND] < min(row[SSTHRESH], 2 * row[MAX_OUT]))


@inlined
def _remember_thresh(row: NDArray[np.int64]) -> None:
    """Let slow start grow back to three quarters of the current window, which is about to shrink (tcp_current_ssthresh)."""
    row[SSTHRESH] = max(row[SSTHRESH], (row[CWND] >> 1) + (row[CWND] >> 2))


@inlined
def validate(row: NDArray[np.int64], path: Path, now_ps: int) -> None:
    """After a send at ``now_ps`` note if the window of ``row`` is used; half of an unused one goes (tcp_cwnd_validate)."""
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
    """Halve the window of ``row`` for each RTO idle at ``now_ps``, down to the initial one (tcp_cwnd_restart)."""
    idle_ps = now_ps - row[FREE_PS]
    if path.rto_ps == 0 or idle_ps <= path.rto_ps:
        return
    _remember_thresh(row)
    least = min(path.initial_cwnd, row[CWND])
    halvings = (idle_ps - 1) // path.rto_ps
    row[CWND] = max(row[CWND] >> min(halvings, 62), least)
    row[STAMP_PS], row[USED] = now_ps, 0


def connect(row: NDArray[np.int64], path: Path, loss_key: tuple[int, int] | None = None) -> None:
    """A new connection: the initial window, no congestion seen (tcp_init_cwnd, tcp_init_sock). In place.

    loss_key: of the draws of its losses; None: those of the path.
    """
    row[:] = 0
    row[CWND], row[SSTHRESH] = path.initial_cwnd, UNBOUNDED
    row[KEY0], row[KEY1] = key = loss_key or path.faults.loss_key
    row[NEXT_LOSS] = int(path.faults.loss_gap * keyed_exponential(*key, 0, 0)) if path.faults.loss_gap else 0
