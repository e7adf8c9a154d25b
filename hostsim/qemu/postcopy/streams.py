"""Post-copy over a link that fails: its connections, and the moments at which bytes written to them arrive.

The source writes the stream and, with preempt, a second connection; the destination writes requests to the other direction
of the first. A connection's row (hostsim.qemu.tcp_row) says when bytes are acknowledged, one way after they have arrived.
``look`` advances copies of the rows, as if nothing more were written, to the tick whose acknowledgements cover the next
entry, which arrives one way before. A later write cannot change an arrival within that time: its own acknowledgement takes a
whole round trip.

# Model limit: bytes whose acknowledgements an outage drops, and which are sent after a retransmission timeout, arrive when
# the outage is over.
"""

from __future__ import annotations

from hostsim.compiled.jit import jit, part
from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.core.rng import NEVER
from hostsim.qemu import connections, tcp_loss, tcp_row
from hostsim.qemu.connections import BROKEN_PS, TICK
from hostsim.qemu.postcopy.state import (
    BACK,
    FLUSHED,
    FORWARD,
    HAS_ROOM,
    IS_AHEAD,
    IS_KNOWN,
    LAST_WRITE_NS,
    LOAD_FREE_NS,
    MAIN,
    NEXT_NS,
    QDISC_PS,
    REQUEST_TAIL,
    RETURN,
    ROOM_NS,
    URGENT,
    URGENT_FREE_NS,
    URGENT_TAIL,
    Ints,
    Phase,
    Rules,
    Streams,
)
from hostsim.qemu.tcp_row import Path


@part
def _path(r: Rules, group: int) -> Path:
    return r.path_back if group == BACK else r.path


@part
def _bounds(group: int) -> tuple[int, int]:
    """Rows of a group: first, end."""
    return (RETURN, RETURN + 1) if group == BACK else (MAIN, URGENT + 1)


@jit
def write(s: Streams, path: Path, stream: int, t_ns: int, n_bytes: int) -> None:
    """Write ``n_bytes`` to ``stream``, of ``path``, at ``t_ns``, even beyond its send buffer. ``s``: in place."""
    group = BACK if stream == RETURN else FORWARD
    bounds, shared = _bounds(group), s.shared[group]
    connections.advance(s.rows[bounds[0] : bounds[1]], shared, path, t_ns * 1000 // path.tick_ps)
    connections.enqueue(s.rows[stream], shared, path, max(t_ns * 1000, shared[TICK] * path.tick_ps), n_bytes)
    s.written[stream] += n_bytes
    state = s.groups[group]
    # The copies that ``look`` has advanced are outdated: they ran ahead as if nothing more were written.
    state[IS_KNOWN], state[IS_AHEAD], state[LAST_WRITE_NS], state[ROOM_NS] = 0, 0, t_ns, NEVER
    if stream == MAIN:
        state[HAS_ROOM] = int(connections.outstanding(s.rows[MAIN]) <= path.send_buffer_bytes)


@part
def qdisc_ns(k: Phase, r: Rules) -> int:
    """Wait [ns] of a packet of URGENT behind bytes of MAIN that the windows of ``k`` let into the qdisc of ``r``.

    As of the last write.
    """
    row, path = k.streams.rows[MAIN], r.path
    if path.link_bytes_per_s == 0:
        return 0
    n_bytes = min(row[tcp_row.UNSENT], max(tcp_loss.allowed(row, path), 0))
    return int(min(n_bytes * tcp_row.PS_PER_S // path.link_bytes_per_s, QDISC_PS) // 1000)


@jit
def settle(s: Streams, path: Path, path_back: Path, now_ns: int) -> None:
    """Bring all connections to ``now_ns``. ``s``: in place."""
    for group in range(len(s.groups)):
        path, bounds = path_back if group == BACK else path, _bounds(group)
        connections.advance(s.rows[bounds[0] : bounds[1]], s.shared[group], path, now_ns * 1000 // path.tick_ps)


@part
def _waiting_end(k: Phase, stream: int) -> int:
    """Bytes written up to the end of the first entry that has not arrived; NEVER: all have."""
    number = k.streams.arrived[stream]
    if stream == MAIN:
        return int(k.wire[number % len(k.wire), 3]) if number < k.p[FLUSHED] else NEVER
    if stream == URGENT:
        return int(k.urgent[number % len(k.urgent), 3]) if number < k.p[URGENT_TAIL] else NEVER
    return int(k.requests[number % len(k.requests), 2]) if number < k.p[REQUEST_TAIL] else NEVER


@part
def _arrived_bytes(row: Ints, path: Path, written: int) -> int:
    """Bytes that have arrived in order, once the acknowledgements of this tick are counted; dropped ones count too."""
    has_gap = row[tcp_row.LOST] > 0 and row[tcp_row.TICK] > row[tcp_row.LOST_TICK] + path.ticks
    is_in_order = row[tcp_row.MODE] == tcp_row.OPEN and not has_gap
    return int(written - connections.outstanding(row) + (row[tcp_row.UNHEARD] if is_in_order else 0))


@part
def _has_arrived(k: Phase, path: Path, stream: int) -> bool:
    s = k.streams
    return bool(_waiting_end(k, stream) <= _arrived_bytes(s.ahead[stream], path, s.written[stream]))


@part
def _note_room(k: Phase, path: Path) -> None:
    state = k.streams.groups[FORWARD]
    has_room = connections.outstanding(k.streams.ahead[MAIN]) <= path.send_buffer_bytes
    if state[HAS_ROOM] == 0 and state[ROOM_NS] == NEVER and has_room:
        acked_ns = -(-k.streams.ahead_shared[FORWARD, TICK] * path.tick_ps // 1000)
        state[ROOM_NS] = max(acked_ns, state[LAST_WRITE_NS])


@part
def look(k: Phase, r: Rules, group: int) -> None:
    """Look up NEXT_NS of ``group``: its next arrival, or its break; and ROOM_NS if that is no later. ``k``: in place."""
    s, path, bounds = k.streams, _path(r, group), _bounds(group)
    rows, shared, state = s.ahead[bounds[0] : bounds[1]], s.ahead_shared[group], s.groups[group]
    if state[IS_AHEAD] == 0:
        connections.copy(s.rows[bounds[0] : bounds[1]], s.shared[group], rows, shared)
    state[IS_KNOWN], state[IS_AHEAD], next_ns = 1, 1, NEVER
    while True:
        if group == FORWARD:
            _note_room(k, path)
        if shared[BROKEN_PS] > 0:
            next_ns = -(-shared[BROKEN_PS] // 1000)
            break
        if _has_arrived(k, path, bounds[0]) or (group == FORWARD and _has_arrived(k, path, URGENT)):
            # Bytes that leave within a tick have arrived at its end; their acknowledgement opens a tick.
            next_ns = -(-(shared[TICK] + 1) * path.tick_ps // 1000) - r.latency_ns
            break
        tick = connections.upcoming_tick(rows, shared, path)
        if tick == NEVER:
            break
        connections.begin(rows, shared, path, tick)
    state[NEXT_NS] = max(next_ns, state[LAST_WRITE_NS])


@part
def deliver(k: Phase, r: Rules, group: int, now_ns: int) -> bool:
    """Take the entries of ``group`` that arrive at ``now_ns``; False: a connection of the group breaks.

    ``k`` notes when each page will be placed by the times in ``r``, and which requests have arrived.
    """
    s, path = k.streams, _path(r, group)
    if s.ahead_shared[group, BROKEN_PS] > 0:
        return False
    s.groups[group, IS_KNOWN] = 0
    if group == BACK:
        while _has_arrived(k, path, RETURN):
            k.requests[s.arrived[RETURN] % len(k.requests), 0] = now_ns
            s.arrived[RETURN] += 1
        return True
    while _has_arrived(k, path, MAIN):
        entry = k.wire[s.arrived[MAIN] % len(k.wire)]
        _load(k, r, entry, LOAD_FREE_NS, now_ns)
        s.arrived[MAIN] += 1
    while _has_arrived(k, path, URGENT):
        entry = k.urgent[s.arrived[URGENT] % len(k.urgent)]  # entry[4]: its wait in the qdisc, as of its write
        _load(k, r, entry, URGENT_FREE_NS, now_ns + entry[4])
        s.arrived[URGENT] += 1
    return True


@part
def _load(k: Phase, r: Rules, entry: Ints, free: int, now_ns: int) -> None:
    """The thread of the destination that is free at ``k.p[free]`` places the page of ``entry``, there at ``now_ns``."""
    cost_ns = r.place_page_ns if entry[1] >= PAGE_WIRE_BYTES else r.place_zero_ns
    k.p[free] = max(k.p[free], now_ns) + cost_ns
    entry[2] = k.p[free]
