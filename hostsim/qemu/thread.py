"""The migration thread: setup, then the pre-copy loop (migration.c::migration_thread).

QEMU 7.2 and 10.x differ by ``Behaviour``; this file has the code that they share.
"""

from __future__ import annotations

from hostsim.core.constants import NS_PER_MS
from hostsim.qemu import operator_acts, window
from hostsim.qemu.bitmap_sync import bitmap_sync
from hostsim.qemu.cancel import fail, time_out
from hostsim.qemu.cpu_throttle import dirty_sync_timer
from hostsim.qemu.migration import Migration, Step
from hostsim.qemu.recorder import SERIES_PERIOD_NS
from hostsim.qemu.switchover import UNACKED_PASS_NS, await_ack, completion, may_complete


def start(migration: Migration) -> None:
    """Start the migration thread; it waits until the time at which ``migrate`` is issued."""
    migration.thread = migration.env.process(_run(migration))


def _run(migration: Migration) -> Step:
    env, p = migration.env, migration.parameters
    yield env.timeout(p.start_ns)
    migration.state.start_ns = env.now_ns
    if p.timeout_ns:
        env.process(time_out(migration))
    operator_acts.start(migration)
    yield from migration.traced("migration_setup", _setup(migration))
    if migration.active:
        env.process(_sampler(migration))
    while migration.active:
        if not migration.ram.window_exceeded(migration.parameters.rate_limit_bytes):
            yield from _iteration_run(migration)
        if migration.running and migration.broken:
            yield from fail(migration)
        if migration.active:
            yield from _rate_limit(migration)
    if migration.switch is not None and migration.destination is not None:
        yield from migration.switch.run(migration)


def _setup(migration: Migration) -> Step:
    """Connect, then do the work of migration_thread before its loop; the first window opens before the log is on."""
    m, env, ram = migration.state, migration.env, migration.ram
    m.expected_downtime_ms = migration.parameters.downtime_limit_ms
    migration.set_status("setup")
    yield env.timeout(migration.sheet.setup_ns)
    if not migration.running:
        return
    window.open_window(m, ram, migration.now_ms)
    if migration.behaviour.dirty_sync_timer and migration.parameters.auto_converge:
        env.process(_dirty_sync_timer(migration))
    ram.setup()
    if migration.parameters.switchover_ack:
        env.process(await_ack(migration))
    migration.bql.take()
    yield from migration.tracker.start_log()
    yield from bitmap_sync(migration)
    migration.bql.drop()
    m.setup_time_ms = migration.now_ms - m.start_ns // NS_PER_MS
    migration.set_status("active")


def _rate_limit(migration: Migration) -> Step:
    """migration_rate_limit: close the window, or sleep until its 100 ms are over."""
    m, env, ram, now_ms = migration.state, migration.env, migration.ram, migration.now_ms
    if window.update_counters(m, ram, migration.parameters, now_ms):
        migration.recorder.trace("migrate_transferred", t_ns=env.now_ns, bandwidth=m.bandwidth_bytes_per_ms)
    if ram.window_exceeded(migration.parameters.rate_limit_bytes):
        wait_ms = max(0, m.window_start_ms + window.BUFFER_DELAY_MS - now_ms)
        sleep_ns = wait_ms * NS_PER_MS + migration.sleeps_late.next_ns()
        yield from migration.traced("migration_rate_limit", _sleep(migration, sleep_ns))


def _sleep(migration: Migration, sleep_ns: int) -> Step:
    yield migration.env.timeout(sleep_ns)


def _iteration_run(migration: Migration) -> Step:
    """migration_iteration_run: one test decides between sync, stop and another ram_save_iterate."""
    ram, estimates, switch = migration.ram, migration.behaviour.estimate_first, migration.switch
    is_asked = switch is not None and switch.is_asked(migration)
    if estimates:
        _trace_pending(migration, "migrate_pending_estimate")
    if ram.remaining_bytes < migration.state.threshold_bytes:
        yield from bitmap_sync(migration)
        if not migration.active:
            return
        if estimates:
            _trace_pending(migration, "migrate_pending_exact")
    if not estimates:
        _trace_pending(migration, "migrate_pending")
    is_low = may_complete(migration, ram.remaining_bytes)
    if switch is not None and is_asked and (switch.comes_first(migration) or not is_low):
        yield from switch.begin(migration)
        return
    if is_low:
        yield from migration.traced("migration_completion", completion(migration))
        return
    if ram.remaining_bytes == 0:
        yield from migration.traced("waits for the destination's ack", _sleep(migration, UNACKED_PASS_NS))
    rate_limit_bytes, flush_pages = migration.parameters.rate_limit_bytes, migration.behaviour.flush_pages
    saving = migration.sending(ram.save(rate_limit_bytes, flush_pages, True, lambda: migration.active))
    yield from migration.traced("savevm_state_iterate", saving)


def _trace_pending(migration: Migration, event: str) -> None:
    migration.recorder.trace(event, t_ns=migration.env.now_ns, pending=migration.ram.remaining_bytes)


# -- beside the thread


def _dirty_sync_timer(migration: Migration) -> Step:
    yield from dirty_sync_timer(
        migration.env,
        lambda: migration.state.dirty_sync_count,
        lambda: bitmap_sync(migration),
        lambda: migration.active,
    )


def _sampler(migration: Migration) -> Step:
    while migration.active or (migration.state.guest_moves and not migration.done.triggered):
        migration.sample()
        yield migration.env.timeout(SERIES_PERIOD_NS)
