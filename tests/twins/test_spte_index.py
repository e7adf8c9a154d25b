"""Every index of sptes gives the answers of a dictionary of sets, on drawn operations."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostsim.spte_index import rmap
from hostsim.spte_index.book3s_hv import Book3sHvIndex, drop_off_rings
from hostsim.spte_index.book3s_pr import Book3sPrIndex
from hostsim.spte_index.designs import DESIGNS
from hostsim.spte_index.logged_chain import LoggedChainIndex
from hostsim.spte_index.protocol import BaseIndex
from hostsim.spte_index.shadow_walk import HybridIndex, ShadowWalkIndex
from hostsim.spte_index.work import ALLOCATIONS, FREES
from hostsim.spte_index.writable_chain import WritableChainIndex
from tests.helpers.plain import plain_output
from tests.twins.spte_compare import OPS, Pair
from tests.twins.spte_digest import digests, run_drawn

SEQUENCES = st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 2**32)), min_size=10, max_size=60)
DRAWN_SEEDS = range(25)


def check_sequence(design: str, steps: list[tuple[str, int]]) -> None:
    pair = Pair(design)
    for op, seed in steps:
        pair.step(op, seed)


@pytest.mark.parametrize("design", DESIGNS)
@settings(max_examples=40)
@given(steps=SEQUENCES)
def test_index_equals_twin(design: str, steps: list[tuple[str, int]]) -> None:
    check_sequence(design, steps)


@pytest.mark.swarm
@pytest.mark.parametrize("design", DESIGNS)
@settings(max_examples=2000, derandomize=False)
@given(steps=SEQUENCES)
def test_index_equals_twin_on_many_sequences(design: str, steps: list[tuple[str, int]]) -> None:
    check_sequence(design, steps)


def test_compiled_equals_plain_python() -> None:
    assert plain_output("tests.twins.spte_digest", "3", "4").splitlines() == digests(3, 4)


def test_drawn_operations_meet_what_is_special(monkeypatch: pytest.MonkeyPatch) -> None:
    met: Counter[str] = Counter()

    def seen(kind: Any, method: str) -> None:
        original = getattr(kind, method)

        def counting(*args: Any, **kwargs: Any) -> Any:
            met[f"{kind.__name__}.{method}"] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(kind, method, counting)

    seen(HybridIndex, "protect_slot")
    seen(HybridIndex, "protect_masked")
    for design, count in (("rmap", FREES), ("hybrid", FREES), ("book3s-pr", ALLOCATIONS), ("book3s-hv", ALLOCATIONS)):
        pairs = [run_drawn(design, seed) for seed in DRAWN_SEEDS]
        met[design] = sum(int(pair.index.work[count]) for pair in pairs)
        met["full"] += sum(pair.index.flushes for pair in pairs if isinstance(pair.index, Book3sPrIndex))
        met["saved"] += sum(
            int(np.count_nonzero(pair.index.rings.saved)) for pair in pairs if isinstance(pair.index, Book3sHvIndex)
        )
        met["gone"] += sum(len(pair.gone) for pair in pairs)
    wanted = ("HybridIndex.protect_slot", "HybridIndex.protect_masked", "rmap", "book3s-pr", "full", "saved", "gone")
    assert min(met[name] for name in wanted) > 10, met


def _harvests_nothing(_index: Any, _slot: int, _dirty: Any) -> int:
    return 0


def _protects_without_a_chain(index: Any, slot: int) -> int:
    protected = index.protect_slot(slot)
    index.logged.add(slot)
    return int(protected)


def _maps_without_limit(index: Any, sptes: Any, gfns: Any, flags: int, walk: Any) -> None:
    index.rmap = rmap.grown(index.rmap, 64)
    rmap.map_to_heads(index.tables, index.rmap, sptes, gfns, flags, 0, walk)


def _forgets_bits(index: Any, sptes: Any, walk: Any) -> None:
    saved = index.rings.saved.copy()
    drop_off_rings(index.tables, index.rings, sptes, walk)
    index.rings.saved[:] = saved


MUTATIONS: dict[str, tuple[str, Any, str, Any]] = {
    "a zapped spte stays on the chain": ("writable-chain", WritableChainIndex, "_forget_zapped", lambda *_: None),
    "a write fault is not chained": ("writable-chain", WritableChainIndex, "make_writable", BaseIndex.make_writable),
    "the chain is not built": ("logged-chain", LoggedChainIndex, "start_log", _protects_without_a_chain),
    "a mapping in a logged slot is not chained": ("logged-chain", LoggedChainIndex, "_link", lambda *_: None),
    "tables do not know their slots": ("shadow-walk", ShadowWalkIndex, "notes_slots", False),
    "a harvest protects nothing": ("rmap", BaseIndex, "harvest", _harvests_nothing),
    "an rmap is never recycled": ("rmap", rmap.RmapIndex, "place", _maps_without_limit),
    "deleting a slot keeps the others": ("tdp", BaseIndex, "move_slot", BaseIndex._zap_slot),
    "PR keeps hptes at a harvest": ("book3s-pr", Book3sPrIndex, "harvest", _harvests_nothing),
    "HV forgets what has gone": ("book3s-hv", Book3sHvIndex, "remove", _forgets_bits),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_defect_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    design, kind, attribute, instead = MUTATIONS[name]
    monkeypatch.setattr(kind, attribute, instead)
    assert any(_differs(design, seed) for seed in range(150)), f"{name}: no difference in 150 sequences"


def _differs(design: str, seed: int) -> bool:
    try:
        run_drawn(design, seed)
    except AssertionError:
        return True
    return False
