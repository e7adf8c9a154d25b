"""Places in memory for a fitted guest's pages: the stretches that were not zero, and the classes spread over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hostsim.fitting.mixture import Classes
from hostsim.fitting.observed import Stretch

PIECES = 8
"""Each class lies in so many pieces, between those of the others: a log does not show where its hot pages lie."""
PAGES_MIN = 1


@dataclass(frozen=True)
class Region:
    """Pages in a row of class ``number`` (-1: the sweep)."""

    number: int
    first_page: int
    pages: int


def filled_ranges(stretches: Sequence[Stretch], ram_pages: int, filled_pages: int) -> tuple[tuple[int, int], ...]:
    """(first page, pages) of memory that is not zero: the whole pages of each of ``stretches``, at its start.

    ram_pages: pages of the guest. filled_pages: its whole pages, used where no stretch is known.
    """
    if not stretches:
        return ((0, max(1, min(filled_pages, ram_pages))),)
    found: list[tuple[int, int]] = []
    for one in stretches:
        first, pages = min(round(one.first_page), ram_pages - 1), round(one.whole_pages)
        pages = min(pages, ram_pages - first)
        if pages >= PAGES_MIN:
            found.append((first, pages))
    return tuple(_apart(found)) or ((0, 1),)


def _apart(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """``ranges`` in their order, none over another: rounding may let two share a page."""
    end = 0
    for first, pages in ranges:
        begin = max(first, end)
        if first + pages > begin:
            yield begin, first + pages - begin
            end = first + pages


def regions_of(classes: Classes, ranges: Sequence[tuple[int, int]]) -> tuple[Region, ...]:
    """Pages for every class within ``ranges``; the sweep first, in a row as far as the ranges allow.

    Fewer pages than a class has where the ranges have no more.
    """
    space = _Space(list(ranges))
    sweep = [Region(-1, *one) for one in space.take(round(classes.sweep.pages))] if classes.sweep else []
    counts = [round(n) for n, _ in classes.pages]
    pieces = PIECES if len(counts) > 1 else 1
    placed = []
    for piece in range(pieces):
        for number, count in enumerate(counts):
            wanted = count * (piece + 1) // pieces - count * piece // pieces
            placed += [
                Region(number, *one) for one in space.take(wanted, spare=_spare(space, counts, piece, pieces, number))
            ]
    return (*sweep, *placed)


def _spare(space: _Space, counts: Sequence[int], piece: int, pieces: int, number: int) -> int:
    """Pages to skip before the next piece, so that the pieces reach over all memory."""
    if number:
        return 0
    left = sum(count - count * piece // pieces for count in counts)
    return max(0, space.pages - left) // (pieces - piece) if piece else 0


class _Space:
    """Pages not taken yet."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        self.ranges = ranges

    @property
    def pages(self) -> int:
        """Their number."""
        return sum(pages for _, pages in self.ranges)

    def take(self, wanted: int, spare: int = 0) -> list[tuple[int, int]]:
        """The next ``wanted`` pages, after ``spare`` others."""
        self._next(spare)
        return self._next(wanted)

    def _next(self, wanted: int) -> list[tuple[int, int]]:
        found = []
        while wanted > 0 and self.ranges:
            first, pages = self.ranges[0]
            taken = min(pages, wanted)
            found.append((first, taken))
            wanted -= taken
            if taken == pages:
                self.ranges.pop(0)
            else:
                self.ranges[0] = (first + taken, pages - taken)
        return found
