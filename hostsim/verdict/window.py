"""One TCP stream carries at most a window each round trip, on a link of any bandwidth."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.verdict.words import bandwidth_words, bytes_words, rounded_up, seconds_words


@dataclass(frozen=True)
class Stream:
    """The most that one stream carries.

    limit: the cause, "link" or the window's name; window_bytes: payload; connections: of multifd, which share both.
    """

    bytes_per_s: float
    limit: str
    window_bytes: float
    round_trip_s: float
    connections: int = 1

    @property
    def is_held_by_window(self) -> bool:
        """Whether the window limits the stream, so that a faster link would not help."""
        return self.limit != "link"

    def needed_bytes(self, wanted_bytes_per_s: float) -> float:
        """Window of each connection [payload bytes] to carry ``wanted_bytes_per_s``; two digits, rounded up."""
        return rounded_up(wanted_bytes_per_s * self.round_trip_s / self.connections)


def wider_window(stream: Stream, wanted_bytes_per_s: float) -> str:
    """The window, in words, that a stream limited by its window needs to carry ``wanted_bytes_per_s``."""
    needed = bytes_words(stream.needed_bytes(wanted_bytes_per_s))
    return (
        f"use a window of {needed} (socket buffer at the source, receive window at the destination) or a shorter "
        f"round trip: {_streams(stream)} at most {bandwidth_words(stream.bytes_per_s)}, its {stream.limit} of "
        f"{bytes_words(stream.window_bytes)} each {seconds_words(stream.round_trip_s)}"
    )


def _streams(stream: Stream) -> str:
    return "one TCP stream carries" if stream.connections == 1 else f"{stream.connections} TCP streams carry"
