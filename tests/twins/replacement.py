"""Page replacement in plain Python: one reference at a time, over dictionaries that remember the order of insertion."""

from __future__ import annotations

from collections.abc import Sequence

Outcome = tuple[list[int], list[int]]
"""Hits (0, 1) and victims (-1: none), one a reference."""

NEVER = 1 << 62


def fifo(pages: Sequence[int], capacity: int) -> Outcome:
    return _clock(pages, capacity, bit_when_hit=False)


def clock(pages: Sequence[int], capacity: int) -> Outcome:
    return _clock(pages, capacity, bit_when_hit=True)


def _clock(pages: Sequence[int], capacity: int, bit_when_hit: bool) -> Outcome:
    queue: dict[int, bool] = {}
    hits, victims = [], []
    for page in pages:
        hits.append(int(page in queue))
        victims.append(-1)
        if page in queue:
            queue[page] = bit_when_hit
            continue
        while len(queue) == capacity:
            first, referenced = next(iter(queue.items()))
            del queue[first]
            if referenced:
                queue[first] = False
            else:
                victims[-1] = first
        queue[page] = False
    return hits, victims


def lru(pages: Sequence[int], capacity: int) -> Outcome:
    recent: dict[int, None] = {}
    hits, victims = [], []
    for page in pages:
        hits.append(int(page in recent))
        victims.append(-1)
        if page in recent:
            del recent[page]
        elif len(recent) == capacity:
            victims[-1] = next(iter(recent))
            del recent[victims[-1]]
        recent[page] = None
    return hits, victims


def optimal(pages: Sequence[int], capacity: int) -> Outcome:
    """Looks ahead through the whole rest of the string for every victim."""
    memory: list[int] = []
    hits, victims = [], []
    for i, page in enumerate(pages):
        hits.append(int(page in memory))
        victims.append(-1)
        if page in memory:
            continue
        if len(memory) == capacity:
            rest = list(pages[i:])
            victims[-1] = max(memory, key=lambda p: rest.index(p) if p in rest else NEVER)
            memory[memory.index(victims[-1])] = page
        else:
            memory.append(page)
    return hits, victims


TWINS = {"fifo": fifo, "clock": clock, "lru": lru, "min": optimal}
