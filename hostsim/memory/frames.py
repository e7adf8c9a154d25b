"""Frames of the host and their watermarks."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import NamedTuple

import simpy

from hostsim.core.clock import Clock

KIB_PER_PAGE = 4
WATERMARK_SCALE = 10
"""Of 10 000: vm.watermark_scale_factor."""
MIN_FREE_KIB = (128, 262144)
"""Bounds of vm.min_free_kbytes (mm/page_alloc.c::calculate_min_free_kbytes)."""


class Watermarks(NamedTuple):
    """Watermarks of free frames.

    low: below it kswapd is woken; kswapd reclaims until ``high`` frames are free.
    min: below it the allocating thread reclaims by itself.
    """

    min: int
    low: int
    high: int


def watermarks(total: int) -> Watermarks:
    """Watermarks of ``total`` frames (mm/page_alloc.c::__setup_per_zone_wmarks, ::calculate_min_free_kbytes)."""
    kib = max(MIN_FREE_KIB[0], min(MIN_FREE_KIB[1], isqrt(total * KIB_PER_PAGE * 16)))
    least = min(kib // KIB_PER_PAGE, total // 4)
    step = max(least // 4, total * WATERMARK_SCALE // 10_000)
    return Watermarks(least, least + step, least + 2 * step)


def kept_at_start(filled: Sequence[int], limits: Sequence[int], total: int) -> list[int]:
    """Resident pages of each VM at the start: one fraction of its ``filled`` pages for all VMs, at most its limit.

    limits: most pages of each VM. total: frames of the host.
    """
    room, wanted = max(0, total - watermarks(total).high), sum(filled)
    fair = filled if wanted <= room else [pages * room // wanted for pages in filled]
    return [min(pages, limit) for pages, limit in zip(fair, limits, strict=True)]


class Frames:
    """total, free: pages; min, low, high: their watermarks."""

    def __init__(self, env: Clock, total: int) -> None:
        self.total = self.free = total
        self.min, self.low, self.high = watermarks(total)
        self._env = env
        self._freed: simpy.Event = env.event()

    def take(self, n: int) -> None:
        """Take ``n`` free frames into use."""
        assert n <= self.free, "a frame is used twice"
        self.free -= n

    def give(self, n: int) -> None:
        """Free ``n`` frames and wake the processes that wait for frames."""
        self.free += n
        assert self.free <= self.total, "a frame is freed twice"
        if n:
            self.wake()

    def wake(self) -> None:
        """Wake the processes that wait for frames; they test their condition again."""
        event, self._freed = self._freed, self._env.event()
        event.succeed()

    def freed(self) -> simpy.Event:
        """An event that fires when frames have become free."""
        return self._freed
