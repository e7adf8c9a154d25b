"""An ageing policy of a plug-in: its maker, and checks of the pages that it returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from hostsim.memory.policies.protocol import NO_PAGES, Pages, Scan, Young
from hostsim.plugins.registry import Plugin


class PluggedPolicy:
    """The policy of ``plugin``: each call is guarded, and each answer is checked before the host acts on it."""

    def __init__(self, plugin: Plugin, n_pages: int, seed: int) -> None:
        self.name = plugin.name
        self._plugin, self._n_pages = plugin, n_pages
        self._is_resident = np.zeros(n_pages, np.bool_)
        with plugin.guarded():
            self._policy: Any = plugin.load()(n_pages, np.random.default_rng(seed))

    def insert(self, pages: Pages) -> None:
        """See AgeingPolicy."""
        self._is_resident[pages] = True
        with self._plugin.guarded():
            self._policy.insert(pages.copy())

    def wants_ageing(self) -> bool:
        """See AgeingPolicy; a policy need not say so."""
        with self._plugin.guarded():
            return bool(getattr(self._policy, "wants_ageing", bool)())

    def age(self, young: Young) -> Scan:
        """The pages that the policy asks about; their bits are old then."""
        seen = young.copy()
        seen.flags.writeable = False
        with self._plugin.guarded():
            found = self._policy.age(seen)
        asked = self._pages(found, "age")
        young[asked] = 0
        return Scan(asked, NO_PAGES)

    def evict(self, young: Young, nr_pages: int) -> Scan:
        """Evict nothing for ``young`` and ``nr_pages``: a plug-in's policy serves [ageing], which never calls this."""
        del young, nr_pages
        return Scan(NO_PAGES, NO_PAGES)

    def resident_pages(self) -> Pages:
        """Pages inserted."""
        return np.flatnonzero(self._is_resident)

    def _pages(self, found: Any, method: str) -> Pages:
        with self._plugin.guarded():
            pages = np.asarray(found)
        wanted = f"an array of whole numbers from {method}(young): pages that were inserted, each once"
        if pages.ndim != 1 or (pages.dtype.kind not in "iu" and len(pages)):
            raise self._plugin.refuse(f"an array of {pages.dtype} with {pages.ndim} dimensions", wanted)
        pages = pages.astype(np.int64)
        inside = (pages >= 0) & (pages < self._n_pages)
        if not inside.all() or not self._is_resident[pages].all():
            bad = pages[~inside] if not inside.all() else pages[~self._is_resident[pages]]
            raise self._plugin.refuse(f"page {bad[0]}", wanted)
        if len(np.unique(pages)) != len(pages):
            raise self._plugin.refuse("a page twice", wanted)
        return pages
