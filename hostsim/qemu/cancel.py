"""migrate_cancel: the VM keeps running at the source (migration/migration.c::migrate_fd_cancel)."""

from __future__ import annotations

from hostsim.qemu.migration import Migration, Step


def time_out(migration: Migration) -> Step:
    """migrate_cancel at the time-out: query-migrate keeps the figures of that moment; the VM keeps running.

    # Model limit: a time-out during setup cancels at the end of setup, a time-out during the switchover does not cancel.
    # Model limit: cancelling takes no time, so QEMU's state "cancelling" does not appear.
    """
    state, env = migration.state, migration.env
    yield env.timeout(max(0, state.start_ns + migration.parameters.timeout_ns - env.now_ns))
    if migration.active:
        state.last_answer = migration.counters()
        if migration.parameters.dirty_limit and migration.dirty_limit is not None:
            migration.dirty_limit.set(0)  # migration.c::qmp_migrate_cancel calls qmp_cancel_vcpu_dirty_limit
        migration.finish("cancelled")
