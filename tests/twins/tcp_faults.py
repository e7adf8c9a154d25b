"""One TCP connection over a network that drops packets, written from its rules: tick by tick, a list of chunks in flight."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from hostsim.core.rng import keyed_exponential
from hostsim.qemu.link import LinkSpec
from tests.twins.tcp import INFINITE, PIECE, PS_PER_S, TwinTcp

JIFFY = 4 * 10**9
HOUR_LIKE = 924_600_000_000_000
WAY = {"both": ("there", "back"), "to-destination": ("there",), "to-source": ("back",)}


@dataclass
class Chunk:
    """Bytes that left the host in one tick: ``arrives`` of them get through, and are answered at tick ``due``."""

    due: int
    arrives: int
    lost: int


class TwinFaultyTcp(TwinTcp):
    """A connection over ``spec``, which has outages or random losses."""

    def __init__(self, spec: LinkSpec) -> None:
        super().__init__(spec)
        self.spec, self.segment = spec, spec.mtu - 52
        jiffies = (self.rto + JIFFY - 1) // JIFFY
        self.patience = max(jiffies * JIFFY, self.rtt + 3 * self.tick_length)
        self.chunks: list[Chunk] = []
        self.silent = self.beyond_gap = 0
        self.state = "open"
        self.recovered_at = 0
        self.timer: int | None = None
        self.expiries = self.all_expiries = 0
        self.first_again: int | None = None
        self.last_left = self.again = 0
        self.top = self.since_cut = self.peak = self.inflection = self.reno = self.counted = 0
        self.sent = self.losses = 0
        self.gap = round(self.segment / spec.loss) if spec.loss else 0
        self.next_loss = int(self.gap * keyed_exponential(*spec.loss_key, 0, 0))
        self.broken_at: int | None = None

    def write(self, t_ns: int, n_bytes: int) -> int | None:
        """Time at which a write() at ``t_ns`` returns; None: with an error."""
        now = 1000 * t_ns
        last = now // self.tick_length
        while self.broken_at is None and (self.out or self.waiting) and self.tick < last:
            self._pass(self.tick + 1)
        if self.broken_at is not None:
            return None
        if not self.out and not self.waiting:
            self.tick = max(self.tick, last)
            self._after_idling(now)
        self.waiting += n_bytes
        self._send(max(now, self.tick * self.tick_length))
        returns_ns = t_ns
        while self.out + self.waiting + self.beyond_gap > self.buffer:
            self._pass(self.tick + 1)
            if self.broken_at is not None:
                return None
            returns_ns = max(t_ns, -(-self.tick * self.tick_length // 1000))
        return returns_ns

    def fork(self) -> TwinFaultyTcp:
        """A copy that looks ahead."""
        other = copy(self)
        other.chunks = [copy(chunk) for chunk in self.chunks]
        return other

    def put(self, tick: int, now: int, n_bytes: int, link_free: int) -> None:
        """Bytes of a write in the middle of ``tick``; the link is taken up to ``link_free`` by others."""
        self.tick = tick
        if not self.out and not self.waiting:
            self._after_idling(now)
        self.waiting += n_bytes
        self.link_free = max(self.link_free, link_free)
        self._send(now)

    @property
    def kept(self) -> int:
        """Bytes in the send buffer."""
        return self.out + self.waiting + self.beyond_gap

    def arrived_unheard(self) -> int:
        """Bytes in order at the other end, whose acknowledgements were dropped."""
        first_lost = next((chunk.due for chunk in self.chunks if chunk.lost), None)
        in_order = self.state == "open" and (first_lost is None or self.tick <= first_lost)
        return self.silent if in_order else 0

    @property
    def lost(self) -> int:
        return sum(chunk.lost for chunk in self.chunks)

    def _down(self, at: int, way: str) -> bool:
        spans = [(1000 * o.start_ns, 1000 * (o.start_ns + o.length_ns)) for o in self.spec.outages if way in WAY[o.drops]]
        return any(start <= at < end for start, end in spans)

    def _pass(self, tick: int) -> None:
        self.tick, now = tick, tick * self.tick_length
        came = sum(chunk.arrives for chunk in self.chunks if chunk.due == tick)
        for chunk in self.chunks:
            if chunk.due == tick:
                chunk.arrives = 0
        if came and self._down(now, "back"):
            self.silent, came = self.silent + came, 0
        while came > PIECE:
            self._answered(PIECE, now)
            came -= PIECE
        self._answered(came, now)
        if self._tail_is_found(tick):
            self._recover(now)
        if self.out and self.timer is not None and now >= self.timer:
            self._expire(now)
        self._send(now)

    def _tail_is_found(self, tick: int) -> bool:
        """Nothing comes any more, nothing may be sent, and a probe that was not dropped has been answered."""
        if not self.lost or self.state == "loss" or self.out != self.lost + self.silent:
            return False
        if self.waiting and self._room() > 0:
            return False
        probe = self.last_left + 2 * self.rtt + 8 * 10**9
        if self._down(probe, "there") or self._down(probe + self.rtt, "back"):
            return False
        return tick == (probe + self.rtt) // self.tick_length + 1

    def _answered(self, n: int, now: int) -> None:
        if n:
            first_lost = next((chunk.due for chunk in self.chunks if chunk.lost), None)
            if first_lost is not None and self.tick > first_lost:
                self._recover(now)
            self.out -= n + self.silent
            self.acked += n + self.silent
            self.silent, self.expiries, self.first_again = 0, 0, None
            self.timer = now + self.patience if self.out else None
        if self.state == "recovery":
            self.beyond_gap += n
        else:
            self._enlarge(n, now)
        if n and (self.state == "loss" or self.acked >= self.recovered_at):
            self.beyond_gap = 0
        if n and self.acked >= self.recovered_at:
            self.state = "open"
        self._send(now)

    def _recover(self, now: int) -> None:
        if self.state == "open":
            self._cut()
            self.cwnd, self.state = self.ssthresh, "recovery"
        self._resend()
        self._leave(min(self.waiting, self.segment), now)

    def _cut(self) -> None:
        self.top = self.cwnd * 1741 // 2048 if self.cwnd < self.top else self.cwnd
        self.ssthresh = max(self.cwnd * 717 // 1024, 2 * self.segment)
        self.since_cut = 0

    def _resend(self) -> None:
        self.recovered_at = self.acked + self.out
        self.out -= self.lost
        self.waiting += self.lost
        self.again += self.lost
        self.chunks = [Chunk(chunk.due, chunk.arrives, 0) for chunk in self.chunks if chunk.arrives]

    def _expire(self, now: int) -> None:
        if self.first_again is not None and now - self.first_again >= HOUR_LIKE:
            self.broken_at = now
            return
        self.first_again = now if self.first_again is None else self.first_again
        if self.state == "open":
            self._cut()
        self.state, self.cwnd = "loss", self.segment
        self._resend()
        self.out, self.acked, self.beyond_gap, self.silent = (
            self.out - self.silent, self.acked + self.silent, self.beyond_gap + self.silent, 0,
        )  # fmt: skip
        if self.beyond_gap and (not self.waiting or self.beyond_gap >= min(self.receive_window, self.buffer)):
            head = min(self.segment, self.beyond_gap)
            self.beyond_gap -= head
            self.waiting += head
            self.again += head
            self.recovered_at += head
        self.expiries += 1
        self.all_expiries += 1
        self.timer = now + min(self.patience * 2**self.expiries, 120 * PS_PER_S)

    def _enlarge(self, came: int, now: int) -> None:
        limit = self.ssthresh if self.was_full else min(self.ssthresh, 2 * self.most_out)
        slow = max(0, min(came, limit - self.cwnd))
        self.cwnd += slow
        came -= slow
        if self.was_full and came:
            if self.top:
                self._along_the_curve(came, now)
            else:
                self.cwnd += came // 20
        if self.ssthresh == INFINITE and self.cwnd >= self.train:
            self.ssthresh = self.cwnd

    def _along_the_curve(self, came: int, now: int) -> None:
        if not self.since_cut:
            self.since_cut, self.reno, self.counted = now, self.cwnd * 1024, 0
            cube = 2**40 // 410 * (max(0, self.top - self.cwnd) // self.segment)
            self.inflection = round(cube ** (1 / 3))
            while self.inflection**3 > cube:
                self.inflection -= 1
            while (self.inflection + 1) ** 3 <= cube:
                self.inflection += 1
            self.peak = max(self.top, self.cwnd)
        t = (now - self.since_cut + self.rtt) // (PS_PER_S // 1024)
        away = min(abs(t - self.inflection), 2**17)
        rise = 410 * away**3 // 2**40 * self.segment
        target = self.peak + (rise if t >= self.inflection else -rise)
        per_byte = self.cwnd // (target - self.cwnd) if target > self.cwnd else self.cwnd // self.segment * 100
        self.reno += came * 8 * self.segment * 1024 // (15 * self.cwnd)
        if self.reno // 1024 > self.cwnd:
            per_byte = min(per_byte, self.cwnd // (self.reno // 1024 - self.cwnd))
        per_byte = max(per_byte, 2)
        self.counted += came
        self.cwnd += self.counted // per_byte
        self.counted %= per_byte

    def _room(self) -> int:
        window = min(self.receive_window, self.buffer)
        return min(self.cwnd - self.out, window - self.out - self.beyond_gap)

    def _send(self, now: int) -> None:
        if not self.waiting:
            return
        before, end = self.out, (self.tick + 1) * self.tick_length
        while self.waiting and self._room() > 0 and max(self.link_free, now) < end:
            n = min(self.waiting, self._room())
            self._leave(min(n, PIECE) if self.rate else n, now)
        if self.out > before or self.out >= self.cwnd:
            self._sent(now)

    def _leave(self, n: int, now: int) -> None:
        start = max(self.link_free, now)
        lost = n if self._down(start, "there") else min(n, self._drawn(n))
        self.link_free = self.last_left = start + (n * PS_PER_S // self.rate if self.rate else 0)
        late = 1 if self.link_free > (self.tick + 1) * self.tick_length else 0
        self.chunks.append(Chunk(self.tick + late + self.ticks_a_trip, n - lost, lost))
        self.chunks = [chunk for chunk in self.chunks if chunk.arrives or chunk.lost]
        self.out += n
        self.waiting -= n
        if self.timer is None:
            self.timer = now + self.patience

    def _drawn(self, n: int) -> int:
        self.sent += n
        lost = 0
        while self.gap and self.sent > self.next_loss:
            self.losses += 1
            self.next_loss += self.segment + int(keyed_exponential(*self.spec.loss_key, self.losses, 0) * self.gap)
            lost += self.segment
        return lost
