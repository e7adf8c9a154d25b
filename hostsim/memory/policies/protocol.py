"""The protocol of page ageing: an ageing policy chooses the pages to test and the pages to evict."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InvariantError

Pages = NDArray[np.int64]
Young = NDArray[np.uint8]
NO_PAGES: Pages = np.empty(0, np.int64)
ROUNDING = 1e-9
"""Share by which a mean of counts may exceed the greatest count, by rounding."""


class Scan(NamedTuple):
    """The pages of one step, in the order in which the step took them.

    asked: int64[k], pages whose accessed bit was tested and cleared, by one mmu-notifier call each.
    evicted: int64[m], evicted pages.
    tested: int64[t], pages whose bit was tested alone, before ``asked``: such a policy decides by the tests, and clears a
    bit only to prepare its next test.
    """

    asked: Pages
    evicted: Pages
    tested: Pages = NO_PAGES


class AgeingPolicy(Protocol):
    """Ageing of the resident pages among gfns 0 to n_pages - 1.

    A step tests and clears accessed bits in ``young``, uint8[n_pages], in place, and reads no other bits. Pages enter by
    ``insert`` alone and leave by ``evict`` alone.
    """

    name: str

    def insert(self, pages: Pages) -> None:
        """Insert ``pages`` (int64[k]), which have just become resident, in this order."""
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
    """A policy that counts some pages as used without testing them."""

    def held_in_use(self) -> Pages:
        """int64[k]: the pages that count as used untested, after the last pass."""
        ...


class ColdPolicy(AgeingPolicy, Protocol):
    """A policy for proactive reclaim: it counts its cold pages."""

    def cold_pages(self) -> int:
        """Number of pages that ``evict`` may evict now."""
        ...


def held_in_use(policy: AgeingPolicy) -> Pages:
    """int64[k]: pages that ``policy`` counts as used although its last pass did not test them."""
    return policy.held_in_use() if isinstance(policy, HoldsPages) else NO_PAGES


def check_estimate(pages: float, most: float, of: str) -> None:
    """InvariantError if ``pages`` counted as used exceed ``most`` (named by ``of``): then some pages count twice."""
    if pages > most * (1 + ROUNDING):
        raise InvariantError(f"{pages:.6g} pages are taken for used, of {most:.6g} {of}")
