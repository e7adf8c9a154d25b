"""Lists of pages through two arrays, as the kernel's list_head.

Entries 0 to n_pages - 1 are pages; entry n_pages + k is the head of list k. Pages enter at the head; reclaim takes them from
the tail. An entry that is on no list has towards_tail NOWHERE.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.jit import jit, part

NOWHERE = -1
Links = NDArray[np.int64]


def make_lists(n_pages: int, n_lists: int) -> tuple[Links, Links]:
    """(towards_tail, towards_head), int64[n_pages + n_lists] each, all lists empty."""
    heads = np.arange(n_pages, n_pages + n_lists, dtype=np.int64)
    towards_tail, towards_head = (np.concatenate([np.full(n_pages, NOWHERE, np.int64), heads]) for _ in range(2))
    return towards_tail, towards_head


@part
def add_head(page: int, head: int, towards_tail: Links, towards_head: Links) -> None:
    """Put ``page`` at the head of the list of entry ``head``."""
    first = towards_tail[head]
    towards_tail[page], towards_head[page] = first, head
    towards_tail[head], towards_head[first] = page, page


@jit
def add_heads(pages: NDArray[np.int64], head: int, towards_tail: Links, towards_head: Links) -> None:
    """``add_head`` for ``pages``, int64[n], one after the other, to the list of entry ``head``."""
    for page in pages:
        add_head(page, head, towards_tail, towards_head)


@part
def add_tail(page: int, head: int, towards_tail: Links, towards_head: Links) -> None:
    """Put ``page`` at the tail of the list of entry ``head``."""
    last = towards_head[head]
    towards_tail[page], towards_head[page] = head, last
    towards_head[head], towards_tail[last] = page, page


@part
def take_off(page: int, towards_tail: Links, towards_head: Links) -> None:
    """Take ``page`` off its list; ``towards_tail`` and ``towards_head`` change in place."""
    before, behind = towards_head[page], towards_tail[page]
    towards_tail[before], towards_head[behind] = behind, before
    towards_tail[page] = NOWHERE


def pages_of(head: int, towards_tail: Links) -> list[int]:
    """Pages of the list of entry ``head``, from its head to its tail."""
    found, page = [], int(towards_tail[head])
    while page != head:
        found.append(page)
        page = int(towards_tail[page])
    return found
