"""migrate_cancel: the VM keeps running at the source (migration/migration.c::migration_cancel, 7.2 ::migrate_fd_cancel).

The command runs in QEMU's main loop, so it waits while the migration thread holds the big lock: in setup, in a sync, and
from the stop of the VM to the last byte of its device state. A migration that is completed by then stays completed.

A migration whose connection breaks fails (migration_detect_error, migration_completion): the VM runs on, too.
"""

from __future__ import annotations

from hostsim.qemu.mechanism import on_in
from hostsim.qemu.migration import Migration, Step

WRITE_ERROR = "Unable to write to socket: Connection timed out"
READ_ERROR = "Unable to read from socket: Connection timed out"
"""io/channel-socket.c::qio_channel_socket_writev, ::qio_channel_socket_readv with ETIMEDOUT."""


def time_out(migration: Migration) -> Step:
    """migrate_cancel at the time-out."""
    yield migration.env.timeout(migration.parameters.timeout_ns)
    yield from migrate_cancel(migration)


def migrate_cancel(migration: Migration) -> Step:
    """Cancel the migration, if it still runs when the command does; query-migrate keeps the figures of that moment.

    The status is "cancelling" until the migration thread has noticed and the clean-up is done. The thread notices at once
    where it writes (the sockets are shut down) and where it waits for migrate-continue, but sleeps to the end of its window
    of 100 ms, and finishes a sync. The clean-up switches dirty logging off.
    """
    state = migration.state
    yield from migration.bql.wait()
    if not migration.running:
        return
    state.last_answer = migration.counters()
    for one in on_in(migration.parameters):
        if one.cancelled is not None:
            one.cancelled(migration)
    is_connecting = state.status == "setup"
    migration.set_status("cancelling")
    migration.interrupted.succeed()
    if not (is_connecting and migration.behaviour.cancels_setup_at_once):
        yield migration.thread
    yield from migration.give_up("cancelled")


def fail(migration: Migration) -> Step:
    """End a migration whose connection is broken."""
    migration.state.last_answer = migration.counters()
    migration.state.error_desc = READ_ERROR if migration.link.failed else WRITE_ERROR
    yield from migration.give_up("failed")
