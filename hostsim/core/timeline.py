"""Slices of simulated time, by track: dropped, unless a run is recorded for a viewer of timelines.

A recording is hostsim.machine.recording; processes of the host speak to the clock's timeline, whichever it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Argument = int | float | str
OPEN = -1
"""Value of Span.end_ns: the slice is under way."""


@dataclass(frozen=True)
class Track:
    """A row of a timeline.

    process: the VM or the host.
    thread: the actor whose slices the row holds.
    nests: slices lie one within the other, as calls do; else slices that overlap are drawn in rows of their own.
    """

    process: str
    thread: str
    nests: bool = True


@dataclass(eq=False)
class Span:
    """A slice of a track, from ``begin_ns`` to ``end_ns`` [ns], or OPEN.

    flow: number of the flow that begins here, 0: none.
    """

    name: str
    begin_ns: int
    end_ns: int = OPEN
    args: dict[str, Argument] = field(default_factory=dict)
    flow: int = 0


class Timeline:
    """Takes slices and drops them."""

    is_recording = False

    def begin(self, track: Track, name: str, now_ns: int, **args: Argument) -> Span:  # noqa: ARG002  # dropped
        """Begin slice ``name`` of ``track`` at ``now_ns``, with ``args`` for the viewer; returns the slice, for ``end``."""
        return _DROPPED

    def end(self, span: Span, now_ns: int, **args: Argument) -> None:
        """End the slice ``span`` at ``now_ns``; ``args`` are added to those of its begin."""

    def span(self, track: Track, name: str, begin_ns: int, end_ns: int, **args: Argument) -> None:
        """Add slice ``name`` of ``track``, with ``args``, from ``begin_ns`` to ``end_ns``: an end that is known already."""

    def mark(self, track: Track, name: str, now_ns: int, args: dict[str, Any]) -> None:
        """Add event ``name`` of ``track``, which takes no time, at ``now_ns``, with ``args`` for the viewer."""


_DROPPED = Span("", 0)
