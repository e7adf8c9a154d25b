"""The switchover: stop the VM, send the remaining pages without a rate limit, hand over (migration_completion)."""

from __future__ import annotations

from hostsim.core.constants import NS_PER_MS
from hostsim.core.errors import InvariantError
from hostsim.qemu import window
from hostsim.qemu.bitmap_sync import bitmap_sync
from hostsim.qemu.migration import Migration, Step

PAUSE_SEM_NS = 1_000_000
"""migration_switchover_prepare (7.2 migration_maybe_pause) waits 1 ms for stale posts of pause_sem, the big lock held."""


UNACKED_PASS_NS = 1_000_000
"""Time of a pass of the thread that has nothing to send and waits for the acknowledgement.

# Model limit: QEMU's thread spins here, some 10^5 passes a second; so it sends more section ends and may count more syncs.
"""


def can_switchover(migration: Migration) -> bool:
    """Whether the destination agrees, or is not asked; a VM that is stopped already does not wait (::_can_switchover)."""
    m = migration.state
    return m.switchover_acked or not migration.parameters.switchover_ack or not migration.vm.running


def may_complete(migration: Migration, pending_bytes: int) -> bool:
    """Whether ``pending_bytes`` are few enough to stop the VM (migration.c::migration_iteration_run)."""
    if not can_switchover(migration):
        return False
    threshold = migration.state.threshold_bytes
    if migration.behaviour.at_threshold_completes:
        return pending_bytes <= threshold
    return pending_bytes == 0 or pending_bytes < threshold


def await_ack(migration: Migration) -> Step:
    """Note when the destination's MIG_RP_MSG_SWITCHOVER_ACK has come (migration.c::source_return_path_thread).

    # Model limit: no device has initial data to load before it agrees (VFIO's migration does), so the destination
    # agrees as soon as it opens the return path. QEMU 11.1 has another exchange, which is not modelled.
    """
    if (yield from migration.link.answered()):
        migration.state.switchover_acked = True
        migration.recorder.mark(migration.env.now_ns, "source_return_path_thread_switchover_acked")


def completion(migration: Migration) -> Step:
    """Stop the VM, send the remaining pages without a rate limit, hand over; the migration is completed at the end.

    The thread holds the big lock, but while it waits for migrate-continue and for the destination's answer: there
    migrate_cancel ends the migration, and the VM runs on.
    """
    yield from migration.traced("migration_stop_vm", _stop(migration))
    if migration.parameters.pause_before_switchover:
        yield from migration.traced("migration_maybe_pause", pre_switchover(migration))
    if migration.running:
        yield from migration.traced("savevm_state_complete_precopy", _send_rest(migration))
    migration.bql.drop()
    if migration.running and not migration.broken and migration.handover is not None:
        _check_sent(migration)
        yield from migration.handover()
        return
    if migration.running and not migration.broken and migration.parameters.return_path:
        yield from migration.traced("await_return_path_close_on_source", _answered(migration))
    if migration.running and not migration.broken:
        _complete(migration)


def _stop(migration: Migration) -> Step:
    m, ram = migration.state, migration.ram
    migration.cut()
    m.downtime_start_ns, m.precopy_bytes, m.switching_over = migration.env.now_ns, ram.stream_bytes, True
    migration.recorder.mark(migration.env.now_ns, "migration_thread_low_pending", ram.remaining_bytes)
    migration.bql.take()
    if migration.vm.running:
        yield from migration.vm.stop()
        m.vm_stopped_ns = migration.env.now_ns
    migration.cut()
    migration.recorder.mark(migration.env.now_ns, "migration_completion_vm_stop")


def pre_switchover(migration: Migration) -> Step:
    """Wait for migrate-continue, which the manager sends after it has seen the event; without it the VM stands still."""
    env, after_ns = migration.env, migration.parameters.continue_after_ns
    yield env.timeout(PAUSE_SEM_NS)
    migration.set_status("pre-switchover")
    migration.bql.drop()
    waits_for = [migration.interrupted, *([env.timeout(after_ns)] if after_ns else [])]
    yield env.any_of(waits_for)
    if migration.running:
        migration.bql.take()


def _send_rest(migration: Migration) -> Step:
    m, ram = migration.state, migration.ram
    if migration.behaviour.has_device_status or migration.parameters.pause_before_switchover:
        migration.set_status("device")
    yield from bitmap_sync(migration)
    m.rest_sync_ns, before = migration.env.now_ns, window.total_bytes(m, ram)
    yield from migration.sending(ram.save(0, migration.behaviour.flush_pages, False, lambda: True))
    if migration.broken:
        return
    m.rest_sent_ns, m.rest_bytes = migration.env.now_ns + ram.ahead_ns, window.total_bytes(m, ram) - before
    ram.write(0, migration.sheet.device_state_bytes)
    yield migration.env.timeout(ram.ahead_ns + migration.sheet.switchover_ns)
    m.devices_saved_ns, m.arrived_ns = migration.env.now_ns, migration.link.arrives_ns()


def _answered(migration: Migration) -> Step:
    """Wait until the destination has loaded all and closes the return path (await_return_path_close_on_source)."""
    answer = migration.env.process(migration.link.answered())
    yield migration.env.any_of([answer, migration.interrupted])


def _complete(migration: Migration) -> None:
    m = migration.state
    _check_sent(migration)
    m.downtime_ms = migration.now_ms - m.downtime_start_ns // NS_PER_MS
    m.total_time_ms = migration.now_ms - m.start_ns // NS_PER_MS
    if not migration.link.delivers():
        migration.recorder.mark(migration.env.now_ns, "stream_lost_after_completion")
    m.mbps = window.total_bytes(m, migration.ram) * 8 / max(1, m.total_time_ms - m.setup_time_ms) / 1000
    migration.finish("completed")


def _check_sent(migration: Migration) -> None:
    """InvariantError unless the destination has the content of each page; the VM has not written after the last sync."""
    migration.ram.check_complete()
    gfn = migration.tracker.first_unharvested(migration.env.now_ns)
    if gfn >= 0:
        raise InvariantError(f"gfn {gfn}: written after the last sync, on a VM that was to be stopped")
