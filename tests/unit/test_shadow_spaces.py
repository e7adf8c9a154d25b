"""Shadow paging: sptes follow the guest's page tables, shares are counted, exits are those of the mode."""

from __future__ import annotations

from random import Random
from typing import Literal

import numpy as np
import pytest

from hostsim.spte_index.fan_out import (
    drawn_fan_out,
    fork_and_read,
    histogram,
    in_drawn_order,
    published_buckets,
    published_guest,
)
from hostsim.spte_index.rmap import RmapIndex
from hostsim.spte_index.spaces import NO_PAGE, ShadowGuest, Space
from hostsim.spte_index.spte import WRITABLE

Mode = Literal["emulated", "unsync"]
N_PAGES = 4096


def expect_consistent(guest: ShadowGuest) -> None:
    """An spte maps what its guest's entry maps, or its table is out of sync; as many users of a frame as entries."""
    tables = guest.index.tables
    users = np.zeros(N_PAGES, np.int64)
    present = 0
    for space in guest.spaces.values():
        np.add.at(users, space.gfn_of, 1)
        for region in space.shadowed():
            vas = np.arange(region * 512, min((region + 1) * 512, len(space.gfn_of)))
            sptes = space.sptes(vas)
            there = tables.flags[sptes] != 0
            present += int(there.sum())
            if region not in space.unsynced:
                assert np.array_equal(tables.gfn[sptes[there]], space.gfn_of[vas[there]])
                assert not np.any((tables.flags[sptes] & WRITABLE != 0) & (space.writable[vas] == 0))
    assert np.array_equal(users, guest.shares)
    assert present == int(tables.used.sum())


def pages_of(rng: Random, space: Space) -> np.ndarray:
    return np.array(sorted(rng.sample(range(len(space.gfn_of)), rng.randrange(1, 40))))


@pytest.mark.parametrize("mode", ["emulated", "unsync"])
@pytest.mark.parametrize("design", ["rmap", "slot-list", "book3s-pr", "gfn-hash"])
def test_drawn_processes_keep_sptes_right(design: str, mode: Mode) -> None:
    rng = Random(f"{design} {mode}")
    guest = ShadowGuest(design, N_PAGES, 64, writes=mode)
    guest.spawn(600)
    for _ in range(150):
        space = rng.choice(list(guest.spaces.values()))
        what = rng.random()
        if what < 0.1 and len(guest.spaces) < 6:
            guest.fork(space)
        elif what < 0.15 and len(guest.spaces) > 1:
            guest.exit(space)
        elif what < 0.3:
            guest.switch_to(space)
            assert not space.unsynced
        else:
            guest.touch(space, pages_of(rng, space), is_write=rng.random() < 0.4)
        expect_consistent(guest)
    assert guest.counts.guest_faults > 50


def test_a_write_to_a_shared_page_takes_a_frame_of_its_own() -> None:
    guest = ShadowGuest("rmap", N_PAGES, 8)
    parent = guest.spawn(3)
    child = guest.fork(parent)
    guest.touch(child, np.array([0]), is_write=True)
    guest.touch(parent, np.array([0]), is_write=True)
    assert child.gfn_of.tolist() == [3, 1, 2]
    assert parent.gfn_of.tolist() == [0, 1, 2]  # the last user keeps the frame
    assert guest.shares[:4].tolist() == [1, 2, 2, 1]


@pytest.mark.parametrize(("mode", "emulated", "unsync"), [("emulated", 300, 0), ("unsync", 0, 1)])
def test_a_fork_writes_each_entry_of_the_parent(mode: Mode, emulated: int, unsync: int) -> None:
    guest = ShadowGuest("rmap", N_PAGES, 8, writes=mode)
    parent = guest.spawn(300)
    guest.touch(parent, np.arange(300), is_write=True)
    guest.fork(parent)
    assert (guest.counts.emulated_writes, guest.counts.unsync_faults) == (emulated, unsync)
    assert guest.counts.synced_tables == unsync
    assert int(guest.index.tables.used.sum()) == 0  # all were writable


def test_a_storm_maps_a_page_in_every_process_and_its_end_in_none_but_one() -> None:
    guest = ShadowGuest("rmap", N_PAGES, 64)
    parent = guest.spawn(50)
    guest.touch(parent, np.arange(50), is_write=True)
    for _ in range(40):
        fork_and_read(guest, parent)
    assert isinstance(guest.index, RmapIndex)
    assert set(guest.index.lengths()[:50].tolist()) == {41}
    for child in in_drawn_order(guest):
        guest.exit(child)
    assert set(guest.index.lengths()[:50].tolist()) == {1}
    assert guest.index.bytes_used()["descriptors"] == 50 * 128  # a descriptor goes with its last spte


def test_drawn_fan_out_has_the_published_histogram() -> None:
    counts = drawn_fan_out(np.random.default_rng(1))
    assert histogram(counts) == [pages for _, _, pages in published_buckets()]
    assert histogram(counts)[:2] == [49005, 14016]


def test_the_idle_guest_has_the_published_histogram_in_its_rmap() -> None:
    guest = published_guest("rmap", 6 << 18)
    assert isinstance(guest.index, RmapIndex)
    assert histogram(guest.index.lengths()) == [pages for _, _, pages in published_buckets()]
    assert all((space.gfn_of != NO_PAGE).all() for space in guest.spaces.values())
