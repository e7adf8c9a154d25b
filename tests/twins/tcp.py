"""One TCP connection, written from its rules: bytes in flight are a list of acknowledgements to come.

Time passes from one event to the next, and there are two kinds: an acknowledgement comes in, or the link has time again for
what the windows allow. Both happen at the start of a tick.
"""

from __future__ import annotations

from collections import deque

from hostsim.qemu.link import LinkSpec

PS_PER_S = 10**12
PIECE = 4104
INFINITE = 1 << 62


class TwinTcp:
    """A connection over ``spec``; all sizes in bytes, all times in picoseconds."""

    def __init__(self, spec: LinkSpec) -> None:
        self.rate = spec.bandwidth_bytes_per_s
        self.rtt = 2000 * spec.latency_ns
        page = PIECE * PS_PER_S // self.rate if self.rate else 0
        self.ticks_a_trip = max(1, min(64, self.rtt // page)) if page else 64
        self.tick_length = max(self.rtt // self.ticks_a_trip, page)
        self.buffer = max(spec.socket_buffer_bytes, 4608)
        self.receive_window = spec.receive_window_bytes
        segment = spec.mtu - 52
        self.first_window = 10 * segment
        self.rto = self.rtt + PS_PER_S // 5
        self.shrinks_when_idle = spec.slow_start_after_idle
        self.train = INFINITE
        if self.rate:
            allowed = min(PS_PER_S // 1000, 4 * 65536 * PS_PER_S // self.rate)
            self.train = min(INFINITE, max(16 * segment, self.rate * (self.rtt + allowed) // (2 * PS_PER_S)))
        self.cwnd, self.ssthresh = self.first_window, INFINITE
        self.tick = 0
        self.link_free = 0
        self.waiting = 0
        self.flights: deque[list[int]] = deque()  # [tick of the acknowledgement, bytes]
        self.out = 0
        self.acked = self.flight_end = self.most_out = self.used = self.last_full = 0
        self.was_full = False

    def write(self, t_ns: int, n_bytes: int) -> int:
        """Time at which a write() at ``t_ns`` returns."""
        now = 1000 * t_ns
        while self.flights or self.waiting:
            if not self._step_to(now // self.tick_length):
                break
        self.tick = max(self.tick, now // self.tick_length)
        if not self.flights and not self.waiting:
            self._after_idling(now)
        self.waiting += n_bytes
        self._send(max(now, self.tick * self.tick_length))
        returns_ns = t_ns
        while self.out + self.waiting > self.buffer:
            self._step_to(INFINITE)
            returns_ns = max(t_ns, -(-self.tick * self.tick_length // 1000))
        return returns_ns

    def left_ps(self) -> int:
        self.all_left_ns()
        return self.link_free

    def all_left_ns(self) -> int:
        """When the last byte that was written has left; nothing is written after this question."""
        while self.waiting:
            self._step_to(INFINITE)
        return -(-self.link_free // 1000)

    def _step_to(self, last_tick: int) -> bool:
        """Pass to the next event, if that is no later than ``last_tick``."""
        tick = self.tick + 1
        if not self.waiting:
            tick = self.flights[0][0]
        if tick > last_tick:
            return False
        self.tick = tick
        came = self.flights.popleft()[1] if self.flights and self.flights[0][0] == tick else 0
        while came > PIECE:
            self._acknowledged(PIECE)
            came -= PIECE
        self._acknowledged(came)
        return True

    def _acknowledged(self, n: int) -> None:
        self.acked += n
        self.out -= n
        if n:
            self._grow(n)
        self._send(self.tick * self.tick_length)

    def _grow(self, came: int) -> None:
        in_slow_start = self.cwnd < self.ssthresh
        if not self.was_full and not (in_slow_start and self.cwnd < 2 * self.most_out):
            return
        if in_slow_start:
            before = self.cwnd
            self.cwnd = min(self.cwnd + came, self.ssthresh)
            if not self.was_full:
                self.cwnd = min(self.cwnd, 2 * self.most_out)
            came -= self.cwnd - before
        if self.was_full:
            self.cwnd += came // 20
        if self.ssthresh == INFINITE and self.cwnd >= self.train:
            self.ssthresh = self.cwnd

    def _after_idling(self, now: int) -> None:
        idle = now - self.link_free
        if not self.shrinks_when_idle or idle <= self.rto:
            return
        self._keep_three_quarters()
        floor = min(self.first_window, self.cwnd)
        idle -= self.rto
        while idle > 0 and self.cwnd > floor:
            self.cwnd //= 2
            idle -= self.rto
        self.cwnd = max(self.cwnd, floor)
        self.last_full, self.used = now, 0

    def _keep_three_quarters(self) -> None:
        self.ssthresh = max(self.ssthresh, self.cwnd // 2 + self.cwnd // 4)

    def _send(self, now: int) -> None:
        if not self.waiting:
            return
        end = (self.tick + 1) * self.tick_length
        sent = False
        while self.waiting:
            start = max(self.link_free, now)
            n = min(self.waiting, min(self.cwnd, self.receive_window, self.buffer) - self.out)
            if n <= 0 or start >= end:
                break
            if self.rate:
                n = min(n, PIECE)
                start += n * PS_PER_S // self.rate
            self.link_free = start
            self.waiting -= n
            self._in_flight(self.tick + self.ticks_a_trip + (start > end), n)
            sent = True
        if sent or self.out >= self.cwnd:
            self._sent(now)

    def _in_flight(self, tick: int, n: int) -> None:
        self.out += n
        if self.flights and self.flights[-1][0] == tick:
            self.flights[-1][1] += n
        else:
            self.flights.append([tick, n])

    def _sent(self, now: int) -> None:
        full = self.out >= self.cwnd
        if full or self.acked >= self.flight_end or (not self.was_full and self.out > self.most_out):
            self.was_full, self.most_out, self.flight_end = full, self.out, self.acked + self.out
        if self.was_full or (self.cwnd < self.ssthresh and self.cwnd < 2 * self.most_out):
            self.last_full, self.used = now, 0
            return
        self.used = max(self.used, self.out)
        if not self.shrinks_when_idle or now - self.last_full < self.rto:
            return
        self.last_full = now
        if self.out + self.waiting <= self.buffer:
            wanted = max(self.used, self.first_window)
            if wanted < self.cwnd:
                self._keep_three_quarters()
                self.cwnd = (self.cwnd + wanted) // 2
            self.used = 0
