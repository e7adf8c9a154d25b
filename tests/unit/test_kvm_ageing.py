"""Ageing on the engine: what scans find, what it costs guests with and without A bits, and that no record is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.core.memory import lay_out, make_memory
from hostsim.costs.exits import MAP, TRACK
from hostsim.guest.workload import build_guest
from hostsim.kvm.build import checked
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.spec import MmuSpec
from hostsim.spte_index.spte import IN_LOG, OLD, TRACKED, WRITABLE
from tests.helpers.kvm_guest import HandGuest, exit_costs, load

pytestmark = pytest.mark.quick
N_PAGES = 1024
SWEEP_NS = 10_000_000


def engine_of(config: MmuConfig, *, reads: bool = False, pages: int = N_PAGES) -> GuestEngine:
    """One vCPU that goes over ``pages`` once in SWEEP_NS, again and again; all memory is mapped."""
    rate = pages * 1_000_000_000 // SWEEP_NS
    work = load("sequential", pages, 0 if reads else rate, read_rate_per_s=rate if reads else 0)
    memory = make_memory(lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])]))
    return GuestEngine(build_guest([work], 1), memory, 1, config, exit_costs(ns=1))


def aged(engine: GuestEngine, now_ns: int, first: int = 0, end: int = N_PAGES) -> np.ndarray:
    young = np.full(N_PAGES, 7, np.uint8)
    found = engine.mmu.clear_young(first, end, young, now_ns)
    assert found == np.count_nonzero(young[first:end])
    assert (np.delete(young, np.s_[first:end]) == 7).all(), "what was not asked about is told of"
    engine.mmu.check_counts()
    return young[first:end]


@pytest.mark.parametrize("reads", [True, False])
def test_a_scan_finds_what_was_accessed_since_the_scan_before(reads: bool) -> None:
    engine = engine_of(MmuConfig(), reads=reads)
    assert aged(engine, 0).all(), "what was just mapped is young"
    for quarter in range(1, 6):
        now_ns = quarter * SWEEP_NS // 4
        engine.advance(now_ns)
        begun = (quarter - 1) * N_PAGES // 4 % N_PAGES
        expected = (np.arange(N_PAGES) >= begun) & (np.arange(N_PAGES) < begun + N_PAGES // 4)
        assert (aged(engine, now_ns) == expected).all()
    assert engine.exits.sum() == 0


def test_to_test_changes_nothing() -> None:
    engine = engine_of(MmuConfig())
    aged(engine, 0)
    engine.advance(SWEEP_NS // 2)
    first, again = np.zeros(N_PAGES, np.uint8), np.zeros(N_PAGES, np.uint8)
    assert engine.mmu.test_young(0, N_PAGES, first) == N_PAGES // 2
    assert engine.mmu.test_young(0, N_PAGES, again) == N_PAGES // 2
    assert (first == again).all()


@pytest.mark.parametrize(("ageing", "kind"), [("access-tracking", TRACK), ("zap", MAP)])
def test_without_a_bits_each_page_that_is_used_faults_once_a_scan(ageing: Any, kind: int) -> None:
    engine = engine_of(MmuConfig(MmuSpec(a_bits=False), ageing=ageing), pages=N_PAGES // 2)
    for scan in range(3):
        aged(engine, scan * 2 * SWEEP_NS)
        engine.advance((scan + 1) * 2 * SWEEP_NS)
        assert engine.exits[kind] == engine.exits.sum() == (scan + 1) * N_PAGES // 2
    assert aged(engine, 6 * SWEEP_NS).sum() == N_PAGES // 2


def test_a_large_spte_is_young_and_old_as_a_whole() -> None:
    engine = engine_of(MmuConfig(huge=True), pages=16)
    assert aged(engine, 0, 100, 101).tolist() == [1]
    assert engine.kvm.sptes.large.tolist()[0] & OLD
    assert aged(engine, 0).tolist() == [0] * 512 + [1] * 512, "the page beside it is old with it"
    engine.advance(SWEEP_NS)
    assert aged(engine, SWEEP_NS).tolist() == [1] * 512 + [0] * 512


def test_an_access_tracked_page_keeps_its_record() -> None:
    """Law 3: W is off until a write marks the page again; the record of the write before stays."""
    writes = load("sequential", N_PAGES, N_PAGES * 1_000_000_000 // SWEEP_NS)
    vm = HandGuest([writes], N_PAGES, 1, config=MmuConfig(MmuSpec(a_bits=False)))
    vm.run(SWEEP_NS // 2)
    spte = vm.engine.kvm.sptes.spte
    logged = np.flatnonzero(spte & IN_LOG)
    assert len(logged) > 100
    young = np.zeros(N_PAGES, np.uint8)
    vm.engine.mmu.clear_young(0, N_PAGES, young, SWEEP_NS // 2)
    assert (spte[logged] & (TRACKED | IN_LOG | WRITABLE) == TRACKED | IN_LOG).all()
    assert vm.engine.log.first_unrecorded() == -1
    assert set(logged) <= set(vm.harvest(SWEEP_NS // 2))


def test_d_bits_without_a_bits_are_refused() -> None:
    with pytest.raises(InputError, match="page tables that have D bits have A bits"):
        checked(MmuSpec(write_tracking="pml", a_bits=False), "get-dirty-log")
