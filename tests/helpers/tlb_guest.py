"""Guests whose A bits are scanned while their TLBs are modelled."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out, make_memory
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.tlb import TlbReach
from tests.helpers.kvm_guest import exit_costs
from tests.twins.tlb_twin import Seen, Watched

SCAN_NS = 10_000_000


def reader(n_pages: int, per_scan: float, n_vcpus: int = 1, exponent: float = 0.0, *, writes: bool = False) -> Workload:
    """``per_scan`` accesses in SCAN_NS by each vCPU, uniform or (exponent > 0) Zipf; reads, or paced writes."""
    rate = Fraction(per_scan * n_vcpus) * NS_PER_S / SCAN_NS
    reads, written = (Fraction(0), rate) if writes else (rate, Fraction(0))
    pattern = "zipf" if exponent else "uniform"
    return Workload("reader", pattern, tuple(range(n_vcpus)), 0, n_pages, written, reads, exponent=exponent)


def engine_of(load: Workload, reach: TlbReach | None, seed: int = 1, *, huge: bool = False, n_pages: int = 0) -> GuestEngine:
    """All memory is mapped; exits take next to nothing."""
    n_pages = n_pages or load.n_pages
    memory = make_memory(lay_out([("pc.ram", n_pages, [(0, n_pages)])]))
    config = MmuConfig(huge=huge, tlb=reach)
    return GuestEngine(build_guest([load], seed), memory, len(load.vcpus), config, exit_costs(ns=1))


def scan(engine: GuestEngine, scans: int, *, flush: bool = False, warm_up: int = 0, first: int = 0, span: int = 1) -> Seen:
    """Scan all memory each SCAN_NS, from scan number ``first`` on. ``flush``: before what was young is made old."""
    n_pages = engine.memory.n_pages
    bits, young, false_old = np.zeros(n_pages, np.uint8), [], []
    engine.tlb.model(first * SCAN_NS)
    for number in range(first + 1, first + scans + warm_up + 1):
        now_ns = number * SCAN_NS
        assert engine.advance(now_ns) is None
        if flush:
            engine.tlb.flush(now_ns)
        false_old.append(engine.tlb.judge_old(0, n_pages, now_ns) / span)
        young.append(engine.mmu.clear_young(0, n_pages, bits, now_ns, flushed=flush) / span)
        engine.mmu.check_counts()
    return Seen(np.array(young[warm_up:], np.float64), np.array(false_old[warm_up:], np.float64))


def scan_engine(
    case: Watched, exponent: float, seed: int, *, writes: bool = False, hot: tuple[int, float] | None = None
) -> Seen:
    """The result of ``scan_twin``, from the engine. hot: pages in front, and their share of all accesses."""
    n_pages = len(case.shares)
    load = reader(n_pages, case.per_scan, case.n_vcpus, exponent, writes=writes)
    if hot is not None:
        load = replace(load, pattern="hotcold", hot_pages=hot[0], hot_share=hot[1])
    engine = engine_of(load, TlbReach(case.entries, case.entries), seed, huge=case.span > 1)
    return scan(engine, case.scans, flush=case.flush, warm_up=case.warm_up, span=case.span)
