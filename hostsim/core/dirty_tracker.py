"""The protocol of dirty tracking: how guest writes leave a record, and how the host harvests it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Timed = Generator[Any, Any, T]
"""Work that takes host time: it yields what it waits for."""


@dataclass(frozen=True)
class Harvest:
    """What a harvest found: pages written since the last one, and those of them not pending in the bitmap before."""

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
    """Whether a page may be in the log, and get a new version, that was not written: read for the first time, or set to
    begin with.
    """
    initial_records: int
    """How many records of each page the log has to begin with: 1 where it begins all set, and no write made them."""
    chunk_shift: int
    clear_marks: NDArray[np.uint8]
    """uint8[chunks of 2^chunk_shift pages]: 1 where ``before_send`` has to come before the next page is sent."""

    def start_log(self) -> Timed[None]:
        """Switch logging on: at its end every page is clean and armed, or in the log."""
        ...

    def sync(self, bmap: NDArray[np.uint8]) -> Timed[Harvest]:
        """Move records of writes into ``bmap`` (uint8[n_pages], in place): at least all that were made before now.

        InvariantError if one has been lost.
        """
        ...

    def before_send(self, gfn: int) -> Timed[None]:
        """Clear the log of the chunk of ``gfn`` if it is marked: what is written from now on is recorded again."""
        ...

    def first_unharvested(self, now_ns: int) -> int:
        """First gfn written before ``now_ns`` whose record no sync has moved yet, or -1; asked at the switchover."""
        ...

    def harvested(self) -> NDArray[np.uint8] | None:
        """uint8[n_pages], 1: a record that is out of the log, and in the bitmap with the next sync; None: there are none."""
        ...

    def stop_log(self) -> Timed[None]:
        """Switch logging off."""
        ...


def at_once(work: Timed[T]) -> T:
    """The result of ``work`` that takes no host time (that of the tracker ``tcg`` does not)."""
    try:
        next(work)
    except StopIteration as end:
        result: T = end.value
        return result
    message = "this work takes host time: yield from it"
    raise AssertionError(message)
