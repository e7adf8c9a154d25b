"""The protocol of page ageing: who asks for accessed bits when, and which pages have to go."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InvariantError

Pages = NDArray[np.int64]
Young = NDArray[np.uint8]
NO_PAGES: Pages = np.empty(0, np.int64)
ROUNDING = 1e-9
"""A mean of counts may be above the greatest of them by so much."""


class Scan(NamedTuple):
    """What one step did, in its order.

    asked: int64[k], pages whose accessed bit was tested and cleared, one call of an mmu notifier each; evicted: int64[m];
    tested: int64[t], pages whose bit was tested alone, before the others: a policy that tests learns from its tests, and
    clears only to arm the next test.
    """

    asked: Pages
    evicted: Pages
    tested: Pages = NO_PAGES


class AgeingPolicy(Protocol):
    """Ageing of the resident pages among gfns 0 to n_pages - 1.

    ``young`` is uint8[n_pages], 1 where the accessed bit is set; a step clears the bits it asks for, in place, and looks
    at no others. Pages enter by ``insert`` and leave by being evicted, no other way.
    """

    name: str

    def insert(self, pages: Pages) -> None:
        """Pages that were not resident, just faulted in, one after the other."""
        ...

    def wants_ageing(self) -> bool:
        """Whether reclaim would age before it evicts more."""
        ...

    def age(self, young: Young) -> Scan:
        """One step of ageing; evicts nothing."""
        ...

    def evict(self, young: Young, nr_pages: int) -> Scan:
        """One batch of reclaim that looks at no more than ``nr_pages`` pages."""
        ...

    def resident_pages(self) -> Pages:
        """Pages inserted and not evicted, ascending."""
        ...


@runtime_checkable
class HoldsPages(Protocol):
    """A policy that takes pages for used without asking about them."""

    def held_in_use(self) -> Pages:
        """int64[k]: those pages, after the last pass."""
        ...


class ColdPolicy(AgeingPolicy, Protocol):
    """A policy for proactive reclaim: it can tell how many pages are cold."""

    def cold_pages(self) -> int:
        """Pages that evict may give up now."""
        ...


def held_in_use(policy: AgeingPolicy) -> Pages:
    """int64[k]: pages that ``policy`` takes for used although its last pass did not ask about them."""
    return policy.held_in_use() if isinstance(policy, HoldsPages) else NO_PAGES


def check_estimate(pages: float, most: float, of: str) -> None:
    """InvariantError if more ``pages`` are taken for used than there are (``most``, named by ``of``): some count twice."""
    if pages > most * (1 + ROUNDING):
        raise InvariantError(f"{pages:.6g} pages are taken for used, of {most:.6g} {of}")
