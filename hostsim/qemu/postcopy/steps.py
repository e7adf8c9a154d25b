"""Post-copy: the switch, and the phase in which the guest runs at the destination.

QEMU 7.2 and 10.x, migration/migration.c::postcopy_start, ::migration_iteration_run, ::migration_rate_limit,
::migration_completion. The phase's events are in hostsim.qemu.postcopy.loop; its pause is in hostsim.qemu.postcopy.recovery.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from hostsim.core.clock import NEVER_NS
from hostsim.core.constants import NS_PER_MS, NS_PER_S, PAGE_WIRE_BYTES
from hostsim.qemu import send, tcp, window
from hostsim.qemu.bitmap_sync import bitmap_sync
from hostsim.qemu.cancel import fail
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.migration import Migration, Step
from hostsim.qemu.postcopy import state as at
from hostsim.qemu.postcopy.costs import costs_of
from hostsim.qemu.postcopy.destination import Destination, LinkBrokenError
from hostsim.qemu.postcopy.live import LiveDestination
from hostsim.qemu.postcopy.recovery import pause
from hostsim.qemu.postcopy.state import Rules
from hostsim.qemu.postcopy.stream import flush_wire
from hostsim.qemu.ram import EOS_BYTES, SECTION_BYTES
from hostsim.qemu.switchover import pre_switchover

RANGES_A_COMMAND = 12
"""migration/postcopy-ram.c MAX_DISCARDS_PER_COMMAND."""
COMMAND_TRUESIZE = 1280
"""Kernel memory of a message of 12 ranges, some 210 bytes: the sk_buff (256), and data beside skb_shared_info (1024, a size
of kmalloc). net/core/sock.c::sock_alloc_send_pskb waits at sk_sndbuf bytes of these."""


def switch(migration: Migration) -> Step:
    """postcopy_start: stop the VM, sync, discard stale pages at the destination, send the package; the guest runs there.

    The source's downtime ends when the package is written; the guest's true outage ends when the destination has loaded it.
    """
    m, env, behaviour = migration.state, migration.env, migration.behaviour
    migration.cut()
    m.downtime_start_ns, m.precopy_bytes, m.switching_over = env.now_ns, migration.ram.stream_bytes, True
    m.guest_moves = True
    migration.recorder.mark(env.now_ns, "postcopy_start", migration.ram.remaining_bytes)
    if not behaviour.has_device_status:
        migration.set_status("postcopy-active")
    migration.bql.take()
    yield from migration.vm.stop()
    yield from migration.ram.flush()
    migration.cut()
    m.vm_stopped_ns = env.now_ns
    migration.recorder.mark(env.now_ns, "postcopy_vm_stop")
    if migration.parameters.pause_before_switchover:
        yield from pre_switchover(migration)
        if not migration.running:
            return
        migration.set_status("device" if behaviour.has_device_status else "postcopy-active")
    elif behaviour.has_device_status:
        migration.set_status("device")
    yield from bitmap_sync(migration)
    _dirty_whole_host_pages(migration)
    stale = _stale_ranges(migration)
    # Model limit: discards reach the destination as the sync ends, ahead of all bytes in the stream and on the link; a
    # range of any length costs the same.
    discarded_ns = env.now_ns + migration.link.spec.latency_ns + stale * costs_of(migration).discard_range_ns
    yield env.timeout(_discard_wait_ns(migration, stale) + migration.sheet.switchover_ns)
    migration.ram.write(0, _discard_bytes(migration, stale) + migration.sheet.device_state_bytes)
    yield migration.ram.written()
    m.downtime_ms = migration.now_ms - m.downtime_start_ns // NS_PER_MS
    arrived_ns = yield from _package_arrives(migration)
    migration.bql.drop()
    if arrived_ns == NEVER_NS:
        m.guest_moves = False
        yield from fail(migration)
        return
    migration.destination = _destination(migration, max(arrived_ns, discarded_ns))
    if behaviour.has_device_status:
        migration.set_status("postcopy-device" if behaviour.has_postcopy_device else "postcopy-active")


def run(migration: Migration) -> Step:
    """The phase, until every page is at the destination, or until a broken connection is not repaired."""
    destination, p = migration.destination, migration.parameters
    assert isinstance(destination, Destination), "the switch has made it"
    if p.postcopy_link_fails_ns:
        # Model limit: postcopy_link_fails while the package is on its way takes effect when the package is written. An
        # outage that breaks the connection there fails the migration, and the guest goes on at the source (10.2).
        destination.broken_ns = max(migration.state.downtime_start_ns + p.postcopy_link_fails_ns, migration.env.now_ns)
    while True:
        try:
            yield from _loop(migration, destination)
        except LinkBrokenError:
            yield from migration.traced("postcopy_pause", pause(migration, destination))
        if migration.done.triggered:
            return


def _loop(migration: Migration, destination: Destination) -> Step:
    """migration_thread after the switch: windows, requests in between, then completion."""
    is_urgent = False
    while True:
        limit_bytes = _limit_bytes(migration)  # an operator may have changed it
        destination.rules = destination.rules._replace(rate_limit_bytes=limit_bytes)
        if is_urgent or not migration.ram.window_exceeded(limit_bytes):
            yield from _package_loaded(migration, destination)
            if _is_ready(migration):
                yield from _complete(migration, destination)
                return
            if not migration.ram.window_exceeded(limit_bytes):
                yield from migration.traced("savevm_state_iterate", _iterate(migration, destination))
        is_urgent = yield from migration.traced("migration_rate_limit", _rate_limit(migration, destination))


def _limit_bytes(migration: Migration) -> int:
    """Bytes that a window of the phase may send; 0: no limit."""
    return migration.parameters.max_postcopy_bandwidth // 10


def _is_ready(migration: Migration) -> bool:
    """Whether the rest is sent at once (migration_iteration_run); no bitmap is synced after the switch."""
    pending = migration.ram.remaining_bytes
    if migration.behaviour.postcopy_to_the_last:
        return pending == 0
    return pending == 0 or pending < migration.state.threshold_bytes


def _package_loaded(migration: Migration, destination: Destination) -> Step:
    """10.2: the status leaves "postcopy-device" once the destination has loaded the package; completion waits for that."""
    if migration.state.status != "postcopy-device":
        return
    loaded_ns = destination.run_ns + destination.rules.latency_ns
    if migration.ram.remaining_bytes == 0 and migration.env.now_ns < loaded_ns:
        yield from destination.advance(loaded_ns)
    if migration.env.now_ns >= loaded_ns:
        migration.set_status("postcopy-active")


def _iterate(migration: Migration, destination: Destination) -> Step:
    """ram_save_iterate: requested pages first, then the background sweep, until the window's quota is spent."""
    p, state = destination.phase.p, migration.ram.send_state
    state[send.T_NS] = started_ns = migration.env.now_ns
    state[send.ITERATION_PAGES], p[at.SENDING] = 0, 1
    yield from destination.advance(started_ns=started_ns)
    yield from _end_of_section(migration, destination)


def _end_of_section(migration: Migration, destination: Destination) -> Step:
    """Write EOS and the gathered bytes; return when write() does."""
    ram, p = migration.ram, destination.phase.p
    state = ram.send_state
    p[at.SENDING], p[at.CHANNEL] = 0, at.MAIN
    destination.note_read()
    yield from destination.advance(int(state[send.T_NS]))
    state[send.SENT_BYTES] += EOS_BYTES
    state[send.BUFFERED_BYTES] += EOS_BYTES + SECTION_BYTES
    ram.section_bytes += SECTION_BYTES
    send.flush(state)
    flush_wire(destination.phase, destination.rules, int(state[send.T_NS]), EOS_BYTES + SECTION_BYTES)
    yield from destination.written()
    if not migration.behaviour.counts_all_bytes:
        # 7.2 computes the bandwidth of a window from the main channel alone (migration_total_bytes)
        migration.state.other_bytes = -destination.urgent_bytes


def _rate_limit(migration: Migration, destination: Destination) -> Generator[simpy.Event, Any, bool]:
    """migration_rate_limit: close the window, or sleep until its end or a request; return whether a request woke the thread.

    qemu_savevm_state_iterate returns at once while the window is spent, so with a request queued the thread loops busily
    until a millisecond clock says that the window is over: it then opens the next window without a sleep's lateness.
    """
    m, ram, env = migration.state, migration.ram, migration.env
    if window.update_counters(m, ram, migration.parameters, migration.now_ms):
        migration.recorder.trace("migrate_transferred", t_ns=env.now_ns, bandwidth=m.bandwidth_bytes_per_ms)
    if not ram.window_exceeded(destination.rules.rate_limit_bytes):
        return False
    end_ns = (m.window_start_ms + window.BUFFER_DELAY_MS) * NS_PER_MS
    wait_ms = max(0, m.window_start_ms + window.BUFFER_DELAY_MS - migration.now_ms)
    awake_ns = env.now_ns + wait_ms * NS_PER_MS + migration.sheet.sleep_overshoot_ns
    if not destination.has_request:
        destination.phase.p[at.IS_AWAITED] = 1
        reason = yield from destination.advance(awake_ns)
        destination.phase.p[at.IS_AWAITED] = 0
        if reason != at.REQUESTED:
            return False
    if not _is_ready(migration):
        yield from destination.advance(max(end_ns, env.now_ns))
    return True


def _complete(migration: Migration, destination: Destination) -> Step:
    """migration_completion in post-copy: send the rest without a limit, wait until the destination has loaded it."""
    m, env, p = migration.state, migration.env, destination.phase.p
    migration.recorder.mark(env.now_ns, "migration_completion_postcopy_end", migration.ram.remaining_bytes)
    limited, destination.rules = destination.rules, destination.rules._replace(rate_limit_bytes=0)
    try:
        while migration.ram.remaining_bytes:
            yield from _iterate(migration, destination)
    finally:
        destination.rules = limited
    p[at.IS_DRAINING] = 1
    yield from destination.advance()
    p[at.IS_DRAINING] = 0
    yield from destination.answered()
    destination.check_complete()
    migration.ram.check_complete()
    m.total_time_ms = migration.now_ms - m.start_ns // NS_PER_MS
    m.mbps = window.total_bytes(m, migration.ram) * 8 / max(1, m.total_time_ms - m.setup_time_ms) / 1000
    migration.finish("completed")


def _dirty_whole_host_pages(migration: Migration) -> None:
    """postcopy_chunk_hostpages: a host page with a page to be sent is discarded and sent whole."""
    step, bmap = migration.parameters.host_page_bytes // 4096, migration.ram.bmap
    if step == 1:
        return
    before = int(bmap.sum())
    for first in range(0, len(bmap), step):
        if bmap[first : first + step].any():
            bmap[first : first + step] = 1
    migration.ram.add_dirty(int(bmap.sum()) - before)


def _stale_ranges(migration: Migration) -> int:
    """Ranges of pages that are to be sent, which the destination discards first (postcopy_send_discard_bm_ram)."""
    return int(np.count_nonzero(np.diff(np.concatenate([[0], migration.ram.bmap, [0]]).astype(np.int8)) == 1))


def _discard_bytes(migration: Migration, stale: int) -> int:
    """Bytes of the commands that name ``stale`` ranges (postcopy_discard_send_range), 12 ranges a command."""
    commands = -(-stale // RANGES_A_COMMAND)
    name = max(len(block.idstr) for block in migration.vm.memory.blocks)
    return 16 * stale + commands * (8 + name)


def _discard_wait_ns(migration: Migration, stale: int) -> int:
    """Time for which the source, its VM stopped, waits to write the last command [ns].

    It flushes each command by itself (savevm.c::qemu_savevm_command_send), and the destination's main thread discards a
    command's ranges before it reads the next one: the sockets hold the commands between. A unix socket charges its buffer
    with the memory of each message (sk_buff::truesize), TCP with its bytes, which the receive window holds as well.
    """
    spec, command_bytes = migration.link.spec, _discard_bytes(migration, RANGES_A_COMMAND)
    if spec.latency_ns:
        held = (spec.send_buffer_bytes + spec.receive_window_bytes) // command_bytes
    elif spec.socket_buffer_bytes:
        held = spec.socket_buffer_bytes // COMMAND_TRUESIZE
    else:
        return 0
    return max(0, stale - held * RANGES_A_COMMAND) * costs_of(migration).discard_range_ns


def _package_arrives(migration: Migration) -> Generator[simpy.Event, Any, int]:
    """When the package, which has been written, has arrived [ns]; NEVER_NS, at the break, if the connection breaks before.

    # Model limit: pages that follow the package do not help TCP to find a loss at its end.
    """
    env, spec, state = migration.env, migration.link.spec, migration.ram.send_state
    if not spec.has_faults:
        if spec.rtt_ps:
            tcp.drain(state[send.STREAM :], spec.path)
        return max(env.now_ns, -(-int(state[send.LINK_FREE_PS]) // 1000)) + spec.latency_ns
    acked_ns, broken_ps = migration.ram.delivered()
    if acked_ns != NEVER_NS:
        return max(env.now_ns, acked_ns - spec.latency_ns)
    yield env.timeout(max(0, -(-broken_ps // 1000) - env.now_ns))
    return NEVER_NS


def _destination(migration: Migration, listens_ns: int) -> Destination:
    """The destination as the package has been written; its pages to come are those in the bitmap.

    listens_ns: its main thread, which has discarded all stale ranges by then, starts the thread that loads pages, and loads
    the devices (savevm.c::loadvm_postcopy_handle_listen, the first command of the package).
    """
    given = (
        migration.env, migration.vm, migration.ram, migration.link.spec, _rules(migration), migration.knobs,
        len(migration.vm.vcpus), listens_ns, listens_ns + costs_of(migration).device_load_ns,
    )  # fmt: skip
    if migration.move is None:
        return Destination(*given)
    return LiveDestination(migration.move(migration.ram.bmap), *given)


def _rules(migration: Migration) -> Rules:
    """Constants of the phase.

    # Model limit: after the switch a connection carries its steady rate (a window each round trip); its congestion window is
    not followed, but on a link with outages or losses.
    """
    p, sheet, costs, spec = migration.parameters, migration.sheet, costs_of(migration), migration.link.spec
    wake_bytes = 0 if spec.latency_ns else spec.wake_bytes
    preempt = 0 if not p.postcopy_preempt else (10 if migration.behaviour.urgent_thread else 7)
    return Rules(
        _limit_bytes(migration), migration.behaviour.flush_pages, preempt, costs.send_page_ns or sheet.page_send_ns,
        sheet.zero_page_ns, costs.place_page_ns, costs.place_zero_ns, costs.fault_ns, costs.request_ns, costs.wake_ns,
        costs.busy_wake_ns, 0 if spec.latency_ns else costs.turn_block_ns, costs.turn_place_ns, costs.turn_fault_ns,
        costs.turn_fault_spread_ns, spec.stream_bytes_per_s, spec.latency_ns, _buffer_bytes(spec, costs.place_page_ns),
        wake_bytes,
        (p.host_page_bytes // 4096).bit_length() - 1, migration.ram.main_connection()[1], spec.path_back,
    )  # fmt: skip


def _buffer_bytes(spec: LinkSpec, place_page_ns: int) -> int:
    """Bytes that the stream holds until the destination reads them: a requested page waits behind them.

    Where the link is the bottleneck the send buffer is full, and keeps a byte until the acknowledgement is back; where the
    destination is the bottleneck its receive buffer is full as well. A unix socket has one buffer, from which the thread
    that loads pages reads into a buffer of its own (qemu-file.c::qemu_fill_buffer).
    """
    rate = spec.stream_bytes_per_s
    if not spec.latency_ns:
        return spec.send_buffer_bytes + send.IO_BUFFER_BYTES
    if spec.has_faults:  # the connection's own windows bound the bytes in flight
        return spec.send_buffer_bytes + spec.receive_window_bytes
    if rate and place_page_ns * rate <= PAGE_WIRE_BYTES * NS_PER_S:
        return max(spec.send_buffer_bytes - rate * spec.latency_ns // NS_PER_S, PAGE_WIRE_BYTES)
    return spec.send_buffer_bytes + spec.receive_window_bytes
