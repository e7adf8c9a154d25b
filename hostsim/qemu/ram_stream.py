"""The way that RAM goes: over one connection, or as a mechanism sends it (hostsim.qemu.mechanism.Stream)."""

from __future__ import annotations

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_S, PAGE_WIRE_BYTES
from hostsim.core.dirty_tracker import DirtyTracker
from hostsim.core.knobs import Knobs
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.vm import VmBase
from hostsim.qemu.compression import Content
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.mechanism import stream_of
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.ram import RamState


def ram_of(
    env: Clock, vm: VmBase, tracker: DirtyTracker, sheet: HostSheet, link: LinkSpec, knobs: Knobs,
    parameters: MigrationParameters, content: Content, log_capacity: int = 0,
) -> RamState:  # fmt: skip
    """The RAMState of a migration.

    env, vm, link, knobs: clock, guest, link, and engine settings that move no result.
    tracker: finds dirty pages.
    sheet: CPU times of the host.
    parameters: of QEMU; they choose the stream, with or without channels.
    content: bytes that a write changes, for XBZRLE and compression.
    log_capacity: page sends to keep in ``send_log``; 0: none.
    """
    stream = stream_of(parameters)
    if stream is not None:
        return stream.make(env, vm, tracker, sheet, link, knobs, parameters, content, log_capacity)
    # Without channels zero-page-detection is none or legacy, and 7.2 knows no other than legacy.
    looks_for_zeros = not parameters.behaviour.zero_page_detection or parameters.zero_page_detection != "none"
    return RamState(env, vm, tracker, sheet, link, knobs, log_capacity, parameters, looks_for_zeros=looks_for_zeros)


def connections_of(parameters: MigrationParameters) -> int:
    """Connections that carry RAM."""
    stream = stream_of(parameters)
    return 1 if stream is None else stream.connections(parameters)


def counted_page_bytes(parameters: MigrationParameters, content: Content) -> int:
    """Bytes of a page of ``content`` as QEMU counts it under ``parameters``, with its share of a header."""
    stream = stream_of(parameters)
    return PAGE_WIRE_BYTES if stream is None else stream.page_bytes(parameters, content)


def host_bytes_per_s(sheet: HostSheet, parameters: MigrationParameters, content: Content) -> int:
    """Most bytes a second, as QEMU counts them, that the sending threads of this host send.

    sheet: CPU times of the host.
    parameters: channels or none, compression. content: bytes of a page once compressed.
    """
    stream = stream_of(parameters)
    if stream is None:
        return PAGE_WIRE_BYTES * NS_PER_S // sheet.page_send_ns
    return stream.host_bytes_per_s(sheet, parameters, content)
