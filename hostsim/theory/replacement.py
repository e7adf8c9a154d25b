"""Page replacement on demand: reference policies that a published simulator agrees with.

From a string of references to hits and victims. FIFO and one-bit CLOCK: frames in a ring, a hand that walks them. LRU: a
list in order of the last reference, linked through arrays. Belady's MIN: evict the page whose next use comes last, found by
a tournament of the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit

NO_PAGE = -1
"""In arrays of pages: none."""


class Replay(NamedTuple):
    """hits: uint8[n], 1 where the page referenced was resident; victims: int64[n], the page evicted for it, or NO_PAGE."""

    hits: NDArray[np.uint8]
    victims: NDArray[np.int64]

    @property
    def hit_ratio(self) -> float:
        """Share of the references that hit."""
        return float(self.hits.mean())


class ReplacementPolicy(Protocol):
    """Memory of ``capacity_pages`` frames that loads a page when it is referenced and absent, and evicts when it is full."""

    name: str
    capacity_pages: int

    def replay(self, pages: NDArray[np.int64]) -> Replay:
        """Replay references (int64[n], pages from 0 on) in order, starting from the resident pages of the last call."""
        ...

    def resident_pages(self) -> NDArray[np.int64]:
        """int64[at most capacity_pages]: resident pages, ascending."""
        ...


def dense_pages(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Page numbers int64[n] of any size as int64[n] from 0 on, in order of address, and the number of distinct pages."""
    distinct, dense = np.unique(numbers, return_inverse=True)
    return dense.astype(np.int64), len(distinct)


USED, HAND = range(2)
N_STATE = 2
ABSENT = -1
"""Frame of a page that is not resident."""


@jit
def replay_fifo(
    pages: NDArray[np.int64],
    frame_of: NDArray[np.int64],
    page_of: NDArray[np.int64],
    state: NDArray[np.int64],
    hits: NDArray[np.uint8],
    victims: NDArray[np.int64],
) -> None:
    """Evict the page that was loaded first; O(1) a reference.

    pages: int64[n], references in order.
    frame_of: int64[n_pages], in place: frame of each page, ABSENT if not resident.
    page_of: int64[capacity], in place: page of each frame.
    state: int64[N_STATE], in place: frames used and the hand.
    hits: uint8[n], victims: int64[n], in place: results by reference.
    """
    capacity = len(page_of)
    for i in range(len(pages)):
        page = pages[i]
        hits[i], victims[i] = frame_of[page] != ABSENT, NO_PAGE
        if not hits[i]:
            frame = state[HAND]
            if state[USED] < capacity:
                state[USED] += 1
            else:
                victims[i] = page_of[frame]
                frame_of[page_of[frame]] = ABSENT
            state[HAND] = frame + 1 if frame + 1 < capacity else 0
            page_of[frame], frame_of[page] = page, frame


@jit
def replay_clock(
    pages: NDArray[np.int64],
    frame_of: NDArray[np.int64],
    page_of: NDArray[np.int64],
    referenced: NDArray[np.uint8],
    state: NDArray[np.int64],
    hits: NDArray[np.uint8],
    victims: NDArray[np.int64],
) -> None:
    """Second chance: the hand passes a referenced page once, clearing its bit; a page is loaded with the bit clear.

    pages, frame_of, page_of, state, hits, victims: as in ``replay_fifo``.
    referenced: uint8[capacity], in place: the bit of each frame.
    Amortised O(1) a reference, as the hand clears no more bits than were set.
    Source: F. J. Corbato, "A paging experiment with the Multics system", MIT Project MAC report MAC-M-384, 1968.
    """
    capacity = len(page_of)
    for i in range(len(pages)):
        page = pages[i]
        hits[i], victims[i] = frame_of[page] != ABSENT, NO_PAGE
        if hits[i]:
            referenced[frame_of[page]] = 1
            continue
        frame = state[HAND]
        if state[USED] < capacity:
            state[USED] += 1
        else:
            while referenced[frame]:
                referenced[frame] = 0
                frame = frame + 1 if frame + 1 < capacity else 0
            victims[i] = page_of[frame]
            frame_of[page_of[frame]] = ABSENT
        state[HAND] = frame + 1 if frame + 1 < capacity else 0
        page_of[frame], frame_of[page] = page, frame


@jit
def replay_lru(
    pages: NDArray[np.int64],
    capacity: int,
    older: NDArray[np.int64],
    newer: NDArray[np.int64],
    used: NDArray[np.int64],
    hits: NDArray[np.uint8],
    victims: NDArray[np.int64],
) -> None:
    """Evict the page that was referenced longest ago; O(1) a reference.

    pages: int64[n], references in order.
    older, newer: int64[n_pages + 1], in place: neighbours in the list, ABSENT if not resident. The entry behind the last
    page closes the ring: its newer is the oldest page, its older the newest.
    used: int64[1], in place: frames used.
    hits: uint8[n], victims: int64[n], in place: results by reference.
    """
    ring = len(older) - 1
    for i in range(len(pages)):
        page = pages[i]
        hits[i], victims[i] = newer[page] != ABSENT, NO_PAGE
        leaving = page
        if not hits[i] and used[0] == capacity:
            leaving = newer[ring]
            victims[i] = leaving
        if newer[leaving] == ABSENT:
            used[0] += 1
        else:
            newer[older[leaving]], older[newer[leaving]] = newer[leaving], older[leaving]
            newer[leaving] = ABSENT
        older[page], newer[page] = older[ring], ring
        newer[older[ring]] = page
        older[ring] = page


NEVER_USED = 1 << 62
"""Next use of a page that is not referenced again."""


@jit
def find_next_uses(pages: NDArray[np.int64], upcoming: NDArray[np.int64], next_use: NDArray[np.int64]) -> None:
    """Find the next reference to the page of each reference.

    next_use: int64[n], in place: index of the next reference to the page, NEVER_USED without one.
    upcoming: int64[n_pages], in place: index of the first reference to each page, NEVER_USED without one.
    """
    upcoming[:] = NEVER_USED
    for i in range(len(pages) - 1, -1, -1):
        next_use[i] = upcoming[pages[i]]
        upcoming[pages[i]] = i


@jit
def play(frame: int, key: NDArray[np.int64], winner: NDArray[np.int64]) -> None:
    """After ``key[frame]`` changed: the matches on the way from its leaf to the root, winner[1]; the larger key wins."""
    node = (len(key) + frame) >> 1
    while node >= 1:
        left, right = winner[2 * node], winner[2 * node + 1]
        winner[node] = left if key[left] >= key[right] else right
        node >>= 1


@jit
def replay_min(
    pages: NDArray[np.int64],
    next_use: NDArray[np.int64],
    frame_of: NDArray[np.int64],
    page_of: NDArray[np.int64],
    key: NDArray[np.int64],
    winner: NDArray[np.int64],
    state: NDArray[np.int64],
    hits: NDArray[np.uint8],
    victims: NDArray[np.int64],
) -> None:
    """Evict the page whose next use lies farthest ahead; O(log capacity) a reference.

    pages, next_use: int64[n], references in order and the next use of each.
    frame_of: int64[n_pages], page_of: int64[capacity], in place, as in replay_fifo.
    key: int64[capacity], in place: next use of the frame's page.
    winner: int64[2 capacity], in place: frames of the tournament, leaves from capacity on.
    state: int64[N_STATE], hits: uint8[n], victims: int64[n], in place, as in replay_fifo.
    Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems
    Journal 5(2), 1966.
    """
    for i in range(len(pages)):
        page = pages[i]
        frame = frame_of[page]
        hits[i], victims[i] = frame != ABSENT, NO_PAGE
        if frame == ABSENT:
            if state[USED] < len(page_of):
                frame = state[USED]
                state[USED] += 1
            else:
                frame = winner[1]
                victims[i] = page_of[frame]
                frame_of[page_of[frame]] = ABSENT
            page_of[frame], frame_of[page] = page, frame
        key[frame] = next_use[i]
        play(frame, key, winner)


Pages = NDArray[np.int64]


def empty_replay(n: int) -> Replay:
    """Room for the outcome of ``n`` references."""
    return Replay(np.empty(n, np.uint8), np.empty(n, np.int64))


class Frames:
    """Frames of a policy that keeps pages in place: page_of int64[capacity], frame_of int64[n_pages], state."""

    def __init__(self, capacity_pages: int, n_pages: int) -> None:
        assert capacity_pages >= 1
        assert n_pages >= 1
        self.capacity_pages = capacity_pages
        self._page_of = np.empty(capacity_pages, np.int64)
        self._frame_of = np.full(n_pages, ABSENT, np.int64)
        self._state = np.zeros(N_STATE, np.int64)

    def resident_pages(self) -> Pages:
        """int64[k], resident pages, ascending."""
        return np.sort(self._page_of[: self._state[USED]])


class Fifo(Frames):
    """Evicts the page that was loaded first."""

    name = "fifo"

    def replay(self, pages: Pages) -> Replay:
        """As ``ReplacementPolicy.replay``."""
        out = empty_replay(len(pages))
        replay_fifo(pages, self._frame_of, self._page_of, self._state, *out)
        return out


class Clock(Frames):
    """FIFO with a second chance: one reference bit a frame."""

    name = "clock"

    def __init__(self, capacity_pages: int, n_pages: int) -> None:
        super().__init__(capacity_pages, n_pages)
        self._referenced = np.zeros(capacity_pages, np.uint8)

    def replay(self, pages: Pages) -> Replay:
        """As ``ReplacementPolicy.replay``."""
        out = empty_replay(len(pages))
        replay_clock(pages, self._frame_of, self._page_of, self._referenced, self._state, *out)
        return out


class Min(Frames):
    """Evicts the page whose next use comes last within one call of ``replay``; it does not know later calls."""

    name = "min"

    def __init__(self, capacity_pages: int, n_pages: int) -> None:
        super().__init__(capacity_pages, n_pages)
        self._upcoming = np.empty(n_pages, np.int64)
        self._key = np.full(capacity_pages, NEVER_USED, np.int64)
        self._winner = np.concatenate([np.zeros(capacity_pages, np.int64), np.arange(capacity_pages)])

    def replay(self, pages: Pages) -> Replay:
        """As ``ReplacementPolicy.replay``."""
        out, next_use = empty_replay(len(pages)), np.empty(len(pages), np.int64)
        find_next_uses(pages, self._upcoming, next_use)
        used = int(self._state[USED])
        self._key[:used] = self._upcoming[self._page_of[:used]]
        for frame in range(used):
            play(frame, self._key, self._winner)
        replay_min(pages, next_use, self._frame_of, self._page_of, self._key, self._winner, self._state, *out)
        return out


class Lru:
    """Evicts the page that was referenced longest ago."""

    name = "lru"

    def __init__(self, capacity_pages: int, n_pages: int) -> None:
        assert capacity_pages >= 1
        assert n_pages >= 1
        self.capacity_pages = capacity_pages
        self._older = np.full(n_pages + 1, ABSENT, np.int64)
        self._newer = np.full(n_pages + 1, ABSENT, np.int64)
        self._older[n_pages] = self._newer[n_pages] = n_pages
        self._used = np.zeros(1, np.int64)

    def replay(self, pages: Pages) -> Replay:
        """As ``ReplacementPolicy.replay``."""
        out = empty_replay(len(pages))
        replay_lru(pages, self.capacity_pages, self._older, self._newer, self._used, *out)
        return out

    def resident_pages(self) -> Pages:
        """int64[k], resident pages, ascending."""
        return np.flatnonzero(self._newer[:-1] != ABSENT)


POLICIES: dict[str, Callable[[int, int], ReplacementPolicy]] = {policy.name: policy for policy in (Fifo, Clock, Lru, Min)}
"""By name: made of (capacity_pages, n_pages)."""
