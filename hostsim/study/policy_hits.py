"""Hit ratios of all page policies on one string of references, by one protocol.

An ageing policy sees only accessed bits when it asks, and a page when it is faulted in, as in a kernel; it evicts when
memory is full. Replacement policies (LRU, FIFO, CLOCK, MIN) see every reference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hostsim.memory.policies.protocol import AgeingPolicy
from hostsim.memory.policies.registry import POLICIES as PAGE_POLICIES
from hostsim.memory.policies.registry import Maker
from hostsim.memory.policies.two_list import SWAP_CLUSTER_MAX
from hostsim.theory.replacement import NO_PAGE, POLICIES, ReplacementPolicy, Replay, empty_replay

Pages = NDArray[np.int64]
ROUNDS_MAX = 64
"""Batches of reclaim in vain, after which the page that came first goes: a kernel would be out of memory."""


class Demand:
    """An ageing policy as a replacement policy: pages are faulted in one by one, and reclaimed in batches.

    spare: frames that reclaim makes free at a time, as with watermarks. A batch is no larger: on a real host it is a small
    part of memory, too.
    """

    def __init__(self, policy: AgeingPolicy, capacity_pages: int, n_pages: int, spare: int) -> None:
        assert 1 <= spare <= capacity_pages
        self.name, self.capacity_pages = policy.name, capacity_pages
        self._policy, self._spare = policy, spare
        self._resident = np.zeros(n_pages, np.bool_)
        self._young = np.zeros(n_pages, np.uint8)
        self._used = 0

    def resident_pages(self) -> Pages:
        """Pages in memory, ascending, int64."""
        return self._policy.resident_pages()

    def replay(self, pages: Pages) -> Replay:
        """See ReplacementPolicy; ``victims`` is NO_PAGE throughout: reclaim evicts batches."""
        out = empty_replay(len(pages))
        out.victims[:] = NO_PAGE
        for i, page in enumerate(pages.tolist()):
            out.hits[i] = self._resident[page]
            if not self._resident[page]:
                self._fault_in(page)
            self._young[page] = 1
        return out

    def _fault_in(self, page: int) -> None:
        if self._used == self.capacity_pages:
            self._reclaim()
        self._policy.insert(np.array([page], np.int64))
        self._resident[page] = True
        self._used += 1

    def _reclaim(self) -> None:
        """Evict until ``spare`` frames are free (mm/vmscan.c::shrink_lruvec: age if the policy wants it, then evict)."""
        vain = 0
        while self._used > self.capacity_pages - self._spare:
            if self._policy.wants_ageing():
                self._policy.age(self._young)
            evicted = self._policy.evict(self._young, min(self._spare, SWAP_CLUSTER_MAX)).evicted
            self._resident[evicted] = False
            self._young[evicted] = 0
            self._used -= len(evicted)
            vain = 0 if len(evicted) else vain + 1
            assert vain < ROUNDS_MAX, "a policy finds a page to evict"


AGEING: dict[str, Maker] = {
    name: policy.evicts for name, policy in PAGE_POLICIES.items() if policy.evicts is not None and policy.passes is not None
}
NAMES = ("fifo", "clock", "lru", *AGEING, "min")


def policy_on_demand(name: str, capacity_pages: int, n_pages: int) -> ReplacementPolicy:
    """The replacement policy ``name`` with ``capacity_pages`` frames for ``n_pages``.

    Ageing policies keep a 32nd of the frames spare.
    """
    if name in POLICIES:
        return POLICIES[name](capacity_pages, n_pages)
    return Demand(AGEING[name](n_pages), capacity_pages, n_pages, max(1, capacity_pages // 32))


def hit_ratios(string: Pages, n_pages: int, capacity_pages: int, warm_up: int = 0) -> dict[str, float]:
    """Hit ratio of every policy, by name, over the references after the first ``warm_up``.

    string: int64[references], pages in the order of their references, each below ``n_pages``.
    capacity_pages: frames.
    """
    return {
        name: float(policy_on_demand(name, capacity_pages, n_pages).replay(string).hits[warm_up:].mean()) for name in NAMES
    }
