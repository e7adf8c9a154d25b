"""What does a pass of page ageing take, and what does the guest lose by it, by the index that finds its sptes?

Shape of the answer, for 64 MiB whose log is read: with calls of 64 pages, as in batches of MGLRU, an index by gfn (rmap,
tdp) looks at what is asked for. A list, or a scan of all tables, looks at all of memory in each call, and every fault waits
for mmu_lock meanwhile. Chains of writable sptes age as the index does that they name. Book3S PR takes no time and finds all
old; its harvests are what costs.
"""

from __future__ import annotations

from collections.abc import Generator
from fractions import Fraction
from typing import Any

import numpy as np

from hostsim.core.clock import Clock
from hostsim.core.memory import lay_out, make_memory
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.rules import caught_by
from hostsim.kvm.spec import INDEXES, MmuSpec
from hostsim.kvm.trackers.get_dirty_log import GetDirtyLog
from hostsim.memory.ageing_daemon import AgeingDaemon

PAGES, CALL_PAGES, VCPUS = 16_384, 64, 2
WRITES_PER_S, READS_PER_S = 40_000, 40_000
RUN_NS, PERIOD_NS, HARVEST_NS = 2_000_000_000, 400_000_000, 100_000_000


def main() -> None:
    """Two seconds for each design, with ageing and without."""
    print(f"{'index':<22} {'a pass [ms]':>11} {'young a pass':>12} {'guest time lost':>15} {'of it by ageing':>15}")
    for design in INDEXES:
        pass_ms, young, lost = told(design, aged=True)
        print(f"{design:<22} {pass_ms:11.3g} {young:12.0f} {lost:15.2%} {lost - told(design, aged=False)[2]:15.2%}")


def told(design: str, *, aged: bool) -> tuple[float, float, float]:
    """(ms of a pass, pages it finds young, share of the guest's time that exits took), the first pass left out."""
    mmu = MmuSpec("E0b", "nehalem-2010", write_tracking=caught_by(design), index=design)
    rates = Fraction(WRITES_PER_S), Fraction(READS_PER_S)
    load = Workload("zipf", "zipf", tuple(range(VCPUS)), 0, PAGES, *rates, exponent=0.8)
    memory = make_memory(lay_out([("pc.ram", PAGES, [(0, PAGES)])]))
    env = Clock()
    vm = live_vm(env, memory, build_guest([load], 1), VCPUS, 0, mmu, "get-dirty-log")
    env.process(harvests(env, GetDirtyLog(vm)))
    daemon = AgeingDaemon(vm, notifier_of(vm, mmu), PERIOD_NS if aged else 2 * RUN_NS, call_pages=CALL_PAGES)
    env.run(until=RUN_NS)
    passes = daemon.passes[1:] or daemon.passes
    n = max(1, len(passes))
    lost = vm.tally().stall_ns / (RUN_NS * VCPUS)
    return sum(done.took_ns for done in passes) / n / 1e6, sum(done.young for done in passes) / n, lost


def harvests(env: Clock, log: GetDirtyLog) -> Generator[Any, Any, None]:
    """The log is read ten times a second."""
    yield from log.start_log()
    while True:
        yield env.timeout(HARVEST_NS)
        yield from log.sync(np.zeros(PAGES, np.uint8))


if __name__ == "__main__":
    main()
