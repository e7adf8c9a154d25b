"""The switchover: stop the VM, send the remaining pages without a rate limit, hand over (migration_completion)."""

from __future__ import annotations

from hostsim.core.constants import NS_PER_MS
from hostsim.core.errors import InvariantError
from hostsim.qemu import window
from hostsim.qemu.bitmap_sync import bitmap_sync
from hostsim.qemu.migration import Migration, Step


def may_complete(migration: Migration, pending_bytes: int) -> bool:
    """Whether ``pending_bytes`` are few enough to stop the VM (migration.c::migration_iteration_run)."""
    threshold = migration.state.threshold_bytes
    if migration.behaviour.at_threshold_completes:
        return pending_bytes <= threshold
    return pending_bytes == 0 or pending_bytes < threshold


def completion(migration: Migration) -> Step:
    """Stop the VM, send the remaining pages without a rate limit, hand over; the migration is completed at the end."""
    m, ram = migration.state, migration.ram
    migration.cut()
    m.downtime_start_ns, m.precopy_bytes, m.switching_over = migration.env.now_ns, ram.stream_bytes, True
    migration.recorder.mark(migration.env.now_ns, "migration_thread_low_pending", ram.remaining_bytes)
    yield from migration.vm.stop()
    migration.cut()
    migration.recorder.mark(migration.env.now_ns, "migration_completion_vm_stop")
    if migration.behaviour.has_device_status:
        migration.set_status("device")
    yield from bitmap_sync(migration)
    yield from ram.save(0, migration.behaviour.flush_pages, False, lambda: True)
    ram.write(0, migration.sheet.device_state_bytes)
    yield migration.env.timeout(ram.ahead_ns + migration.sheet.switchover_ns)
    if migration.handover is not None:
        _check_sent(migration)
        yield from migration.handover()
        return
    if migration.parameters.return_path:
        yield from migration.link.answered()
    _complete(migration)


def _complete(migration: Migration) -> None:
    m = migration.state
    _check_sent(migration)
    m.downtime_ms = migration.now_ms - m.downtime_start_ns // NS_PER_MS
    m.total_time_ms = migration.now_ms - m.start_ns // NS_PER_MS
    m.mbps = window.total_bytes(m, migration.ram) * 8 / max(1, m.total_time_ms - m.setup_time_ms) / 1000
    migration.finish("completed")


def _check_sent(migration: Migration) -> None:
    """InvariantError unless the destination has the content of each page; the VM has not written after the last sync."""
    migration.ram.check_complete()
    gfn = migration.tracker.first_unharvested(migration.env.now_ns)
    if gfn >= 0:
        raise InvariantError(f"gfn {gfn}: written after the last sync, on a VM that was to be stopped")
