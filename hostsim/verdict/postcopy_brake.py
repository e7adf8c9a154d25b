"""The bottleneck of post-copy in a sentence: the stage that was busy all the time, and how much of the link it left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hostsim.results.postcopy_brake import FRAMES, LIMIT, LINK, PLACING, SOURCE, SWAP, WINDOW
from hostsim.results.sender import BUSY
from hostsim.verdict.words import bandwidth_words, percent_words, span_words

Facts = Mapping[str, Any]
"""Of hostsim.results.postcopy::postcopy_facts."""


def _placing(facts: Facts) -> str:
    each = span_words(facts["place_page_ns"])
    return f"one thread of the destination, which places the stream's pages (UFFDIO_COPY, {each}) and worked for {{share}}"


def _limit(facts: Facts) -> str:
    limit = bandwidth_words(facts["limit_bytes_per_s"])
    return f"max-postcopy-bandwidth of {limit}, which held the source back for {{share}}"


WORDS: Mapping[str, Callable[[Facts], str]] = {
    PLACING: _placing,
    SOURCE: lambda _: "the CPU of the source's one migration thread, which worked for {share}",
    LINK: lambda _: "the link, which was used for {share}",
    WINDOW: lambda _: "the window of the one connection, which was full for {share}",
    LIMIT: _limit,
    SWAP: lambda _: "the swap device of the source, from which pages were read back for {share}",
    FRAMES: lambda _: "the memory of the destination, where the thread that places pages waited for free frames for {share}",
}


SHORT_S = 0.1
"""A shorter phase gets no line on its bottleneck (assumed)."""


def bottleneck_of(facts: Facts) -> str:
    """The stage that was busy most, "": none was busy enough to set the pace."""
    busy: Mapping[str, float] = (facts.get("busy") or {}) if facts["exposed_s"] >= SHORT_S else {}
    most = max(busy, key=lambda stage: busy[stage], default="")
    return most if most and busy[most] >= BUSY else ""


def bottleneck_line(facts: Facts) -> str:
    """A finding on the stage that set the pace of the phase; "" if none did."""
    stage = bottleneck_of(facts)
    if not stage:
        return ""
    busy = facts["busy"]
    why = WORDS[stage](facts).format(share=f"{percent_words(busy[stage])} of the phase")
    link = f"; the link was used for {percent_words(busy[LINK])}" if stage != LINK and LINK in busy else ""
    return f"Bottleneck: {why}; pages moved at {bandwidth_words(facts['sent_bytes_per_s'])}{link}."
