"""RAMState: the migration bitmap, the cyclic cursor, and sending pages (migration/ram.c)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import NEVER_NS, Clock
from hostsim.core.constants import PAGE_BYTES
from hostsim.core.dirty_tracker import DirtyTracker
from hostsim.core.errors import InvariantError
from hostsim.core.knobs import Knobs
from hostsim.core.memory import NEVER_COPIED
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.vm import VmBase
from hostsim.qemu import send, tcp, tcp_row
from hostsim.qemu.connections import deliver
from hostsim.qemu.harvest import first_false_zero, first_stale
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.mechanism import encoder_of
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.recorder import THREAD
from hostsim.qemu.send import SendCosts, SendLimits
from hostsim.qemu.tcp_row import Path

EOS_BYTES = 8
SECTION_BYTES = 10
"""Section header and footer around each ram_save_iterate (migration/savevm.c), 5 + 5."""
INTERRUPTED, BROKEN = -1, -2
Snapshot = tuple[NDArray[np.int64], ...]
UNCERTAIN_PAGES = 2048
"""Most pages of one call where a guest event may come before its end: a guest event takes back up to as many pages."""


class SenderWork(NamedTuple):
    """Work of the sending threads; times in ns, of all channels together.

    thread_ns, thread_wait_ns: CPU time of the migration thread, and its waits for channels.
    wire_bytes: bytes of all connections that carry pages; page_bytes: bytes of pages with content among them.
    encoder_ns: the part of thread_ns that the encoder of pages took.
    """

    thread_ns: int
    wire_bytes: int
    page_bytes: int
    thread_wait_ns: int = 0
    channel_ns: int = 0
    busy_ns: int = 0
    packets: int = 0
    syncs: int = 0
    encoder_ns: int = 0


class RamState:
    """Bitmap and send state of one migration.

    bmap: uint8[n_pages], 1: the page is to be sent; words: its int64 view.
    copied: uint16[n_pages], version of the page that the destination holds.
    send_state: int64[N_STATE] of hostsim.qemu.send.
    shut_down: fires when the socket is shut down, which ends a write that blocks.
    send_log: int64[log_capacity, 3], (t_ns, gfn, zero page?) of each send.
    later: rows of connections that take the place of the main one after a switch to post-copy; closed: of those that broke.
    encoder: of the mechanism that sends pages in another form than whole; None: none does.
    """

    def __init__(
        self, env: Clock, vm: VmBase, tracker: DirtyTracker, sheet: HostSheet, link: LinkSpec, knobs: Knobs,
        log_capacity: int = 0, parameters: MigrationParameters | None = None, *, looks_for_zeros: bool = True,
    ) -> None:  # fmt: skip
        """``log_capacity``: page sends to keep in ``send_log``, 0: none; ``looks_for_zeros``: zero-page-detection is on."""
        n_pages = vm.memory.n_pages
        padded = np.zeros(-(-n_pages // 8) * 8, np.uint8)
        self.bmap, self.words = padded[:n_pages], padded.view(np.int64)
        self.copied = np.full(n_pages, NEVER_COPIED, np.uint16)
        self.send_state = np.zeros(send.N_STATE, np.int64)
        self.send_state[send.LAST_BLOCK] = -1
        tcp_row.connect(self.send_state[send.STREAM :], link.path)
        self.send_log = np.empty((log_capacity, 3), np.int64)
        self._journal = np.empty((0 if vm.settled_ns == NEVER_NS else UNCERTAIN_PAGES, 3), np.int64)
        self.section_bytes = 0
        self._env, self._vm, self._tracker, self._knobs = env, vm, tracker, knobs
        self.shut_down = env.event()
        self._has_faults = link.has_faults
        self.later: list[NDArray[np.int64]] = []
        self.closed: list[NDArray[np.int64]] = []
        self._block_ends = np.array([block.end_gfn for block in vm.memory.blocks], np.int64)
        self._block_id_bytes = np.array([len(block.idstr) for block in vm.memory.blocks], np.int64)
        self._costs = SendCosts(
            sheet.page_send_ns, sheet.first_copy_ns, sheet.zero_page_ns, link.bandwidth_bytes_per_s, link.socket_buffer_ps,
            link.path, link.drained_ps(link.wake_bytes),
        )  # fmt: skip
        self._zero = vm.memory.zero if looks_for_zeros else np.zeros(n_pages, np.uint8)
        self.encoder = encoder_of(parameters or MigrationParameters(), vm, tracker, sheet)

    @property
    def remaining_bytes(self) -> int:
        """Pages still to be sent, each counted as a whole page [bytes] (ram_bytes_remaining)."""
        return int(self.send_state[send.DIRTY_PAGES]) * PAGE_BYTES

    @property
    def sent_bytes(self) -> int:
        """Bytes of the RAM stream so far."""
        return int(self.send_state[send.SENT_BYTES])

    @property
    def stream_bytes(self) -> int:
        """Bytes of RAM on the main channel so far (``precopy-bytes``, ``downtime-bytes``)."""
        return self.sent_bytes

    @property
    def channel_bytes(self) -> int:
        """Bytes of RAM on channels beside the main one so far."""
        return 0

    @property
    def other_bytes(self) -> int:
        """Bytes beside RAM that sending it took: headers and footers of sections."""
        return self.section_bytes

    @property
    def normal_pages(self) -> int:
        """Pages sent whole so far."""
        return int(self.send_state[send.NORMAL_PAGES])

    @property
    def zero_pages(self) -> int:
        """Zero pages sent so far (``duplicate``)."""
        return int(self.send_state[send.ZERO_PAGES])

    def work(self) -> SenderWork:
        """Work of the sending threads so far."""
        costs, state = self._costs, self.send_state
        encoder_ns = self.encoder.busy_ns if self.encoder else 0
        thread_ns = self.normal_pages * costs.page_ns + self.zero_pages * costs.zero_page_ns + encoder_ns
        return SenderWork(
            thread_ns, int(state[send.SENT_BYTES]), self.normal_pages * PAGE_BYTES, encoder_ns=encoder_ns
        )
    @property
    def target_pages(self) -> int:
        """Pages of which something was sent (rs->target_page_count)."""
        return self.normal_pages + self.zero_pages + (self.encoder.deltas if self.encoder else 0)

    @property
    def transferred_pages(self) -> int:
        """Pages behind pages-per-second; an encoder's count even if not sent (ram_get_total_transferred_pages)."""
        return self.normal_pages + self.zero_pages + (self.encoder.pages if self.encoder else 0)

    def setup(self) -> None:
        """Mark all pages as dirty and send the list of RAMBlocks (ram_save_setup)."""
        self.bmap[:] = 1
        self.send_state[send.DIRTY_PAGES] = len(self.bmap)
        listed = 8 + int((1 + self._block_id_bytes + 8).sum()) + EOS_BYTES
        self.write(listed, 0)

    def window_exceeded(self, rate_limit_bytes: int) -> bool:
        """Whether the window's quota is spent (qemu_file_rate_limit, migration_rate_exceeded)."""
        return 0 < rate_limit_bytes < int(self.send_state[send.USED_BYTES])

    def reset_window(self) -> None:
        """A new window starts with nothing used; excess is not carried over."""
        self.send_state[send.USED_BYTES] = 0

    def write(self, ram_bytes: int, other_bytes: int) -> None:
        """Write ``ram_bytes`` and ``other_bytes``, which are not pages, and flush; T_NS moves with the socket.

        ram_bytes: counted as RAM; other_bytes: section headers and device state, counted beside it.
        """
        state = self.send_state
        state[send.T_NS] = max(int(state[send.T_NS]), self._env.now_ns)
        state[send.SENT_BYTES] += ram_bytes
        state[send.BUFFERED_BYTES] += ram_bytes + other_bytes
        self.section_bytes += other_bytes
        send.flush(state)
        send.write_to_link(state, self._costs, ram_bytes + other_bytes)

    def save(
        self, rate_limit_bytes: int, flush_pages: int, bounded_wait: bool, wanted: Callable[[], bool]
    ) -> Generator[simpy.Event, Any, int]:
        """Send pages until the quota is spent, MAX_WAIT is over or no page is dirty, then EOS.

        rate_limit_bytes: quota of the window, 0: none.
        flush_pages: see SendLimits.
        bounded_wait: MAX_WAIT applies.
        wanted: returns whether the caller still needs the pages; asked whenever host time has passed.
        Returns the reason, QUOTA ... NOT_THERE of hostsim.qemu.send, INTERRUPTED once ``wanted`` returns False, or BROKEN
        at the moment at which the connection breaks.
        """
        reason = yield from self._send_on(rate_limit_bytes, flush_pages, bounded_wait, wanted)
        if reason in (INTERRUPTED, BROKEN):
            return reason
        self.write(EOS_BYTES, SECTION_BYTES)
        yield self.written()
        if self.broken:
            return BROKEN
        return reason if wanted() else INTERRUPTED

    def _send_on(
        self, rate_limit_bytes: int, flush_pages: int, bounded_wait: bool, wanted: Callable[[], bool]
    ) -> Generator[simpy.Event, Any, int]:
        """Send pages as ``save`` does, without EOS; the send loop may be ahead of the clock at the end."""
        self.send_state[send.T_NS] = started_ns = self._env.now_ns
        self.send_state[send.ITERATION_PAGES] = 0
        while True:
            limits = SendLimits(
                rate_limit_bytes, flush_pages, started_ns, bounded_wait, self._horizon_ns(), self._knobs.send_batch_pages,
                self._tracker.chunk_shift, self._vm.settled_ns,
            )  # fmt: skip
            reason = self._send(limits)
            if reason == send.UNSETTLED:
                self._env.settle(int(self.send_state[send.T_NS]))
            elif reason in (send.HORIZON, send.CLEAR, send.NOT_THERE):
                yield self.written()
                if self.broken:
                    return BROKEN
                if wanted():
                    yield from self._prepare(reason)
                if not wanted():
                    return INTERRUPTED
            elif reason == send.NO_BIT:
                raise InvariantError(f"{self.remaining_bytes} bytes are counted as remaining, and no page is marked")
            elif reason != send.BATCH:
                return reason

    def written(self) -> simpy.Event:
        """An event that fires when write() has returned all that was written, or once the socket is shut down."""
        returned = self._env.timeout(self.ahead_ns)
        return returned if not self._has_faults else self._env.any_of([returned, self.shut_down])

    @property
    def broken(self) -> bool:
        """Whether the connection is broken by now: write() has returned ETIMEDOUT."""
        return 0 < self.broken_ps <= self._env.now_ns * 1000

    @property
    def broken_ps(self) -> int:
        """Moment at which the connection broke, ahead of the clock maybe [ps]; 0: it stands."""
        return int(self.send_state[send.STREAM + tcp_row.BROKEN_PS])

    @property
    def connections(self) -> Sequence[NDArray[np.int64]]:
        """int64[N_ROW] of hostsim.qemu.tcp_row, of each connection of the migration so far."""
        return [*(self.later or [self.send_state[send.STREAM :]]), *self.closed]

    def main_connection(self) -> tuple[NDArray[np.int64], Path]:
        """A copy of the row of the main connection, and its constants."""
        return self.send_state[send.STREAM :].copy(), self._costs.path

    def delivered(self) -> tuple[int, int]:
        """When all bytes written so far are acknowledged [ns], NEVER: a connection breaks; the moment of the break [ps].

        For a link with faults.
        """
        row = self.send_state[send.STREAM :].copy()
        return int(deliver(row, self._costs.path)), int(row[tcp_row.BROKEN_PS])

    def _prepare(self, reason: int) -> Generator[simpy.Event, Any, None]:
        """Clear the log of a chunk before its first page is sent, or read a swapped page back before it is sent.

        migration/ram.c::migration_clear_memory_region_dirty_bitmap: QEMU clears as late as possible, so that a write between
        the sync and the send does not dirty the page again.
        """
        state = self.send_state
        if reason == send.CLEAR:
            clearing = self._tracker.before_send(int(state[send.CURSOR]))
            yield from self._env.traced(THREAD, "kvm_log_clear", clearing)
            if self.encoder is not None:
                self.encoder.note_clear(int(state[send.CURSOR]) >> self._tracker.chunk_shift, self._env.now_ns)
        elif reason == send.NOT_THERE:
            yield from self._env.traced(THREAD, "do_swap_page", self._vm.read_back(int(state[send.CURSOR])))
        state[send.T_NS] = max(int(state[send.T_NS]), self._env.now_ns)

    def flush(self) -> Generator[simpy.Event, Any, None]:
        """Return when no page is with a channel any more; a single stream hands over each page as it is read."""
        yield from ()

    def check_bitmap(self, *, everywhere: bool = False) -> None:
        """Check the bitmap against the versions of the pages: in the spans of the log, or ``everywhere``.

        Outside of the spans no page gets a record or a version, and each copy is the newest. The check at the
        switchover is everywhere.
        InvariantError if a page is stale at the destination and not marked, or marked and not counted, if a written page
        would be sent as a zero page, or if an invariant of the host's memory breaks.
        """
        self._vm.check_host()
        marked, counted = int(np.count_nonzero(self.bmap.view(np.bool_))), int(self.send_state[send.DIRTY_PAGES])
        if marked != counted:
            raise InvariantError(f"{marked} pages are marked to be sent, {counted} are counted as remaining")
        memory, harvested = self._vm.memory, self._tracker.harvested()
        waiting = self._waiting()
        waiting = waiting if harvested is None else waiting | harvested
        for low, end in ((0, memory.n_pages),) if everywhere else self._tracker.spans():
            self._check_span(slice(low, end), waiting)

    def _check_span(self, span: slice, waiting: NDArray[np.uint8]) -> None:
        memory = self._vm.memory
        gfn = -1 if self._tracker.logs_reads else first_false_zero(memory.version[span], memory.zero[span])
        if gfn >= 0:
            raise InvariantError(f"gfn {span.start + gfn}: written by the guest, and still taken for a zero page")
        gfn = first_stale(memory.version[span], self.copied[span], waiting[span])
        if gfn >= 0:
            raise InvariantError(f"gfn {span.start + gfn}: the destination's copy is old and the bitmap does not say so")

    def _waiting(self) -> NDArray[np.uint8]:
        """uint8[n_pages], 1: the page is still to be read and sent."""
        return self.bmap

    def check_complete(self) -> None:
        """InvariantError unless every destination page has the newest content of its source page."""
        if self.send_state[send.DIRTY_PAGES] != 0 or self.bmap.any():
            raise InvariantError("switched over with dirty pages not sent")
        self.check_bitmap(everywhere=True)
        sent = self.normal_pages + self.zero_pages
        if sent < len(self.bmap):
            raise InvariantError(f"{sent} pages sent of {len(self.bmap)}")

    def add_dirty(self, pages: int) -> None:
        """Count ``pages`` that a sync has newly set in the bitmap."""
        self.send_state[send.DIRTY_PAGES] += pages

    @property
    def ahead_ns(self) -> int:
        """Time by which the send loop is ahead of the host's clock [ns]; a write ends where the connection breaks."""
        reached_ns = -(-self.broken_ps // 1000) if self.broken_ps else int(self.send_state[send.T_NS])
        return max(0, reached_ns - self._env.now_ns)

    def drained_ps(self) -> int:
        """Moment [ps] at which all bytes written so far have left the host."""
        state = self.send_state.copy()
        if self._costs.path.rtt_ps:
            tcp.drain(state[send.STREAM :], self._costs.path)
        return int(state[send.LINK_FREE_PS])

    def _horizon_ns(self) -> int:
        horizon = self._env.upcoming_ns()
        if self._knobs.window_ns:
            horizon = min(horizon, max(self._env.now_ns, int(self.send_state[send.T_NS])) + self._knobs.window_ns)
        return horizon

    def _send(self, limits: SendLimits) -> int:
        """Send up to the horizon, or up to the first guest event for the host before the horizon.

        Without guest events the call stands. A guest event may change the pages that are sent after it, so the call is taken
        back and repeated up to that event.
        """
        if not self._vm.may_come_up():
            return self._call(limits, self._journal[:0])
        before = self._snapshot()
        reason = self._send_settled(limits, before)
        if len(self._vm.backing):
            self._vm.note_read(self._read_since(before))
        return reason

    def _send_settled(self, limits: SendLimits, before: Snapshot) -> int:
        limits = limits._replace(batch_pages=min(limits.batch_pages, UNCERTAIN_PAGES))
        reason = self._call(limits, self._journal)
        reached_ns = min(limits.horizon_ns, int(self.send_state[send.T_NS]))
        came_up_ns = self._env.settle(reached_ns)
        if came_up_ns >= reached_ns:
            return reason
        n_pages = self._take_back(before)
        return self._call(limits._replace(horizon_ns=came_up_ns, replayed_pages=n_pages), self._journal)

    def _snapshot(self) -> Snapshot:
        """Copies of the state that a call changes, for ``_take_back``."""
        return (self.send_state.copy(),)

    def _read_since(self, before: Snapshot) -> NDArray[np.int64]:
        """Pages that the last call, which began at ``before``, has read."""
        return self._journal[: self._sent_since(before[0]), 0].copy()

    def _take_back(self, before: Snapshot) -> int:
        """Undo the last call, which began at send state ``before``; return the number of pages that the call had sent.

        The guest has advanced since, so the journal keeps which of these pages were zero when they were sent.
        """
        n_pages = self._sent_since(before[0])
        sent = self._journal[:n_pages]
        self.bmap[sent[:, 0]] = 1
        self.copied[sent[:, 0]] = sent[:, 1]
        self.send_state[:] = before[0]
        if self.encoder is not None:
            self.encoder.take_back(sent[:, 0])
        return n_pages

    def _sent_since(self, before: NDArray[np.int64]) -> int:
        """Pages taken from the bitmap in the last call, which began at send state ``before``."""
        if self.encoder is not None:
            return self.encoder.processed_in_call
        return int((self.send_state - before)[[send.NORMAL_PAGES, send.ZERO_PAGES]].sum())

    def _call(self, limits: SendLimits, journal: NDArray[np.int64]) -> int:
        memory, guest = self._vm.memory, self._vm.guest
        arguments = (
            self.send_state, limits, self._costs, self.bmap, self.words, self._block_ends, self._block_id_bytes,
            self._zero, memory.version, self.copied, self._tracker.clear_marks, guest.table, guest.clocks,
            self._vm.armed, self.send_log, journal, self._vm.backing,
        )  # fmt: skip
        if self.encoder is None:
            return int(send.send_pages(*arguments))
        return self.encoder.send(arguments, len(journal), last_stage=not limits.bounded_wait)
