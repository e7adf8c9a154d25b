from __future__ import annotations

import itertools

import numpy as np
import pytest

from hostsim.kernels.faults import (
    MAP,
    N_KINDS,
    NOTHING,
    PML_FULL,
    SPLIT,
    SPURIOUS,
    TRACK,
    WP,
    flags_of,
    handle,
    log_by_hardware,
    map_page,
    needed,
    split_on_fault,
)
from hostsim.mmu.spte import DIRTY, PRESENT, REGION_PAGES, TRACKED, WRITABLE, Sptes, make_sptes

PAGE, REGION = REGION_PAGES + 5, 1
BOTH = pytest.mark.parametrize("large", [False, True])
ALL_FLAGS = range(16)


def mapped(flags: int, *, large: bool = False) -> Sptes:
    """Three regions, nothing mapped but PAGE, or the region it is in."""
    sptes = make_sptes(3 * REGION_PAGES)
    if large:
        sptes.level[REGION], sptes.large[REGION] = 1, flags
    else:
        sptes.spte[PAGE] = flags
    return sptes


def copy_of(sptes: Sptes) -> Sptes:
    return Sptes(*(part.copy() for part in sptes))


def changed(before: Sptes, after: Sptes) -> dict[str, list[int]]:
    """Where each array differs."""
    pairs = zip(Sptes._fields, before, after, strict=True)
    return {name: np.flatnonzero(a != b).tolist() for name, a, b in pairs if (a != b).any()}


def expected_need(flags: int, *, is_write: bool, large: bool) -> int:
    if not flags & PRESENT:
        return MAP
    if flags & TRACKED:
        return TRACK
    return (SPLIT if large else WP) if is_write and not flags & WRITABLE else NOTHING


def test_kinds_are_numbered_one_after_the_other() -> None:
    assert sorted((NOTHING, MAP, TRACK, WP, SPLIT, SPURIOUS, PML_FULL)) == list(range(N_KINDS))


@BOTH
@pytest.mark.parametrize(("flags", "is_write"), itertools.product(ALL_FLAGS, [False, True]))
def test_what_an_access_needs(flags: int, is_write: bool, large: bool) -> None:
    sptes = mapped(flags, large=large)
    assert flags_of(sptes, PAGE) == flags
    assert needed(sptes, PAGE, is_write) == expected_need(flags, is_write=is_write, large=large)
    assert needed(sptes, PAGE - REGION_PAGES, is_write) == MAP


@BOTH
@pytest.mark.parametrize(("flags", "is_write", "logged"), itertools.product(ALL_FLAGS, [False, True], [False, True]))
def test_a_handled_fault_is_not_needed_again(flags: int, is_write: bool, logged: bool, large: bool) -> None:
    """Except a write to a tracked large mapping of a logged slot, which then splits."""
    if large and not flags & PRESENT:
        flags |= PRESENT  # a large spte that maps nothing does not exist
    sptes = mapped(flags, large=large)
    kind = needed(sptes, PAGE, is_write)
    handle(sptes, kind, PAGE, is_write, logged, False)
    waits_for_split = large and kind == TRACK and logged and is_write and not flags & WRITABLE
    assert needed(sptes, PAGE, is_write) == (SPLIT if waits_for_split else NOTHING)


@pytest.mark.parametrize(
    ("is_write", "logged", "flags"),
    [
        (False, False, PRESENT | WRITABLE), (True, False, PRESENT | WRITABLE | DIRTY),
        (False, True, PRESENT | WRITABLE | DIRTY), (True, True, PRESENT | WRITABLE | DIRTY),
    ],
)  # fmt: skip
def test_a_page_is_mapped_writable_and_so_dirty_where_logged(is_write: bool, logged: bool, flags: int) -> None:
    sptes = mapped(0)
    map_page(sptes, PAGE, is_write, logged, False)
    assert sptes.spte[PAGE] == flags
    assert changed(mapped(0), sptes) == {"spte": [PAGE], **({"dirty": [PAGE]} if logged else {})}


@pytest.mark.parametrize(("is_write", "flags"), [(False, PRESENT | WRITABLE), (True, PRESENT | WRITABLE | DIRTY)])
def test_an_empty_region_of_huge_memory_is_mapped_whole(is_write: bool, flags: int) -> None:
    sptes = mapped(0)
    map_page(sptes, PAGE, is_write, False, True)
    assert changed(mapped(0), sptes) == {"level": [REGION], "large": [REGION]}
    assert (sptes.level[REGION], sptes.large[REGION]) == (1, flags)


@pytest.mark.parametrize("other", [REGION_PAGES, PAGE + 1, 2 * REGION_PAGES - 1])
def test_a_region_with_any_page_mapped_stays_small(other: int) -> None:
    sptes = make_sptes(3 * REGION_PAGES)
    sptes.spte[other] = PRESENT
    before = copy_of(sptes)
    map_page(sptes, PAGE, True, False, True)
    assert changed(before, sptes) == {"spte": [PAGE]}


@pytest.mark.parametrize("neighbour", [REGION_PAGES - 1, 2 * REGION_PAGES])
def test_pages_of_other_regions_do_not_keep_a_region_small(neighbour: int) -> None:
    sptes = make_sptes(3 * REGION_PAGES)
    sptes.spte[neighbour] = PRESENT
    map_page(sptes, PAGE, True, False, True)
    assert sptes.level.tolist() == [0, 1, 0]


def test_a_logged_slot_is_mapped_small() -> None:
    sptes = mapped(0)
    map_page(sptes, PAGE, True, True, True)
    assert not sptes.level.any()


def test_a_zapped_region_maps_nothing() -> None:
    sptes = mapped(PRESENT | WRITABLE, large=True)
    sptes.spte[:] = PRESENT
    split_on_fault(sptes, REGION)
    assert (sptes.level[REGION], sptes.large[REGION]) == (0, 0)
    assert np.flatnonzero(sptes.spte == 0).tolist() == list(range(REGION_PAGES, 2 * REGION_PAGES))


def test_a_split_on_fault_maps_one_page() -> None:
    sptes = mapped(PRESENT, large=True)
    handle(sptes, SPLIT, PAGE, True, True, True)
    assert not sptes.level.any()
    assert np.flatnonzero(sptes.spte).tolist() == np.flatnonzero(sptes.dirty).tolist() == [PAGE]
    assert sptes.spte[PAGE] == PRESENT | WRITABLE | DIRTY


def test_without_a_log_a_large_mapping_becomes_writable() -> None:
    sptes = mapped(PRESENT, large=True)
    handle(sptes, SPLIT, PAGE, True, False, True)
    assert changed(mapped(PRESENT, large=True), sptes) == {"large": [REGION]}
    assert sptes.large[REGION] == PRESENT | WRITABLE | DIRTY


@pytest.mark.parametrize("logged", [False, True])
def test_a_write_protected_page_becomes_writable(logged: bool) -> None:
    sptes = mapped(PRESENT)
    handle(sptes, WP, PAGE, True, logged, False)
    assert sptes.spte[PAGE] == PRESENT | WRITABLE | DIRTY
    assert changed(mapped(PRESENT), sptes) == {"spte": [PAGE], **({"dirty": [PAGE]} if logged else {})}


@BOTH
@pytest.mark.parametrize(
    ("is_write", "logged", "restored"),
    [(False, False, 0), (False, True, 0), (True, False, WRITABLE | DIRTY), (True, True, WRITABLE | DIRTY)],
)
def test_access_tracking_ends(is_write: bool, logged: bool, restored: int, large: bool) -> None:
    sptes = mapped(PRESENT | TRACKED, large=large)
    handle(sptes, TRACK, PAGE, is_write, logged, False)
    assert flags_of(sptes, PAGE) == PRESENT | (0 if large and logged else restored)
    assert np.flatnonzero(sptes.dirty).tolist() == ([PAGE] if is_write and logged and not large else [])


@BOTH
@pytest.mark.parametrize("kind", [NOTHING, SPURIOUS, PML_FULL])
def test_other_kinds_set_nothing(kind: int, large: bool) -> None:
    sptes = mapped(PRESENT | TRACKED, large=large)
    handle(sptes, kind, PAGE, True, True, True)
    assert changed(mapped(PRESENT | TRACKED, large=large), sptes) == {}


@BOTH
def test_hardware_logs_a_first_write_only(large: bool) -> None:
    sptes = mapped(PRESENT | WRITABLE, large=large)
    assert [log_by_hardware(sptes, PAGE) for _ in range(3)] == [True, False, False]
    assert flags_of(sptes, PAGE) == PRESENT | WRITABLE | DIRTY
    assert np.flatnonzero(sptes.dirty).tolist() == [PAGE]


def test_one_d_bit_stands_for_a_large_region() -> None:
    sptes = mapped(PRESENT | WRITABLE, large=True)
    assert [log_by_hardware(sptes, page) for page in (PAGE, PAGE + 1)] == [True, False]
    assert np.flatnonzero(sptes.dirty).tolist() == [PAGE]
