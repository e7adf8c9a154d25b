"""The destination in post-copy: the guest runs there, misses pages, and waits for those that it touches."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.errors import InvariantError
from hostsim.core.knobs import Knobs
from hostsim.core.latency import Latencies, make_counters
from hostsim.core.rng import NEVER
from hostsim.core.timeline import Track
from hostsim.guest.clocks import class_work
from hostsim.guest.first_touch import FirstTouches
from hostsim.guest.pacing import work_at
from hostsim.guest.vm import VmBase
from hostsim.qemu import send, tcp_row
from hostsim.qemu.connections import FREE_PS, N_SHARED, TICK, deliver
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.postcopy import state as at
from hostsim.qemu.postcopy.guest import REQUEST_BYTES
from hostsim.qemu.postcopy.loop import run_phase
from hostsim.qemu.postcopy.state import Phase, Rules, Streams
from hostsim.qemu.postcopy.streams import settle, write
from hostsim.qemu.ram import RamState
from hostsim.qemu.recorder import THREAD

RING = 1 << 12
BACK_THREAD = Track("host", "return-path thread")
AHEAD_MAX_NS = 1 << 42
"""Longest look ahead of a call: work clocks are computed in 64 bits."""
SHUT_BYTES = 8
"""MIG_RP_MSG_SHUT: type, length, value (migration.c::migrate_send_rp_shut)."""
BUCKETS = 24
"""migration/postcopy-ram.c BLOCKTIME_LATENCY_BUCKET_N (>= 10.1)."""


class LinkBrokenError(Exception):
    """The connection has broken; the phase pauses."""


@dataclass(frozen=True)
class Blocktime:
    """The time for which vCPUs waited for pages, as in the destination's query-migrate.

    total_ms: all vCPUs were blocked; vcpu_ms: of each vCPU.
    latency_ns: mean from the fault thread's message until the page was placed; vcpu_latency_ns: of each vCPU's faults;
    dist: faults by powers of two of microseconds.
    """

    total_ms: int
    vcpu_ms: tuple[int, ...]
    latency_ns: int
    vcpu_latency_ns: tuple[int, ...]
    dist: tuple[int, ...]


@dataclass(frozen=True)
class SentBefore:
    """Counters of the RAM stream at the switch."""

    normal_pages: int
    zero_pages: int
    stream_bytes: int


class Destination:
    """The phase of post-copy: arrays of the loop, and the way in which they follow the host's clock.

    phase: arrays.
    rules: constants; the rate limit is changed at completion.
    run_ns: the time at which the guest runs at the destination; listens_ns: at which it begins to load pages.
    n_missing: pages that were missing at the switch.
    broken_ns: the time at which the connection breaks, NEVER: it does not.
    sent_before: bytes sent before the switch.
    read_ns: time for which the migration thread could send nothing because a page was read back from swap; frames_ns: time
    for which the stream's thread waited for a frame.
    """

    def __init__(
        self, env: Clock, vm: VmBase, ram: RamState, link: LinkSpec, rules: Rules, knobs: Knobs, n_vcpus: int,
        listens_ns: int, run_ns: int,
    ) -> None:  # fmt: skip
        """``listens_ns``: the destination loads pages from then on."""
        self.rules, self.run_ns, self.broken_ns, self._link = rules, run_ns, NEVER, link
        self.listens_ns = listens_ns
        self._env, self._vm, self._knobs = env, vm, knobs
        self.sent_before = SentBefore(ram.normal_pages, ram.zero_pages, ram.stream_bytes)
        self.read_ns = self.frames_ns = 0
        self._table = vm.guest.table
        missing = ram.bmap.copy()
        self.n_missing = int(missing.sum())
        clocks = vm.guest.clocks.copy()
        self._classes = self._first_touches(missing, clocks)
        self._batches = [(np.zeros(0, np.int64), np.zeros(0, np.int64))] * len(self._classes)
        self.phase = _arrays(vm, ram, missing, clocks, n_vcpus, rules)
        p = self.phase.p
        p[at.NOW_NS], p[at.LOAD_FREE_NS], p[at.URGENT_FREE_NS] = env.now_ns, listens_ns, listens_ns
        p[[at.URGENT_BLOCK, at.HELD]] = -1
        p[at.HOLD_NS], p[at.WAITER] = NEVER, -1
        self._unread, self._life = ram.bmap.copy() if len(vm.backing) else vm.backing, 0
        self.phase.vcpus[:, at.WAKE_NS] = run_ns
        self._connect(("", "preempt"))
        self._go_on_with(ram)

    def _first_touches(self, missing: NDArray[np.uint8], clocks: NDArray[np.int64]) -> list[FirstTouches]:
        """The first touches of missing pages, by touch class."""
        table, now_ns = self._table, self._env.now_ns
        works = [int(class_work(table.ints, clocks, c, now_ns)) for c in range(len(table.ints))]
        return [FirstTouches(table, c, missing, work) for c, work in enumerate(works)]

    # -- figures

    @property
    def clocks(self) -> NDArray[np.int64]:
        """int64[n_clocks, N_FIELDS]: work clocks at the destination."""
        return self.phase.clocks

    @property
    def requests(self) -> int:
        """Requests that have reached the source (``postcopy-requests``)."""
        return int(self.phase.p[at.REQUESTS])

    @property
    def faults(self) -> int:
        """Touches of missing pages so far."""
        return int(self.phase.p[at.FAULTS])

    @property
    def has_request(self) -> bool:
        """Whether a request is queued at the source."""
        return bool(self.phase.p[at.REQUEST_HEAD] < self.phase.p[at.REQUEST_ARRIVED])

    @property
    def urgent_bytes(self) -> int:
        """Bytes on the preempt channel."""
        return int(self.phase.p[at.URGENT_BYTES])

    @property
    def stalls(self) -> Latencies:
        """Stalls of vCPUs, from the touch of a missing page until the vCPU runs again."""
        return Latencies.counted(self.phase.latencies[1])

    @property
    def stalled_ns(self) -> int:
        """Time for which vCPUs waited for pages, summed over vCPUs, waits under way included [ns]."""
        vcpus, now_ns = self.phase.vcpus, self._env.now_ns
        under_way = np.where(vcpus[:, at.IS_WAITING] == 1, now_ns - vcpus[:, at.SINCE_NS], 0)
        return int(vcpus[:, at.STALLED_NS].sum() + under_way.sum())

    @property
    def blocked_ns(self) -> int:
        """Blocktime of all vCPUs, summed: from the fault thread's message until the page was placed [ns]."""
        return int(self.phase.vcpus[:, at.BLOCKED_NS].sum())

    def blocktime(self, in_ns: bool) -> Blocktime:
        """``in_ns``: counted in nanoseconds (>= 10.1), else by a clock of milliseconds."""
        p, vcpus, latencies = self.phase.p, self.phase.vcpus, self.phase.latencies
        total = int(p[at.ALL_BLOCKED_NS]) // 1_000_000 if in_ns else int(p[at.ALL_BLOCKED_MS])
        each = vcpus[:, at.BLOCKED_NS] // 1_000_000 if in_ns else vcpus[:, at.BLOCKED_MS]
        found = Latencies.counted(latencies[0])
        means = vcpus[:, at.BLOCKED_NS] // np.maximum(vcpus[:, at.KNOWN], 1)
        return Blocktime(total, tuple(each.tolist()), int(found.mean_ns), tuple(means.tolist()), _by_powers_of_two(found))

    def work_ns(self) -> int:
        """Work done by now, summed over all work clocks [ns]."""
        now_ns = self._env.now_ns
        return sum(int(work_at(row, now_ns)) for row in self.phase.clocks)

    # -- time

    def advance(self, until_ns: int = NEVER, started_ns: int = 0) -> Generator[simpy.Event, Any, int]:
        """Let the phase go on until ``until_ns``, or until the loop has another reason to return; return the reason.

        started_ns: start of ram_save_iterate. LinkBrokenError once the connection has broken.
        """
        env, p, window_ns = self._env, self.phase.p, self._knobs.window_ns
        while True:
            bound_ns = self._bound_ns(until_ns)
            horizon_ns = bound_ns
            if window_ns:  # longer from call to call: the first events of a call are cut apart, an idle second is not
                horizon_ns = min(bound_ns, max(env.now_ns, int(p[at.NOW_NS])) + window_ns)
                window_ns *= 2
            reason = int(run_phase(self.phase, self.rules, self._table, horizon_ns, started_ns))
            if reason == at.REFILL:
                self._refill()
            elif reason == at.GROW:
                self._grow()
            elif reason == at.BROKEN:
                yield env.timeout(int(p[at.NOW_NS]) - env.now_ns)
                raise LinkBrokenError
            elif reason in (at.AWAY, at.AWAY_BACK):
                yield env.timeout(int(p[at.NOW_NS]) - env.now_ns)
                env.process(self._swap_in(reason))
            elif reason != at.HORIZON:
                yield env.timeout(int(p[at.NOW_NS]) - env.now_ns)
                return reason
            elif horizon_ns == bound_ns:
                yield env.timeout(max(0, bound_ns - env.now_ns))
                if env.now_ns >= self.broken_ns:
                    raise LinkBrokenError
                if env.now_ns >= until_ns:
                    return reason

    def _bound_ns(self, until_ns: int) -> int:
        """Time up to which the phase may run.

        The end of a read from swap may hang on a guest: reclaim makes room for the page, and a guest's fault, which is no
        event of the clock, may hold the mmu_lock that reclaim waits for. So the phase stops at the guests' events meanwhile.
        """
        env = self._env
        next_ns = env.possible_ns() if self.phase.p[at.READS] else env.upcoming_ns()
        return min(until_ns, self.broken_ns, next_ns, env.now_ns + AHEAD_MAX_NS)

    def _swap_in(self, reason: int) -> Generator[simpy.Event, Any, None]:
        """A thread of the source reads a page that is swapped out; it waits in do_swap_page (mm/memory.c), the others go on.

        reason: AWAY: the migration thread, which has yielded bitmap_mutex (ram.c::ram_save_host_page). AWAY_BACK: the
        return-path thread, which keeps it (::ram_save_host_page_urgent), so that the migration thread sends no page, either.
        """
        # Model limit: a migration thread that has its page back waits for the return-path thread before it sends this page.
        p, life, is_back, since_ns = self.phase.p, self._life, reason == at.AWAY_BACK, self._env.now_ns
        number = int(p[at.REQUEST_ARRIVED]) % len(self.phase.requests)
        page = int(self.phase.requests[number, 1] if is_back else p[at.HELD])
        p[at.READS] += 1
        if is_back:
            p[at.RETURN_FREE_NS] = NEVER
        yield from self._env.traced(BACK_THREAD if is_back else THREAD, "do_swap_page", self._vm.read_back(page))
        if life != self._life:  # the connection has broken meanwhile
            return
        p[at.READS] -= 1
        if not p[at.READS]:
            self.read_ns += self._env.now_ns - since_ns
        self.phase.send[send.T_NS] = max(int(self.phase.send[send.T_NS]), self._env.now_ns)
        if is_back:
            p[at.RETURN_FREE_NS] = self._env.now_ns

    def note_read(self) -> None:
        """Note the pages that the source has read since the last call: they are young for its reclaim and its daemons."""
        if len(self._unread):
            read = np.flatnonzero(self._unread != self.phase.bmap)
            self._unread[read] = self.phase.bmap[read]
            self._vm.note_read(read)

    def _refill(self) -> None:
        """Give each class that has used up its batch the next one."""
        classes = self.phase.classes
        for c, touches in enumerate(self._classes):
            first, end = int(classes[c, at.AT]), int(classes[c, at.END])
            self._batches[c] = (self.phase.touch_ns[first:end], self.phase.touch_gfn[first:end])
            if first == end and classes[c, at.HAS_MORE]:
                self._batches[c] = touches.batch(self.phase.missing)
                classes[c, at.HAS_MORE] = int(len(self._batches[c][0]) > 0)
        ends = np.cumsum([len(times) for times, _ in self._batches])
        classes[:, at.END] = ends
        classes[:, at.AT] = ends - [len(times) for times, _ in self._batches]
        self.phase = self.phase._replace(
            touch_ns=np.concatenate([times for times, _ in self._batches]),
            touch_gfn=np.concatenate([gfns for _, gfns in self._batches]),
        )

    def _grow(self) -> None:
        """Double the rings."""
        phase, p = self.phase, self.phase.p
        self.phase = phase._replace(
            wire=_doubled(phase.wire, int(p[at.HEAD]), int(p[at.TAIL])),
            urgent=_doubled(phase.urgent, int(p[at.URGENT_HEAD]), int(p[at.URGENT_TAIL])),
            requests=_doubled(phase.requests, int(p[at.REQUEST_HEAD]), int(p[at.REQUEST_TAIL])),
        )

    def written(self) -> Generator[simpy.Event, Any, None]:
        """Return when write() does."""
        p = self.phase.p
        if (self._link.has_faults or self.rules.turn_block_ns) and p[at.IS_BLOCKED]:
            p[at.AWAITS_ROOM] = 1
            yield from self.advance()
            p[at.AWAITS_ROOM] = 0
        while p[at.IS_BLOCKED]:
            wire, head = self.phase.wire, int(p[at.HEAD])
            yield from self.advance(int(wire[head % len(wire), 2]) + 1)  # the instant after the next page is read

    def answered(self) -> Generator[simpy.Event, Any, None]:
        """Return when the source knows that the guest runs and that all is loaded (MIG_RP_MSG_SHUT)."""
        done_ns = max(self._env.now_ns, self.run_ns)
        if not self._link.has_faults:
            yield from self.advance(done_ns + self.rules.latency_ns)
            return
        yield from self.advance(done_ns)
        write(self.phase.streams, self.rules.path_back, at.RETURN, done_ns, SHUT_BYTES)
        row = self.phase.streams.rows[at.RETURN].copy()
        acked_ns = int(deliver(row, self.rules.path_back))
        if acked_ns == NEVER:
            yield from self.advance()  # up to the break
        yield from self.advance(max(acked_ns - self.rules.latency_ns, done_ns))

    # -- a connection that breaks

    def lose(self, ram: RamState) -> int:
        """The connection is gone: mark pages that were sent and not placed again; return their number."""
        p, phase = self.phase.p, self.phase
        self._disconnect(ram)
        lost = np.flatnonzero((phase.missing == 1) & (phase.bmap == 0))
        phase.bmap[lost] = 1
        ram.add_dirty(len(lost))
        p[at.HEAD] = p[at.FLUSHED] = p[at.TAIL]
        p[at.URGENT_HEAD] = p[at.URGENT_TAIL]
        p[[at.GATHERED, at.SMALL_BYTES, at.UNREAD_BYTES, at.CHANNEL]] = 0
        p[[at.IS_BLOCKED, at.SENDING, at.IS_AWAITED, at.IS_DRAINING, at.AWAITS_ROOM]] = 0
        p[[at.RETURN_FREE_NS, at.HOLD_NS]], p[at.WAITER] = NEVER, -1  # no request reaches the source, no page the loader
        p[at.READS], p[at.HELD], self._life = 0, -1, self._life + 1
        self.broken_ns = NEVER
        return len(lost)

    def _disconnect(self, ram: RamState) -> None:
        """Close the connections: nothing that was written to them arrives."""
        streams = self.phase.streams
        if self._link.has_faults:
            settle(self.phase.streams, self.rules.path, self.rules.path_back, self._env.now_ns)
            ram.closed += [row.copy() for row in streams.rows]
        streams.rows[:] = 0
        streams.groups[:, [at.IS_KNOWN, at.NEXT_NS, at.ROOM_NS]] = 1, NEVER, NEVER

    def _go_on_with(self, ram: RamState) -> None:
        """The stream goes on over the main connection of the migration, with all that is in flight."""
        if not self._link.has_faults:
            return
        streams = self.phase.streams
        streams.rows[at.MAIN], _ = ram.main_connection()
        row, shared = streams.rows[at.MAIN], streams.shared[at.FORWARD]
        shared[[TICK, FREE_PS]] = row[[tcp_row.TICK, tcp_row.FREE_PS]]
        streams.written[at.MAIN] = int(row[tcp_row.UNSENT] + row[tcp_row.IN_FLIGHT] + row[tcp_row.HELD])
        ram.later = list(streams.rows)

    def _connect(self, names: tuple[str, str]) -> None:
        """New connections; ``names``: of the streams of losses of the main one and of the preempt channel."""
        rules, now_ps, p, streams = self.rules, self._env.now_ns * 1000, self.phase.p, self.phase.streams
        for stream, name in enumerate(names):
            tcp_row.connect(streams.rows[stream], rules.path, self._link.loss_key_of(name))
        tcp_row.connect(streams.rows[at.RETURN], rules.path_back)
        streams.shared[:] = 0
        streams.shared[:, TICK] = now_ps // rules.path.tick_ps, now_ps // rules.path_back.tick_ps
        streams.written[:] = 0
        streams.arrived[:] = p[[at.TAIL, at.URGENT_TAIL, at.REQUEST_TAIL]]
        streams.groups[at.FORWARD, at.HAS_ROOM] = 1

    def reconnect(self, made: Streams | None = None) -> None:
        """The connection is there again; the destination asks for the pages that vCPUs wait for (postcopy_sync_page_req).

        made: connections over which the handshake has gone; None: new ones.
        """
        p, now_ns = self.phase.p, self._env.now_ns
        p[at.REQUEST_HEAD] = p[at.REQUEST_ARRIVED] = p[at.REQUEST_TAIL]
        self._connect(("recovered", "preempt, recovered"))
        if made is not None:
            streams = self.phase.streams
            streams.rows[:], streams.shared[:], streams.written[:] = made.rows, made.shared, made.written
        p[[at.RETURN_FREE_NS, at.LOAD_FREE_NS, at.URGENT_FREE_NS]] = now_ns
        waiting = self.phase.vcpus[self.phase.vcpus[:, at.BEGIN_NS] >= 0]
        for page in sorted(set(waiting[:, at.WAITS_FOR].tolist())):
            self._ask(page << self.rules.host_shift)
        self.phase.send[send.LINK_FREE_PS] = now_ns * 1000
        self.phase.send[send.LAST_BLOCK], p[at.URGENT_BLOCK] = -1, -1

    def _ask(self, gfn: int) -> None:
        """The destination writes a request for the host page that begins at ``gfn`` (hostsim.qemu.postcopy.guest::ask)."""
        phase, rules, p = self.phase, self.rules, self.phase.p
        sent_ns, end = self._env.now_ns + rules.request_ns, int(phase.streams.written[at.RETURN]) + REQUEST_BYTES
        arrives_ns = NEVER if self._link.has_faults else sent_ns + rules.latency_ns
        phase.requests[int(p[at.REQUEST_TAIL]) % len(phase.requests)] = arrives_ns, gfn, end
        p[at.REQUEST_TAIL] += 1
        if self._link.has_faults:
            write(phase.streams, rules.path_back, at.RETURN, sent_ns, REQUEST_BYTES)

    # -- invariants

    def check_complete(self) -> None:
        """InvariantError unless each missing page was placed, and once: a second copy takes back writes of the guest."""
        missing = int(np.count_nonzero(self.phase.missing))
        if missing:
            raise InvariantError(f"post-copy is over, and {missing} pages were not placed")
        placed = int(self.phase.p[at.PLACED])
        if placed != self.n_missing:
            raise InvariantError(f"{self.n_missing} pages were missing; placed: {placed}, a second copy counts as all pages")


def _arrays(
    vm: VmBase, ram: RamState, missing: NDArray[np.uint8], clocks: NDArray[np.int64], n_vcpus: int, rules: Rules
) -> Phase:
    blocks, n_classes = vm.memory.blocks, len(vm.guest.table.ints)
    ring = max(RING, 4 << rules.host_shift)
    vcpus = np.zeros((n_vcpus, at.N_VCPU), np.int64)
    vcpus[:, [at.WAITS_FOR, at.BEGIN_NS]] = -1
    vcpus[:, at.HANDLE_NS] = NEVER
    classes = np.zeros((n_classes, at.N_CLASS), np.int64)
    classes[:, at.HAS_MORE] = 1
    return Phase(
        np.zeros(at.N_PHASE, np.int64), ram.send_state, np.zeros((ring, 4), np.int64), np.zeros((ring, 5), np.int64),
        np.zeros((max(RING, 4 * n_vcpus), 3), np.int64), ram.bmap, ram.words, missing, vm.memory.zero, vm.memory.version,
        ram.copied, np.array([block.end_gfn for block in blocks], np.int64),
        np.array([len(block.idstr) for block in blocks], np.int64), clocks, vm.guest.clock_vcpu, vcpus, classes,
        np.zeros(0, np.int64), np.zeros(0, np.int64), make_counters(2), no_streams(),
        vm.backing, np.zeros(0, np.uint8), np.zeros(0, np.uint8), np.zeros(0, np.uint16), np.zeros(0, np.int64),
    )  # fmt: skip


def no_streams() -> Streams:
    """Connections of the phase before they are made."""
    rows, shared = (3, tcp_row.N_ROW), (2, N_SHARED)
    groups = np.zeros((2, at.N_GROUP), np.int64)
    groups[:, [at.IS_KNOWN, at.NEXT_NS, at.ROOM_NS]] = 1, NEVER, NEVER
    return Streams(
        np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(shared, np.int64), np.zeros(shared, np.int64),
        np.zeros(3, np.int64), np.zeros(3, np.int64), groups,
    )  # fmt: skip


def _doubled(ring: NDArray[np.int64], head: int, tail: int) -> NDArray[np.int64]:
    larger = np.zeros((2 * len(ring), ring.shape[1]), np.int64)
    numbers = np.arange(head, tail)
    larger[numbers % len(larger)] = ring[numbers % len(ring)]
    return larger


def _by_powers_of_two(latencies: Latencies) -> tuple[int, ...]:
    """Faults in [2^N, 2^(N+1)) us, N from 0; the first bucket has those below 1 us, too, the last one all longer ones."""
    counts = [0] * BUCKETS
    ends, numbers = latencies.buckets()
    for end_ns, number in zip(ends.tolist(), numbers.tolist(), strict=True):
        counts[min(max(end_ns // 1000, 1).bit_length() - 1, BUCKETS - 1)] += number
    return tuple(counts)
