"""Belady's MIN: evict the page whose next use comes last, found by a tournament of the frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit
from hostsim.theory.replacement.frames import ABSENT, USED
from hostsim.theory.replacement.protocol import NO_PAGE

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
