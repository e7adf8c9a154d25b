"""The threads that send a migration: CPU time, and the bottleneck, one of them or a limit; ``sender[]`` of run.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.results.columns import FLOAT, INT, STR, Column, Columns

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.migration import Migration

BUSY = 0.85
"""A thread, the link or a limit that is used for this share of the time is the bottleneck (assumed: syncs cost the rest)."""


class Sender(NamedTuple):
    """Work of the sending threads of a migration, from the end of its setup to its own end.

    seconds: that time; thread_cpu_s, thread_wait_s: of the migration thread; channel_cpu_s, channel_busy_s: of all channels.
    wire_bytes: of all connections; link_bytes_per_s, max_bytes_per_s: 0: no limit.
    page_bytes, normal_pages: bytes on the wire of all pages with content, and their number.
    encoder_cpu_s: part of thread_cpu_s for an encoder of pages.
    """

    seconds: float
    thread_cpu_s: float
    thread_wait_s: float
    channels: int
    channel_cpu_s: float
    channel_busy_s: float
    wire_bytes: int
    counted_bytes: int
    page_bytes: int
    normal_pages: int
    packets: int
    syncs: int
    link_bytes_per_s: int
    max_bytes_per_s: int
    compression: str
    encoder_cpu_s: float = 0.0

    def share(self, seconds: float) -> float:
        """``seconds`` as a share of the migration's time."""
        return seconds / self.seconds if self.seconds > 0 else 0.0

    @property
    def channels_busy(self) -> float:
        """Mean number of channels that had a packet."""
        return self.share(self.channel_busy_s)

    @property
    def thread_share(self) -> float:
        """Share of the time in which the migration thread worked."""
        return self.share(self.thread_cpu_s)

    @property
    def channel_cpu_share(self) -> float:
        """Share of the time in which a channel's CPU worked, mean of all channels."""
        return self.share(self.channel_cpu_s) / max(self.channels, 1)

    @property
    def link_share(self) -> float:
        """Share of the link's bandwidth that was used."""
        return self.share(self.wire_bytes / self.link_bytes_per_s) if self.link_bytes_per_s else 0.0

    @property
    def limit_share(self) -> float:
        """Share of max-bandwidth that was used; windows of whole packets may exceed it."""
        return self.share(self.counted_bytes / self.max_bytes_per_s) if self.max_bytes_per_s else 0.0

    @property
    def wire_ratio(self) -> float:
        """Bytes on the wire over bytes of memory, of pages with content; 1 if there were none."""
        return self.page_bytes / (self.normal_pages * PAGE_BYTES) if self.normal_pages else 1.0

    @property
    def bottleneck(self) -> str:
        """The limit that was used most: "max-bandwidth", "link", "channels", "migration thread", or "window".

        "window": channels wait for their sockets while link and CPUs are idle.
        """
        shares = {
            "max-bandwidth": self.limit_share, "link": self.link_share, "channels": self.channel_cpu_share,
            "migration thread": self.thread_share,
        }  # fmt: skip
        most = max(shares, key=lambda name: shares[name])
        waits = self.channels > 0 and self.channels_busy / self.channels > max(BUSY, shares[most] + 1 - BUSY)
        return "window" if waits and shares[most] < BUSY else most


SENDER: Columns[Sender] = (
    Column("channels", INT, "", "", "`multifd-channels`", lambda one: one.channels),
    Column(
        "channels_busy", FLOAT, "", "", "channels that had a packet to send, mean over the migration",
        lambda one: one.channels_busy,
    ),
    Column(
        "bottleneck", STR, "", "",
        "the limit used most: `max-bandwidth`, `link`, `channels` (their CPU), `migration thread` (its CPU), or `window` "
        "(channels wait for their sockets, and neither link nor CPU is busy)",
        lambda one: one.bottleneck,
    ),
    Column(
        "thread_cpu_s", FLOAT, "s", "", "CPU time of the migration thread; in 7.2 it spins where it waits for a channel",
        lambda one: one.thread_cpu_s,
    ),
    Column(
        "thread_wait_s", FLOAT, "s", "", "waits of the migration thread for a free channel, or for a sync of all",
        lambda one: one.thread_wait_s,
    ),
    Column(
        "channel_cpu_s", FLOAT, "s", "",
        "CPU time of all channels: tests for zero pages, compression, copying into sockets",
        lambda one: one.channel_cpu_s,
    ),
    Column(
        "wire_bytes", INT, "bytes", "",
        "bytes on all channels; `multifd-bytes` of 7.2 counts compressed pages as whole ones",
        lambda one: one.wire_bytes,
    ),
    Column(
        "wire_ratio", FLOAT, "", "", "bytes on the wire over bytes of memory, of pages with content",
        lambda one: one.wire_ratio,
    ),
    Column("packets", INT, "", "", "packets of pages", lambda one: one.packets),
    Column("syncs", INT, "", "", "syncs of the channels: each waits until all of them are done", lambda one: one.syncs),
)  # fmt: skip
"""Keys of ``sender[]``, of a migration with multifd."""


def sender_of(machine: Machine, migration: Migration) -> Sender:
    """The work of the threads that sent ``migration``."""
    ram, state, spec, p = migration.ram, migration.state, machine.spec, migration.parameters
    work = ram.work()
    ended_ns = state.end_ns or machine.env.now_ns
    spins = work.thread_wait_ns if p.multifd and migration.behaviour.multifd_spins else 0
    return Sender(
        seconds=max(ended_ns - state.start_ns - state.setup_time_ms * 1_000_000, 0) / NS_PER_S,
        thread_cpu_s=(work.thread_ns + spins) / NS_PER_S,
        thread_wait_s=work.thread_wait_ns / NS_PER_S,
        channels=p.multifd_channels if p.multifd else 0,
        channel_cpu_s=work.channel_ns / NS_PER_S,
        channel_busy_s=work.busy_ns / NS_PER_S,
        wire_bytes=work.wire_bytes,
        counted_bytes=migration.transferred_bytes,
        page_bytes=work.page_bytes,
        normal_pages=ram.normal_pages,
        packets=work.packets,
        syncs=work.syncs,
        link_bytes_per_s=spec.link.bandwidth_bytes_per_s,
        max_bytes_per_s=p.max_bandwidth,
        compression=p.multifd_compression if p.multifd else "none",
        encoder_cpu_s=work.encoder_ns / NS_PER_S,
    )
