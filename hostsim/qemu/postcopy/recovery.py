"""Post-copy whose connection has broken: the pause, migrate-recover, and the handshake over new connections.

QEMU 7.2 and 10.x, migration/migration.c::postcopy_pause, ::postcopy_do_resume, ::postcopy_resume_handshake;
migration/ram.c::ram_dirty_bitmap_sync_all, ::ramblock_recv_bitmap_send; migration/savevm.c::loadvm_postcopy_handle_resume.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from hostsim.core.clock import NEVER_NS
from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import RamBlock
from hostsim.qemu import tcp_row, window
from hostsim.qemu.connections import TICK, deliver
from hostsim.qemu.migration import Migration, Step
from hostsim.qemu.postcopy import state as at
from hostsim.qemu.postcopy.costs import costs_of
from hostsim.qemu.postcopy.destination import Destination, no_streams
from hostsim.qemu.postcopy.state import Streams
from hostsim.qemu.postcopy.streams import settle, write

COMMAND_BYTES = 5
"""QEMU_VM_COMMAND, the command, the length of its payload (savevm.c::qemu_savevm_command_send)."""
MESSAGE_BYTES = 4
"""Type and length of a message on the return path (migration.c::migrate_send_rp_message)."""
BITMAP_ENDS_BYTES = 16
"""Size before a bitmap, RAMBLOCK_RECV_BITMAP_ENDING behind it."""
ACK_BYTES = MESSAGE_BYTES + 4
"""MIG_RP_MSG_RESUME_ACK and its value."""


def pause(migration: Migration, destination: Destination) -> Step:
    """postcopy_pause of ``migration``: keep everything until migrate-recover, exchange bitmaps, go on; else the VM is lost.

    destination: loses the bytes on the wire, and is asked for its bitmap.
    A handshake whose connection breaks pauses the phase again, until the next migrate-recover.

    # Model limit: both sides notice the break at once, the side whose TCP gives up later as well.
    # Model limit: postcopy_link_fails breaks the connection once; migrate-recover does not come before the end of an outage.
    """
    recover_after_ns, env = migration.parameters.postcopy_recover_after_ns, migration.env
    lost = destination.lose(migration.ram)
    migration.state.pages_lost += lost
    migration.recorder.mark(env.now_ns, "postcopy_pause", lost)
    migration.set_status("postcopy-paused")
    if not recover_after_ns:
        migration.finish("postcopy-paused")
        return
    paused_ns = env.now_ns
    while not (yield from _recover(migration, destination, env.now_ns + recover_after_ns)):
        migration.recorder.mark(env.now_ns, "postcopy_pause", 0)
        migration.set_status("postcopy-paused")
    migration.state.paused_ns += env.now_ns - paused_ns
    migration.set_status("postcopy-active")
    window.open_window(migration.state, migration.ram, migration.now_ms)


def _recover(migration: Migration, destination: Destination, due_ns: int) -> Generator[simpy.Event, Any, bool]:
    """migrate-recover at ``due_ns``, or when the network is back; return whether the phase goes on."""
    yield from destination.advance(migration.link.spec.up_ns(due_ns))
    migration.set_status("postcopy-recover")
    if not migration.link.spec.has_faults:
        yield from destination.advance(migration.env.now_ns + _handshake_ns(migration, destination))
        destination.reconnect()
        return True
    streams = _connected(migration)
    is_done = yield from _shake_hands(migration, destination, streams)
    if is_done:
        destination.reconnect(streams)
    else:
        settle(streams, destination.rules.path, destination.rules.path_back, migration.env.now_ns)
        migration.ram.closed += list(streams.rows)
    return is_done


def _handshake_ns(migration: Migration, destination: Destination) -> int:
    """Length of the handshake over a link without faults: four messages, and the bitmaps."""
    rules, bits = destination.rules, migration.vm.memory.n_pages
    wire_ns = bits // 8 * NS_PER_S // rules.link_bytes_per_s if rules.link_bytes_per_s else 0
    return costs_of(migration).recover_ns + wire_ns + 4 * rules.latency_ns


def _connected(migration: Migration) -> Streams:
    """New connections, as of now, of the stream and of the way back.

    # Model limit: a recovery's TCP handshakes, of the stream and of the preempt channel, are not lost in an outage.
    """
    streams, spec, now_ps = no_streams(), migration.link.spec, migration.env.now_ns * 1000
    tcp_row.connect(streams.rows[at.MAIN], spec.path, spec.loss_key_of("recovered"))
    tcp_row.connect(streams.rows[at.URGENT], spec.path, spec.loss_key_of("preempt, recovered"))
    tcp_row.connect(streams.rows[at.RETURN], spec.path_back)
    streams.shared[:, TICK] = now_ps // spec.path.tick_ps, now_ps // spec.path_back.tick_ps
    return streams


def _shake_hands(
    migration: Migration, destination: Destination, streams: Streams
) -> Generator[simpy.Event, Any, bool]:  # fmt: skip
    """RECV_BITMAP for each RAMBlock, its bitmap back, RESUME, RESUME_ACK; False, at the break, if a connection breaks."""
    blocks = migration.vm.memory.blocks
    asked = sum(COMMAND_BYTES + 1 + len(block.idstr) for block in blocks)
    bitmaps = sum(MESSAGE_BYTES + 1 + len(block.idstr) + BITMAP_ENDS_BYTES + _bitmap_bytes(block) for block in blocks)
    yield from destination.advance(migration.env.now_ns + costs_of(migration).recover_ns)
    for stream, n_bytes in ((at.MAIN, asked), (at.RETURN, bitmaps), (at.MAIN, COMMAND_BYTES), (at.RETURN, ACK_BYTES)):
        path = destination.rules.path_back if stream == at.RETURN else destination.rules.path
        write(streams, path, stream, migration.env.now_ns, n_bytes)
        row = streams.rows[stream].copy()
        acked_ns = int(deliver(row, path))
        if acked_ns == NEVER_NS:
            yield from destination.advance(max(int(row[tcp_row.BROKEN_PS]) // 1000, migration.env.now_ns))
            return False
        yield from destination.advance(max(acked_ns - destination.rules.latency_ns, migration.env.now_ns))
    return True


def _bitmap_bytes(block: RamBlock) -> int:
    """Bytes of the received bitmap of a RAMBlock, in words of 64 bits."""
    return -(-block.n_pages // 64) * 8
