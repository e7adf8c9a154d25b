"""Sptes that a fault prefetches, worked by hand: exit 100, map 70, write protection 50, entry 30, a prefetched spte 9."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from hostsim.core.memory import lay_out, make_memory
from hostsim.core.rng import NEVER
from hostsim.costs.era import PREFETCHES, load_era
from hostsim.costs.exits import EXCLUSIVE, MAP, N_KINDS, NONE, SPURIOUS, WP, ExitCosts
from hostsim.guest.workload import TouchTrace, Workload, build_guest
from hostsim.kvm.build import mmu_config
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.loops.layout import RESIDENT, UNTOUCHED
from hostsim.kvm.spec import MmuSpec
from hostsim.spte_index.spte import DIRTY, OLD, PRESENT, WRITABLE, make_sptes

Touch = tuple[int, int]
"""When, which page: a write."""
N_PAGES = 512
GROUP = range(8)
SPTE_NS = 9


def engine_of(
    touches: Sequence[Touch], prefetch: str, *, mapped: Sequence[int] = (), missing: Sequence[int] = (),
    protected: Sequence[int] = (), vcpus: Sequence[int] = (), filled: int = N_PAGES, wp: int = EXCLUSIVE,
) -> GuestEngine:  # fmt: skip
    """A region that is not logged. mapped, protected: pages with an spte; missing: pages that the host has not."""
    whose = vcpus or [0] * len(touches)
    ns, pages = (np.array(column, np.int64) for column in zip(*touches, strict=True))
    trace = TouchTrace(ns, np.array(whose, np.int32), pages, np.ones(len(touches), np.bool_))
    n_vcpus = max(whose) + 1
    work = build_guest([Workload("w", "trace", tuple(range(n_vcpus)), 0, filled, trace=trace)], 1)
    memory = make_memory(lay_out([("pc.ram", filled, [(0, filled)])]))
    modes, holds = np.full(N_KINDS, EXCLUSIVE, np.int64), np.full(N_KINDS, 50, np.int64)
    modes[WP], holds[MAP] = wp, 70
    costs = ExitCosts(100, 30, 10, 0, 0, modes, holds, np.zeros((3, 1), np.int64), prefetch_ns=SPTE_NS)
    engine = GuestEngine(work, memory, n_vcpus, MmuConfig(populate_ns=1, prefetch=prefetch), costs, log_capacity=99)  # type: ignore[arg-type]
    engine.pages.backing[:] = RESIDENT
    engine.pages.backing[list(missing)] = UNTOUCHED
    sptes = make_sptes(filled)
    sptes.spte[list(mapped)] = PRESENT | WRITABLE | DIRTY
    sptes.spte[list(protected)] = PRESENT
    engine.set_sptes(sptes, 0)
    return engine


def mapped_by(page: int, prefetch: str, **settings: Sequence[int]) -> list[int]:
    """Pages of the first group that a fault on ``page`` maps beside its own; the counts of armed pages stay right."""
    engine = engine_of([(0, page)], prefetch, **settings)  # type: ignore[arg-type]
    before = engine.kvm.sptes.spte.copy()
    engine.advance(NEVER)
    engine.mmu.check_counts()
    found = np.flatnonzero((engine.kvm.sptes.spte ^ before) & PRESENT).tolist()
    assert int(engine.kvm.state.prefetched_sptes) == len(found) - 1
    assert int(engine.exits[MAP]) == 1
    return [other for other in found if other != page]


@pytest.mark.parametrize("page", GROUP)
@pytest.mark.parametrize("prefetch", ["runs", "in-order"])
def test_a_fault_maps_the_group_of_eight_around_it(prefetch: str, page: int) -> None:
    assert mapped_by(page, prefetch) == [other for other in GROUP if other != page]


def test_no_prefetch_maps_one_page() -> None:
    assert mapped_by(3, "none") == []


def test_the_direct_mmu_left_the_last_run_out() -> None:
    """Before 5.15: a pass in ascending order prefetched nothing, one in descending order seven pages."""
    assert mapped_by(0, "ended-runs") == []
    assert mapped_by(7, "ended-runs") == [0, 1, 2, 3, 4, 5, 6]
    assert mapped_by(2, "ended-runs", mapped=[5]) == [0, 1, 3, 4]


def test_shadow_paging_stops_at_the_first_page_that_the_host_has_not() -> None:
    assert mapped_by(0, "in-order", missing=[3]) == [1, 2]
    assert mapped_by(5, "in-order", missing=[1]) == [0]
    assert mapped_by(5, "in-order", missing=[0]) == []
    assert mapped_by(5, "in-order", mapped=[1], missing=[7]) == [0, 2, 3, 4, 6]


def test_the_direct_mmu_goes_on_with_the_next_run() -> None:
    """A run is looked up as one: up to a page that is not there; the next run only if this one had any."""
    assert mapped_by(5, "runs", missing=[3]) == [0, 1, 2, 6, 7]
    assert mapped_by(5, "runs", missing=[0]) == []
    assert mapped_by(2, "runs", mapped=[4], missing=[6]) == [0, 1, 3, 5]


def test_nothing_is_prefetched_behind_the_end_of_memory() -> None:
    engine = engine_of([(0, 9)], "runs", filled=12)
    engine.advance(NEVER)
    assert np.flatnonzero(engine.kvm.sptes.spte & PRESENT).tolist() == [8, 9, 10, 11]


def test_each_prefetched_spte_lengthens_the_hold() -> None:
    engine = engine_of([(1000, 0)], "in-order", missing=[3])
    engine.advance(NEVER)
    assert engine.sums.tolist() == [0, 70 + 2 * SPTE_NS]
    assert engine.stall_ns == 100 + 70 + 2 * SPTE_NS + 30


def test_a_prefetched_page_is_old_until_it_is_accessed() -> None:
    engine = engine_of([(0, 0), (5000, 4)], "in-order")
    engine.advance(NEVER)
    spte = engine.kvm.sptes.spte
    assert [page for page in GROUP if spte[page] & OLD] == [1, 2, 3, 5, 6, 7]
    assert spte[1] == PRESENT | WRITABLE | DIRTY | OLD
    assert int(engine.exits.sum()) == 1


def test_who_waited_for_a_page_that_is_prefetched_finds_it_mapped() -> None:
    engine = engine_of([(0, 0), (10, 4)], "in-order", vcpus=[0, 1])
    engine.advance(NEVER)
    assert int(engine.exits[MAP]) == int(engine.exits[SPURIOUS]) == 1


def test_a_logged_slot_takes_a_fault_a_page() -> None:
    engine = engine_of([(0, 0), (1000, 1)], "in-order")
    engine.log.start(all_set=False, eager=False, now_ns=0)
    engine.advance(NEVER)
    assert int(engine.exits[MAP]) == 2
    assert int(engine.kvm.state.prefetched_sptes) == 0


def test_an_invalidation_anywhere_stops_the_prefetch() -> None:
    engine = engine_of([(0, 0)], "in-order")
    engine.mmu.invalidate_begin(400, 401)
    engine.advance(NEVER)
    assert int(engine.exits[MAP]) == 1
    assert int(engine.kvm.state.prefetched_sptes) == 0


@pytest.mark.parametrize(("wp", "prefetched"), [(EXCLUSIVE, 14), (NONE, 7)])
def test_a_write_protection_fault_prefetches_under_the_lock_alone(wp: int, prefetched: int) -> None:
    """fast_page_fault reads no neighbours, and does not map those of an earlier fault."""
    engine = engine_of([(0, 0), (1000, 17)], "in-order", protected=[17], wp=wp)
    engine.advance(NEVER)
    assert [int(engine.exits[kind]) for kind in (MAP, WP)] == [1, 1]
    assert int(engine.kvm.state.prefetched_sptes) == prefetched


@pytest.mark.parametrize(
    ("era", "found"),
    [
        ("E0", ["none", "none", "none"]), ("E0b", ["ended-runs", "ended-runs", "in-order"]),
        ("E2", ["none", "ended-runs", "in-order"]), ("E3", ["none", "runs", "in-order"]),
        ("E6", ["none", "runs", "in-order"]),
    ],
)  # fmt: skip
def test_what_kernels_prefetch(era: str, found: list[str]) -> None:
    assert [load_era(era).prefetch[mmu] for mmu in ("tdp", "direct", "shadow")] == found
    assert [mmu_config(MmuSpec(era=era, mmu=mmu), "get-dirty-log").prefetch for mmu in ("tdp", "direct", "shadow")] == found


def test_nothing_is_prefetched_without_a_bits_or_with_an_index() -> None:
    for spec in (MmuSpec(mmu="direct", a_bits=False), MmuSpec(mmu="direct", index="rmap")):
        assert mmu_config(spec, "get-dirty-log").prefetch == PREFETCHES[0]
