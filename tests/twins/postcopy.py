"""Post-copy written out, one access and one page at a time: a heap of events, sets of pages, no array.

It begins where the source has written the package, and runs to the end of the phase or to a break of the connection that
no recovery follows.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from hostsim.machine.spec import MachineSpec
from tests.twins.class_streams import ClassStream, class_streams
from tests.twins.core_turns import CoreTurns

MS = 1_000_000
PS_PER_S = 10**12
DELIVER, DELIVER_BACK, GAIN_ROOM, PLACE, PLACE_URGENT, HANDLE, ARRIVE, THREAD, RUN, TOUCH = range(10)


class BrokenError(Exception):
    """The connection is gone."""


class TwinPhase:
    def __init__(self, spec: MachineSpec, migration: Any, arrived_ns: int, run_ns: int) -> None:
        self.spec, self.m, self.p, self.costs = spec, migration, spec.migration, spec.inputs["postcopy"]
        self.old, self.version = self.p.qemu == "7.2", self.p.qemu
        self.shift = (self.p.host_page_bytes // 4096).bit_length() - 1
        self.rate, self.latency = spec.link.stream_bytes_per_s, spec.link.latency_ns
        self.now, self.heap, self.number = migration.env.now, [], 0
        self.bitmap, self.missing = migration.ram.bitmap, set(migration.ram.bitmap)
        self.wire: deque[Any] = deque()  # (page or None, bytes, placed at)
        self.turns = CoreTurns(self)
        self.gathered: list[tuple[int | None, int]] = []
        self.gathered_pages = self.gathered_small = self.unread = 0
        self.read_until = self.urgent_until = arrived_ns
        self.free_ps = 0
        self.queue: deque[int] = deque()
        self.awaited = False
        self.return_busy = self.fault_busy = 0
        self.urgent_block = -1
        self.channel = 0
        self.urgent_bytes = self.requests = self.faults = self.lost = 0
        self.sending = self.blocked = False
        self.waiting: dict[int, int] = {}
        self.run_at: dict[int, int] = {}
        self.since: dict[int, int] = {}
        self.began: dict[int, int] = {}
        self.entries = [0] * spec.n_vcpus
        self.stalled_ns = 0
        self.blocked_ns = [0] * spec.n_vcpus
        self.latencies: list[int] = []
        self.all_blocked_ns = self.last_begin = 0
        self.life = 0
        self.t_ns = self.now
        self.run_ns = run_ns
        self.marks: list[tuple[int, str, int]] = []
        self.is_down, self.urgent_left = False, 0
        self.classes = class_streams(spec, migration.works)
        fails_ns = self.p.postcopy_link_fails_ns
        self.broken_ns = max(migration.stopped_ns + fails_ns, self.now) if fails_ns else None
        for vcpu in range(spec.n_vcpus):
            self._at(run_ns, RUN, lambda vcpu=vcpu: self._run_again(vcpu), vcpu)
        self._buffer()

    @staticmethod
    def package_arrives(socket: Any, now_ns: int) -> int:
        """When the package, which is written, is at the destination."""
        return int(max(now_ns, socket.drained_ns()) + socket.latency_ns)

    def _buffer(self) -> None:
        link = self.spec.link
        self.room = self.goes_on = link.send_buffer_bytes + (0 if self.latency else 32768)  # QEMUFile's own buffer
        if self.latency and self.rate and self.costs.place_page_ns * self.rate <= 4104 * 10**9:
            self.room = max(self.room - self.rate * self.latency // 10**9, 4104)
        elif self.latency:
            self.room += link.receive_window_bytes

    # -- events

    def _at(self, ns: int, kind: int, call: Callable[[], None], order: int = 0) -> None:
        self.number += 1
        heapq.heappush(self.heap, (ns, kind, order, self.number, call))

    def _pop_before(self, ns: int, kind: int) -> bool:
        """Let the next event happen if it comes before (ns, kind)."""
        if not self.heap or self.heap[0][:2] >= (ns, kind):
            return False
        if self.broken_ns is not None and self.heap[0][0] >= self.broken_ns:
            return False
        self.now, *_, call = heapq.heappop(self.heap)
        call()
        return True

    def until(self, ns: int, kind: int = -1, stop: Callable[[], bool] = lambda: False) -> bool:
        """Everything before ``ns``; True if ``stop`` became true on the way."""
        while not stop():
            if not self._pop_before(ns, kind):
                if self.broken_ns is not None and ns >= self.broken_ns:
                    self.now = self.broken_ns
                    raise BrokenError
                self.now = max(self.now, ns)
                return False
        return True

    # -- guest

    def _run_again(self, vcpu: int) -> None:
        if vcpu in self.since:
            self.stalled_ns += self.now - self.since.pop(vcpu)
            del self.waiting[vcpu]
        for work in self.m.works:
            if work.who[1] == vcpu:
                work.clock.enter(self.now)
        for stream in self.classes:
            if stream.work.who[1] == vcpu:
                self._await(stream, vcpu)

    def _await(self, stream: ClassStream, vcpu: int) -> None:
        entry, due = self.entries[vcpu], stream.due(self.now)
        if due is not None and due < self.m.spec.duration_ns:
            self._at(due, TOUCH, lambda: self._access(stream, vcpu, entry), stream.order)

    def _access(self, stream: ClassStream, vcpu: int, entry: int) -> None:
        if entry != self.entries[vcpu]:
            return
        gfn = stream.pop()[1]
        if gfn not in self.missing:
            self._await(stream, vcpu)
            return
        self.entries[vcpu] += 1
        for other in self.m.works:
            if other.who[1] == vcpu:
                other.clock.leave(self.now)
        self.fault_busy = max(self.fault_busy, self.now) + self.turns.fault_ns(gfn >> self.shift)
        self.turns.vcpu_sleeps()
        self.faults += 1
        self.waiting[vcpu], self.since[vcpu] = gfn >> self.shift, self.now
        since = self.now
        self._at(self.fault_busy, HANDLE, lambda: self._handle(vcpu, since), vcpu)

    def _handle(self, vcpu: int, since: int) -> None:
        if self.since.get(vcpu) != since or self.waiting[vcpu] is None:
            return
        self.began[vcpu] = self.last_begin = self.now
        self._request(self.waiting[vcpu] << self.shift)

    def _request(self, gfn: int) -> None:
        life = self.life
        self._at(self.now + self.costs.request_ns + self.latency, ARRIVE, lambda: self._arrive(gfn, life))

    def _place(self, gfn: int | None, wake_ups: int = 4) -> None:
        on_main = wake_ups == 4
        if gfn is None:
            return
        host_page = gfn >> self.shift
        pages = {page for page in self.missing if page >> self.shift == host_page}
        assert pages, f"gfn {gfn} placed twice"
        self.missing -= pages
        for page in pages:
            self.m.ram.destination[page] = self.m.memory.content[page]
        busy = self.costs.busy_wake_ns * wake_ups // 4 if self.sending and self.wire else 0
        takes_core = on_main and self.turns.takes_core()
        busy = 0 if takes_core else busy
        woken = [v for v, page in sorted(self.waiting.items()) if page == host_page]
        known = [v for v in woken if v in self.began]
        if known and len(self.began) == self.spec.n_vcpus:
            self.all_blocked_ns += self.now - self.last_begin
        for vcpu in woken:
            if vcpu in known:
                taken = self.now - self.began.pop(vcpu)
                self.blocked_ns[vcpu] += taken
                self.latencies.append(taken)
            self.waiting[vcpu] = None
            from_ns, takes_core = (self.turns.take(vcpu), False) if takes_core else (self.now, False)
            self.wake(vcpu, from_ns + self.costs.wake_ns + busy)

    def wake(self, vcpu: int, run_ns: int) -> None:
        """The vCPU runs at ``run_ns``, whatever was said before."""
        self.run_at[vcpu] = run_ns
        self._at(run_ns, RUN, lambda: self._run_again(vcpu) if self.run_at.pop(vcpu, None) == self.now else None, vcpu)

    # -- stream

    def _link(self, t_ns: int, n_bytes: int) -> int:
        if not self.rate:
            return t_ns + self.latency
        self.free_ps = max(self.free_ps, t_ns * 1000) + n_bytes * PS_PER_S // self.rate
        return -(-self.free_ps // 1000) + self.latency

    def _flush(self, t_ns: int, other: int = 0) -> None:
        for gfn, n_bytes in self.gathered:
            arrived = self._link(t_ns, n_bytes)
            cost = self.costs.place_page_ns if n_bytes >= 4104 else self.costs.place_zero_ns
            self.read_until = max(self.read_until, arrived) + cost
            self.wire.append([gfn, n_bytes, self.read_until])
            self.unread += n_bytes
            self.await_place(self.wire[-1], self.read_until)
        if other:
            self.read_until = max(self.read_until, self._link(t_ns, other))
        self._written()

    def _written(self) -> None:
        """The writer waits if the sockets are full, until they have room."""
        self.gathered, self.gathered_pages, self.gathered_small = [], 0, 0
        self.blocked = self.unread > self.room
        self.goes_on = self.room
        if self.spec.link.wake_bytes and not self.latency:  # unix_writable
            self.goes_on = min(self.room, self.unread - self.spec.link.wake_bytes)

    def await_place(self, entry: Any, at_ns: int) -> None:
        """An entry is due; it may be put off until then."""
        life, due = self.life, entry[2]
        self._at(at_ns, PLACE, lambda: self._due(life, entry, due))

    def _due(self, life: int, entry: Any, due: int) -> None:
        if life != self.life or entry[2] != due or not self.wire or entry is not self.wire[0]:
            return
        put_off_ns = self.turns.put_off()
        if put_off_ns > self.now:
            self.await_place(entry, put_off_ns)
        else:
            self._read(life)

    def _read(self, life: int) -> None:
        if life != self.life:
            return
        self.turns.loader_places()
        gfn, n_bytes, _ = self.wire.popleft()
        self.unread -= n_bytes
        self._unblock()
        if not self.wire:
            self.turns.schedule()
        self._place(gfn)

    def _unblock(self) -> None:
        if self.blocked and self.unread <= self.goes_on:
            self.blocked, self.t_ns = False, max(self.t_ns, self.now)
            self.turns.schedule()

    def _header(self, gfn: int, apart: bool) -> int:
        block = next(i for i, b in enumerate(self.m.memory.blocks) if b.first_gfn <= gfn < b.end_gfn)
        last = self.urgent_block if apart else self.m.ram.block_sent
        if apart:
            self.urgent_block = block
        else:
            self.m.ram.block_sent = block
        return 0 if block == last else 1 + len(self.m.memory.blocks[block].idstr)

    def _send(self, gfn: int, urgent: bool, t_ns: int, apart: bool = False) -> int:
        """A whole host page from ``t_ns`` on; when that is done."""
        ram, sheet = self.m.ram, self.spec.sheet
        pages = sorted(page for page in self.bitmap if page >> self.shift == gfn >> self.shift)
        for page in pages:
            self.bitmap.remove(page)
            is_zero = self.m.memory.is_zero(page)
            header = (9 if is_zero else 8) + self._header(page, apart)
            n_bytes = header + (0 if is_zero else 4096)
            t_ns += sheet.zero_page_ns if is_zero else (self.costs.send_page_ns or sheet.page_send_ns)
            ram.zero_pages += is_zero
            ram.normal_pages += not is_zero
            whole = page if page == pages[-1] else None
            if urgent:
                ram.stream.ram_bytes += n_bytes
                self._send_urgent(whole, n_bytes, is_zero, t_ns)
                continue
            ram.stream.page(header, not is_zero)
            self.gathered.append((whole, n_bytes))
            self.gathered_pages += not is_zero
            self.gathered_small += header
            if self.gathered_pages == 32 or self.gathered_small >= 32768:
                self._flush(t_ns)
        return t_ns

    def _send_urgent(self, gfn: int | None, n_bytes: int, is_zero: bool, t_ns: int) -> None:
        arrived = t_ns + self.latency
        if self.rate:
            ahead = min(max(self.free_ps - t_ns * 1000, 0), 10**9)
            wire = n_bytes * PS_PER_S // self.rate
            arrived += -(-(ahead + wire) // 1000)
            self.free_ps = max(self.free_ps, t_ns * 1000) + wire
        self.urgent_until = max(self.urgent_until, arrived) + (
            self.costs.place_zero_ns if is_zero else self.costs.place_page_ns
        )
        self.urgent_bytes += n_bytes
        life = self.life
        self.urgent_left += 1
        self._at(self.urgent_until, PLACE_URGENT, lambda: self._read_urgent(gfn, life))

    def _read_urgent(self, gfn: int | None, life: int) -> None:
        if life == self.life:
            self.urgent_left -= 1
            self._place(gfn, 5)

    def _arrive(self, gfn: int, life: int) -> None:
        if life != self.life or self.is_down:
            return
        if self.now < self.return_busy:  # the return-path thread is at work
            self._at(self.return_busy, ARRIVE, lambda: self._arrive(gfn, life))
            return
        self.requests += 1
        if not self.p.postcopy_preempt or self.old:
            self.queue.append(gfn)
            return
        if any(page >> self.shift == gfn >> self.shift for page in self.bitmap):
            before = self.m.ram.stream.ram_bytes
            self.return_busy = self._send(gfn, True, self.now, apart=True)
            self.m.ram.stream.charged_bytes += self.m.ram.stream.ram_bytes - before

    # -- the migration thread

    def _pages(self, limit: int) -> None:
        """ram_save_iterate and its EOS; returns when write() does."""
        ram, self.sending = self.m.ram, True
        self.t_ns = started = self.now
        passes = 0
        while True:
            self.until(self.t_ns, THREAD)
            self._let_return_path_read()
            if self.blocked:
                self.until(1 << 62, THREAD, lambda: not self.blocked)
                continue
            gfn, spent = None, ram.exceeded(limit)
            if spent and not self.queue:
                break
            while self.queue and gfn is None:
                asked = self.queue.popleft()
                gfn = asked if asked in self.bitmap else None
            urgent = gfn is not None and self.p.postcopy_preempt
            if gfn is None:
                if not self.bitmap:
                    break
                gfn = min([page for page in self.bitmap if page >= ram.cursor] or self.bitmap)
            self._bring(gfn)
            if self.p.postcopy_preempt and self.old and self.channel != urgent:
                self.channel, ram.block_sent = urgent, -1
            self.t_ns = self._send(gfn, urgent, self.now)
            ram.cursor = ((gfn >> self.shift) + 1) << self.shift
            if passes % 64 == 0 and (self.t_ns - started) // MS > 50:
                break
            passes += 1
        self.sending, self.channel = False, 0
        self.until(self.t_ns)
        ram.stream.other(8, 10)
        self._flush(self.t_ns, 18)
        self._wait_for_room()

    def _bring(self, gfn: int) -> None:
        """The source has all pages."""

    def _let_return_path_read(self) -> None:
        """The source has all pages."""

    def _wait_for_room(self) -> None:
        if self.turns.on and self.blocked:
            self.until(1 << 62, -1, lambda: not self.blocked)
        while self.blocked:
            self.until(self.wire[0][2] + 1)

    def run(self) -> str:
        """The phase; "completed", or "postcopy-paused" if the guest is lost."""
        switched_ns = self.now  # parameters change at their time in a pause, too: the thread holds no lock there
        while True:
            try:
                self._thread(switched_ns)
            except BrokenError:
                if not self._recover():
                    return "postcopy-paused"
                continue
            return "completed"

    def _ready(self) -> bool:
        left = 4096 * len(self.bitmap)
        return left == 0 or (self.version != "10.2" and left < self.m.threshold_bytes)

    def _thread(self, switched_ns: int) -> None:
        urgent, m = False, self.m
        while True:
            m.change_until(self.now, switched_ns)
            limit = m.p.max_postcopy_bandwidth // 10
            if urgent or not m.ram.exceeded(limit):
                self._loaded()
                if self._ready():
                    break
                if not m.ram.exceeded(limit):
                    self._pages(limit)
            m.other_channel_bytes = -self.urgent_bytes if self.old else 0
            m.change_until(self.now, switched_ns)
            m.window_at(self.now)
            urgent = False
            if m.ram.exceeded(limit):
                urgent = self._sleep()
        self._complete()

    def _loaded(self) -> None:
        if self.m.status == "postcopy-device":
            if not self.bitmap and self.now < self.run_ns + self.latency:
                self.until(self.run_ns + self.latency)
            if self.now >= self.run_ns + self.latency:
                self.become("postcopy-active")

    def _sleep(self) -> bool:
        m = self.m
        end_ms = m.window_start_ms + 100
        left_ms = max(0, end_ms - self.now // MS)
        if not self.queue:
            awake = self.now + left_ms * MS + self.spec.sheet.sleep_overshoot_ns
            if not self.until(awake, -1, lambda: bool(self.queue)):
                return False
        if not self._ready():
            self.until(max(end_ms * MS, self.now))
        return True

    def _complete(self) -> None:
        self.marks.append((self.now, "migration_completion_postcopy_end", 4096 * len(self.bitmap)))
        while self.bitmap:
            self._pages(0)
        self.until(1 << 62, -1, lambda: not self.wire and not self.urgent_left)
        self._wait_for_answer(max(self.now, self.run_ns))
        assert not self.missing

    def _wait_for_answer(self, done_ns: int) -> None:
        self.until(done_ns + self.latency)

    def _disconnect(self) -> None:
        """The connections are gone."""

    def _shakes_hands(self) -> bool:
        """Exchange the bitmaps over new connections; whether the phase goes on."""
        bits = len(self.m.memory.content) // 8
        wire = bits * 10**9 // self.rate if self.rate else 0
        self.until(self.now + self.costs.recover_ns + wire + 4 * self.latency)
        return True

    def _recovers_at(self) -> int:
        return self.now + self.p.postcopy_recover_after_ns

    def _recover(self) -> bool:
        self._disconnect()
        lost = self.missing - self.bitmap
        self.bitmap |= lost
        self.lost += len(lost)
        self.life += 1
        self.wire, self.gathered, self.queue = deque(), [], deque()
        self.turns.from_ns = self.turns.waiter = None
        self.gathered_pages = self.gathered_small = self.unread = self.urgent_left = 0
        self.blocked = self.sending = False
        self.broken_ns, self.is_down = None, True
        self.marks.append((self.now, "postcopy_pause", len(lost)))
        self.become("postcopy-paused")
        if not self.p.postcopy_recover_after_ns:
            return False
        dead, is_up = self.life, False
        while not is_up:
            self.until(self._recovers_at())
            self.become("postcopy-recover")
            is_up = self._shakes_hands()
            if not is_up:
                self.marks.append((self.now, "postcopy_pause", 0))
                self.become("postcopy-paused")
        assert self.life == dead
        self.life += 1
        self.is_down = False
        for page in sorted({self.waiting[v] for v in self.began}):
            self._request(page << self.shift)
        self.return_busy = 0
        self.read_until = self.urgent_until = self.now
        self.free_ps = self.now * 1000
        self.m.ram.block_sent = self.urgent_block = -1
        self.become("postcopy-active")
        self.m.open_window_at(self.now)
        return True

    def become(self, status: str) -> None:
        self.m.status = status
        self.marks.append((self.now, f"migrate_set_state {status}", 0))

    def figures(self) -> dict[str, Any]:
        under_way = sum(self.now - since for since in self.since.values())
        return {
            "requests": self.requests, "faults": self.faults, "stalled_ns": self.stalled_ns + under_way,
            "blocked_ns": self.blocked_ns, "all_blocked_ns": self.all_blocked_ns, "lost": self.lost,
            "latencies": sorted(self.latencies), "left": sorted(self.missing),
        }  # fmt: skip

