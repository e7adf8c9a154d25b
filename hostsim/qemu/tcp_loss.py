"""TCP on a path that drops packets: losses found, windows cut, retransmissions, and the connection that breaks.

A dropped packet is found by later acknowledgements or a tail loss probe (fast recovery: cubic cuts the window to 0.7), or by
the retransmission timer, which doubles at each expiry and in the end breaks the connection.
Linux 6.12: net/ipv4/tcp_cubic.c::bictcp_update, ::cubictcp_recalc_ssthresh; net/ipv4/tcp_input.c::tcp_enter_recovery,
::tcp_enter_loss; net/ipv4/tcp_output.c::tcp_schedule_loss_probe; net/ipv4/tcp_timer.c::tcp_retransmit_timer,
::retransmits_timed_out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import late, part
from hostsim.core.rng import keyed_exponential
from hostsim.qemu.faults import RETRIES2_PS, RTO_MAX_PS, TO_DESTINATION, TO_SOURCE, Faults, cube_root, is_down
from hostsim.qemu.tcp_row import (
    ACKED,
    ACKS,
    BACKOFF,
    BROKEN_PS,
    CUBIC_K,
    CUBIC_SHARE,
    CWND,
    CWND_CNT,
    EPOCH_PS,
    EXPIRED,
    EXPIRIES_KEPT,
    FREE_PS,
    HELD,
    IN_FLIGHT,
    KEY0,
    KEY1,
    LAST_MAX,
    LAST_SENT_PS,
    LIMITED,
    LOSS,
    LOSSES,
    LOST,
    LOST_TICK,
    MAX_OUT,
    MODE,
    NEVER_NS,
    NEXT_LOSS,
    OPEN,
    ORIGIN,
    PIECE_BYTES,
    PS_PER_S,
    RECOVERY,
    RECOVERY_END,
    RENO_CWND,
    RETRANS_PS,
    RETRANSMITTED,
    RING,
    SENT,
    SSTHRESH,
    TICK,
    TIMEOUTS,
    TIMER_PS,
    UNBOUNDED,
    UNHEARD,
    UNSENT,
    Path,
    restart,
    validate,
)

PROBE_SLACK_PS = 8_000_000_000
"""tcp_schedule_loss_probe adds TCP_TIMEOUT_MIN, two jiffies at 250 Hz, to two round trips."""
BETA, BETA_SCALE = 717, 1024
"""tcp_cubic.c beta."""
CUBE_RTT_SCALE = 410
"""tcp_cubic.c: bic_scale * 10."""
CUBIC_SPAN_MAX = 1 << 17
"""Longest time from the inflection that is cubed [2^-10 s]; a window has filled any link by then."""


@part
def _drawn_losses(row: NDArray[np.int64], faults: Faults, n_bytes: int) -> int:
    """Bytes of the next ``n_bytes`` that are lost at random: whole packets, at gaps that are drawn."""
    lost = 0
    row[SENT] += n_bytes
    while faults.loss_gap > 0 and row[SENT] > row[NEXT_LOSS]:
        row[LOSSES] += 1
        gap = keyed_exponential(int(row[KEY0]), int(row[KEY1]), row[LOSSES], 0) * faults.loss_gap
        row[NEXT_LOSS] += faults.segment + int(gap)
        lost += faults.segment
    return min(lost, n_bytes)


@part
def _put(row: NDArray[np.int64], path: Path, n_bytes: int, now_ps: int) -> None:
    """Hand ``n_bytes`` to the link, which may drop them; start the timer if it does not run."""
    free_ps, end_ps = max(row[FREE_PS], now_ps), (row[TICK] + 1) * path.tick_ps
    lost = n_bytes if is_down(path.faults, free_ps, TO_DESTINATION) else _drawn_losses(row, path.faults, n_bytes)
    if path.link_bytes_per_s > 0:
        free_ps += path.piece_ps if n_bytes == PIECE_BYTES else n_bytes * PS_PER_S // path.link_bytes_per_s
    tick = row[TICK] + (1 if free_ps > end_ps else 0)
    if lost > 0 and row[LOST] == 0:
        row[LOST_TICK] = tick
    row[LOST] += lost
    row[ACKS + ((tick + path.ticks) & (RING - 1))] += n_bytes - lost
    row[FREE_PS] = row[LAST_SENT_PS] = free_ps
    row[IN_FLIGHT] += n_bytes
    row[UNSENT] -= n_bytes
    if row[TIMER_PS] == 0:
        row[TIMER_PS] = now_ps + path.faults.rto_ps


@part
def allowed(row: NDArray[np.int64], path: Path) -> int:
    """Bytes that the windows of ``row`` and ``path`` allow; bytes beyond a gap fill the receiver's until it is closed."""
    return int(min(row[CWND] - row[IN_FLIGHT], path.window_bytes - row[IN_FLIGHT] - row[HELD]))


@part
def transmit_faulty(row: NDArray[np.int64], path: Path, now_ps: int) -> None:
    """``transmit`` of ``row`` from ``now_ps`` on, on a path with faults."""
    if row[UNSENT] == 0:
        return
    end_ps, before = (row[TICK] + 1) * path.tick_ps, row[IN_FLIGHT]
    while row[UNSENT] > 0:
        n_bytes = min(row[UNSENT], allowed(row, path))
        if n_bytes <= 0 or max(row[FREE_PS], now_ps) >= end_ps:
            break
        _put(row, path, min(n_bytes, PIECE_BYTES) if path.link_bytes_per_s > 0 else n_bytes, now_ps)
    if row[IN_FLIGHT] > before or row[IN_FLIGHT] >= row[CWND]:
        validate(row, path, now_ps)


@part
def _cut_window(row: NDArray[np.int64], path: Path) -> None:
    """Congestion: slow start ends at 0.7 of the window from now on (cubictcp_recalc_ssthresh, with fast convergence)."""
    cwnd = row[CWND]
    row[EPOCH_PS] = 0
    row[LAST_MAX] = cwnd * (BETA_SCALE + BETA) // (2 * BETA_SCALE) if cwnd < row[LAST_MAX] else cwnd
    row[SSTHRESH] = max(cwnd * BETA // BETA_SCALE, 2 * path.faults.segment)


@part
def _send_lost_again(row: NDArray[np.int64]) -> None:
    """Queue the bytes that were dropped; recovery ends when all that is outstanding now is acknowledged."""
    row[RECOVERY_END] = row[ACKED] + row[IN_FLIGHT]
    row[IN_FLIGHT] -= row[LOST]
    row[UNSENT] += row[LOST]
    row[RETRANSMITTED] += row[LOST]
    row[LOST] = 0


@part
def _enter_recovery(row: NDArray[np.int64], path: Path, now_ps: int) -> None:
    """Fast recovery: cut the window once, send the first lost packet at once (tcp_enter_recovery, tcp_cwnd_reduction)."""
    if row[MODE] == OPEN:
        _cut_window(row, path)
        row[CWND], row[MODE] = row[SSTHRESH], RECOVERY
    _send_lost_again(row)
    _put(row, path, min(row[UNSENT], path.faults.segment), now_ps)


@part
def _time_out(row: NDArray[np.int64], path: Path, now_ps: int) -> None:
    """The retransmission timer expires: one packet, and twice the time; or the connection breaks (tcp_retransmit_timer)."""
    if row[RETRANS_PS] > 0 and now_ps - row[RETRANS_PS] >= RETRIES2_PS:
        row[BROKEN_PS] = now_ps
        return
    if row[RETRANS_PS] == 0:
        row[RETRANS_PS] = now_ps
    if row[MODE] == OPEN:
        _cut_window(row, path)
    row[MODE], row[CWND] = LOSS, path.faults.segment
    _send_lost_again(row)
    row[IN_FLIGHT] -= row[UNHEARD]
    row[ACKED] += row[UNHEARD]
    row[HELD] += row[UNHEARD]
    row[UNHEARD] = 0
    # The head of the queue goes out again though it had arrived, where nothing else may.
    if row[HELD] > 0 and (row[UNSENT] == 0 or row[HELD] >= path.window_bytes):
        again = min(row[HELD], path.faults.segment)
        row[HELD] -= again
        row[UNSENT] += again
        row[RETRANSMITTED] += again
        row[RECOVERY_END] += again
    at = EXPIRED + 2 * (row[TIMEOUTS] & (EXPIRIES_KEPT - 1))
    row[at], row[at + 1] = now_ps, row[RETRANSMITTED]
    row[TIMEOUTS] += 1
    row[BACKOFF] += 1
    row[TIMER_PS] = now_ps + min(path.faults.rto_ps << min(row[BACKOFF], 20), RTO_MAX_PS)


@part
def _cubic_count(row: NDArray[np.int64], path: Path, n_bytes: int, now_ps: int) -> int:
    """Bytes to be acknowledged for each byte by which the window grows (bictcp_update after a loss)."""
    cwnd, segment = row[CWND], path.faults.segment
    if row[EPOCH_PS] == 0:
        row[EPOCH_PS], row[RENO_CWND], row[CWND_CNT] = now_ps, cwnd << 10, 0
        behind = max(row[LAST_MAX] - cwnd, 0) // segment
        row[CUBIC_K] = cube_root((1 << 40) // CUBE_RTT_SCALE * behind)
        row[ORIGIN] = max(row[LAST_MAX], cwnd)
    t = (now_ps - row[EPOCH_PS] + path.rtt_ps) // (PS_PER_S // 1024)
    span = min(abs(t - row[CUBIC_K]), CUBIC_SPAN_MAX)
    delta = ((CUBE_RTT_SCALE * span * span * span) >> 40) * segment
    target = row[ORIGIN] - delta if t < row[CUBIC_K] else row[ORIGIN] + delta
    count = cwnd // (target - cwnd) if target > cwnd else 100 * (cwnd // segment)
    row[RENO_CWND] += (n_bytes * 8 * segment << 10) // (15 * cwnd)
    ahead = (row[RENO_CWND] >> 10) - cwnd
    if ahead > 0:
        count = min(count, cwnd // ahead)
    return int(max(count, 2))


@part
def _grow(row: NDArray[np.int64], path: Path, n_bytes: int, now_ps: int) -> None:
    """Enlarge the window for ``n_bytes`` acknowledged, as _acknowledge does; after a loss by cubic's curve."""
    top = row[SSTHRESH] if row[LIMITED] == 1 else min(row[SSTHRESH], 2 * row[MAX_OUT])
    grown = min(n_bytes, max(top - row[CWND], 0))
    row[CWND] += grown
    rest = (n_bytes - grown) * row[LIMITED]
    if row[LAST_MAX] == 0:
        row[CWND] += rest // CUBIC_SHARE
    elif rest > 0:
        count = _cubic_count(row, path, rest, now_ps)
        row[CWND_CNT] += rest
        row[CWND] += row[CWND_CNT] // count
        row[CWND_CNT] %= count
    if row[SSTHRESH] == UNBOUNDED and row[CWND] >= path.train_bytes:
        row[SSTHRESH] = row[CWND]


@part
def _acknowledge_faulty(row: NDArray[np.int64], path: Path, n_bytes: int, now_ps: int) -> None:
    """Take an acknowledgement of ``n_bytes``, which shows packets sent before and not acknowledged to be lost."""
    if n_bytes > 0 and row[LOST] > 0 and row[TICK] > row[LOST_TICK] + path.ticks:
        _enter_recovery(row, path, now_ps)
    row[IN_FLIGHT] -= n_bytes
    row[ACKED] += n_bytes
    if n_bytes > 0:
        row[IN_FLIGHT] -= row[UNHEARD]
        row[ACKED] += row[UNHEARD]
        row[UNHEARD] = 0
        row[BACKOFF], row[RETRANS_PS] = 0, 0
        row[TIMER_PS] = now_ps + path.faults.rto_ps if row[IN_FLIGHT] > 0 else 0
    if row[MODE] == RECOVERY:
        row[HELD] += n_bytes
    else:
        _grow(row, path, n_bytes, now_ps)
    if n_bytes > 0 and (row[MODE] == LOSS or row[ACKED] >= row[RECOVERY_END]):
        row[HELD] = 0
    if n_bytes > 0 and row[ACKED] >= row[RECOVERY_END]:
        row[MODE] = OPEN


@part
def _probe_tick(row: NDArray[np.int64], path: Path) -> int:
    """Tick in which a tail loss probe is answered, sent two round trips and a slack after the last send; 0: never."""
    probe_ps = row[LAST_SENT_PS] + 2 * path.rtt_ps + PROBE_SLACK_PS
    lost = is_down(path.faults, probe_ps, TO_DESTINATION) or is_down(path.faults, probe_ps + path.rtt_ps, TO_SOURCE)
    return 0 if lost or row[MODE] == LOSS else (probe_ps + path.rtt_ps) // path.tick_ps + 1


@part
def upcoming_tick(row: NDArray[np.int64], path: Path) -> tuple[int, int]:
    """The next tick in which anything may happen on ``row``, and the one in which a tail loss probe is answered, 0: none."""
    tick, probe = int(row[TICK]) + 1, 0
    if row[IN_FLIGHT] == row[LOST] + row[UNHEARD] and (row[UNSENT] == 0 or allowed(row, path) <= 0):
        tick = max(tick, int(-(-row[TIMER_PS] // path.tick_ps)))
        probe = _probe_tick(row, path) if row[LOST] > 0 else 0
        tick = probe if row[TICK] < probe < tick else tick
    return tick, probe


@part
def next_tick_faulty(row: NDArray[np.int64], path: Path, last_tick: int) -> None:
    """Begin the next tick of ``row`` in which anything happens, ``last_tick`` at the latest."""
    tick, probe = upcoming_tick(row, path)
    row[TICK] = min(tick, last_tick)
    at = ACKS + (row[TICK] & (RING - 1))
    n_bytes, now_ps = row[at], row[TICK] * path.tick_ps
    row[at] = 0
    if n_bytes > 0 and is_down(path.faults, now_ps, TO_SOURCE):
        row[UNHEARD] += n_bytes
        n_bytes = 0
    while n_bytes > PIECE_BYTES:
        _acknowledge_faulty(row, path, PIECE_BYTES, now_ps)
        transmit_faulty(row, path, now_ps)
        n_bytes -= PIECE_BYTES
    _acknowledge_faulty(row, path, n_bytes, now_ps)
    if row[TICK] == probe:
        _enter_recovery(row, path, now_ps)
    if row[IN_FLIGHT] > 0 and now_ps >= row[TIMER_PS]:
        _time_out(row, path, now_ps)
    transmit_faulty(row, path, now_ps)


@late
def write_faulty(row: NDArray[np.int64], path: Path, t_ns: int, n_bytes: int) -> int:
    """``write`` on a path with faults; NEVER_NS if the connection breaks before, or is broken.

    # Model limit: an acknowledgement is never lost except in an outage, the sender does not wait for three
    # duplicates, and the round trip does not grow. So the RTO is the round trip and 200 ms, in jiffies of 4 ms.
    """
    if row[BROKEN_PS] > 0:
        return NEVER_NS
    now_ps = t_ns * 1000
    last_tick = now_ps // path.tick_ps
    while row[IN_FLIGHT] + row[UNSENT] > 0 and row[TICK] < last_tick and row[BROKEN_PS] == 0:
        next_tick_faulty(row, path, last_tick)
    if row[IN_FLIGHT] + row[UNSENT] == 0:
        row[TICK] = max(row[TICK], last_tick)
        restart(row, path, now_ps)
    row[UNSENT] += n_bytes
    transmit_faulty(row, path, max(now_ps, row[TICK] * path.tick_ps))
    returns_ns = t_ns
    while row[IN_FLIGHT] + row[UNSENT] + row[HELD] > path.send_buffer_bytes and row[BROKEN_PS] == 0:
        next_tick_faulty(row, path, NEVER_NS)
        returns_ns = max(t_ns, -(-int(row[TICK]) * path.tick_ps // 1000))
    return NEVER_NS if row[BROKEN_PS] > 0 else returns_ns
