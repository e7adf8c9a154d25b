"""FIFO and one-bit CLOCK: frames in a ring, a hand that walks them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit
from hostsim.theory.replacement.protocol import NO_PAGE

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

    As ``replay_fifo``, and referenced uint8[capacity]; amortised O(1), as the hand clears no more bits than were set.
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
