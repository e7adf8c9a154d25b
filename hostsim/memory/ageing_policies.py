"""Ageing policies by name: what one pass over the resident memory of a VM is with each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hostsim.costs.era import load_era, unknown_name
from hostsim.kvm.mmu_notifier import CLEAR_FLUSH_YOUNG, CLEAR_YOUNG
from hostsim.memory.policies.generations import Generations
from hostsim.memory.policies.idle import IdlePages
from hostsim.memory.policies.protocol import AgeingPolicy, Pages, Scan, Young
from hostsim.memory.policies.two_list import SWAP_CLUSTER_MAX, TwoList

COLD_SCANS = 1
"""Scans after which idle-page tracking calls a page cold, where nobody asks for cold pages."""


class TwoListScan(TwoList):
    """The two lists, scanned with nothing to reclaim: what would go is put back at the head of the inactive one."""

    # Model limit: the two-list policy scans under pressure alone; a pass looks at what reclaim would at its utmost.

    def __init__(self, n_pages: int) -> None:
        super().__init__(n_pages)
        self._asked = np.empty(0, np.int64)

    def held_in_use(self) -> Pages:
        """Pages that the last pass did not ask for: they are on the active list, and count as used."""
        return np.setdiff1d(self.resident_pages(), self._asked)

    def age(self, young: Young) -> Scan:
        """Scan clusters until as many pages were looked at as are resident; those deactivated are asked for as well."""
        left, asked = len(self.resident_pages()), [np.empty(0, np.int64)]
        while left > 0:
            if self.wants_ageing():
                asked.append(super().age(young).asked)
            scan = self.evict(young, min(left, SWAP_CLUSTER_MAX))
            self.insert(scan.evicted)
            asked.append(scan.asked)
            left -= max(1, len(scan.asked))
        self._asked = np.concatenate(asked)
        return Scan(self._asked, np.empty(0, np.int64))


MAKERS: dict[str, Callable[[int], AgeingPolicy]] = {
    "two-list": TwoListScan,
    "mglru-walk": Generations,
    "mglru-no-walk": lambda n_pages: Generations(n_pages, walks=False),
    "idle": lambda n_pages: IdlePages(n_pages, COLD_SCANS),
}
POLICY_NAMES = ("two-list", "mglru", "mglru-walk", "mglru-no-walk", "idle")


def named_for(policy: str, era: str) -> str:
    """``mglru`` as the kernels of ``era`` have it: its walk asks secondary MMUs, or does not; other names as they are."""
    if policy != "mglru":
        return policy
    return "mglru-walk" if load_era(era).mglru_walk else "mglru-no-walk"


def ageing_policy(policy: str, era: str, n_pages: int) -> AgeingPolicy:
    """The policy of that name, empty; one ``age`` of it is a pass. InputError if there is none."""
    if policy not in POLICY_NAMES:
        raise unknown_name("policy", policy, POLICY_NAMES)
    return MAKERS[named_for(policy, era)](n_pages)


def event_of(policy: str) -> str:
    """The notifier event by which ``policy`` asks: folio_referenced flushes (mm/rmap.c::folio_referenced_one).

    A walk of MGLRU and idle-page tracking do not (mm/vmscan.c::walk_pte_range, mm/page_idle.c).
    """
    return CLEAR_FLUSH_YOUNG if policy == "two-list" else CLEAR_YOUNG


def held_in_use(policy: AgeingPolicy) -> Pages:
    """Pages that ``policy`` takes for used although its last pass did not ask for them."""
    return policy.held_in_use() if isinstance(policy, TwoListScan) else np.empty(0, np.int64)


def resident_of(spte_flags: Young, present: int, known: Pages) -> Pages:
    """Pages mapped (``present`` in uint8[n] flags) that are not among ``known``, ascending."""
    mapped = np.flatnonzero(spte_flags & present)
    return np.setdiff1d(mapped, known, assume_unique=True)
