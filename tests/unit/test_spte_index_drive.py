"""A script over an index: counts by hand, the checks, and the same dirty pages whatever the design."""

from __future__ import annotations

import numpy as np
import pytest

from hostsim.core.errors import InvariantError
from hostsim.costs.costs import load_costs
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.designs import DESIGNS
from hostsim.spte_index.drive import Load, Script, drive
from hostsim.spte_index.guests import DIRECT, Layout, build_guest, one_slot
from hostsim.spte_index.protocol import Slot
from hostsim.spte_index.rmap import RmapIndex

N_PAGES = 4096
SLOTS = (Slot(0, 1024), Slot(1024, N_PAGES))
MS = 1_000_000
COSTS = CacheCosts.from_sheet(load_costs("cascade-lake"))
SCRIPT = Script(100 * MS, (Load(0, N_PAGES, 50_000), Load(0, N_PAGES, 20_000, is_write=False)), {0: 10 * MS, 1: 25 * MS})


def test_calls_by_hand() -> None:
    script = Script(100 * MS, (), {0: 10 * MS}, age_every_ns=50 * MS, age_call_pages=1024, unmaps_per_s=70)
    driven = drive(build_guest("rmap", SLOTS), script, CacheCosts.uniform)
    assert driven.meter.ns == {"start log": 1.0, "harvest": 10.0, "ageing": 8.0, "unmap": 7.0}
    assert driven.total_ns == 26.0
    assert driven.dirty_pages == {0: [0] * 10}
    assert driven.young_pages[0] >= N_PAGES - 4  # all were mapped accessed; a few have been unmapped
    assert driven.young_pages[1] == 0


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_finds_the_same_pages_dirty(design: str) -> None:
    options = {"cap": N_PAGES} if design == "book3s-pr" else {}
    driven = drive(build_guest(design, SLOTS, **options), SCRIPT, COSTS)
    rmap = drive(build_guest("rmap", SLOTS), SCRIPT, COSTS)
    assert driven.dirty_pages == rmap.dirty_pages
    assert len(driven.dirty_pages[0]) == 10
    assert len(driven.dirty_pages[1]) == 4


def test_a_lost_write_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RmapIndex, "harvest", lambda *_: 0)
    with pytest.raises(InvariantError, match="writable after its harvest"):
        drive(build_guest("rmap", SLOTS), SCRIPT, COSTS)
    monkeypatch.undo()
    guest = build_guest("book3s-hv", SLOTS)
    monkeypatch.setattr(type(guest.index), "harvest", lambda *_: 0)
    with pytest.raises(InvariantError, match="was written and not harvested"):
        drive(guest, SCRIPT, COSTS)


@pytest.mark.parametrize("run_pages", [0, 1, 8, 100])
@pytest.mark.parametrize("mapped", [0.0, 0.3, 1.0])
def test_a_layout_maps_its_share_each_page_in_a_place_of_its_own(run_pages: int, mapped: float) -> None:
    guest = build_guest("rmap", one_slot(N_PAGES), Layout(mapped, run_pages))
    assert guest.mapped_pages() == round(mapped * N_PAGES)
    assert len(np.unique(guest.spte_of)) == N_PAGES
    if run_pages > 1:
        near = np.count_nonzero(np.diff(guest.spte_of) == 1)
        assert near == pytest.approx(N_PAGES * (1 - 1 / run_pages), abs=N_PAGES / run_pages * 0.1 + 2)


def test_churn_scatters_nodes_and_keeps_content() -> None:
    fresh, churned = (build_guest("slot-list", one_slot(N_PAGES), layout) for layout in (DIRECT, DIRECT.but(churned=True)))
    assert np.array_equal(fresh.index.tables.flags, churned.index.tables.flags)
    assert fresh.mapped_pages() == churned.mapped_pages() == N_PAGES
