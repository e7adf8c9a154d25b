"""Guests whose touches are drawn, under KVM: what is in the log follows the closed forms of the work done (O1, O2)."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from hostsim.guest.popularity import zipf_shares
from hostsim.guest.touch import first_touch_index
from hostsim.kvm.loops.armed import count_range
from hostsim.kvm.spec import MmuSpec
from hostsim.spte_index.spte import IN_LOG, WRITABLE
from tests.helpers.kvm_guest import EXCLUSIVE, NONE, HandGuest, MmuConfig, exit_costs, load

pytestmark = pytest.mark.quick
SIGMAS = 4.5
N_PAGES, RATE = 1536, 3_000_000
TIMES = [200_000, 400_000, 1_000_000, 1_100_000, 3_000_000]


def check_within(found: float, expected: float, sd: float) -> None:
    assert abs(found - expected) <= SIGMAS * sd + 1, f"{found} found, {expected:.1f} +- {sd:.1f} expected"


def distinct(n: int, writes: int) -> tuple[float, float]:
    """(mean, sd) of distinct pages after uniform writes (O1)."""
    q, both = (1 - 1 / n) ** writes, (1 - 2 / n) ** writes
    return n * (1 - q), math.sqrt(max(0.0, n * q + n * (n - 1) * both - n * n * q * q))


def of_rates(rates: np.ndarray, work_ns: float) -> tuple[float, float]:
    """(mean, sd) of distinct pages that Poisson writes reach (O2); rates: by page, per ns of work."""
    clean = np.exp(-rates * work_ns)
    return float((1 - clean).sum()), math.sqrt(float((clean * (1 - clean)).sum()))


@pytest.mark.parametrize("mode", [NONE, EXCLUSIVE])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_poisson_writes_dirty_what_their_work_says(seed: int, mode: int) -> None:
    vm = HandGuest([load("uniform", N_PAGES, RATE, 4, arrivals="poisson")], N_PAGES, 4, seed=seed, costs=exit_costs(mode))
    for start, end in pairwise([0, *TIMES]):
        before = sum(vm.work_ns(start))
        vm.run(end)
        work_ns = sum(vm.work_ns(end)) - before
        rates = np.full(N_PAGES, RATE / 4e9 / N_PAGES)
        check_within(len(vm.harvest(end)), *of_rates(rates, work_ns))


@pytest.mark.parametrize("hot_share", [0.0, 0.8])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_paced_writes_are_balls_into_bins(seed: int, hot_share: float) -> None:
    hot = {"hot_pages": 100, "hot_share": hot_share} if hot_share else {}
    vm = HandGuest([load("hotcold" if hot else "uniform", N_PAGES, RATE, 3, **hot)], N_PAGES, 3, seed=seed)
    row, streams = vm.guest.table.ints[0], vm.engine.kvm.streams
    for start, end in pairwise([0, *TIMES]):
        before = writes_by(vm, row, streams, start)
        vm.run(end)
        writes = writes_by(vm, row, streams, end) - before
        found = vm.harvest(end)
        if not hot:
            check_within(len(found), *distinct(N_PAGES, writes))
            continue
        check_within((found < 100).sum(), *of_rates(np.full(100, 1 / 100), writes * hot_share))
        check_within((found >= 100).sum(), *of_rates(np.full(N_PAGES - 100, 1 / (N_PAGES - 100)), writes * (1 - hot_share)))


def writes_by(vm: HandGuest, row: np.ndarray, streams: np.ndarray, now_ns: int) -> int:
    """Writes that the work clocks have made by ``now_ns``; the one under way at an exit is not made."""
    offsets = streams["offset_ns"]
    return sum(first_touch_index(row, max(0, w - o)) for w, o in zip(vm.work_ns(now_ns), offsets.tolist(), strict=True))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_zipf_writes_dirty_what_their_weights_say(seed: int) -> None:
    vm = HandGuest([load("zipf", N_PAGES, RATE, 2)], N_PAGES, 2, seed=seed)
    rates = zipf_shares(N_PAGES, 1.0) * (RATE / 2e9)
    for start, end in pairwise([0, *TIMES]):
        before = sum(vm.work_ns(start))
        vm.run(end)
        work_ns = sum(vm.work_ns(end)) - before
        check_within(len(vm.harvest(end)), *of_rates(rates, work_ns))


@pytest.mark.parametrize("config", [MmuConfig(), *(MmuConfig(MmuSpec(write_tracking=how)) for how in ("pml", "d-bit"))])
def test_every_mechanism_finds_the_same_share(config: MmuConfig) -> None:
    vm = HandGuest([load("uniform", N_PAGES, RATE, 2, arrivals="poisson")], N_PAGES, 2, config=config)
    vm.run(500_000)
    vm.engine.interrupt(500_000)
    work_ns = sum(vm.work_ns(500_000))
    check_within(len(vm.harvest(500_000)), *of_rates(np.full(N_PAGES, RATE / 2e9 / N_PAGES), work_ns))


def test_which_pages_are_hit_is_uniform_when_few_are_armed() -> None:
    """All but every 40th page is writable: the next page is found by the counts of regions, then among their pages."""
    hits = np.zeros(64)
    for seed in range(60):
        vm = HandGuest([load("uniform", 2560, 10**6, arrivals="poisson")], 2560, 1, seed=seed)
        arm_only(vm, slice(0, 2560, 40))
        vm.run(1_500_000)
        hits += (vm.engine.kvm.sptes.spte[:2560:40] & WRITABLE) > 0
    expected, sd = hits.mean(), math.sqrt(60 * 0.25)
    assert expected > 10
    assert np.abs(hits - expected).max() < SIGMAS * sd


def arm_only(vm: HandGuest, pages: slice) -> None:
    """Make all pages writable but ``pages``."""
    kvm, due = vm.engine.kvm, np.zeros(vm.n_pages, np.uint8)
    count_range(kvm, 0, len(kvm.sptes.spte), -1)
    kvm.sptes.spte[: vm.n_pages] |= WRITABLE | IN_LOG
    count_range(kvm, 0, len(kvm.sptes.spte), 1)
    due[pages] = 1
    vm.engine.log.clear(due, 0, vm.n_pages, split=False, protect_large=False, now_ns=0)
    vm.engine.mmu.check_counts()
