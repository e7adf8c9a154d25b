"""Frames of the host and their watermarks."""

from __future__ import annotations

from math import isqrt

import simpy

from hostsim.host.clock import Clock

KIB_PER_PAGE = 4
WATERMARK_SCALE = 10
"""Of 10 000: vm.watermark_scale_factor."""
MIN_FREE_KIB = (128, 262144)
"""Bounds of vm.min_free_kbytes (mm/page_alloc.c::calculate_min_free_kbytes)."""


class Frames:
    """total, free: pages. Below ``low`` kswapd wakes, and works until ``high`` are free; below ``min`` who asks reclaims.

    mm/page_alloc.c::__setup_per_zone_wmarks, ::calculate_min_free_kbytes.
    """

    def __init__(self, env: Clock, total: int) -> None:
        self.total = self.free = total
        kib = max(MIN_FREE_KIB[0], min(MIN_FREE_KIB[1], isqrt(total * KIB_PER_PAGE * 16)))
        self.min = min(kib // KIB_PER_PAGE, total // 4)
        step = max(self.min // 4, total * WATERMARK_SCALE // 10_000)
        self.low, self.high = self.min + step, self.min + 2 * step
        self._env = env
        self._freed: simpy.Event = env.event()

    def take(self, n: int) -> None:
        """``n`` of the free ones are used from now on."""
        assert n <= self.free, "a frame is used twice"
        self.free -= n

    def give(self, n: int) -> None:
        """``n`` are free again; who waits for that goes on."""
        self.free += n
        assert self.free <= self.total, "a frame is freed twice"
        if n:
            self.wake()

    def wake(self) -> None:
        """Those that wait for frames look again."""
        event, self._freed = self._freed, self._env.event()
        event.succeed()

    def freed(self) -> simpy.Event:
        """Comes up when frames have become free."""
        return self._freed
