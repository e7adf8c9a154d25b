"""Which guest meets KVM's limit of shadow pages, and what does it pay?

Shape of the answer: a step. The limit is 2 % of the guest's pages, room for ten address spaces that map all of its memory.
Below it a second round through all processes takes no fault. With one process more each round takes all faults of the
first: KVM recycles the oldest shadow pages, and those the round comes to next. KVM_SET_NR_MMU_PAGES raises the limit.
"""

from __future__ import annotations

from hostsim.costs.costs import load_costs
from hostsim.costs.era import load_era
from hostsim.costs.exit_costs import exit_costs
from hostsim.costs.exits import MAP
from hostsim.spte_index.recycling import GROUP_PAGES, RecyclingCounts, ShadowPages, default_limit, shadow_pages

GIB_PAGES = 1 << 18
GUEST_PAGES, SHARED_PAGES = 4 * GIB_PAGES, GIB_PAGES
PROCESSES = (10, 20, 40, 41, 48)
ERA, SHEET = "E6", "zen4-pvm"


def main() -> None:
    """A line for each number of processes."""
    limit = default_limit(GUEST_PAGES)
    print(f"Processes that each go over 1 GiB of shared memory in turn, in a guest of 4 GiB: at most {limit} shadow pages")
    print(f"costs: {SHEET}, era {ERA}, shadow paging\n")
    print(f"{'processes':>9} {'needed':>8} {'faults, round 1':>16} {'round 2':>9} {'recycled':>9} {'round 2 [s]':>12}")
    for n_processes in PROCESSES:
        first, second = _rounds(limit, n_processes)
        needed = n_processes * shadow_pages(SHARED_PAGES)
        took_s = _round_ns(n_processes, second) / 1e9
        print(f"{n_processes:9} {needed:8} {first.faults:16} {second.faults:9} {second.recycled:9} {took_s:12.2f}")


def _rounds(limit: int, n_processes: int) -> list[RecyclingCounts]:
    """Counts of two rounds through all processes."""
    vm, found = ShadowPages(limit), []
    for _ in range(2):
        before = RecyclingCounts(*vm.counts.as_tuple())
        for process in range(n_processes):
            vm.load(process)
            vm.sweep(process, 0, SHARED_PAGES)
        found.append(vm.counts - before)
    return found


def _round_ns(n_processes: int, counts: RecyclingCounts) -> float:
    """Time of the guest's own loop and of the faults; of recycling itself nothing."""
    sheet = load_costs(SHEET)
    costs = exit_costs(sheet, load_era(ERA), "shadow", n_vcpus=1)
    hold_ns = int(costs.hold_ns[MAP]) + (GROUP_PAGES - 1) * costs.prefetch_ns
    return n_processes * SHARED_PAGES * sheet.loop_ns + counts.faults * (costs.exit_ns + hold_ns + costs.entry_ns)


if __name__ == "__main__":
    main()
