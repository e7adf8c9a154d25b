"""Connections that share a link, written out: each passes each tick, and the first turn goes round."""

from __future__ import annotations

from collections.abc import Callable

from tests.twins.tcp_faults import TwinFaultyTcp


class TwinWires:
    def __init__(
        self, every: list[TwinFaultyTcp], tick: int, link_free: int, after_turn: Callable[[int], None] = lambda _: None
    ) -> None:
        """``after_turn``: called after the turn of each connection in a tick, with its number."""
        self.every, self.tick, self.free, self.after_turn = every, tick, link_free, after_turn
        self.tick_length = every[0].tick_length

    def fork(self) -> TwinWires:
        """A copy that looks ahead."""
        return TwinWires([one.fork() for one in self.every], self.tick, self.free)

    def is_busy(self) -> bool:
        return any(one.broken_at is None and (one.out or one.waiting) for one in self.every)

    def pass_to(self, tick: int) -> None:
        while self.tick < tick and self.is_busy():
            self.pass_one()
        self.tick = max(self.tick, tick)

    def pass_one(self) -> None:
        """The next tick of all connections."""
        self.tick += 1
        for k in range(len(self.every)):
            number = (self.tick + k) % len(self.every)
            self._pass(self.every[number])
            self.after_turn(number)

    def _pass(self, one: TwinFaultyTcp) -> None:
        if one.broken_at is not None or not (one.out or one.waiting):
            return
        if one.waiting or one.lost or one.beyond_gap:
            one.link_free = max(one.link_free, self.free)
        one._pass(self.tick)
        self.free = max(self.free, one.link_free)

    def put(self, one: TwinFaultyTcp, t_ns: int, n_bytes: int) -> None:
        """Write to one of them, with room or without."""
        self.pass_to(1000 * t_ns // self.tick_length)
        self.put_now(one, max(1000 * t_ns, self.tick * self.tick_length), n_bytes)

    def put_now(self, one: TwinFaultyTcp, now: int, n_bytes: int) -> None:
        """Write to one of them in this tick."""
        one.put(self.tick, now, n_bytes, self.free)
        self.free = one.link_free
