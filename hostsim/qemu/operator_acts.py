"""Acts of an operator on a migration under way: other parameters, a suspended guest; and a manager that loses its peer.

`virsh migrate-setmaxdowntime`, `virsh migrate-setspeed` and `migrate_set_parameter` change a parameter; `virsh suspend`,
Nova's force-complete and KubeVirt's allowWorkloadDisruption suspend the guest, which then dirties nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import simpy

from hostsim.qemu.cancel import migrate_cancel
from hostsim.qemu.link import Outage
from hostsim.qemu.migration import Migration, Step
from hostsim.qemu.parameters import ParameterChange


def start(migration: Migration) -> None:
    """Start a process for each act; times count from the start of the migration."""
    p, env = migration.parameters, migration.env
    for change in p.changes:
        env.process(_change(migration, change))
    if p.suspend_after_ns:
        env.process(_suspend(migration, env.timeout(p.suspend_after_ns)))
    if p.suspend_after_sync:
        env.process(_suspend(migration, migration.after_sync(p.suspend_after_sync)))
    if p.cancel_after_sync:
        env.process(_cancel(migration))
    for outage in migration.link.spec.outages if p.keepalive_ns else ():
        env.process(_lose_peer(migration, outage))


def _change(migration: Migration, change: ParameterChange) -> Step:
    """migrate-set-parameters (migration/options.c::migrate_params_apply), in the phase of post-copy as well.

    # Model limit: max-bandwidth and max-postcopy-bandwidth hold from the next pass of the thread on, at most 50 ms
    later, or after the rest of a window whose bytes are spent. QEMU's limit changes at once.
    """
    yield _due(migration, change)
    yield from migration.bql.wait()
    if migration.done.triggered:
        return
    values: dict[str, Any] = dict(change.values)
    migration.parameters = replace(migration.parameters, **values)
    for name, value in change.values:
        migration.recorder.mark(migration.env.now_ns, f"migrate_set_parameter {name}", value)


def _due(migration: Migration, change: ParameterChange) -> simpy.Event:
    if change.after_sync:
        return migration.after_sync(change.after_sync)
    return migration.env.timeout(change.after_ns)


def _cancel(migration: Migration) -> Step:
    """Cancel with the sync of a number, as a tool does that counts iterations."""
    yield migration.after_sync(migration.parameters.cancel_after_sync)
    migration.recorder.mark(migration.env.now_ns, "cancel_after_round", migration.parameters.cancel_after_sync)
    yield from migrate_cancel(migration)


def _suspend(migration: Migration, due: simpy.Event) -> Step:
    """Suspend the guest (QMP stop) once ``due``: the migration thread goes on with a guest that dirties nothing."""
    yield due
    yield from migration.bql.wait()
    if not migration.running or not migration.vm.running:
        return
    migration.cut()
    migration.recorder.mark(migration.env.now_ns, "stop")
    yield from migration.vm.stop()
    migration.cut()


def _lose_peer(migration: Migration, outage: Outage) -> Step:
    """The manager's own connection to the destination host gets no answer to its keepalives: the manager cancels.

    libvirt qemu_migration.c::qemuMigrationSrcConnectionClosed; its connection is taken to go the way of the migration's.
    """
    env = migration.env
    lost_ns = max(outage.start_ns, migration.state.start_ns) + migration.parameters.keepalive_ns
    if lost_ns >= outage.start_ns + outage.length_ns:
        return
    yield env.timeout(lost_ns - env.now_ns)
    if migration.running:
        migration.recorder.mark(env.now_ns, "manager_lost_the_destination")
        yield from migrate_cancel(migration)
