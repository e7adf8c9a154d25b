"""Slots of a swap device, and the copies of pages in them."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from hostsim.core.errors import InvariantError

SLOTS_CACHE = 64
"""include/linux/swap_slots.h::SWAP_SLOTS_CACHE_SIZE: freed slots go back to the device in batches of this size."""
NO_SLOT = -1


class Copy(NamedTuple):
    """Content of a slot: page ``page`` of VM number ``vm`` at its swap-out number ``token``; is_zero: it reads as zeros."""

    vm: int
    page: int
    token: int
    is_zero: bool


class SwapArea:
    """Slots 0 to n - 1, given out in the order in which they became free (mm/swapfile.c::scan_swap_map_slots)."""

    def __init__(self, n_slots: int) -> None:
        self.n_slots = n_slots
        self._next = 0
        self._free: deque[int] = deque()
        self._returned: list[int] = []
        self._copies: dict[int, Copy] = {}

    @property
    def used(self) -> int:
        """Slots that hold a copy."""
        return len(self._copies)

    @property
    def left(self) -> int:
        """Slots that can be taken."""
        return self.n_slots - self._next + len(self._free) + len(self._returned)

    def store(self, slot: int, copy: Copy) -> None:
        """Put ``copy`` into ``slot``, which was taken before."""
        assert slot not in self._copies
        self._copies[slot] = copy

    def load(self, slot: int) -> Copy:
        """The copy in ``slot``. InvariantError if the slot is empty."""
        copy = self._copies.get(slot)
        if copy is None:
            raise InvariantError(f"swap slot {slot} is read and holds nothing")
        return copy

    def free(self, slot: int) -> None:
        """Give ``slot`` back and discard its copy, if it holds one."""
        # Model limit: giving a batch of 64 slots back takes no time in the task that fills it. In 4.11 to 6.13 it did
        # (mm/swap_slots.c::free_swap_slot), some 100 us for one swap-in in 64 on production hosts with zram
        # (20240131-async-free-v2-1-525f03e07184); from 6.14 on there are no batches, and a swap-in contains the slot that it
        # gives back. By swap_slot_ns of hostsim calibrate (0.53 us of zram, Zen 4 with 6.18) a batch is 34 us.
        self._copies.pop(slot, None)
        self._returned.append(slot)
        if len(self._returned) >= SLOTS_CACHE:
            self._give_back()

    def around(self, slot: int, cluster: int) -> list[int]:
        """Slots in use of the aligned ``cluster`` around ``slot`` (mm/swap_state.c::swap_cluster_readahead)."""
        first = slot - slot % cluster
        return [near for near in range(first, first + cluster) if near in self._copies]

    def _give_back(self) -> None:
        self._free.extend(sorted(self._returned))
        self._returned.clear()

    def take(self) -> int:
        """A slot for a page, or NO_SLOT if all are taken."""
        if self._next < self.n_slots:
            self._next += 1
            return self._next - 1
        if not self._free:
            self._give_back()
        return self._free.popleft() if self._free else NO_SLOT
