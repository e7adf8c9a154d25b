"""S rows of suite ``published``: memory of a host that runs short.

S1: hit ratio of uniform random reads over 99 GiB with 36 GiB of memory, on the policies. S2: time of a fault that swaps in,
and of a page that is swapped out, where swap is as fast as memory. S3: the controller of a fleet's far memory on a simulated
guest: does the age that it chooses hold the bound?
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.exits import MAP
from hostsim.guest.popularity import zipf_shares
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.ageing_daemon import AgeingDaemon
from hostsim.memory.fault_waits import MAJOR, VCPU
from hostsim.theory.far_memory import PROMOTED_SHARE_A_MINUTE, SCAN_S, AgeHistograms, smallest_age
from hostsim.theory.replacement import POLICIES
from hostsim.validation import draws
from hostsim.validation.oracles_swap import swapping_vm
from hostsim.validation.rows import SIGMAS, Row, absolute, relative, sigma

GIB_PAGES = 512
"""Pages of 2 MiB: where all pages are alike, their size does not matter."""
REGION_GIB, MEMORY_GIB = 99, 36
WARM_UP_TURNS, REFERENCES = 10, 1_000_000
HIT_TOLERANCE = 0.01
"""The published tolerance."""


def hit_ratio_rows(seed: int = 1) -> Iterator[Row]:
    """One string of reads for all policies that do not see the future."""
    pages, frames = REGION_GIB * GIB_PAGES, MEMORY_GIB * GIB_PAGES
    warm_up = WARM_UP_TURNS * frames
    string = draws.generator(seed, 201).integers(pages, size=warm_up + REFERENCES)
    for policy in ("fifo", "clock", "lru"):
        got = float(POLICIES[policy](frames, pages).replay(string).hits[warm_up:].mean())
        what = f"hit ratio of {policy}, 36 of 99 GiB"
        yield relative("published", f"S1/{policy}", what, MEMORY_GIB / REGION_GIB, got, HIT_TOLERANCE)


SWAP_IN_NS, SWAP_OUT_NS = 4_050, 360
"""As published; hostsim/data/swap/memory.toml has them."""
WORK_NS, END_NS = 30_000_000, 150_000_000
SWAP_TOLERANCE = 0.05
"""Assumed: no tolerance is published."""


def swap_rows(seed: int = 1) -> Iterator[Row]:
    """Random reads over half as much memory again as there is, one vCPU."""
    run = swapping_vm(1, "memory", WORK_NS, END_NS, seed)
    pages, device = run.host.vms[0], run.host.device
    assert device is not None
    in_ns, out_ns = device.latencies["read"].mean_ns, device.latencies["write"].total_ns / pages.counts["swapped_out"]
    yield _row("swap-in", "device, a fault that swaps in, ns", SWAP_IN_NS, in_ns).unscored("fitted: its sheet has it")
    yield _row("swap-out", "device, a page swapped out, ns", SWAP_OUT_NS, out_ns).unscored("fitted: its sheet has it")
    fault_ns = float(pages.waits[VCPU].latencies[MAJOR].percentile_ns(50.0))
    fault = _row("fault", "median of what a fault waits for the host, ns", SWAP_IN_NS, fault_ns)
    yield fault.unscored("fitted: nothing on the way comes on top of it")
    guest_ns = float(run.vm.engine.exit_latencies()[MAP].percentile_ns(50.0))
    guest = _row("guest", "median of a fault from guest to guest, ns", SWAP_IN_NS, guest_ns)
    yield guest.unscored(f"shown: the exit, KVM's own work and the entry come on top, {guest_ns - fault_ns:.0f} ns")


def _row(part: str, what: str, expected: float, got: float) -> Row:
    return relative("published", f"S2/{part}", what, expected, got, SWAP_TOLERANCE)


N_PAGES, USED_PAGES = 2048, 1750
"""Pages not in use were written once: 15 % of memory (assumed: idle for good, as much of a fleet's memory is)."""
READS_PER_S, EXPONENT = 70.0, 0.9
OLDEST = 30
WARM_UP, LEARNT, HELD = 40, 60, 60
"""Scans: until the ages are steady, scans that the controller sees, and scans in which its choice has to hold."""
COLD_SHARE = 0.32
CALL_PAGES = 512


def far_memory_rows(seed: int = 1) -> Iterator[Row]:
    """A guest of 8 MiB for five hours and a half, scanned each 120 s."""
    learnt, held = _scans(seed)
    age = smallest_age(learnt)
    assert age is not None, "the guest has an age at which it keeps the bound"
    percent = 100.0 * float(held.promotions_a_minute()[age]) / held.working_set
    yield _bound_row(age, percent, held)
    yield _form_row(age, held)
    cold = held.cold[1] / held.scans / N_PAGES
    yield replace(
        absolute("published", "S3/cold", "share of memory cold at 120 s", COLD_SHARE, float(cold), 0.05),
        scored=False, note="shown: the guest was made to have about as much",
    )  # fmt: skip
    kept = held.cold[age] / held.scans / N_PAGES
    yield replace(
        absolute("published", "S3/kept", f"share of memory cold at {age} scans", float(cold), float(kept), 1.0),
        scored=False, note="shown: what the bound leaves of it",
    )  # fmt: skip


def _bound_row(age: int, percent: float, held: AgeHistograms) -> Row:
    """Above the bound by no more than counting allows: promotions are a count."""
    bound = 100.0 * PROMOTED_SHARE_A_MINUTE
    count = float(held.promoted[age])
    slack = SIGMAS * math.sqrt(max(1.0, count)) / max(1.0, count) * bound
    what = f"promotions a minute, % of w(120 s), at the smallest age within the bound, {age} scans"
    row = absolute("published", "S3/bound", what, bound, percent, slack)
    over = max(0.0, percent - bound)
    return replace(row, error=over, passed=over <= slack, note="error: what is above it; tolerance: 5 sd of the count")


def _form_row(age: int, held: AgeHistograms) -> Row:
    """Oracle O13: a page is promoted by a scan if it was idle for ``age`` scans before, and is young now."""
    rates = READS_PER_S * zipf_shares(USED_PAGES, EXPONENT)
    chances = np.exp(-rates * age * SCAN_S) * -np.expm1(-rates * SCAN_S)
    mean, got = float(chances.sum()) * held.scans, float(held.promoted[age])
    what = f"promotions in {held.scans} scans at that age, against the working-set form"
    return sigma("published", "S3/form", what, mean, got, (got - mean) / math.sqrt(mean))


def _scans(seed: int) -> tuple[AgeHistograms, AgeHistograms]:
    """Histograms of the scans that the controller sees, and of later ones; calls flush: no stale TLB entry hides a read."""
    env, mmu = Clock(), MmuSpec(era="E4")
    memory = make_memory(lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])]))
    load = Workload(
        "reader", "zipf", (0,), 0, USED_PAGES, read_rate_per_s=Fraction(READS_PER_S), exponent=EXPONENT
    )
    vm = live_vm(env, memory, build_guest([load], seed), 1, 0, mmu, "get-dirty-log")
    daemon = AgeingDaemon(vm, notifier_of(vm, mmu), SCAN_S * NS_PER_S, call_pages=CALL_PAGES, flushes=True)
    seen = AgeHistograms(N_PAGES, OLDEST)
    counts: NDArray[np.int32] = daemon.young_counts.copy()
    found = []
    for scan in range(1, WARM_UP + LEARNT + HELD + 1):
        env.run(until=scan * SCAN_S * NS_PER_S + NS_PER_S)
        seen.note((daemon.young_counts - counts).astype(np.uint8))
        counts = daemon.young_counts.copy()
        if scan in {WARM_UP, WARM_UP + LEARNT, WARM_UP + LEARNT + HELD}:
            found.append(copy_of(seen))
            seen.begin()
    return found[1], found[2]


def copy_of(seen: AgeHistograms) -> AgeHistograms:
    """A copy of the counts of ``seen``, which later scans of ``seen`` do not move."""
    copy = AgeHistograms(seen.n_pages, seen.oldest, seen.scans, seen.young)
    copy.promoted[:], copy.cold[:] = seen.promoted, seen.cold
    return copy
