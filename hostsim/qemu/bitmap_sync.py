"""migration_bitmap_sync: harvest the log, then evaluate rates and the throttle once a second (migration/ram.c)."""

from __future__ import annotations

from hostsim.core.constants import PAGE_BYTES
from hostsim.qemu import auto_converge
from hostsim.qemu.mechanism import figures_of, on_in
from hostsim.qemu.migration import Migration, Step
from hostsim.qemu.recorder import SyncPoint

RATE_PERIOD_MS = 1000
"""Rates and throttle are evaluated at syncs more than this apart (ram.c::migration_bitmap_sync)."""


def bitmap_sync(migration: Migration) -> Step:
    """One sync of the migration thread, or of the timer beside it."""
    return migration.traced("migration_bitmap_sync", _bitmap_sync(migration))


def _bitmap_sync(migration: Migration) -> Step:
    """Harvest, count the newly dirty pages, evaluate rates and throttle once a second. Takes the tracker's host time.

    The thread holds the big lock, but not while it waits for vCPUs (cpus-common.c::do_run_on_cpu).
    """
    m, ram = migration.state, migration.ram
    m.dirty_sync_count += 1
    m.time_last_bitmap_sync_ms = m.time_last_bitmap_sync_ms or migration.now_ms
    migration.recorder.trace("migration_bitmap_sync_start", t_ns=migration.env.now_ns)
    if ram.encoder is not None:
        ram.encoder.begin_sync(m.dirty_sync_count)
    was_held = migration.bql.held
    migration.bql.take()
    found = yield from migration.tracker.sync(ram.bmap)
    if ram.encoder is not None:
        ram.encoder.note_sync(migration.env.now_ns, migration.vm.class_works(), ram.bmap)
    ram.add_dirty(found.newly_dirty_pages)
    ram.check_bitmap()
    m.num_dirty_pages_period += found.newly_dirty_pages
    m.remaining_at_sync_bytes = ram.remaining_bytes
    t_ns = migration.env.now_ns
    if found.waits_for_vcpus:
        migration.bql.drop()
        yield from migration.vm.run_on_cpus()
    if was_held:
        migration.bql.take()
    else:
        migration.bql.drop()
    if migration.now_ms > m.time_last_bitmap_sync_ms + RATE_PERIOD_MS:
        _evaluate_period(migration)
    _record_sync(migration, t_ns, found.newly_dirty_pages, found.dirtied_pages)
    migration.note_sync()


def _evaluate_period(migration: Migration) -> None:
    m = migration.state
    dirty_bytes = m.num_dirty_pages_period * PAGE_BYTES
    xfer_bytes = migration.transferred_bytes - m.bytes_xfer_prev
    if migration.active:
        _trigger_throttle(migration, dirty_bytes, xfer_bytes)
    if migration.ram.encoder is not None:
        migration.ram.encoder.update_rates(migration.ram.target_pages)
    m.dirty_pages_rate = m.num_dirty_pages_period * 1000 // (migration.now_ms - m.time_last_bitmap_sync_ms)
    m.time_last_bitmap_sync_ms = migration.now_ms
    m.num_dirty_pages_period = 0
    m.bytes_xfer_prev = migration.transferred_bytes


def _trigger_throttle(migration: Migration, dirty_bytes: int, xfer_bytes: int) -> None:
    """migration_trigger_throttle: a mechanism that holds the guest back takes a step at every second period too dirty."""
    m, p = migration.state, migration.parameters
    steps = [one.throttle for one in on_in(p) if one.throttle is not None]
    if not steps or not auto_converge.dirty_rate_is_high(m, p, dirty_bytes, xfer_bytes):
        return
    migration.cut()
    steps[-1](migration, dirty_bytes, xfer_bytes)  # QEMU refuses two of them together


def _record_sync(migration: Migration, t_ns: int, newly_dirty_pages: int, dirtied_pages: int) -> None:
    m, ram = migration.state, migration.ram
    migration.recorder.sync(
        SyncPoint(
            m.dirty_sync_count, t_ns, m.remaining_at_sync_bytes, newly_dirty_pages, dirtied_pages, ram.normal_pages,
            ram.zero_pages, migration.transferred_bytes, m.dirty_pages_rate, m.bandwidth_bytes_per_ms * 1000,
            m.threshold_bytes, migration.throttle.percent, figures_of(migration),
        ),
        migration.vm.tally(),
    )  # fmt: skip
