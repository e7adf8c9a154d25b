"""A bits and TLBs: closed forms, page sizes, flushes, and what a daemon reports."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from hostsim.core.constants import NS_PER_S
from hostsim.costs.exits import WP
from hostsim.guest.popularity import zipf_shares
from hostsim.guest.workload import Workload, build_guest
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.loops.layout import STALE_ROW
from hostsim.kvm.miss_chances import Mapped, MissChances
from hostsim.kvm.notifier_plan import notifier_of
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.tlb import TlbReach, Translations, characteristic_ns, used_translations
from hostsim.memory.ageing_daemon import AgeingDaemon
from hostsim.spte_index.spte import AGED, OLD, PRESENT, STALE
from hostsim.theory.working_set import working_set_pages, young_probability
from hostsim.validation.samples import mean_z
from tests.helpers.kvm_guest import HandGuest, load
from tests.helpers.live import MS, live_machine, vm_of
from tests.helpers.tlb_guest import SCAN_NS, engine_of, reader, scan

pytestmark = pytest.mark.quick
N_PAGES = 1024
SIGMAS = 5.0


def sweeping(n_pages: int, **more: object) -> Workload:
    """Reads page after page, four times in a scan."""
    rate = Fraction(4 * n_pages * NS_PER_S, SCAN_NS)
    return Workload("sweep", "sequential", (0,), 0, n_pages, read_rate_per_s=rate, **more)  # type: ignore[arg-type]


# The life of an entry


@pytest.mark.parametrize("exponent", [0.0, 0.9])
def test_within_the_life_of_an_entry_as_many_are_used_as_there_are(exponent: float) -> None:
    rates = zipf_shares(N_PAGES, exponent) * 1e-3
    kinds = Translations(rates, np.full(N_PAGES, np.inf), np.ones(N_PAGES))
    life_ns = characteristic_ns(kinds, 300)
    assert used_translations(kinds, life_ns) == pytest.approx(300, rel=1e-9)
    assert used_translations(kinds, life_ns) == pytest.approx(working_set_pages(rates * NS_PER_S, life_ns / NS_PER_S))
    assert characteristic_ns(kinds, N_PAGES) == np.inf


def first_seen(p: float) -> float:
    """Share of accesses that are seen where a share ``p`` misses: e^-x / (1 - x e^-x), x = -ln p."""
    return p / (1.0 + p * np.log(p))


def test_a_uniform_guest_is_seen_once_its_pages_have_left() -> None:
    """1 - C / N of its accesses miss, whatever the rate; the first that does comes sooner than if each missed by itself."""
    guest = build_guest([reader(N_PAGES, 4096.0)], 1)
    chances = MissChances(guest, Mapped(np.zeros(2, np.uint8), 1), TlbReach(300, 4))
    (found,) = chances.of(0)
    assert found == pytest.approx(first_seen(1.0 - 300 / N_PAGES), rel=1e-9)
    assert chances.life_ns(0) == pytest.approx(-np.log(1 - 300 / N_PAGES) * N_PAGES * SCAN_NS / 4096.0)


def test_a_class_that_two_vcpus_make_has_their_mean_chance() -> None:
    """One vCPU goes over other memory beside it, which throws its entries out."""
    both = reader(256, 2048.0, n_vcpus=2)
    beside = replace(sweeping(4096), vcpus=(1,), first_gfn=1024, read_rate_per_s=Fraction(NS_PER_S, 10))
    guest = build_guest([both, beside], 1)
    mapped = Mapped(np.zeros(10, np.uint8), 1)
    (shared,), (swept,) = (list(MissChances(guest, mapped, TlbReach(300, 4)).of(c)) for c in range(2))
    alone = MissChances(build_guest([replace(both, vcpus=(1,), read_rate_per_s=both.read_rate_per_s / 2), beside], 1),
                        mapped, TlbReach(300, 4))  # fmt: skip
    (one,) = alone.of(0)
    assert 0.0 < one[0] < 1.0
    assert shared[0] == pytest.approx((0.0 + one[0]) / 2), "all that the other vCPU uses fits"
    assert (swept == 1.0).all()


def test_an_entry_of_a_large_page_covers_512() -> None:
    guest = build_guest([reader(2048, 4096.0)], 1)
    levels = np.array([1, 1, 0, 0], np.uint8)
    (found,) = MissChances(guest, Mapped(levels, 1), TlbReach(512, 4)).of(0)
    assert (found[:1024] < 1e-30).all()
    assert found[1024:] == pytest.approx(first_seen(1.0 - 510 / 1024), rel=1e-6), "the other entries are for the 4 KiB pages"


def test_pages_of_1_gib_have_entries_of_their_own() -> None:
    guest = build_guest([reader(2048, 4096.0)], 1)
    levels = np.array([2, 2, 2, 2], np.uint8)
    for giants, chance in ((1, first_seen(0.5)), (2, 0.0)):
        (found,) = MissChances(guest, Mapped(levels, 2), TlbReach(0, giants)).of(0)
        assert found == pytest.approx(chance)


# Scans


@pytest.mark.parametrize("exponent", [0.0, 0.9])
def test_young_share_of_a_pass_is_1_minus_exp_of_minus_rate_times_chance_times_period(exponent: float) -> None:
    work, reach, scans = reader(N_PAGES, 4096.0, exponent=exponent), TlbReach(900, 4), 60
    engine = engine_of(work, reach, seed=7)
    (chance,) = MissChances(engine._state.guest, Mapped(engine.kvm.sptes.level, 1), reach).of(0)
    rates = (zipf_shares(N_PAGES, exponent) if exponent else np.full(N_PAGES, 1.0 / N_PAGES)) * 4096.0
    young, unseen = -np.expm1(-rates * chance), np.exp(-rates * chance)
    seen = scan(engine, scans, warm_up=1)
    assert abs(mean_z(seen.young, float(young.sum()), float((young * unseen).sum()))) < SIGMAS
    false_old = unseen * -np.expm1(-rates * (1.0 - chance))
    spread = float((unseen * (1 - unseen) * np.expm1(-rates * (1.0 - chance)) ** 2).sum())
    assert abs(mean_z(seen.false_old, float(false_old.sum()), spread)) < SIGMAS


def test_what_fits_is_not_seen_until_a_flush() -> None:
    engine = engine_of(reader(N_PAGES, 4096.0), TlbReach(N_PAGES, 4))
    assert scan(engine, 4).young.tolist() == [N_PAGES, 0, 0, 0]
    assert (engine.kvm.sptes.spte & AGED == AGED).all()
    engine.interrupt(4 * SCAN_NS)
    assert (engine.kvm.sptes.spte & AGED == AGED).all(), "an exit flushes nothing"
    engine.tlb.flush(4 * SCAN_NS)
    engine.mmu.check_counts()
    assert (engine.kvm.sptes.spte & AGED == OLD).all()
    assert not engine.kvm.counts[STALE_ROW].any()
    seen = scan(engine, 30, flush=True, first=4)
    young = young_probability(np.full(N_PAGES, 4096.0 / N_PAGES), 1.0)
    assert abs(mean_z(seen.young, float(young.sum()), float((young * (1 - young)).sum()))) < SIGMAS, "O12 again"


def test_accesses_before_a_flush_stay_unseen_after_it() -> None:
    engine = engine_of(reader(N_PAGES, 4096.0), TlbReach(N_PAGES, 4))
    scan(engine, 1)
    half_ns = SCAN_NS * 3 // 2
    engine.advance(half_ns)
    engine.tlb.flush(half_ns)
    expected = N_PAGES * -np.expm1(-4096.0 / N_PAGES / 2)
    assert engine.tlb.judge_old(0, N_PAGES, half_ns) == pytest.approx(expected)
    assert engine.tlb.judge_old(0, N_PAGES, half_ns) == 0.0, "each is told once"


@pytest.mark.parametrize(
    ("entries", "huge", "seen"), [(N_PAGES, False, 0), (N_PAGES - 1, False, 1), (1, True, 1), (2, True, 0)]
)
def test_a_sweep_is_seen_each_time_or_never(entries: int, huge: bool, seen: int) -> None:
    engine = engine_of(sweeping(N_PAGES), TlbReach(entries, 4), huge=huge)
    found = scan(engine, 3)
    assert found.young.tolist() == [N_PAGES, seen * N_PAGES, seen * N_PAGES]
    assert found.false_old.tolist() == [0, (1 - seen) * N_PAGES, (1 - seen) * N_PAGES]
    now_ns = 3 * SCAN_NS
    engine.tlb.flush(now_ns)
    assert scan(engine, 1, first=3).young.tolist() == [N_PAGES], "a flush brings what is not in the tree of visits back"


def test_2_mib_pages_reach_further_and_so_look_old() -> None:
    """2048 pages: far beyond 256 entries of 4 KiB, four entries of 2 MiB."""
    found = {
        (huge, flush): scan(engine_of(reader(2048, 8192.0), TlbReach(256, 4), huge=huge), 6, flush=flush, warm_up=1)
        for huge in (False, True)
        for flush in (False, True)
    }
    share = {key: seen.false_old.mean() / 2048 for key, seen in found.items()}
    assert share[True, False] > 0.999, "all is used, nothing is seen"
    assert found[True, False].young.sum() == 0
    assert share[False, False] < 0.03
    assert share[True, True] == share[False, True] == 0.0
    assert found[True, True].young.tolist() == [2048] * 6


def test_a_stale_page_that_is_written_for_another_reason_is_young() -> None:
    """Protected pages fault, whatever the TLB has: a harvest flushes, and the fault walks."""
    writes = load("sequential", N_PAGES, N_PAGES * 1_000_000_000 // SCAN_NS)
    vm = HandGuest([writes], N_PAGES, 1, config=MmuConfig(tlb=TlbReach(N_PAGES, 4)))
    vm.engine.tlb.model(0)
    young = np.zeros(N_PAGES, np.uint8)
    vm.engine.mmu.clear_young(0, N_PAGES, young, 0, flushed=False)
    assert (vm.engine.kvm.sptes.spte & AGED == AGED).all()
    vm.run(SCAN_NS // 2)
    assert vm.engine.mmu.test_young(0, N_PAGES, young) == vm.engine.exits[WP] > 400
    assert vm.engine.log.first_unrecorded() == -1


# When TLBs are modelled


def test_without_a_bits_or_a_machine_nothing_is_modelled() -> None:
    for config in (MmuConfig(MmuSpec(a_bits=False), tlb=TlbReach(64, 4)), MmuConfig()):
        vm = HandGuest([load("uniform", N_PAGES, 1e6)], N_PAGES, 1, config=config)
        before = vm.engine.kvm
        vm.engine.tlb.model(0)
        assert vm.engine.kvm is before
        assert vm.engine.kvm.state.cleared_at == 0
        vm.engine.mmu.clear_young(0, N_PAGES, np.zeros(N_PAGES, np.uint8), 0, flushed=False)
        assert not (vm.engine.kvm.sptes.spte & STALE).any()
        assert vm.engine.tlb.judge_old(0, N_PAGES, SCAN_NS) == 0.0


@pytest.mark.parametrize("writes", [False, True])
def test_to_model_them_moves_no_touch_that_was_drawn(writes: bool) -> None:
    """The time of the next touch that is seen is the same, with weights or without."""
    both = []
    for models in (False, True):
        engine = engine_of(reader(N_PAGES, 1000.0, writes=writes), TlbReach(64, 4))
        engine.mmu.clear_young(0, N_PAGES, np.zeros(N_PAGES, np.uint8), 0)
        if models:
            engine.tlb.model(0)
        engine.mmu.check_counts()
        engine.advance(1)
        both.append(engine.next_ns)
    assert both[0] == both[1] > 0


def test_other_work_finds_other_chances() -> None:
    engine = engine_of(reader(N_PAGES, 4096.0), TlbReach(512, 4))
    scan(engine, 2)
    for vcpu in range(engine.n_vcpus):
        engine.kick(vcpu, 2 * SCAN_NS)
    engine.advance(2 * SCAN_NS + 10)
    stale = engine.kvm.sptes.spte & STALE
    engine.begin_work(build_guest([reader(400, 4096.0)], 1))
    engine.mmu.check_counts()
    assert (engine.kvm.sptes.spte & STALE == stale).all()
    assert engine.kvm.tape[engine.kvm.state.cleared_at :][:N_PAGES].max() == 2 * SCAN_NS
    for vcpu in range(engine.n_vcpus):
        engine.enter(vcpu, 2 * SCAN_NS + 10)
    assert scan(engine, 1, first=2).young[0] <= engine.kvm.sptes.spte.size - np.count_nonzero(stale[:400])


def test_a_split_makes_other_chances_when_the_next_pass_begins() -> None:
    engine = engine_of(reader(2048, 8192.0), TlbReach(256, 4), huge=True)
    assert scan(engine, 2).young.tolist() == [2048, 0]
    engine.log.start(all_set=False, eager=True, now_ns=2 * SCAN_NS)
    assert (engine.kvm.sptes.spte & (PRESENT | AGED) == PRESENT | AGED).all(), "a table inherits what is stale"
    engine.mmu.check_counts()
    assert scan(engine, 1, first=2).young[0] > 1900, "4 KiB pages do not fit"


# The daemon


@pytest.mark.parametrize(("era", "flushes"), [("E4", True), ("E5", True), ("E4", False)])
def test_a_daemon_reports_what_it_took_for_old(era: str, flushes: bool) -> None:
    spec = MmuSpec(era=era)
    reads = Workload("reader", "uniform", (0,), 0, N_PAGES, read_rate_per_s=Fraction(8 * N_PAGES * NS_PER_S, 2 * MS))
    one = live_machine(reads, n_pages=N_PAGES, mmu=spec, duration_ns=20 * MS)
    notifier = notifier_of(vm_of(one), spec)
    daemon = AgeingDaemon(vm_of(one), notifier, 2 * MS, call_pages=64, flushes=flushes)
    one.run()
    vm_of(one).engine.mmu.check_counts()
    later = daemon.passes[1:]
    assert len(later) > 5
    assert sum(done.false_old for done in daemon.passes) == pytest.approx(notifier.false_old)
    assert all(done.young + done.false_old <= N_PAGES for done in later)
    if flushes and era == "E4":
        assert all(done.young > 0.95 * N_PAGES and done.false_old < 0.05 * N_PAGES for done in later)
    else:
        assert all(done.young == 0 and done.false_old > 0.99 * N_PAGES for done in later)
