"""Costs of post-copy at the destination and on the return path, one sheet a machine (hostsim/data/postcopy)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class PostcopyCosts:
    """Constants of one machine; sources in hostsim/data/postcopy/<name>.toml.

    send_page_ns: the source finds a page, reads it and writes it, without the time in which it waits for the destination;
        0: as page_send_ns of the host.
    place_page_ns: the destination reads a page from the stream and places it (UFFDIO_COPY).
    place_zero_ns: the same for a zero page (UFFDIO_ZEROPAGE).
    fault_ns: from a vCPU's touch of a missing page until the fault thread has read the message; one fault at a time.
    request_ns: from there until the source has queued the request, without the link.
    wake_ns: from the place of a page until the vCPU that waits for it runs.
    busy_wake_ns: more of it while the sender and the loader of the pages are at work: a host without a core for each thread.
        The sum over the wake-ups of a request; a page on the preempt channel takes one more (hostsim.qemu.postcopy.loop).
    turn_block_ns: from a touch until the vCPU sleeps, where it has taken the core of the loader; 0: a core for each thread.
    turn_place_ns: from there until the loader, on its core again, has placed the next page.
    turn_fault_ns, turn_fault_spread_ns: from there until the fault thread has read the message, mean, and how far from it.
    discard_range_ns: the destination discards a range of stale pages (madvise), one by one, before it loads any page.
    device_load_ns: from there, with the package at the destination, until the guest runs.
    recover_ns: work of both sides in a recovery, without the link: connect, exchange of bitmaps.
    """

    send_page_ns: int
    place_page_ns: int
    place_zero_ns: int
    fault_ns: int
    request_ns: int
    wake_ns: int
    busy_wake_ns: int
    turn_block_ns: int
    turn_place_ns: int
    turn_fault_ns: int
    turn_fault_spread_ns: int
    discard_range_ns: int
    device_load_ns: int
    recover_ns: int


@cache
def postcopy_entries(name: str) -> Mapping[str, Mapping[str, object]]:
    """Every constant of sheet ``name`` as {constant: {value, source}}; a machine without a sheet has the generic one."""
    folder = files("hostsim") / "data" / "postcopy"
    entry = folder / f"{name}.toml"
    text = (entry if entry.is_file() else folder / "generic.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def load_postcopy(name: str, overrides: Mapping[str, int] | None = None) -> PostcopyCosts:
    """The sheet ``name`` with some constants replaced."""
    entries = postcopy_entries(name)
    values = {field.name: int(str(entries[field.name]["value"])) for field in fields(PostcopyCosts)}
    return PostcopyCosts(**{**values, **(overrides or {})})
