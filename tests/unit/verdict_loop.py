"""QEMU's pre-copy loop page by page, plain and small: the verdict's forecasts have to agree with it.

A rate-limited window sends its quota at its start, in one cyclic sweep over the dirty pages; then, once a window, one
test for sync and stop. Uniform or hot/cold writes, or a sweep, between the windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WINDOW_S = 0.1
PAGE = 4096
WIRE = 4104
Writer = Callable[[np.random.Generator, float], np.ndarray]


def uniform(pages: int, rate: float) -> Writer:
    return lambda rng, s: rng.integers(0, pages, rng.poisson(rate * s))


def hotcold(pages: int, hot: int, share: float, rate: float) -> Writer:
    def written(rng: np.random.Generator, seconds: float) -> np.ndarray:
        n = rng.poisson(rate * seconds)
        in_hot = rng.binomial(n, share)
        return np.concatenate([rng.integers(0, hot, in_hot), rng.integers(hot, pages, n - in_hot)])

    return written


def zipf(pages: int, exponent: float, rate: float) -> Writer:
    """Popularities in an order drawn once: where hot pages lie is not to meet the cursor's order."""
    shares = np.arange(1, pages + 1) ** -exponent
    places, below = np.random.default_rng(0).permutation(pages), np.cumsum(shares / shares.sum())
    return lambda rng, s: places[np.minimum(np.searchsorted(below, rng.random(rng.poisson(rate * s))), pages - 1)]


def sequential(pages: int, rate: float) -> Writer:
    at = [0.0]

    def written(_rng: np.random.Generator, seconds: float) -> np.ndarray:
        first, at[0] = int(at[0]), at[0] + rate * seconds
        return np.arange(first, int(at[0])) % pages

    return written


@dataclass
class Loop:
    """One migration of ``ram_pages`` pages, of which the writer's are the first."""

    writer: Writer
    ram_pages: int
    sent_pages_per_s: float
    limit_s: float
    duration_s: float = 60.0
    seed: int = 1
    slow_down: Callable[[float], float] = lambda _t: 1.0
    answers: list[dict[str, Any]] = field(default_factory=list)

    def run(self, poll_windows: int = 5) -> bool:
        """Whether it completes; ``answers`` holds polled query-migrate answers, also at each sync."""
        rng = np.random.default_rng(self.seed)
        log, bmap = np.zeros(self.ram_pages, bool), np.ones(self.ram_pages, bool)
        quota = round(self.sent_pages_per_s * WINDOW_S)
        threshold = quota * WIRE / WINDOW_S * self.limit_s
        syncs, sent, cursor, rate, since, found, t = 1, 0, 0, 0, 0.0, 0, 0.0
        for window in range(round(self.duration_s / WINDOW_S)):
            self._poll(t, bmap, syncs, sent, rate, window % poll_windows == 0)
            order = np.flatnonzero(bmap)
            order = np.concatenate([order[order >= cursor], order[order < cursor]])[:quota]
            bmap[order], sent = False, sent + len(order)
            cursor = int(order[-1]) + 1 if len(order) else cursor
            log[self.writer(rng, WINDOW_S * self.slow_down(t))] = True
            t += WINDOW_S
            if bmap.sum() * PAGE < threshold:
                self._poll(t, bmap, syncs, sent, rate, True)
                found += int((log & ~bmap).sum())
                bmap |= log
                log[:] = False
                syncs += 1
                if t - since > 1.0:
                    rate, since, found = round(found / (t - since)), t, 0
                self._poll(t, bmap, syncs, sent, rate, True)
                if bmap.sum() * PAGE < threshold:
                    self.answers.append({"t": t, "info": {"status": "completed", "total-time": round(t * 1000)}})
                    return True
        self.answers.append({"t": t, "info": {"status": "cancelled"}})
        return False

    def _poll(self, t: float, bmap: np.ndarray, syncs: int, sent: int, rate: int, due: bool) -> None:
        if not due:
            return
        bandwidth = self.sent_pages_per_s * WIRE
        remaining = int(bmap.sum()) * PAGE
        ram = {
            "total": self.ram_pages * PAGE,
            "remaining": remaining,
            "transferred": sent * WIRE,
            "normal": sent,
            "duplicate": 0,
            "page-size": PAGE,
            "dirty-sync-count": syncs,
            "dirty-pages-rate": rate,
            "mbps": bandwidth * 8 / 1e6 if t >= WINDOW_S else 0,
        }
        expected = round(remaining / bandwidth * 1000) if rate else round(self.limit_s * 1000)
        info = {"status": "active", "total-time": round(t * 1000), "expected-downtime": expected, "ram": ram}
        self.answers.append({"t": round(t, 3), "info": info})
