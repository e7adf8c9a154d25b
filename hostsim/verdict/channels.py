"""Channels of multifd: how busy they were, the bottleneck, and how many a migration over one stream would need."""

from __future__ import annotations

import math
from dataclasses import replace

from hostsim.verdict.commands import command_for
from hostsim.verdict.evidence import Channels, Evidence
from hostsim.verdict.model import Remedy, Verdict
from hostsim.verdict.words import bandwidth_words, seconds_words

TRIED_MOST = 32
"""More channels than this are not advised: each takes a CPU of its own (assumed)."""
MORE = "use more channels (multifd-channels), or a faster host"
"""The remedy where the CPUs of the channels are the bottleneck."""
BOTTLENECKS = {
    "max-bandwidth": "max-bandwidth was the bottleneck",
    "link": "the link was the bottleneck",
    "channels": "the CPUs of the channels were the bottleneck",
    "migration thread": "the migration thread was the bottleneck",
    "window": "the windows of their connections were the bottleneck",
}


def channels_send(count: int) -> str:
    """Subject and verb of a sentence: 1 channel sends, 2 channels send."""
    return "1 channel sends" if count == 1 else f"{count} channels send"


def with_channels(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with a note on the channels of a migration with multifd."""
    one = evidence.channels
    if one is None:
        return verdict
    numbers = {"channels_busy": one.busy, "sender_cpu_s": one.cpu_s}
    return replace(verdict, notes=(*verdict.notes, _note(one)), numbers=verdict.numbers | numbers)


def _note(one: Channels) -> str:
    busy = f"{one.busy:.1f} of {one.count} channels were busy on average"
    assumed = " (assumed: vm.compression_ratio)" if one.ratio_is_assumed else ""
    shrunk = f", {one.compression} shrank pages to {100 * one.wire_ratio:.0f} % of their size{assumed}"
    squeezed = "" if one.compression == "none" else shrunk
    is_thread = one.bottleneck == "migration thread"
    thread = "" if is_thread else f", the migration thread {100 * one.thread_share:.0f} % of the time"
    return (
        f"Channels: {busy}{thread}; {_bottleneck(one)}{squeezed}; migration thread and channels took "
        f"{seconds_words(one.cpu_s)} of CPU time"
    )


def _bottleneck(one: Channels) -> str:
    if one.bottleneck == "channels" and one.compression != "none":
        return f"the CPUs of the channels, busy with {one.compression}, were the bottleneck"
    return BOTTLENECKS[one.bottleneck]


def multifd(evidence: Evidence, needed_bytes_per_s: float, value: float | None = None) -> Remedy | None:
    """Channels enough to carry ``needed_bytes_per_s``, or ``value`` of them, where streams and nothing else are too slow.

    None: it is not a run, the channels that there are send so much, or the link or max-bandwidth would not carry it.
    """
    now = evidence.channels.count if evidence.channels else 1
    one_stream = _streams_bytes_per_s(evidence) / now
    if evidence.source != "run" or not one_stream or needed_bytes_per_s <= now * one_stream:
        return None
    others = [limit for limit in (evidence.link_bandwidth_bytes_per_s, evidence.max_bandwidth_bytes_per_s) if limit]
    count = max(2, math.ceil(needed_bytes_per_s / one_stream)) if value is None else round(value)
    if count > TRIED_MOST or any(limit < needed_bytes_per_s for limit in others):
        return None
    told = f" (now {now}): one channel sends" if evidence.channels else ": one stream carries"
    text = f"multifd with {count} channels{told} at most {bandwidth_words(one_stream)} here"
    return Remedy("multifd", text, count, "channels", command_for(evidence.profile, "multifd", count))


def _streams_bytes_per_s(evidence: Evidence) -> float:
    """Bandwidth of all streams, limited by their threads or their windows [bytes/s]; 0: neither is the bottleneck."""
    if evidence.bottleneck == "host":
        return evidence.host_bandwidth_bytes_per_s or 0.0
    return evidence.window.bytes_per_s if evidence.bottleneck == "window" and evidence.window else 0.0
