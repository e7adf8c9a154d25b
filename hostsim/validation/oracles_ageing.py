"""O12-O14, O22: ageing scans against the working-set forms, in a drawn guest and in guests under KVM.

Scans find pages young; they clear A bits, fault where there are none, and faults go stale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.exits import EXCLUSIVE, MAP, N_KINDS, NONE, TRACK, ExitCosts
from hostsim.guest.popularity import zipf_shares
from hostsim.guest.touch import TouchTable, next_touches
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.loops.layout import RETRY
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.policies.idle import IdlePages
from hostsim.theory import working_set
from hostsim.validation import draws
from hostsim.validation.rows import Row, exact, relative, sigma
from hostsim.validation.samples import SUITE, count_rows, mean_z, page_bits_z

N_PAGES, ACCESSES_PER_S, SCAN_NS = 600, 3000, 100_000_000
SCANS, WARM_UP = 1200, 40
AGES = (1, 3, 8)
"""Scans after which a page counts as idle."""
STEP = 1e-5
"""Share of T by which w is differenced."""


def working_set_rows(seed: int = 1) -> Iterator[Row]:
    """Idle-page tracking of a guest whose reads are Poisson and Zipf: 1200 scans of 600 pages."""
    table = _guest(seed)
    rates = NS_PER_S / table.page_mean_ns
    yield from _form_rows(rates)
    young = _young_bits(table)
    yield from young_rows("O12-run/young", young, rates)
    for age in AGES:
        yield from idle_rows("run", young, rates, age)


def _guest(seed: int) -> TouchTable:
    load = Workload("reader", "zipf", (0,), 0, N_PAGES, read_rate_per_s=Fraction(ACCESSES_PER_S), exponent=0.9)
    return build_guest([load], seed).table


def _young_bits(table: TouchTable) -> NDArray[np.bool_]:
    """bool[SCANS, N_PAGES]: accessed since the scan before, which cleared the bit."""
    pages, found = np.arange(N_PAGES), np.empty(N_PAGES, np.int64)
    young = np.empty((SCANS, N_PAGES), np.bool_)
    for scan in range(SCANS):
        next_touches(table, 0, pages, np.full(N_PAGES, scan * SCAN_NS), found)
        young[scan] = found < (scan + 1) * SCAN_NS
    return young


def _form_rows(rates: NDArray[np.float64]) -> Iterator[Row]:
    """The promotion rate is the slope of the working set; by difference of w."""
    for age in AGES:
        seconds = age * SCAN_NS / NS_PER_S
        low, high = (working_set.working_set_pages(rates, seconds * (1.0 + side * STEP)) for side in (-1.0, 1.0))
        slope = (high - low) / (2.0 * STEP * seconds)
        got = working_set.promotion_rate_per_s(rates, seconds)
        yield relative(SUITE, f"O13/{seconds:g}s", "promotions a second, as slope of w", slope, got, 1e-7)


def young_rows(row_id: str, young: NDArray[np.bool_], rates: NDArray[np.float64]) -> Iterator[Row]:
    """O12: the pages that each scan finds young, against 1 - e^(-r P).

    young: bool[SCANS, N_PAGES]. rates: float64[N_PAGES], r, reads a second of each page; P is the period of the scans.
    """
    scan_s = SCAN_NS / NS_PER_S
    chance = working_set.young_probability(rates, scan_s)
    mean = working_set.working_set_pages(rates, scan_s)
    counts = young.sum(axis=1)
    yield from count_rows(row_id, "pages a scan finds young", counts, mean, count_variance(chance))
    z = page_bits_z(young.sum(axis=0), SCANS, chance)
    what = "pages found young over all scans, by chi-square a page"
    yield sigma(SUITE, row_id, what, mean * SCANS, float(young.sum()), z)


def idle_rows(name: str, young: NDArray[np.bool_], rates: NDArray[np.float64], age: int) -> Iterator[Row]:
    """Counts of scans so far apart that they share no access: idle pages, and those of them that come back.

    name: of the guest, in the ids. age: scans after which a page is idle.
    young: bool[SCANS, N_PAGES], accessed since the scan before. rates: float64[N_PAGES], reads a second of each page.
    """
    tracker = IdlePages(N_PAGES, age)
    tracker.insert(np.arange(N_PAGES))
    idle, promoted = [], []
    for bits in young:
        before = tracker.promoted_pages
        tracker.age(bits.astype(np.uint8))
        promoted.append(tracker.promoted_pages - before)
        idle.append(int(np.count_nonzero(tracker.idle_scans() >= age)))
    age_s, scan_s = age * SCAN_NS / NS_PER_S, SCAN_NS / NS_PER_S
    apart = slice(WARM_UP, None, age + 1)
    stays = np.exp(-rates * age_s)
    mean, what = working_set.cold_pages(rates, age_s), f"pages idle for {age} scans"
    yield from count_rows(f"O12-{name}/idle {age}", what, idle[apart], mean, count_variance(stays))
    comes = stays * working_set.young_probability(rates, scan_s)
    grown = working_set.working_set_pages(rates, age_s + scan_s) - working_set.working_set_pages(rates, age_s)
    z = mean_z(promoted[apart], grown, count_variance(comes))
    what = f"promotions a scan after {age} idle ones, as growth of w"
    yield sigma(SUITE, f"O13-{name}/idle {age}", what, grown, float(np.mean(promoted[apart])), z)


def count_variance(chances: NDArray[np.float64]) -> float:
    """Variance of a count of independent pages, float64[n] ``chances``."""
    return float((chances * (1.0 - chances)).sum())


READS_PER_S, EXPONENT = 3000, 0.9
NO_A_BITS = {"access-tracking": TRACK, "zap": MAP}
"""The exit that an access to an old page takes, by the way in which ageing made the page old."""
READER = Workload("reader", "zipf", (0,), 0, N_PAGES, read_rate_per_s=Fraction(READS_PER_S), exponent=EXPONENT)
RATES = READS_PER_S * zipf_shares(N_PAGES, EXPONENT)
"""Reads of each page a second."""
FAULTS, WINDOW_NS, OUTSIDE_NS = 10_000, 2_000, 300
INVALIDATIONS_A_WINDOW = (0.1, 0.5, 1.5)


def ageing_rows(seed: int = 1) -> Iterator[Row]:
    """O12 and O14: 1200 scans of 600 pages; O22: 10 000 map faults."""
    rng = draws.generator(seed, 22)
    yield from _a_bit_rows(seed)
    for number, (ageing, kind) in enumerate(NO_A_BITS.items(), 1):
        yield from _fault_rows(seed + number, ageing, kind)
    for share in INVALIDATIONS_A_WINDOW:
        yield from _retry_rows(rng, share)


def _engine(load: Workload, filled: bool, config: MmuConfig, mode: int, seed: int) -> GuestEngine:
    """An engine with one vCPU. Without a lock exits take 3 ns: they keep far less than a sigma of time from the guest."""
    n = load.n_pages
    outside_ns, hold_ns = (1, 1) if mode == NONE else (OUTSIDE_NS, OUTSIDE_NS)
    modes, holds = np.full(N_KINDS, mode, np.int64), np.full(N_KINDS, hold_ns, np.int64)
    costs = ExitCosts(outside_ns, outside_ns, hold_ns, 0, 0, modes, holds, np.zeros((3, 1), np.int64))
    memory = make_memory(lay_out([("pc.ram", n, [(0, n)] if filled else [])]))
    return GuestEngine(build_guest([load], seed), memory, 1, config, costs)


def _scanned(config: MmuConfig, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(bool[SCANS, N_PAGES]: pages that each scan found young; int64[SCANS, 8]: exits between scans, by kind)."""
    engine, found = _engine(READER, True, config, NONE, seed), np.zeros(N_PAGES, np.uint8)
    engine.mmu.clear_young(0, N_PAGES, found, 0)
    young, exits = np.empty((SCANS, N_PAGES), np.bool_), np.empty((SCANS, len(engine.exits)), np.int64)
    for scan in range(SCANS):
        now_ns = (scan + 1) * SCAN_NS
        engine.advance(now_ns)
        engine.mmu.clear_young(0, N_PAGES, found, now_ns)
        young[scan], exits[scan] = found, engine.exits
    return young, np.diff(exits, axis=0, prepend=0)


def _a_bit_rows(seed: int) -> Iterator[Row]:
    young, exits = _scanned(MmuConfig(), seed)
    yield from young_rows("O12-kvm/young", young, RATES)
    for age in AGES:
        yield from idle_rows("kvm", young, RATES, age)
    yield exact(SUITE, "O14-kvm/a-bits", "exits of all scans", 0, int(exits.sum()))


def _fault_rows(seed: int, ageing: str, kind: int) -> Iterator[Row]:
    """A page faults once between two scans if the guest uses it, and not otherwise."""
    young, exits = _scanned(MmuConfig(MmuSpec(a_bits=False), ageing="zap" if ageing == "zap" else "access-tracking"), seed)
    scan_s, where = SCAN_NS / NS_PER_S, f"O14-kvm/{ageing}"
    mean = working_set.working_set_pages(RATES, scan_s)
    variance = count_variance(working_set.young_probability(RATES, scan_s))
    yield from count_rows(where, "faults a scan, as w(P)", exits[:, kind], mean, variance)
    yield exact(SUITE, where, "faults of all scans, as pages found young", int(young.sum()), int(exits.sum()))


def _retry_rows(rng: np.random.Generator, share: float) -> Iterator[Row]:
    """A fault looks its host page up for WINDOW_NS; an invalidation that ends meanwhile makes it retry."""
    # Model limit: a sequence count has no range, so an invalidation that is over sends back all faults under way.
    load = Workload("writer", "sequential", (0,), 0, FAULTS, Fraction(NS_PER_S))
    engine = _engine(load, False, MmuConfig(pfn_ns=WINDOW_NS), EXCLUSIVE, 1)
    ns = 0.0
    while engine.exits[MAP] < FAULTS:
        ns += rng.exponential(WINDOW_NS / share)
        engine.advance(math.ceil(ns))
        engine.mmu.invalidate_begin(0, FAULTS)
        engine.mmu.invalidate_end()
    retries, chance, where = int(engine.exits[RETRY]), -math.expm1(-share), f"O22-kvm/vF {share:g}"
    attempts = retries + FAULTS
    z = mean_z([retries / attempts], chance, chance * (1.0 - chance) / attempts)
    yield sigma(SUITE, where, "share of attempts that are sent back, as 1 - e^(-v F)", chance, retries / attempts, z)
    mean = math.exp(share)
    z = mean_z([attempts / FAULTS], mean, (mean * mean - mean) / FAULTS)
    yield sigma(SUITE, where, "attempts a fault, as e^(v F)", mean, attempts / FAULTS, z)
