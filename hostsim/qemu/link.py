"""The migration link: the bandwidth of the network, one TCP connection over it, and the way to the destination.

A network with outages or random loss drops packets (Faults of hostsim.qemu.faults); the connection repairs that, or breaks.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import NEVER_NS, Clock
from hostsim.core.rng import stream_key
from hostsim.qemu import faults, tcp_row
from hostsim.qemu.tcp_row import PS_PER_S

PS_PER_NS = 1000
HEADER_BYTES = 52
"""IPv4 20, TCP 20, the timestamps option 12 (include/net/tcp.h TCPOLEN_TSTAMP_ALIGNED): 1448 of 1500 bytes are payload."""
MTU = 1500
INITIAL_SEGMENTS = 10
"""include/net/tcp.h TCP_INIT_CWND (RFC 6928)."""
RTO_MIN_PS = 200_000_000_000
"""include/net/tcp.h TCP_RTO_MIN, HZ/5: tcp_input.c::tcp_rtt_estimator adds at least this to the smoothed round trip."""
SEND_BUFFER_MIN = 4608
"""include/net/sock.h SOCK_MIN_SNDBUF, 2 * TCP_SKB_MIN_TRUESIZE on x86-64: no socket has less."""
RECEIVE_WINDOW = 3_145_728
"""Half of the largest of sysctl tcp_rmem (4096 131072 6291456): the share for payload under tcp_adv_win_scale = 1."""
HYSTART_SEGMENTS = 16
"""tcp_cubic.c hystart_low_window."""
ACK_DELAY_MAX_PS = 1_000_000_000
GSO_BYTES = 65536
"""tcp_cubic.c::hystart_ack_delay: four GSO packets at the rate of the link, at most 1 ms, count as no delay."""


JIFFY_PS = 4_000_000_000
"""CONFIG_HZ = 250, as Debian and Ubuntu build: usecs_to_jiffies rounds the RTO up (tcp_input.c::__tcp_set_rto)."""
Drops = Literal["both", "to-destination", "to-source"]
DIRECTIONS: dict[Drops, int] = {
    "both": faults.TO_DESTINATION | faults.TO_SOURCE, "to-destination": faults.TO_DESTINATION, "to-source": faults.TO_SOURCE,
}  # fmt: skip
SWAPPED = {faults.TO_DESTINATION: faults.TO_SOURCE, faults.TO_SOURCE: faults.TO_DESTINATION, 3: 3}


@dataclass(frozen=True)
class Outage:
    """A time in which the network drops all packets of one direction or both; ``start_ns``: since the run started."""

    start_ns: int
    length_ns: int
    drops: Drops = "both"


@dataclass(frozen=True)
class LinkSpec:
    """The network between source and destination, and the sockets of the connection over it.

    bandwidth_bytes_per_s: of the network; 0: no limit.
    latency_ns: one way; 0: a write is acknowledged as it leaves, and no window limits the stream.
    socket_buffer_bytes: payload that the send buffer holds until the destination acknowledges it.
    receive_window_bytes: payload in flight that the destination allows.
    mtu: size of an IP packet [bytes].
    slow_start_after_idle: the sysctl tcp_slow_start_after_idle.
    outages: times without a network, in order.
    loss: share of the packets to the destination that the network drops at random; loss_key: of their draws.
    wake_bytes: bytes that leave a full send buffer before its writer, which waits, is woken, at most
        ``socket_buffer_bytes``; 0: the writer goes on at the first free byte. Without latency only.
    """

    bandwidth_bytes_per_s: int = 0
    latency_ns: int = 0
    socket_buffer_bytes: int = 0
    receive_window_bytes: int = RECEIVE_WINDOW
    mtu: int = MTU
    slow_start_after_idle: bool = True
    outages: tuple[Outage, ...] = ()
    loss: float = 0.0
    loss_key: tuple[int, int] = (0, 0)
    wake_bytes: int = 0

    @property
    def socket_buffer_ps(self) -> int:
        """Time [ps] the link takes to drain a full socket buffer."""
        return self.drained_ps(self.socket_buffer_bytes)

    def drained_ps(self, n_bytes: int) -> int:
        """Time [ps] the link takes to drain ``n_bytes``; 0 without a limit."""
        return n_bytes * PS_PER_S // self.bandwidth_bytes_per_s if self.bandwidth_bytes_per_s else 0

    @property
    def rtt_ps(self) -> int:
        """Round trip [ps]."""
        return 2 * self.latency_ns * PS_PER_NS

    @property
    def send_buffer_bytes(self) -> int:
        """Payload that the send buffer holds, sent or unsent, until the destination acknowledges it [bytes]."""
        return max(self.socket_buffer_bytes, SEND_BUFFER_MIN)

    @property
    def window_bytes(self) -> int:
        """Most bytes in flight, once the congestion window is open."""
        return min(self.send_buffer_bytes, self.receive_window_bytes)

    @property
    def stream_bytes_per_s(self) -> int:
        """Most one stream carries: the bandwidth, or a window each round trip; 0: no limit."""
        if self.rtt_ps == 0:
            return self.bandwidth_bytes_per_s
        windows = self.window_bytes * PS_PER_S // self.rtt_ps
        return min(windows, self.bandwidth_bytes_per_s) if self.bandwidth_bytes_per_s else windows

    @property
    def stream_limit(self) -> Literal["link", "socket buffer", "receive window"] | None:
        """The limit that sets ``stream_bytes_per_s``; None: no limit."""
        if self.stream_bytes_per_s == self.bandwidth_bytes_per_s:
            return "link" if self.bandwidth_bytes_per_s else None
        return "socket buffer" if self.send_buffer_bytes <= self.receive_window_bytes else "receive window"

    @cached_property
    def path(self) -> tcp_row.Path:
        """The constants of the connection.

        # Model limit: the round trip is constant, so is the RTO; a queue in the network, pacing and delayed
        # acknowledgements are not modelled. Congestion control is cubic; QEMU leaves it to the host.
        """
        if self.rtt_ps == 0:
            return tcp_row.NO_LATENCY
        rate, segment = self.bandwidth_bytes_per_s, self.mtu - HEADER_BYTES
        piece_ps = tcp_row.PIECE_BYTES * PS_PER_S // rate if rate else 0
        ticks = min(max(self.rtt_ps // piece_ps, 1), tcp_row.TICKS_MAX) if piece_ps else tcp_row.TICKS_MAX
        tick_ps = max(self.rtt_ps // ticks, piece_ps)
        return tcp_row.Path(
            rtt_ps=self.rtt_ps,
            tick_ps=tick_ps,
            ticks=ticks,
            link_bytes_per_s=rate,
            piece_ps=piece_ps,
            send_buffer_bytes=self.send_buffer_bytes,
            window_bytes=self.window_bytes,
            initial_cwnd=INITIAL_SEGMENTS * segment,
            train_bytes=max(self._train_bytes(), HYSTART_SEGMENTS * segment),
            rto_ps=self.rtt_ps + RTO_MIN_PS if self.slow_start_after_idle else 0,
            faults=self._faults(tick_ps, segment) if self.has_faults else faults.NO_FAULTS,
        )

    def loss_key_of(self, connection: str) -> tuple[int, int]:
        """Key of the losses of one more ``connection`` of the migration; "": of the main one."""
        return stream_key(self.loss_key[0] << 32 | self.loss_key[1], connection) if connection else self.loss_key

    @cached_property
    def path_back(self) -> tcp_row.Path:
        """The constants of the other direction, whose packets are lost in outages alone."""
        there = self.path.faults
        outages = there.outages.copy()
        outages[:, 2] = [SWAPPED[drops] for drops in outages[:, 2].tolist()]
        return self.path._replace(faults=there._replace(outages=outages, loss_gap=0))

    def up_ns(self, at_ns: int) -> int:
        """The first moment, not before ``at_ns``, without an outage [ns]."""
        for outage in sorted(self.outages, key=lambda outage: outage.start_ns):
            if outage.start_ns <= at_ns < outage.start_ns + outage.length_ns:
                at_ns = outage.start_ns + outage.length_ns
        return at_ns

    @property
    def has_faults(self) -> bool:
        """Whether the network may drop packets."""
        return bool(self.outages) or self.loss > 0

    def _faults(self, tick_ps: int, segment: int) -> faults.Faults:
        """Outages and losses; the RTO is no shorter than the time an acknowledgement takes on a very slow link."""
        ends = [(o.start_ns, o.start_ns + o.length_ns, DIRECTIONS[o.drops]) for o in self.outages]
        outages = np.array([(a * PS_PER_NS, b * PS_PER_NS, drops) for a, b, drops in ends], np.int64).reshape(-1, 3)
        jiffies = -(-(self.rtt_ps + RTO_MIN_PS) // JIFFY_PS)
        rto_ps = max(jiffies * JIFFY_PS, self.rtt_ps + 3 * tick_ps)
        gap = round(segment / self.loss) if self.loss > 0 else 0
        return faults.Faults(1, outages, segment, rto_ps, gap, self.loss_key)

    def _train_bytes(self) -> int:
        """Window whose acknowledgements take half a round trip to arrive: HyStart ends slow start there (hystart_update).

        # Model limit: of HyStart's two signs the model has the length of the train of acknowledgements; the other sign, a
        # growing round trip, needs a queue in the network.
        """
        rate = self.bandwidth_bytes_per_s
        if rate == 0:
            return tcp_row.UNBOUNDED
        delay_ps = min(ACK_DELAY_MAX_PS, 4 * GSO_BYTES * PS_PER_S // rate)
        return min(rate * (self.rtt_ps + delay_ps) // (2 * PS_PER_S), tcp_row.UNBOUNDED)


class Ends(Protocol):
    """The connections of a migration, at the source."""

    @property
    def connections(self) -> Sequence[NDArray[np.int64]]:
        """int64[N_ROW] of hostsim.qemu.tcp_row, of each connection so far."""

    def drained_ps(self) -> int:
        """When all bytes written so far have left the host [ps]."""

    def delivered(self) -> tuple[int, int]:
        """When all bytes written so far are acknowledged [ns], NEVER: a connection breaks; the moment of the break [ps]."""


class Link:
    """One direction of a link, as seen by the thread that writes to it.

    # Model limit: the link is fluid: bytes drain evenly, not in segments, and acknowledgements take no bandwidth.
    """

    def __init__(self, env: Clock, spec: LinkSpec, ends: Ends) -> None:
        """``ends``: the connections of the migration at the source."""
        self.spec = spec
        self._env, self._ends = env, ends
        self.failed = False

    def delivers(self) -> bool:
        """Whether all bytes written so far will reach the destination."""
        return not self.spec.has_faults or self._ends.delivered()[0] != NEVER_NS

    def counts(self) -> tuple[int, int, int]:
        """Of all connections so far: expiries of the retransmission timer, bytes sent again, packets drawn as lost."""
        found = [self._counts(row) for row in self._ends.connections]
        timeouts, again, losses = (sum(column) for column in zip(*found, strict=True))
        return timeouts, again, losses

    def _counts(self, row: NDArray[np.int64]) -> tuple[int, int, int]:
        kept = row[tcp_row.EXPIRED :].reshape(-1, 2)
        later = kept[kept[:, 0] > self._env.now_ns * PS_PER_NS]
        again = int(row[tcp_row.RETRANSMITTED]) if not len(later) else int(later[:, 1].min())
        return int(row[tcp_row.TIMEOUTS]) - len(later), again, int(row[tcp_row.LOSSES])

    def arrives_ns(self) -> int:
        """When all bytes written by now have reached the destination; 0 if the connection breaks before."""
        if not self.spec.has_faults:
            return max(-(-self._ends.drained_ps() // PS_PER_NS), self._env.now_ns) + self.spec.latency_ns
        delivered_ns, _ = self._ends.delivered()
        return 0 if delivered_ns == NEVER_NS else max(delivered_ns - self.spec.latency_ns, self._env.now_ns)

    def answered(self) -> Generator[simpy.Event, Any, bool]:
        """Return when the destination has received all bytes written so far and its answer has arrived.

        Returns False, at the break, if the connection breaks before; ``failed`` says so from then on.

        # Model limit: the destination answers at once; a real destination first loads the received state. An answer that is
        # lost in an outage comes with the next retransmission of the destination.
        """
        if self.spec.has_faults:
            return (yield from self._answered_over_faults())
        drained_ns = -(-self._ends.drained_ps() // PS_PER_NS)
        yield self._env.timeout(max(0, drained_ns - self._env.now_ns) + 2 * self.spec.latency_ns)
        return True

    def _answered_over_faults(self) -> Generator[simpy.Event, Any, bool]:
        path_faults = self.spec.path.faults
        delivered_ns, broken_ps = self._ends.delivered()
        if delivered_ns == NEVER_NS:
            yield self._env.timeout(max(0, broken_ps // PS_PER_NS - self._env.now_ns))
            self.failed = True
            return False
        at_ps, rto_ps = max(delivered_ns, self._env.now_ns) * PS_PER_NS, path_faults.rto_ps
        while faults.is_down(path_faults, at_ps, faults.TO_SOURCE):
            at_ps, rto_ps = at_ps + rto_ps, min(2 * rto_ps, faults.RTO_MAX_PS)
        yield self._env.timeout(-(-at_ps // PS_PER_NS) - self._env.now_ns)
        return True
