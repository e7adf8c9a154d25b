"""A migration: its parts, its counters, its changes of state (migration/migration.h::MigrationState and its objects).

The steps of the migration thread are functions over this object: hostsim.qemu.thread (the loop), hostsim.qemu.bitmap_sync,
hostsim.qemu.switchover, hostsim.qemu.cancel.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_MS
from hostsim.core.dirty_tracker import DirtyTracker
from hostsim.core.knobs import Knobs
from hostsim.core.timeline import Argument
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.vm import VmBase
from hostsim.qemu import window
from hostsim.qemu.bql import Bql
from hostsim.qemu.compression import Content
from hostsim.qemu.cpu_throttle import CpuThrottle
from hostsim.qemu.lateness import Lateness
from hostsim.qemu.link import Link, LinkSpec
from hostsim.qemu.mechanism import OtherEnd, figures_of, ram_figures_of, switch_of
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.ram_stream import ram_of
from hostsim.qemu.recorder import LINK, THREAD, Recorder, Sample
from hostsim.qemu.state import Counters, MigrationState

Step = Generator[simpy.Event, Any, None]
R = TypeVar("R")
RUNNING = frozenset({"setup", "active", "pre-switchover", "device"})
"""States of a migration that migrate_cancel can end (migration.c::migration_is_running, without those of post-copy)."""


class Migration:
    """One outgoing migration; the event ``done`` fires when the migration has ended, in any way.

    thread: the process of the migration thread.
    interrupted: fires when migrate_cancel shuts the sockets down and wakes a thread that waits for migrate-continue.
    """

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
        content: Content | None = None,
        inputs: Mapping[str, Any] | None = None,
        seed: int = 1,
    ) -> None:
        """Make a migration that has not begun.

        log_capacity: page sends to keep (tests), 0: none. content: how the pages compress, None: as assumed.
        inputs: of mechanisms, by name, beside ``parameters`` (MachineSpec.inputs). seed: of drawn latenesses.
        """
        self.state, self.parameters, self.recorder = MigrationState(), parameters, Recorder(on_trace=self._marked)
        self.env, self.vm, self.tracker, self.sheet = env, vm, tracker, sheet
        self.ram = ram_of(env, vm, tracker, sheet, link, knobs, parameters, content or Content(), log_capacity)
        self.link = Link(env, link, self.ram)
        self.throttle = CpuThrottle(env, vm, sheet, seed)
        self.sleeps_late = Lateness(seed, "migration thread", sheet.sleep_overshoot_ns, sheet.sleep_overshoot_spread_ns)
        self.acting: Mapping[str, Any] = {}
        """Objects that act on the VM for a mechanism, by its name (hostsim.qemu.mechanism::acting_on)."""
        self.behaviour = parameters.behaviour
        self.knobs, self.inputs = knobs, inputs or {}
        self.switch = switch_of(parameters)
        self.destination: OtherEnd | None = None
        self.bql = Bql(env)
        self.thread: simpy.Event = env.event()
        self.interrupted = self.ram.shut_down
        self._sync_events: dict[int, simpy.Event] = {}
        self._link_free_ns = 0
        self.done: simpy.Event = env.event()
        self.handover: Callable[[], Step] | None = None
        """Takes the stopped VM over once its state has been sent; None: the destination runs it."""
        self.move: Callable[[NDArray[np.uint8]], Any] | None = None
        """Returns the destination's host at the switch to post-copy (missing: uint8[n_pages]); None: all memory is there."""

    def traced(self, name: str, work: Generator[simpy.Event, Any, R], **args: Argument) -> Generator[simpy.Event, Any, R]:
        """``work`` of the migration thread; a timeline that records gets a slice ``name`` with ``args``."""
        return self.env.traced(THREAD, name, work, **args)

    def sending(self, work: Generator[simpy.Event, Any, R]) -> Generator[simpy.Event, Any, R]:
        """``work``, which sends pages; a timeline that records gets the time in which the link is busy with their bytes.

        The link sends in the order of the writes, so bytes of ``work`` leave behind those of the work before.
        """
        if not self.env.timeline.is_recording:
            return (yield from work)
        began_ns, before = max(self.env.now_ns, self._link_free_ns), window.total_bytes(self.state, self.ram)
        result = yield from work
        # A link that fails may never take them; the write's return is all that is known then.
        drained_ns = 0 if self.link.spec.has_faults else -(-self.ram.drained_ps() // 1000)
        self._link_free_ns = max(began_ns, self.env.now_ns, drained_ns)
        n_bytes = window.total_bytes(self.state, self.ram) - before
        self.env.timeline.span(LINK, "bytes of ram_save_iterate", began_ns, self._link_free_ns, bytes=n_bytes)
        return result

    def _marked(self, event: str, fields: dict[str, Any]) -> None:
        self.env.timeline.mark(THREAD, event, fields["t_ns"], {name: fields[name] for name in fields if name != "t_ns"})

    @property
    def now_ms(self) -> int:
        """qemu_clock_get_ms: whole milliseconds."""
        return int(self.env.now_ns) // NS_PER_MS

    @property
    def active(self) -> bool:
        """Whether the guest runs and the thread sends pages in rounds (migration_is_active, before the switchover)."""
        return self.state.status == "active" and not self.state.switching_over

    @property
    def running(self) -> bool:
        """Whether migrate_cancel would end the migration (migration_is_running); a host that has failed takes no command."""
        return self.state.status in RUNNING and not self.state.source_failed

    @property
    def broken(self) -> bool:
        """Whether the connection to the destination has broken and the migration thread has got the error."""
        return self.ram.broken or self.link.failed

    @property
    def transferred_bytes(self) -> int:
        """ram.transferred: the RAM stream (7.2), or all bytes (10.x)."""
        if self.behaviour.counts_all_bytes:
            return window.total_bytes(self.state, self.ram)
        return self.ram.sent_bytes

    def after_sync(self, count: int) -> simpy.Event:
        """An event that fires with the sync of number ``count`` (dirty-sync-count)."""
        return self._sync_events.setdefault(count, self.env.event())

    def note_sync(self) -> None:
        """Fire the event of the sync that is now over."""
        event = self._sync_events.pop(self.state.dirty_sync_count, None)
        if event is not None:
            event.succeed()

    def counters(self) -> Counters:
        """query-migrate now."""
        m, ram = self.state, self.ram
        ended = m.status == "completed"
        total = m.total_time_ms or self.now_ms - m.start_ns // NS_PER_MS
        before_stop = m.precopy_bytes if m.switching_over else ram.stream_bytes
        return Counters(
            m.status, total, m.setup_time_ms, m.downtime_ms, m.expected_downtime_ms, self.throttle.percent,
            self.transferred_bytes, 0 if ended else ram.remaining_bytes, self.vm.memory.n_bytes, ram.zero_pages,
            ram.normal_pages, 0 if ended else m.dirty_pages_rate, m.mbps, m.dirty_sync_count, int(m.pages_per_second),
            before_stop, 0 if self.destination else ram.stream_bytes - before_stop, ram_figures_of(self), figures_of(self),
        )  # fmt: skip

    def finish(self, status: str) -> None:
        """End the migration with ``status``; the guest is at the destination, and logging is switched off beside."""
        self.cut()
        self.throttle.stop()
        _in_background(self.env, self.tracker.stop_log())
        self.state.end_ns = self.env.now_ns
        self.set_status(status)
        self.done.succeed()

    def give_up(self, status: str) -> Step:
        """End the migration with ``status``; the guest runs on at the source (migration_iteration_finish, _cleanup).

        A guest that an operator suspended runs on as well (libvirt qemuMigrationSrcRestoreDomainState).
        A failed migration is "failed" before its clean-up, a cancelled one is "cancelled" after.
        """
        self.cut()
        self.throttle.stop()
        if not self.vm.running:
            self.vm.start()
        if status == "failed":
            self.set_status(status)
        if self.state.dirty_sync_count:
            yield from self.tracker.stop_log()
        self.state.end_ns = self.env.now_ns
        if status != "failed":
            self.set_status(status)
        self.done.succeed()

    def set_status(self, status: str) -> None:
        """Change the status, as query-migrate shows it (migrate_set_state)."""
        self.cut()
        self.state.status = status
        self.recorder.status(self.env.now_ns, status)

    def cut(self) -> None:
        """Take a sample between two of the sampler's: from now on the guest runs at another rate."""
        self.sample()
        self.recorder.on_cut()

    def work_ns(self) -> int:
        """Work of the guest by now, at the source or, once it has moved, at the destination [ns]."""
        return self.vm.work_ns() if self.destination is None else self.destination.work_ns()

    def sample(self) -> None:
        """Add the counters of this moment to the series."""
        m, ram = self.state, self.ram
        work_ns = self.work_ns()
        self.recorder.sample(
            Sample(
                self.env.now_ns - m.start_ns, m.status, m.dirty_sync_count, ram.remaining_bytes, self.transferred_bytes,
                m.dirty_pages_rate, m.bandwidth_bytes_per_ms * 1000, m.threshold_bytes, m.expected_downtime_ms,
                self.throttle.percent, work_ns, ram.transferred_pages,
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
