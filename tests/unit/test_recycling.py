"""KVM's limit of shadow pages: equal to a plain model page by page, and the step at the limit."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from hostsim.spte_index.recycling import LEAST_LIMIT, MIN_FREE, REFILL, ShadowPages, default_limit, shadow_pages
from hostsim.validation.kvm_recycling import recycling_configs, recycling_rows
from tests.twins.shadow_pages import TwinShadowPages

GIB_PAGES = 1 << 18
TABLE = 512


def rounds(vm: ShadowPages, n_spaces: int, n_pages: int, n: int = 2) -> list[tuple[int, int, int, int]]:
    found = []
    for _ in range(n):
        before = vm.counts.as_tuple()
        for space in range(n_spaces):
            vm.load(space)
            vm.sweep(space, 0, n_pages)
        found.append(tuple(after - earlier for after, earlier in zip(vm.counts.as_tuple(), before, strict=True)))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_a_walk_for_each_page_gives(seed: int) -> None:
    rng = Random(seed)
    limit, spaces = rng.choice((64, 65, 70, 100)), rng.choice((1, 3, 6))
    fast, plain = ShadowPages(limit), TwinShadowPages(limit)
    code = (TABLE * 1000 + 3,) if rng.random() < 0.5 else ()
    for _ in range(80):
        space, first = rng.randrange(spaces), rng.choice((0, 5, TABLE, rng.randrange(9) * TABLE * TABLE + rng.randrange(99)))
        n_pages = rng.choice((1, 1, 30, TABLE, 3 * TABLE))
        for vm in (fast, plain):
            vm.load(space)
            vm.sweep(space, first, n_pages, code)
        assert fast.counts.as_tuple() == plain.as_tuple(), seed
        assert fast.used == len(plain.tables)
    assert fast.counts.recycled > 0 or limit > LEAST_LIMIT or spaces == 1


def test_real_kvm_counted_the_same() -> None:
    """All counts of 16 configurations, three passes each."""
    found = list(recycling_rows())
    assert len(found) == len(recycling_configs()) == 16
    assert [row.id for row in found if not row.passed] == []
    assert sum(one["recycled"] for config in recycling_configs() for one in config["passes"]) > 4000


def test_the_limit_is_a_step() -> None:
    """Nine address spaces of the guest's size fit; the tenth makes every round fault as the first one did."""
    n_pages = GIB_PAGES // 8
    limit = default_limit(n_pages)
    fits = limit // shadow_pages(n_pages)
    assert (limit, shadow_pages(n_pages), fits) == (655, 67, 9)
    below, beyond = rounds(ShadowPages(limit), fits, n_pages), rounds(ShadowPages(limit), fits + 1, n_pages)
    assert (below[0][0], below[1]) == (fits * n_pages // 8, (0, 0, 0, 0))
    assert beyond[1][0] == beyond[0][0] == (fits + 1) * n_pages // 8
    assert beyond[1][2] > (fits + 1) * n_pages // TABLE


def test_a_small_vm_has_64_shadow_pages() -> None:
    assert [default_limit(pages) for pages in (1, 3200, 3250, GIB_PAGES)] == [64, 64, 65, 5242]
    assert [shadow_pages(pages) for pages in (1, TABLE, TABLE + 1, GIB_PAGES)] == [4, 4, 5, 515]


@pytest.mark.parametrize("n_pages", [256, 4096, GIB_PAGES, 1 << 28])
def test_one_address_space_never_comes_near(n_pages: int) -> None:
    """So no VM of a scenario, each page of which has one spte, recycles."""
    assert default_limit(n_pages) - shadow_pages(n_pages) > REFILL
    vm = ShadowPages(default_limit(n_pages))
    vm.load(0)
    if n_pages <= GIB_PAGES:
        assert vm.sweep(0, 0, n_pages).recycled == 0
        assert vm.used == shadow_pages(n_pages)


def test_roots_in_use_stay() -> None:
    """Those of four address spaces; of a fifth the root is the oldest page, and goes first."""
    vm = ShadowPages(LEAST_LIMIT)
    for space in range(5):
        vm.load(space)
    vm.load(0)
    while vm.counts.recycled == 0:
        vm.touch(0, vm.used * TABLE)
    before = vm.counts.allocated
    for space in (2, 3, 4, 0):
        vm.load(space)
    assert vm.counts.allocated == before
    vm.load(1)
    assert vm.counts.allocated == before + 1


def test_few_pages_are_kept_free() -> None:
    vm = ShadowPages(LEAST_LIMIT)
    vm.load(0)
    vm.sweep(0, 0, (LEAST_LIMIT - 3 - MIN_FREE + 1) * TABLE)
    assert (vm.counts.recycled, vm.used) == (REFILL - MIN_FREE + 1, LEAST_LIMIT - REFILL + 2), "the two upper tables again"


def test_what_was_measured_is_kept_with_its_source() -> None:
    path = Path(__file__).resolve().parents[2] / "hostsim" / "data" / "kvm_real" / "recycling.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert "KVM_SET_NR_MMU_PAGES" in kept["source"]
    assert kept["licence"] == "that of hostsim"
