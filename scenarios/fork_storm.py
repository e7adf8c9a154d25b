"""What does a storm of forks cost under shadow paging, by what holds the sptes of a page?

Shape of the answer: each child maps each page once more, so its list grows to 500 sptes. With descriptors of 3 that are
searched to the end the last children cost twice the mean; of 15, a quarter; of 14 with a counter, in front of which the
next one goes, each child costs the same, and leaving becomes the dearer half. Lists and hashes do not search, for 24 bytes
an spte. What KVM does with the parent's page table, one exit an entry or one for all, is beside it.
"""

from __future__ import annotations

import numpy as np

from hostsim.costs.costs import load_costs
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.study.fork_storm import Storm, run_storm

PAGES, CHILDREN = 256, 500
DESIGNS = ("rmap-3", "rmap-15", "rmap", "slot-list", "gfn-hash", "book3s-hv", "book3s-pr")
SHEET = "nehalem-2010"


def main() -> None:
    """A line a design, then the exits of both ways to take writes to page tables."""
    costs = CacheCosts.from_sheet(load_costs(SHEET))
    print(f"{CHILDREN} children of a process of {PAGES} pages, each reads all; time in the index for a child, {SHEET}\n")
    print(f"{'index':<10} {'comes [us]':>10} {'the last':>9} {'goes [us]':>10} {'entries seen':>13} {'index [KiB]':>12}")
    for design in DESIGNS:
        print(_line(run_storm(design, PAGES, CHILDREN, costs)))
    print("\nexits for the parent's page table at the first fork, all its pages written before:")
    for writes in ("emulated", "unsync"):
        counts = run_storm("rmap", PAGES, 1, costs, writes).counts
        print(f"  {writes:<9} {counts.emulated_writes} emulated, {counts.unsync_faults} to let a table go out of sync, "
              f"{counts.synced_tables} compared at the next CR3 load")  # fmt: skip


def _line(storm: Storm) -> str:
    comes, goes = (float(np.mean(ns)) / 1e3 for ns in (storm.comes_ns, storm.goes_ns))
    last = storm.comes_ns[-1] / 1e3
    return f"{storm.design:<10} {comes:10.1f} {last:9.1f} {goes:10.1f} {storm.visited:13} {storm.index_bytes / 1024:12.0f}"


if __name__ == "__main__":
    main()
