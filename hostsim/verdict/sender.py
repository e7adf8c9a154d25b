"""A migration without multifd whose bottleneck was its one thread, or the window of its one connection, and not the link."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hostsim.verdict.evidence import BusyThread, Evidence
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import bandwidth_words, bytes_words, percent_words, seconds_words

if TYPE_CHECKING:
    from hostsim.results.sender import Sender

PART = 0.1
"""A part of the thread's time from which the encoder of pages is named (assumed)."""


def busy_thread(sender: Sender | None, busy: float) -> BusyThread | None:
    """The migration thread, if it was the bottleneck and worked for the share ``busy`` of the time; None with multifd."""
    if sender is None or sender.channels or sender.bottleneck != "migration thread" or sender.thread_share < busy:
        return None
    encoder_share = sender.encoder_cpu_s / sender.thread_cpu_s
    return BusyThread(min(sender.thread_share, 1.0), encoder_share, sender.wire_bytes / sender.seconds)


def with_sender(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with a note on the thread that was the bottleneck; a guest that has moved has a line of its own."""
    one = evidence.thread
    if one is None or evidence.guest_moved:
        return verdict
    note = (
        "Sender: the CPU of the migration thread was the bottleneck, not the network: it worked for "
        f"{percent_words(one.share)} of the time{_for_encoder(one)} and sent {bandwidth_words(one.bytes_per_s)}"
    )
    return replace(verdict, notes=(*verdict.notes, note), numbers=verdict.numbers | {"thread_share": one.share})


def with_window(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` on a run that completed, with a note on the window of its connection where that held it back."""
    one = evidence.window
    is_told = evidence.source == "run" and verdict.outcome == "completed" and evidence.bottleneck == "window"
    if one is None or not is_told or evidence.channels is not None:
        return verdict
    link = evidence.link_bandwidth_bytes_per_s
    note = (
        f"Sender: the window of the one connection was the bottleneck, not the link"
        f"{f' of {bandwidth_words(link)}' if link else ''}: its {one.limit} of {bytes_words(one.window_bytes)} each "
        f"{seconds_words(one.round_trip_s)} carries at most {bandwidth_words(one.bytes_per_s)}; larger buffers at "
        "both hosts, or several connections, carry more"
    )
    return replace(verdict, notes=(*verdict.notes, note), numbers=verdict.numbers | {"window_bytes_per_s": one.bytes_per_s})


def _for_encoder(one: BusyThread) -> str:
    return f", {percent_words(one.encoder_share)} of that to encode pages as deltas," if one.encoder_share >= PART else ""
