"""Pages written independently, sent in one circle, page by page: the twin of the expected rounds of a fit."""

from __future__ import annotations

import numpy as np

from hostsim.verdict.evidence import Round


def rounds_of(classes: list[tuple[int, float]], sent_pages: int, threshold: int, count: int, seed: int) -> list[Round]:
    """``count`` rounds of a guest: each lasts whole windows of 0.1 s, each of which sends ``sent_pages``.

    classes: (pages, writes a second to one of them), shuffled over memory. threshold: most pages that wait at a sync.
    """
    rng = np.random.default_rng(seed)
    rates = rng.permutation(np.repeat([rate for _, rate in classes], [pages for pages, _ in classes]))
    dirty, written, cursor = np.ones(len(rates), bool), np.zeros(len(rates), bool), 0
    found = []
    for _ in range(count):
        windows = 0
        while dirty.sum() > threshold or not windows:
            waiting = np.flatnonzero(np.roll(dirty, -cursor))[:sent_pages]
            dirty[(waiting + cursor) % len(rates)] = False
            cursor = int(waiting[-1] + 1 + cursor) % len(rates)
            written |= rng.random(len(rates)) < -np.expm1(-rates * 0.1)
            windows += 1
        newly = written & ~dirty
        found.append(Round(0.1 * windows, float(newly.sum()), float(dirty.sum())))
        dirty |= written
        written[:] = False
    return found
