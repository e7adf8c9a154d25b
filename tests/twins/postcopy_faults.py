"""Post-copy over a link that fails, written out: connections that pass each tick, and copies of them that look ahead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hostsim.qemu.link import LinkSpec, Outage
from tests.twins.postcopy import ARRIVE, DELIVER, DELIVER_BACK, GAIN_ROOM, PLACE, PLACE_URGENT, BrokenError, TwinPhase
from tests.twins.tcp_faults import TwinFaultyTcp
from tests.twins.wires import TwinWires

OTHER = {"both": "both", "to-destination": "to-source", "to-source": "to-destination"}
REQUEST, SHUT = 16, 8
Arrival = Callable[[], None]


def back_spec(spec: LinkSpec) -> LinkSpec:
    """The way from the destination to the source."""
    outages = tuple(Outage(one.start_ns, one.length_ns, OTHER[one.drops]) for one in spec.outages)
    return replace(spec, outages=outages, loss=0.0)


@dataclass
class Stream:
    """One direction of a connection: bytes written, and entries on their way, (bytes up to the end, call at arrival)."""

    wire: TwinFaultyTcp
    written: int = 0
    entries: list[tuple[int, Arrival]] = field(default_factory=list)


@dataclass
class Group:
    """Streams that share the link; ``plan``: number of the last plan, older ones are void."""

    wires: TwinWires
    streams: list[Stream]
    kind: int
    plan: int = 0
    written_ns: int = 0


class TwinFaultyPhase(TwinPhase):
    def __init__(self, spec: Any, migration: Any, arrived_ns: int, run_ns: int) -> None:
        self.has_room, self.link, self.old_wires = True, spec.link, []
        super().__init__(spec, migration, arrived_ns, run_ns)
        self._connect(migration.ram.socket.connection, "preempt")

    @staticmethod
    def package_arrives(socket: Any, now_ns: int) -> int:
        return max(now_ns, acked_ns(socket.connection) - socket.latency_ns)

    def _connect(self, main: TwinFaultyTcp, preempt: str) -> None:
        urgent = TwinFaultyTcp(replace(self.link, loss_key=self.link.loss_key_of(preempt)))
        back = TwinFaultyTcp(back_spec(self.link))
        back.tick = self.now * 1000 // back.tick_length
        streams = [Stream(main, main.out + main.waiting + main.beyond_gap), Stream(urgent)]
        self.forth = Group(TwinWires([main, urgent], main.tick, main.link_free), streams, DELIVER)
        self.back = Group(TwinWires([back], back.tick, 0), [Stream(back)], DELIVER_BACK)
        self.has_room = True

    def _buffer(self) -> None:
        self.room = self.goes_on = self.link.send_buffer_bytes + self.link.receive_window_bytes

    # -- writing

    def _write(self, group: Group, stream: Stream, t_ns: int, n_bytes: int) -> None:
        group.wires.put(stream.wire, t_ns, n_bytes)
        stream.written += n_bytes
        group.written_ns = t_ns
        if stream is self.forth.streams[0]:
            self.has_room = stream.wire.kept <= stream.wire.buffer
        self._plan(group)

    def _flush(self, t_ns: int, other: int = 0) -> None:
        main = self.forth.streams[0]
        end = main.written
        for gfn, n_bytes in self.gathered:
            end += n_bytes
            cost = self.costs.place_page_ns if n_bytes >= 4104 else self.costs.place_zero_ns
            self.wire.append((gfn, n_bytes, 0))
            self.unread += n_bytes
            main.entries.append((end, lambda cost=cost, life=self.life: self._load(cost, life)))
        n_bytes = end - main.written + other
        self.gathered, self.gathered_pages, self.gathered_small = [], 0, 0
        self._write(self.forth, main, t_ns, n_bytes)
        self.blocked = self.unread > self.room or not self.has_room

    def _load(self, cost: int, life: int) -> None:
        self.read_until = max(self.read_until, self.now) + cost
        self._at(self.read_until, PLACE, lambda: self._read(life))

    def _send_urgent(self, gfn: int | None, n_bytes: int, is_zero: bool, t_ns: int) -> None:
        urgent, life, behind = self.forth.streams[1], self.life, [0]
        cost = self.costs.place_zero_ns if is_zero else self.costs.place_page_ns

        def load() -> None:
            self.urgent_until = max(self.urgent_until, self.now + behind[0]) + cost
            self._at(self.urgent_until, PLACE_URGENT, lambda: self._read_urgent(gfn, life))

        self.urgent_bytes += n_bytes
        self.urgent_left += 1
        urgent.entries.append((urgent.written + n_bytes, load))
        self._write(self.forth, urgent, t_ns, n_bytes)
        main = self.forth.wires.every[0]
        if main.rate:
            behind[0] = min(min(main.waiting, max(0, main._room())) * 10**12 // main.rate, 10**9) // 1000

    def _request(self, gfn: int) -> None:
        if self.is_down:
            return
        [stream], life = self.back.streams, self.life
        arrives = lambda: self._at(self.now, ARRIVE, lambda: self._arrive(gfn, life))  # noqa: E731
        stream.entries.append((stream.written + REQUEST, arrives))
        self._write(self.back, stream, self.now + self.costs.request_ns, REQUEST)

    # -- arriving

    def _plan(self, group: Group) -> None:
        """Find the next arrival as if nothing more were written; and when the send buffer has room."""
        group.plan += 1
        ahead = group.wires.fork()
        looks_for_room = group is self.forth and not self.has_room
        while True:
            if looks_for_room and ahead.every[0].kept <= ahead.every[0].buffer:
                self._gain_room_at(max(-(-ahead.tick * ahead.tick_length // 1000), group.written_ns))
                looks_for_room = False
            broken = [one.broken_at for one in ahead.every if one.broken_at is not None]
            if broken:
                self._at(max(-(-broken[0] // 1000), group.written_ns), group.kind, self._current(group, self._break))
                return
            if any(self._is_there(stream, one) for stream, one in zip(group.streams, ahead.every, strict=True)):
                at_ns = -(-(ahead.tick + 1) * ahead.tick_length // 1000) - self.latency
                deliver = partial(self._deliver, group, ahead.every)
                self._at(max(at_ns, group.written_ns), group.kind, self._current(group, deliver))
                return
            if not ahead.is_busy():
                return
            ahead.pass_one()

    def _current(self, group: Group, call: Arrival) -> Arrival:
        """``call``, unless another plan has been made by then."""
        plan = group.plan
        return lambda: call() if group.plan == plan else None

    def _gain_room_at(self, ns: int) -> None:
        plan = self.forth.plan

        def gain() -> None:
            if self.forth.plan == plan:
                self.has_room = True
                self._unblock()

        self._at(ns, GAIN_ROOM, gain)

    def _break(self) -> None:
        raise BrokenError

    @staticmethod
    def _is_there(stream: Stream, wire: TwinFaultyTcp) -> bool:
        return bool(stream.entries) and stream.entries[0][0] <= stream.written - wire.kept + wire.arrived_unheard()

    def _deliver(self, group: Group, found: list[TwinFaultyTcp]) -> None:
        for stream, wire in zip(group.streams, found, strict=True):
            while self._is_there(stream, wire):
                stream.entries.pop(0)[1]()
        self._plan(group)

    def _unblock(self) -> None:
        if self.has_room:
            super()._unblock()

    def _wait_for_room(self) -> None:
        self.until(1 << 62, -1, lambda: not self.blocked)

    def _wait_for_answer(self, done_ns: int) -> None:
        self.until(done_ns)
        [stream] = self.back.streams
        self._write(self.back, stream, done_ns, SHUT)
        self.until(max(acked_ns(stream.wire) - self.latency, done_ns))

    # -- a connection that breaks

    def _disconnect(self) -> None:
        for group in (self.forth, self.back):
            group.wires.pass_to(self.now * 1000 // group.wires.tick_length)
            self.old_wires += group.wires.every
            group.plan += 1
        self.has_room = True

    def _recovers_at(self) -> int:
        at_ns = super()._recovers_at()
        while over := [o.start_ns + o.length_ns for o in self.link.outages if 0 <= at_ns - o.start_ns < o.length_ns]:
            at_ns = over[0]
        return at_ns

    def _shakes_hands(self) -> bool:
        main = TwinFaultyTcp(replace(self.link, loss_key=self.link.loss_key_of("recovered")))
        main.tick = self.now * 1000 // main.tick_length
        self._connect(main, "preempt, recovered")
        names = [len(block.idstr) for block in self.m.memory.blocks]
        words = [(block.end_gfn - block.first_gfn + 63) // 64 for block in self.m.memory.blocks]
        bitmaps = sum(4 + 1 + name + 8 + 8 * word + 8 for name, word in zip(names, words, strict=True))
        self.until(self.now + self.costs.recover_ns)
        for group, n_bytes in (
            (self.forth, sum(5 + 1 + name for name in names)), (self.back, bitmaps), (self.forth, 5), (self.back, 8),
        ):  # fmt: skip
            if not self._crosses(group, n_bytes):
                self._disconnect()
                return False
        return True

    def _crosses(self, group: Group, n_bytes: int) -> bool:
        """Wait until a message has arrived, or until its connection breaks."""
        stream = group.streams[0]
        group.wires.put(stream.wire, self.now, n_bytes)
        stream.written += n_bytes
        ahead = stream.wire.fork()
        while (ahead.out or ahead.waiting) and ahead.broken_at is None:
            ahead._pass(ahead.tick + 1)
        if ahead.broken_at is not None:
            self.until(max(ahead.broken_at // 1000, self.now))
            return False
        self.until(max(-(-ahead.tick * ahead.tick_length // 1000) - self.latency, self.now))
        return True

    def figures(self) -> dict[str, Any]:
        wires = self.old_wires + ([] if self.is_down else self.forth.wires.every + self.back.wires.every)
        counts = [sum(column) for column in zip(*((one.all_expiries, one.again, one.losses) for one in wires), strict=True)]
        return super().figures() | {"counts": counts}


def acked_ns(wire: TwinFaultyTcp) -> int:
    """When all that is written to a connection which has the link for itself is acknowledged."""
    ahead = wire.fork()
    while ahead.out or ahead.waiting:
        ahead._pass(ahead.tick + 1)
    return -(-ahead.tick * ahead.tick_length // 1000)
