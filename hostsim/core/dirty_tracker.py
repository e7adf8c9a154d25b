"""The protocol of dirty tracking: guest writes leave records, and the host harvests them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Timed = Generator[Any, Any, T]
"""Work that takes host time: a generator that yields the events it waits for."""


@dataclass(frozen=True)
class Harvest:
    """Counts of a harvest.

    dirtied_pages: pages written since the last harvest.
    newly_dirty_pages: pages among them that the bitmap did not have yet.
    """

    dirtied_pages: int
    newly_dirty_pages: int
    waits_for_vcpus: bool = False
    """The harvest is over when each vCPU thread has run a work item (TCG)."""


class DirtyTracker(Protocol):
    """Dirty tracking of one VM.

    Law: while a log is on, every page that the guest can write without leaving a record has one already.
    """

    name: str
    logs_reads: bool
    """Whether the log may have pages that were not written, which get a new version as well: pages read for the first time,
    or set when the log starts.
    """
    initial_records: int
    """Records of each page in a log that has just started: 1 if the log starts all set, without a write."""
    chunk_shift: int
    clear_marks: NDArray[np.uint8]
    """uint8[chunks of 2^chunk_shift pages]: 1: ``before_send`` has to run before a page of the chunk is sent."""

    def start_log(self) -> Timed[None]:
        """Switch logging on: at its end every page is clean and armed, or in the log."""
        ...

    def sync(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        """Move records of writes into ``bmap`` (uint8[n_pages], in place): at least all records made before now.

        InvariantError if a record is lost.
        """
        ...

    def before_send(self, gfn: int) -> Timed[None]:
        """Clear the log of the chunk of ``gfn`` if it is marked; later writes to the chunk leave records again."""
        ...

    def first_unharvested(self, now_ns: int) -> int:
        """First gfn written before ``now_ns`` whose record no sync has moved yet, or -1; the switchover checks it."""
        ...

    def harvested(self) -> NDArray[np.uint8] | None:
        """uint8[n_pages], 1: the record has left the log, and the next sync puts it into the bitmap; None: no records."""
        ...

    def spans(self) -> tuple[tuple[int, int], ...]:
        """(first gfn, end) of the ranges outside of which no page gets a record while the log is on, ascending."""
        ...

    def stop_log(self) -> Timed[None]:
        """Switch logging off."""
        ...


def at_once(work: Timed[T]) -> T:
    """The result of ``work`` that takes no host time, such as the work of the tracker ``tcg``."""
    try:
        next(work)
    except StopIteration as end:
        result: T = end.value
        return result
    message = "this work takes host time: yield from it"
    raise AssertionError(message)
