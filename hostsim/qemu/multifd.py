"""multifd: RAM goes out in packets, over channels that are threads with a connection each (migration/multifd.c).

hostsim.qemu.multifd_send has the migration thread's loop, hostsim.qemu.channels the channels.

# Model limit: the migration thread and each channel have a CPU to themselves, and so have the threads of the destination,
# which keep up: decompressing is faster than compressing.
# Model limit: with zero_copy_send QEMU may lock the memory that it sends, and the network card reads the pages in place: the
# kernel never falls back to copying, so dirty-sync-missed-zero-copy stays 0.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.dirty_tracker import DirtyTracker
from hostsim.core.errors import InvariantError
from hostsim.core.knobs import Knobs
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.vm import VmBase
from hostsim.qemu import channels, connections, send, tcp_row
from hostsim.qemu.channels import BY_CHANNEL, BY_NONE, BY_THREAD, ChannelCosts, Net
from hostsim.qemu.compression import BY_SIZE, SILESIA_RATIO, Content, slower_than_level_1
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.mechanisms.multifd import ZeroPageDetection
from hostsim.qemu.multifd_send import Logs, Pages, send_packets
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.ram import RamState, SenderWork, Snapshot
from hostsim.qemu.send import SendLimits
from hostsim.qemu.tcp_row import Path

TICK_PS_MIN = 1_000_000
"""Shortest tick of the connections: a microsecond, of a packet's hundred and more."""
TICKS_MAX = 16
"""Of a round trip: a quarter of those of a single stream, as each tick is a step on every connection."""
PS_PER_NS = 1000


def zero_pages_by(parameters: MigrationParameters) -> ZeroPageDetection:
    """zero-page-detection as it acts with channels; 7.2 has no other than "legacy"."""
    return parameters.zero_page_detection if parameters.behaviour.zero_page_detection else "legacy"


class MultifdRam(RamState):
    """RamState whose pages go through channels; ``net``: their state."""

    def __init__(
        self, env: Clock, vm: VmBase, tracker: DirtyTracker, sheet: HostSheet, link: LinkSpec, knobs: Knobs,
        parameters: MigrationParameters, content: Content, log_capacity: int = 0,
    ) -> None:  # fmt: skip
        """``log_capacity``: page sends to keep in ``send_log``, 0: none."""
        super().__init__(env, vm, tracker, sheet, link, knobs, log_capacity)
        self._costs_of_channels = costs_of(sheet, link, parameters, content)
        n, n_uncertain = parameters.multifd_channels, len(self._journal)
        is_compressed = parameters.multifd_compression != "none"
        self.net = Net(
            np.zeros(channels.N_STATE, np.int64),
            np.zeros((n, channels.N_CHANNEL), np.int64),
            np.zeros((n + 1, tcp_row.N_ROW), np.int64),
            np.zeros(connections.N_SHARED, np.int64),
            np.zeros(channels.PAGES_A_PACKET + 1, np.int64),
            content.payload(vm.memory.n_pages) if is_compressed else np.zeros(0, np.uint16),
        )
        for j, row in enumerate(self.net.rows):
            tcp_row.connect(row, self._costs_of_channels.path, link.loss_key_of(f"channel {j}" if j < n else ""))
        self._queued = np.zeros((n_uncertain, 2), np.int64)
        self._handed = np.zeros((n_uncertain + channels.PAGES_A_PACKET + 1 if n_uncertain else 0, 3), np.int64)
        self._replayed = 0

    def setup(self) -> None:
        """Mark all pages as dirty, send the list of RAMBlocks, open the channels, sync them once (ram_save_setup)."""
        super().setup()
        state, costs, net = self.send_state, self._costs_of_channels, self.net
        if costs.counts_when_sent:
            net.state[channels.MULTIFD_BYTES] += channels.INIT_BYTES * len(net.channels)
        channels.sync_channels(state, costs, net)
        channels.announce_sync(state, costs, net)

    def flush(self) -> Generator[simpy.Event, Any, None]:
        """Hand over the queue, wait until the channels have written all packets (multifd_ram_flush_and_sync)."""
        state = self.net.state
        state[channels.HANDING], state[channels.SYNCING] = state[channels.QUEUED], 1
        state[channels.ENDING] = send.NOTHING_DIRTY + 1
        yield from self._send_on(0, 1, False, lambda: True)
        yield self.written()

    @property
    def sent_bytes(self) -> int:
        """Bytes of RAM on all channels, as QEMU counts them at this moment."""
        return self.stream_bytes + self.channel_bytes

    @property
    def stream_bytes(self) -> int:
        """Bytes of RAM on the main channel: zero pages that the migration thread found, the end of each section."""
        return int(self.send_state[send.SENT_BYTES])

    @property
    def channel_bytes(self) -> int:
        """Bytes of all channels, as QEMU counts them at this moment."""
        self._poll()
        return int(self.net.state[channels.MULTIFD_BYTES])

    @property
    def other_bytes(self) -> int:
        """Bytes beside RAM: headers and footers of sections, and the notices of syncs."""
        return self.section_bytes + int(self.net.state[channels.OTHER_BYTES])

    def window_exceeded(self, rate_limit_bytes: int) -> bool:
        """Whether the bytes that the channels have written up to now reach the window's quota."""
        self._poll()
        return super().window_exceeded(rate_limit_bytes)

    def reset_window(self) -> None:
        """A new window starts with nothing used; a packet that is not written yet counts in the new window (10.x)."""
        self._poll()
        super().reset_window()

    def write(self, ram_bytes: int, other_bytes: int) -> None:
        """Write ``ram_bytes`` and ``other_bytes``, which are not pages, to the main channel, and flush it.

        ram_bytes: counted as RAM; other_bytes: section headers and device state, counted beside it.
        """
        state, net = self.send_state, self.net
        state[send.T_NS] = max(int(state[send.T_NS]), self._env.now_ns)
        self.section_bytes += other_bytes
        channels.put_main(state, self._costs_of_channels, net, ram_bytes)
        channels.put_main(state, self._costs_of_channels, net, other_bytes)
        state[send.SENT_BYTES] -= other_bytes
        channels.flush_main(state, self._costs_of_channels, net)

    def drained_ps(self) -> int:
        """Moment [ps] at which all bytes written so far, to all connections, have left the host."""
        net = self._ahead()
        channels.drain(self._costs_of_channels, net)
        return int(net.shared[connections.FREE_PS])

    def delivered(self) -> tuple[int, int]:
        """As for one stream, of all connections."""
        net = self._ahead()
        delivered_ns = int(channels.deliver(self._costs_of_channels, net))
        return delivered_ns, int(net.shared[connections.BROKEN_PS])

    @property
    def connections(self) -> Sequence[NDArray[np.int64]]:
        """int64[N_ROW] of hostsim.qemu.tcp_row: of the channels, of the main connection or those in its place."""
        return [*self.net.rows[:-1], *(self.later or [self.net.rows[-1]]), *self.closed]

    def main_connection(self) -> tuple[NDArray[np.int64], Path]:
        """A copy of the row of the main connection, and its constants."""
        return self.net.rows[-1].copy(), self._costs_of_channels.path

    @property
    def broken_ps(self) -> int:
        """Moment at which the first connection broke, ahead of the clock maybe [ps]; 0: all stand."""
        return int(self.net.shared[connections.BROKEN_PS])

    def _ahead(self) -> Net:
        """A copy that may be advanced."""
        one = self.net
        copies = (one.state.copy(), one.channels.copy(), one.rows.copy(), one.shared.copy())
        return Net(*copies, one.queue, one.payload)

    def work(self) -> SenderWork:
        """Work of the migration thread and of the channels so far."""
        self._poll()
        state = self.net.state
        pages, packets, syncs = (
            int(state[column]) for column in (channels.SENT_PAGE_BYTES, channels.PACKETS, channels.SYNCS)
        )
        return SenderWork(
            thread_ns=int(state[channels.THREAD_NS]),
            wire_bytes=pages + channels.PACKET_HEADER_BYTES * (packets + syncs * len(self.net.channels)),
            page_bytes=pages,
            thread_wait_ns=int(state[channels.WAIT_NS]),
            channel_ns=int(state[channels.CHANNEL_NS]),
            busy_ns=int(state[channels.BUSY_NS]),
            packets=packets,
            syncs=syncs,
        )

    def check_complete(self) -> None:
        """InvariantError unless the channels have read every page, and the destination has its newest content."""
        if self.net.state[channels.QUEUED] != 0:
            raise InvariantError(f"switched over with {self.net.state[channels.QUEUED]} pages in the queue of multifd")
        super().check_complete()

    def _poll(self) -> None:
        channels.poll(self.send_state, self._costs_of_channels, self.net, self._env.now_ns)

    def _waiting(self) -> NDArray[np.uint8]:
        waiting = self.bmap.copy()
        waiting[self.net.queue[: self.net.state[channels.QUEUED]]] = 1
        return waiting

    def _snapshot(self) -> Snapshot:
        net = self.net
        arrays = (self.send_state, net.state, net.channels, net.rows, net.shared, net.queue)
        return tuple(array.copy() for array in arrays)

    def _read_since(self, before: Snapshot) -> NDArray[np.int64]:
        return self._handed[: self.net.state[channels.HANDED_NOW], 0].copy()

    def _take_back(self, before: Snapshot) -> int:
        """Undo the last call; its logs keep which pages were zero when they were read."""
        n_queued = int(self.net.state[channels.QUEUED_NOW])
        self._replayed = int(self.net.state[channels.HANDED_NOW])
        read = self._handed[: self._replayed][::-1]  # a page that was read twice gets its first copy back
        self.copied[read[:, 0]] = read[:, 1]
        self.bmap[self._queued[:n_queued, 0]] = 1
        net = self.net
        live = (self.send_state, net.state, net.channels, net.rows, net.shared, net.queue)
        for array, kept in zip(live, before, strict=True):
            array[:] = kept
        return n_queued

    def _pages(self) -> Pages:
        vm, memory, guest = self._vm, self._vm.memory, self._vm.guest
        return Pages(
            self.bmap, self.words, self._block_ends, self._block_id_bytes, memory.zero, memory.version, self.copied,
            self._tracker.clear_marks, vm.backing, guest.table, guest.clocks, vm.armed,
        )  # fmt: skip

    def _call(self, limits: SendLimits, journal: NDArray[np.int64]) -> int:
        is_kept, replayed = len(journal) > 0, self._replayed
        self._replayed = 0
        queued, handed = (self._queued, self._handed) if is_kept else (self._queued[:0], self._handed[:0])
        logs = Logs(self.send_log, queued, handed, replayed)
        return int(send_packets(self.send_state, limits, self._costs_of_channels, self.net, self._pages(), logs))


def costs_of(sheet: HostSheet, link: LinkSpec, parameters: MigrationParameters, content: Content) -> ChannelCosts:
    """Constants of the channels of a migration [ns, ps, bytes].

    sheet: CPU times of the host.
    link: bandwidth, latency, windows.
    parameters: number of channels, compression, zero pages.
    content: compression ratio of the guest's pages.
    """
    compression = parameters.multifd_compression
    compress_ps, compress_byte_ps = compress_costs(sheet, parameters)
    return ChannelCosts(
        queue_page_ns=sheet.queue_page_ns,
        zero_page_ns=sheet.zero_page_ns,
        page_ps=(sheet.zero_copy_page_ns if parameters.zero_copy_send else sheet.page_send_ns) * PS_PER_NS,
        first_copy_ps=sheet.first_copy_ns * PS_PER_NS,
        test_ps=sheet.zero_page_ns * PS_PER_NS,
        compress_ps=compress_ps,
        compress_byte_ps=compress_byte_ps,
        page_bytes=PAGE_BYTES if compression == "none" else content.page_bytes(),
        zero_pages_by={"none": BY_NONE, "legacy": BY_THREAD, "multifd": BY_CHANNEL}[zero_pages_by(parameters)],
        counts_when_sent=parameters.behaviour.multifd_counts_when_sent,
        sync_each_section=parameters.behaviour.multifd_sync_each_section,
        zero_copy=parameters.zero_copy_send,
        link_bytes_per_s=link.bandwidth_bytes_per_s,
        socket_buffer_ps=link.socket_buffer_ps,
        path=path_of(link),
    )


def host_bytes_per_s(sheet: HostSheet, parameters: MigrationParameters, content: Content) -> int:
    """Most bytes a second, as QEMU counts them, that all channels of this host send.

    sheet: CPU times of the host.
    parameters: number of channels, compression, zero copy.
    content: bytes of a page once compressed.
    """
    page_bytes = counted_page_bytes(parameters, content)
    copy_ns = sheet.zero_copy_page_ns if parameters.zero_copy_send else sheet.page_send_ns
    page_ps, byte_ps = compress_costs(sheet, parameters)
    if page_ps:
        compress_ns = (page_ps + byte_ps * content.page_bytes()) // PS_PER_NS
        copy_ns = compress_ns + copy_ns * content.page_bytes() // PAGE_BYTES
    thread = page_bytes * NS_PER_S // max(1, sheet.queue_page_ns)
    return min(thread, page_bytes * NS_PER_S * parameters.multifd_channels // max(1, copy_ns))


def counted_page_bytes(parameters: MigrationParameters, content: Content) -> int:
    """Bytes of a page of ``content`` as QEMU counts it under ``parameters``, with its share of a header."""
    is_compressed = parameters.multifd_compression != "none" and parameters.behaviour.multifd_counts_when_sent
    size = content.page_bytes() if is_compressed else PAGE_BYTES
    return size + channels.PACKET_HEADER_BYTES // channels.PAGES_A_PACKET


def compress_costs(sheet: HostSheet, parameters: MigrationParameters) -> tuple[int, int]:
    """CPU time [ps] to compress a page by the method and at the level of ``parameters``, and more for each compressed byte.

    Both are 0 without compression. The sheet's time is that of a page that compresses like the Silesia corpus.
    """
    method = parameters.multifd_compression
    if method == "none":
        return 0, 0
    level = parameters.multifd_zlib_level if method == "zlib" else parameters.multifd_zstd_level
    page_ns = sheet.zlib_page_ns if method == "zlib" else sheet.zstd_page_ns
    page_ps = max(1, round(page_ns * slower_than_level_1(method, level))) * PS_PER_NS
    byte_ps = round(page_ps * BY_SIZE[method] / (SILESIA_RATIO * PAGE_BYTES))
    return max(1, page_ps - round(page_ps * BY_SIZE[method])), byte_ps


def path_of(link: LinkSpec) -> Path:
    """The constants of each connection: ``link.path`` with fewer ticks, of a microsecond or more.

    A retransmission timeout is no shorter than the time that an acknowledgement takes (as in LinkSpec).
    """
    path = link.path
    if path.rtt_ps == 0:
        return path
    shortest_ps = max(path.piece_ps, TICK_PS_MIN)
    ticks = min(max(path.rtt_ps // shortest_ps, 1), TICKS_MAX)
    tick_ps = max(path.rtt_ps // ticks, shortest_ps)
    faults = path.faults._replace(rto_ps=max(path.faults.rto_ps, path.rtt_ps + 3 * tick_ps))
    return path._replace(ticks=ticks, tick_ps=tick_ps, faults=faults if link.has_faults else path.faults)
