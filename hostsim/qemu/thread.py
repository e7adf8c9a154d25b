"""The migration thread: setup, the pre-copy loop, completion (migration.c::migration_thread).

QEMU 7.2 and 10.x differ by ``Behaviour``; this file has the code that they share.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_MS, PAGE_BYTES
from hostsim.core.dirty_tracker import DirtyTracker
from hostsim.core.errors import InvariantError
from hostsim.core.knobs import Knobs
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.vm import VmBase
from hostsim.qemu import auto_converge, window
from hostsim.qemu.cpu_throttle import CpuThrottle, dirty_sync_timer
from hostsim.qemu.link import Link, LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.ram import RamState
from hostsim.qemu.recorder import SERIES_PERIOD_NS, Recorder, Sample, SyncPoint
from hostsim.qemu.state import Counters, MigrationState

Step = Generator[simpy.Event, Any, None]
RATE_PERIOD_MS = 1000
"""Rates and throttle are evaluated at syncs more than this apart (ram.c::migration_bitmap_sync)."""


class Migration:
    """One outgoing migration; the event ``done`` fires when it has completed or was cancelled."""

    def __init__(
        self,
        env: Clock,
        vm: VmBase,
        tracker: DirtyTracker,
        parameters: MigrationParameters,
        link: LinkSpec,
        sheet: HostSheet,
        knobs: Knobs,
        log_capacity: int = 0,
    ) -> None:
        """``log_capacity``: page sends to keep (tests), 0: none."""
        self.state, self.recorder, self.parameters = MigrationState(), Recorder(), parameters
        self.vm, self.tracker, self.sheet = vm, tracker, sheet
        self.ram = RamState(env, vm, tracker, sheet, link, knobs, log_capacity)
        self.link = Link(env, link, self.ram.send_state)
        self.throttle = CpuThrottle(env, vm, sheet.throttle_overshoot_ns, sheet.sleep_overshoot_ns)
        self.done: simpy.Event = env.event()
        self._env, self._behaviour = env, parameters.behaviour
        env.process(self._run())

    @property
    def now_ms(self) -> int:
        """qemu_clock_get_ms: whole milliseconds."""
        return int(self._env.now_ns) // NS_PER_MS

    @property
    def active(self) -> bool:
        """Whether the guest runs and the thread sends pages in rounds (migration_is_active, before the switchover)."""
        return self.state.status == "active" and not self.state.switching_over

    @property
    def transferred_bytes(self) -> int:
        """ram.transferred: the RAM stream (7.2), or all bytes (10.x)."""
        if self._behaviour.counts_all_bytes:
            return window.total_bytes(self.state, self.ram)
        return self.ram.sent_bytes

    def counters(self) -> Counters:
        """query-migrate now."""
        m, ram = self.state, self.ram
        ended = m.status == "completed"
        total = m.total_time_ms or self.now_ms - m.start_ns // NS_PER_MS
        before_stop = m.precopy_bytes if m.switching_over else ram.sent_bytes
        return Counters(
            m.status, total, m.setup_time_ms, m.downtime_ms, m.expected_downtime_ms, self.throttle.percent,
            self.transferred_bytes, 0 if ended else ram.remaining_bytes, self.vm.memory.n_bytes, ram.zero_pages,
            ram.normal_pages, 0 if ended else m.dirty_pages_rate, m.mbps, m.dirty_sync_count, int(m.pages_per_second),
            before_stop, ram.sent_bytes - before_stop,
        )  # fmt: skip

    # -- the thread

    def _run(self) -> Step:
        yield self._env.timeout(self.parameters.start_ns)
        yield from self._setup()
        self._env.process(self._sampler())
        if self.parameters.timeout_ns:
            self._env.process(self._time_out())
        while self.active:
            if not self.ram.window_exceeded(self.parameters.rate_limit_bytes):
                yield from self._iteration_run()
            if self.active:
                yield from self._rate_limit()

    def _setup(self) -> Step:
        """Connect, then do the work of migration_thread before its loop; the first window opens before the log is on."""
        m = self.state
        m.start_ns, m.expected_downtime_ms = self._env.now_ns, self.parameters.downtime_limit_ms
        self._set_status("setup")
        yield self._env.timeout(self.sheet.setup_ns)
        window.open_window(m, self.ram, self.now_ms)
        if self._behaviour.dirty_sync_timer and self.parameters.auto_converge:
            self._env.process(self._dirty_sync_timer())
        self.ram.setup()
        yield from self.tracker.start_log()
        yield from self._bitmap_sync()
        m.setup_time_ms = self.now_ms - m.start_ns // NS_PER_MS
        self._set_status("active")

    def _rate_limit(self) -> Step:
        """migration_rate_limit: close the window, or sleep until its 100 ms are over."""
        now_ms = self.now_ms
        if window.update_counters(self.state, self.ram, self.parameters, now_ms):
            self.recorder.trace("migrate_transferred", t_ns=self._env.now_ns, bandwidth=self.state.bandwidth_bytes_per_ms)
        if self.ram.window_exceeded(self.parameters.rate_limit_bytes):
            wait_ms = max(0, self.state.window_start_ms + window.BUFFER_DELAY_MS - now_ms)
            yield self._env.timeout(wait_ms * NS_PER_MS + self.sheet.sleep_overshoot_ns)

    def _iteration_run(self) -> Step:
        """migration_iteration_run: one test decides between sync, stop and another ram_save_iterate."""
        estimates = self._behaviour.estimate_first
        if estimates:
            self._trace_pending("migrate_pending_estimate")
        if self.ram.remaining_bytes < self.state.threshold_bytes:
            yield from self._bitmap_sync()
            if not self.active:
                return
            if estimates:
                self._trace_pending("migrate_pending_exact")
        if not estimates:
            self._trace_pending("migrate_pending")
        if self._may_complete(self.ram.remaining_bytes):
            yield from self._completion()
            return
        p = self.parameters
        yield from self.ram.save(p.rate_limit_bytes, self._behaviour.flush_pages, True, lambda: self.active)

    def _trace_pending(self, event: str) -> None:
        self.recorder.trace(event, t_ns=self._env.now_ns, pending=self.ram.remaining_bytes)

    def _may_complete(self, pending: int) -> bool:
        threshold = self.state.threshold_bytes
        if self._behaviour.at_threshold_completes:
            return pending <= threshold
        return pending == 0 or pending < threshold

    def _completion(self) -> Step:
        """migration_completion: stop the VM, send the remaining pages without a rate limit, hand over."""
        m = self.state
        self._cut()
        m.downtime_start_ns, m.precopy_bytes, m.switching_over = self._env.now_ns, self.ram.sent_bytes, True
        self.recorder.mark(self._env.now_ns, "migration_thread_low_pending", self.ram.remaining_bytes)
        yield from self.vm.stop()
        self._cut()
        self.recorder.mark(self._env.now_ns, "migration_completion_vm_stop")
        if self._behaviour.has_device_status:
            self._set_status("device")
        yield from self._bitmap_sync()
        yield from self.ram.save(0, self._behaviour.flush_pages, False, lambda: True)
        self.ram.write(0, self.sheet.device_state_bytes)
        yield self._env.timeout(self.ram.ahead_ns + self.sheet.switchover_ns)
        if self.parameters.return_path:
            yield from self.link.answered()
        self._complete()

    def _complete(self) -> None:
        m = self.state
        self._check_stopped()
        self.ram.check_complete()
        m.downtime_ms = self.now_ms - m.downtime_start_ns // NS_PER_MS
        m.total_time_ms = self.now_ms - m.start_ns // NS_PER_MS
        m.mbps = window.total_bytes(m, self.ram) * 8 / max(1, m.total_time_ms - m.setup_time_ms) / 1000
        self._finish("completed")

    def _check_stopped(self) -> None:
        """InvariantError if the guest has written after the last sync."""
        gfn = self.tracker.first_unharvested(self._env.now_ns)
        if gfn >= 0:
            raise InvariantError(f"gfn {gfn}: written after the last sync, on a VM that was to be stopped")

    def _finish(self, status: str) -> None:
        self._cut()
        self.throttle.stop()
        _in_background(self._env, self.tracker.stop_log())
        self.state.end_ns = self._env.now_ns
        self._set_status(status)
        self.done.succeed()

    def _set_status(self, status: str) -> None:
        self._cut()
        self.state.status = status
        self.recorder.status(self._env.now_ns, status)

    # -- dirty bitmap

    def _bitmap_sync(self) -> Step:
        """migration_bitmap_sync: harvest, count the newly dirty pages, evaluate rates and throttle once a second."""
        m = self.state
        m.dirty_sync_count += 1
        m.time_last_bitmap_sync_ms = m.time_last_bitmap_sync_ms or self.now_ms
        self.recorder.trace("migration_bitmap_sync_start", t_ns=self._env.now_ns)
        found = yield from self.tracker.sync(self.ram.bmap)
        self.ram.add_dirty(found.newly_dirty_pages)
        self.ram.check_bitmap()
        m.num_dirty_pages_period += found.newly_dirty_pages
        m.remaining_at_sync_bytes = self.ram.remaining_bytes
        t_ns = self._env.now_ns
        if found.waits_for_vcpus:
            yield from self.vm.run_on_cpus()
        if self.now_ms > m.time_last_bitmap_sync_ms + RATE_PERIOD_MS:
            self._evaluate_period()
        self._record_sync(t_ns, found.newly_dirty_pages, found.dirtied_pages)

    def _evaluate_period(self) -> None:
        m, p = self.state, self.parameters
        dirty_bytes = m.num_dirty_pages_period * PAGE_BYTES
        xfer_bytes = self.transferred_bytes - m.bytes_xfer_prev
        if p.auto_converge and self.active and auto_converge.dirty_rate_is_high(m, p, dirty_bytes, xfer_bytes):
            self._cut()
            self.throttle.set(auto_converge.next_percent(self.throttle.percent, p, dirty_bytes, xfer_bytes))
            self.recorder.mark(self._env.now_ns, "migration_throttle", self.throttle.percent)
        m.dirty_pages_rate = m.num_dirty_pages_period * 1000 // (self.now_ms - m.time_last_bitmap_sync_ms)
        m.time_last_bitmap_sync_ms = self.now_ms
        m.num_dirty_pages_period = 0
        m.bytes_xfer_prev = self.transferred_bytes

    def _record_sync(self, t_ns: int, newly_dirty_pages: int, dirtied_pages: int) -> None:
        m, ram = self.state, self.ram
        self.recorder.sync(
            SyncPoint(
                m.dirty_sync_count, t_ns, m.remaining_at_sync_bytes, newly_dirty_pages, dirtied_pages, ram.normal_pages,
                ram.zero_pages, self.transferred_bytes, m.dirty_pages_rate, m.bandwidth_bytes_per_ms * 1000,
                m.threshold_bytes, self.throttle.percent,
            ),
            self.vm.tally(),
        )  # fmt: skip

    # -- beside the thread

    def _dirty_sync_timer(self) -> Step:
        yield from dirty_sync_timer(
            self._env, lambda: self.state.dirty_sync_count, self._bitmap_sync, lambda: self.active
        )

    def _time_out(self) -> Step:
        """migrate_cancel at the time-out: query-migrate keeps the figures of that moment; the VM keeps running.

        # Model limit: a time-out during setup cancels at the end of setup, a time-out during the switchover does not cancel.
        # Model limit: cancelling takes no time, so QEMU's state "cancelling" does not appear.
        """
        yield self._env.timeout(max(0, self.state.start_ns + self.parameters.timeout_ns - self._env.now_ns))
        if self.active:
            self.state.last_answer = self.counters()
            self._finish("cancelled")

    def _sampler(self) -> Step:
        while self.active:
            self._sample()
            yield self._env.timeout(SERIES_PERIOD_NS)

    def _cut(self) -> None:
        """Take a sample between two of the sampler's: from now on the guest runs at another rate."""
        self._sample()
        self.recorder.on_cut()

    def _sample(self) -> None:
        m, ram = self.state, self.ram
        work_ns = self.vm.work_ns()
        self.recorder.sample(
            Sample(
                self._env.now_ns - m.start_ns, m.status, m.dirty_sync_count, ram.remaining_bytes, self.transferred_bytes,
                m.dirty_pages_rate, m.bandwidth_bytes_per_ms * 1000, m.threshold_bytes, m.expected_downtime_ms,
                self.throttle.percent, work_ns, ram.normal_pages + ram.zero_pages,
            )
        )  # fmt: skip


def _in_background(env: Clock, step: Step) -> None:
    """Begin ``step`` now and let its rest run beside the caller; a step that takes no time adds no event."""
    first = next(step, None)
    if first is not None:
        env.process(_rest(first, step))


def _rest(first: simpy.Event, step: Step) -> Step:
    yield first
    yield from step
