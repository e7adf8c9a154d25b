"""The pre-copy loop written out: setup, windows, syncs, the stop."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import simpy

from hostsim.machine.spec import MachineSpec
from hostsim.qemu.parameters import ParameterChange
from tests.twins.guest import TwinMemory, TwinVcpu, TwinWork
from tests.twins.multifd import TwinMultifd
from tests.twins.multifd_wires import TwinMultifdWires
from tests.twins.postcopy import TwinPhase
from tests.twins.postcopy_faults import TwinFaultyPhase
from tests.twins.ram import TwinRam
from tests.twins.throttle import TwinThrottle, latenesses

Step = Generator[simpy.Event, Any, None]
MS = 1_000_000


class TwinMigration:
    def __init__(
        self, env: simpy.Environment, spec: MachineSpec, memory: TwinMemory, vcpus: list[TwinVcpu], works: list[TwinWork]
    ) -> None:
        self.env, self.p, self.sheet = env, spec.migration, spec.sheet
        self.memory, self.vcpus, self.works = memory, vcpus, works
        channels = TwinMultifdWires if spec.link.latency_ns else TwinMultifd
        self.ram = (channels if self.p.multifd else TwinRam)(env, memory, spec)
        self.spec, self.phase, self.other_channel_bytes = spec, None, 0
        self.throttle = TwinThrottle(env, vcpus, spec.sheet, spec.seed)
        mean_ns, spread_ns = spec.sheet.sleep_overshoot_ns, spec.sheet.sleep_overshoot_spread_ns
        self.sleeps_late = latenesses(spec.seed, "migration thread", mean_ns, spread_ns)
        self.old = self.p.qemu == "7.2"
        self.done = env.event()
        self.status = "none"
        self.stopping = False
        self.start_ns = self.setup_ms = self.total_ms = self.downtime_ms = 0
        self.bytes_per_ms = self.mbps = self.pages_per_s = 0.0
        self.threshold_bytes = self.expected_ms = self.before_stop_bytes = 0
        self.syncs = self.period_pages = self.period_start_ms = self.period_start_bytes = 0
        self.dirty_rate = self.remaining_at_sync = 0
        self.answer: dict[str, Any] | None = None
        self.sync_rows: list[tuple[Any, ...]] = []
        self.samples: list[tuple[Any, ...]] = []
        self.marks: list[tuple[int, str, int]] = []
        self.windows: list[tuple[int, float, int]] = []
        self.transitions: list[tuple[int, list[tuple[int, int, int, int]]]] = []
        self.lock_free: simpy.Event | None = None
        self.shut_down = env.event()
        self.acked = False
        self.thread = env.process(self._thread())

    @property
    def now_ms(self) -> int:
        return self.env.now // MS

    @property
    def active(self) -> bool:
        return self.status == "active" and not self.stopping

    @property
    def all_bytes(self) -> int:
        return self.ram.ram_bytes + self.ram.other_bytes + self.other_channel_bytes

    @property
    def transferred(self) -> int:
        return self.ram.ram_bytes if self.old else self.all_bytes

    @property
    def pages_sent(self) -> int:
        return self.ram.normal_pages + self.ram.zero_pages + (self.ram.xbzrle.pages if self.ram.xbzrle else 0)

    def query(self) -> dict[str, Any]:
        """query-migrate now."""
        ended = self.status == "completed"
        before_stop = self.before_stop_bytes if self.stopping else self.ram.main_bytes
        return {
            "status": self.status,
            "total_time_ms": self.total_ms or self.now_ms - self.start_ns // MS,
            "setup_time_ms": self.setup_ms,
            "downtime_ms": self.downtime_ms,
            "expected_downtime_ms": self.expected_ms,
            "cpu_throttle_percentage": self.throttle.percent,
            "transferred": self.transferred,
            "remaining": 0 if ended else self.ram.remaining_bytes,
            "total": 4096 * len(self.memory.content),
            "duplicate": self.ram.zero_pages,
            "normal": self.ram.normal_pages,
            "dirty_pages_rate": 0 if ended else self.dirty_rate,
            "mbps": self.mbps,
            "dirty_sync_count": self.syncs,
            "pages_per_second": int(self.pages_per_s),
            "precopy_bytes": before_stop,
            "ram": self._ram_of_mechanisms(before_stop),
            "mechanisms": {"xbzrle": self.ram.xbzrle.answer()} if self.ram.xbzrle else {},
            "downtime_bytes": 0 if self.phase else self.ram.main_bytes - before_stop,
        }

    def _ram_of_mechanisms(self, before_stop: int) -> dict[str, int]:
        channels = {"multifd-bytes": self.ram.channel_bytes()} if self.p.multifd else {}
        if not self.phase:
            return channels
        return channels | {
            "postcopy-requests": self.phase.requests, "postcopy-bytes": self.ram.main_bytes - before_stop,
        }  # fmt: skip

    def _thread(self) -> Step:
        yield self.env.timeout(self.p.start_ns)
        self.start_ns = self.env.now
        if self.p.timeout_ns:
            self.env.process(self._cancel_later())
        self.changes_left = list(self.p.changes)
        for change in self.p.changes:
            self.env.process(self._change_later(change))
        yield from self._setup()
        if self.active:
            self.env.process(self._sampler())
        while self.active:
            if not self.ram.exceeded(self.p.max_bandwidth // 10):
                yield from self._iterate()
            if self.active:
                self._window()
                if self.ram.exceeded(self.p.max_bandwidth // 10):
                    left_ms = max(0, self.window_start_ms + 100 - self.now_ms)
                    yield self.env.timeout(left_ms * MS + next(self.sleeps_late))

    def _setup(self) -> Step:
        self.expected_ms = self.p.downtime_limit_ms
        self._become("setup")
        yield self.env.timeout(self.sheet.setup_ns)
        if self.status != "setup":
            return
        self._open_window()
        if self.p.auto_converge and not self.old:
            self.env.process(self._five_second_timer())
        self.ram.setup()
        if self.p.switchover_ack:
            self.env.process(self._ack())
        self.memory.logging = True
        self._lock()
        yield from self._sync()
        self._unlock()
        self.setup_ms = self.now_ms - self.start_ns // MS
        self._become("active")

    def _iterate(self) -> Step:
        p, now = self.p, self.env.now
        by_time = p.postcopy_after_ns >= 0 and now >= self.start_ns + p.postcopy_after_ns
        by_rounds = p.postcopy_after_rounds >= 0 and self.syncs > p.postcopy_after_rounds
        if self.ram.remaining_bytes < self.threshold_bytes:
            yield from self._sync()
            if not self.active:
                return
        remaining = self.ram.remaining_bytes
        may_stop = self.acked or not self.p.switchover_ack
        is_low = remaining == 0 or remaining < self.threshold_bytes
        is_low = may_stop and (is_low or (remaining == self.threshold_bytes and self.p.qemu == "10.2"))
        if p.postcopy_ram and (by_time or by_rounds) and (self.p.qemu == "10.2" or not is_low):
            yield from self._switch()
        elif is_low:
            yield from self._stop_and_copy()
        else:
            if remaining == 0:  # not acknowledged yet
                yield self.env.timeout(MS)
            yield from self.ram.save(self.p.max_bandwidth // 10, True, lambda: self.active)

    def _stop_and_copy(self) -> Step:
        self._sample()
        stopped_ms, self.before_stop_bytes, self.stopping = self.now_ms, self.ram.main_bytes, True
        self.marks.append((self.env.now, "migration_thread_low_pending", self.ram.remaining_bytes))
        self._lock()
        self.throttle.vm_stopped = True
        yield self.env.all_of([vcpu.pause() for vcpu in self.vcpus])
        yield self.env.timeout(self.sheet.vm_stop_ns)
        self._sample()
        self.marks.append((self.env.now, "migration_completion_vm_stop", 0))
        if self.p.pause_before_switchover:
            yield from self._wait_for_continue()
            if self.status == "cancelling":
                return
        if not self.old or self.p.pause_before_switchover:
            self._become("device")
        yield from self._sync()
        yield from self.ram.save(0, False, lambda: True)
        self.ram.write_other(0, self.sheet.device_state_bytes)
        yield self.env.timeout(max(0, self.ram.t_ns - self.env.now) + self.sheet.switchover_ns)
        self._unlock()
        if self.p.return_path:
            yield self.env.process(self._answer_comes()) | self.shut_down
            if self.status == "cancelling":
                return
        assert not self.ram.waiting()
        assert not self.ram.stale()
        self.downtime_ms = self.now_ms - stopped_ms
        self.total_ms = self.now_ms - self.start_ns // MS
        self.mbps = self.all_bytes * 8 / max(1, self.total_ms - self.setup_ms) / 1000
        self._end("completed")

    def _switch(self) -> Step:
        """Post-copy: the phase runs beside this clock, which then goes on to its end."""
        self.stopped_ns, self.before_stop_bytes, self.stopping = self.env.now, self.ram.stream.ram_bytes, True
        self.marks.append((self.env.now, "postcopy_start", self.ram.remaining_bytes))
        if self.old:
            self._become("postcopy-active")
        self._lock()
        self.throttle.vm_stopped = True
        yield self.env.all_of([vcpu.pause() for vcpu in self.vcpus])
        yield self.env.timeout(self.sheet.vm_stop_ns)
        self.marks.append((self.env.now, "postcopy_vm_stop", 0))
        if self.p.pause_before_switchover:
            yield from self._wait_for_continue()
            if self.status == "cancelling":
                return
            self._become("postcopy-active" if self.old else "device")
        elif not self.old:
            self._become("device")
        yield from self._sync()
        step = self.p.host_page_bytes // 4096
        whole = {gfn // step for gfn in self.ram.bitmap}
        self.ram.bitmap |= {gfn for gfn in range(len(self.memory.content)) if gfn // step in whole}
        ranges = sum(gfn - 1 not in self.ram.bitmap for gfn in self.ram.bitmap)
        costs, stale_until = self.spec.inputs["postcopy"], self.env.now + self.spec.link.latency_ns
        names = max(len(block.idstr) for block in self.memory.blocks)
        held = self._held_ranges(12 * 16 + 8 + names)
        waited = 0
        for left in range(ranges, 0, -1):
            stale_until += costs.discard_range_ns
            waited += costs.discard_range_ns if left > held else 0
        yield self.env.timeout(waited + self.sheet.switchover_ns)
        self.ram.write_other(0, 16 * ranges + -(-ranges // 12) * (8 + names) + self.sheet.device_state_bytes)
        yield self.env.timeout(max(0, self.ram.t_ns - self.env.now))
        self.downtime_ms = self.now_ms - self.stopped_ns // MS
        kind = TwinFaultyPhase if self.spec.link.has_faults else TwinPhase
        listens_ns = max(kind.package_arrives(self.ram.socket, self.env.now), stale_until)
        self.phase = kind(self.spec, self, listens_ns, listens_ns + costs.device_load_ns)
        self.phase.free_ps = 0 if self.spec.link.has_faults else self.ram.socket.drained_ps_exactly()
        self._unlock()
        if not self.old:
            self._become("postcopy-device" if self.p.qemu == "10.2" else "postcopy-active")
        status = self.phase.run()
        self.marks += self.phase.marks
        yield self.env.timeout(self.phase.now - self.env.now)
        if status == "completed":
            assert not self.ram.stale()
            self.total_ms = self.now_ms - self.start_ns // MS
            self.mbps = self.all_bytes * 8 / max(1, self.total_ms - self.setup_ms) / 1000
        self._end(status)

    def _held_ranges(self, command_bytes: int) -> int:
        """Ranges to discard that the sockets hold, 12 a command, while the source goes on."""
        link = self.spec.link
        if link.latency_ns:
            return 12 * ((link.send_buffer_bytes + link.receive_window_bytes) // command_bytes)
        return 12 * (link.socket_buffer_bytes // 1280) if link.socket_buffer_bytes else 1 << 62

    def window_at(self, now_ns: int) -> None:
        """As ``_window``, at a time that this clock has not reached."""
        self._window(now_ns // MS, now_ns)

    def open_window_at(self, now_ns: int) -> None:
        self._open_window(now_ns // MS)

    def _wait_for_continue(self) -> Step:
        yield self.env.timeout(MS)
        self._become("pre-switchover")
        self._unlock()
        woken = [self.shut_down]
        if self.p.continue_after_ns:
            woken.append(self.env.timeout(self.p.continue_after_ns))
        yield self.env.any_of(woken)
        if self.status != "cancelling":
            self._lock()

    def _answer_comes(self) -> Step:
        drained_ns = max(0, self.ram.drained_ns() - self.env.now)
        yield self.env.timeout(drained_ns + 2 * self.ram.socket.latency_ns)

    def _ack(self) -> Step:
        yield from self._answer_comes()
        self.acked = True
        self.marks.append((self.env.now, "source_return_path_thread_switchover_acked", 0))

    def _lock(self) -> None:
        self.lock_free = self.lock_free or self.env.event()

    def _unlock(self) -> None:
        freed, self.lock_free = self.lock_free, None
        if freed is not None:
            freed.succeed()

    def _end(self, status: str) -> None:
        self._sample()
        self.throttle.percent = 0
        self._become(status)
        self.done.succeed()

    def _become(self, status: str) -> None:
        self._sample()
        self.status = status
        self.marks.append((self.env.now, f"migrate_set_state {status}", 0))

    def _open_window(self, now_ms: int | None = None) -> None:
        self.window_start_ms = self.now_ms if now_ms is None else now_ms
        self.window_bytes, self.window_pages = self.all_bytes, self.pages_sent
        self.ram.reset_window()

    def _window(self, now_ms: int | None = None, now_ns: int | None = None) -> None:
        """Once 100 ms are over: bandwidth and threshold of this window, and a new window."""
        now_ms = self.now_ms if now_ms is None else now_ms
        spent_ms = now_ms - self.window_start_ms
        if spent_ms < 100:
            return
        sent = self.all_bytes - self.window_bytes
        self.bytes_per_ms = sent / spent_ms
        told = self.p.avail_switchover_bandwidth
        switchover = told // 1000 if told else self.bytes_per_ms
        self.threshold_bytes = int(switchover * self.p.downtime_limit_ms)
        self.mbps = sent * 8 / (spent_ms / 1000) / 1e6
        self.pages_per_s = (self.pages_sent - self.window_pages) / (spent_ms / 1000)
        if self.dirty_rate and sent > 10000 and switchover:
            self.expected_ms = int(self.remaining_at_sync / switchover)
        self.windows.append((now_ns or self.env.now, self.bytes_per_ms, self.threshold_bytes))
        self._open_window(now_ms)

    def _sync(self) -> Step:
        t_ns = self.env.now
        self.syncs += 1
        if self.ram.xbzrle:
            self.ram.xbzrle.age = self.syncs
        self.period_start_ms = self.period_start_ms or self.now_ms
        dirty, first_writes = self.memory.harvest()
        new = dirty - self.ram.bitmap
        self.ram.bitmap |= dirty
        assert self.ram.stale() <= self.ram.waiting()
        self.transitions.append((t_ns, first_writes))
        self.period_pages += len(new)
        self.remaining_at_sync = self.ram.remaining_bytes
        was_locked = self.lock_free is not None
        self._unlock()
        for vcpu in self.vcpus:
            yield vcpu.awake
        if was_locked:
            self._lock()
        if self.now_ms > self.period_start_ms + 1000:
            self._end_period()
        self.sync_rows.append(
            (
                self.syncs, t_ns, self.remaining_at_sync, len(new), len(dirty), self.ram.normal_pages, self.ram.zero_pages,
                self.transferred, self.dirty_rate, self.bytes_per_ms * 1000, self.threshold_bytes, self.throttle.percent,
                {"xbzrle": tuple(self.ram.xbzrle.answer().values())} if self.ram.xbzrle else {},
            )
        )  # fmt: skip

    def _end_period(self) -> None:
        sent = self.transferred - self.period_start_bytes
        may_throttle = self.p.auto_converge and self.active
        before = self._now()
        if may_throttle and self.throttle.evaluate(self.p, 4096 * self.period_pages, sent):
            self._keep(before)
            self.marks.append((self.env.now, "migration_throttle", self.throttle.percent))
        if self.ram.xbzrle:
            self.ram.xbzrle.end_period(self.ram.normal_pages + self.ram.zero_pages)
        self.dirty_rate = self.period_pages * 1000 // (self.now_ms - self.period_start_ms)
        self.period_pages, self.period_start_ms, self.period_start_bytes = 0, self.now_ms, self.transferred

    def _five_second_timer(self) -> Step:
        syncs_before = 0
        while True:
            yield self.env.timeout(5_000 * MS)
            if not self.active:
                return
            if self.syncs > 1 and self.syncs == syncs_before:
                yield from self._sync()
            syncs_before = self.syncs

    def _cancel_later(self) -> Step:
        yield self.env.timeout(self.p.timeout_ns)
        while self.lock_free is not None:
            yield self.lock_free
        if self.status not in ("setup", "active", "pre-switchover", "device"):
            return
        self.answer = self.query()
        is_connecting = self.status == "setup"
        self._become("cancelling")
        self.shut_down.succeed()
        if not is_connecting or self.old:
            yield self.thread
        self._end("cancelled")

    def _change_later(self, change: ParameterChange) -> Step:
        yield self.env.timeout(change.after_ns)
        while self.lock_free is not None:
            yield self.lock_free
        if not self.done.triggered:
            self._change(change, self.env.now)

    def change_until(self, now_ns: int, freed_ns: int) -> None:
        """The changes before ``now_ns``, where the thread is ahead of the clock; it held the lock until ``freed_ns``."""
        for change in sorted(self.changes_left, key=lambda one: one.after_ns):
            if self.start_ns + change.after_ns < now_ns:
                self._change(change, max(freed_ns, self.start_ns + change.after_ns))

    def _change(self, change: ParameterChange, now_ns: int) -> None:
        if change in self.changes_left:
            self.changes_left.remove(change)
            self.p = replace(self.p, **dict(change.values))
            self.marks += [(now_ns, f"migrate_set_parameter {name}", value) for name, value in change.values]

    def _sampler(self) -> Step:
        while self.active:
            self._sample()
            yield self.env.timeout(100 * MS)

    def _sample(self) -> None:
        self._keep(self._now())

    def _keep(self, sample: tuple[Any, ...]) -> None:
        """The first of an instant stays."""
        if not self.samples or self.samples[-1][0] < sample[0]:
            self.samples.append(sample)

    def _now(self) -> tuple[Any, ...]:
        work_ns = sum(work.clock.work_before(self.env.now) for work in self.works)
        return (
            self.env.now - self.start_ns, self.status, self.syncs, self.ram.remaining_bytes, self.transferred,
            self.dirty_rate, self.bytes_per_ms * 1000, self.threshold_bytes, self.expected_ms, self.throttle.percent,
            work_ns, self.pages_sent,
        )  # fmt: skip
