"""The policies by name, each with its arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hostsim.theory.replacement.frames import ABSENT, N_STATE, USED, replay_clock, replay_fifo
from hostsim.theory.replacement.lru import replay_lru
from hostsim.theory.replacement.optimal import NEVER_USED, find_next_uses, play, replay_min
from hostsim.theory.replacement.protocol import ReplacementPolicy, Replay

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
        """See ReplacementPolicy."""
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
        """See ReplacementPolicy."""
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
        """See ReplacementPolicy."""
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
        """See ReplacementPolicy."""
        out = empty_replay(len(pages))
        replay_lru(pages, self.capacity_pages, self._older, self._newer, self._used, *out)
        return out

    def resident_pages(self) -> Pages:
        """int64[k], resident pages, ascending."""
        return np.flatnonzero(self._newer[:-1] != ABSENT)


POLICIES: dict[str, Callable[[int, int], ReplacementPolicy]] = {policy.name: policy for policy in (Fifo, Clock, Lru, Min)}
"""By name: made of (capacity_pages, n_pages)."""
