"""Whole-slot work on sptes, against the same written per page in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hostsim.kernels import log_ops
from hostsim.mmu.spte import DIRTY, PRESENT, REGION_PAGES, TRACKED, WRITABLE, Sptes, make_sptes

REGIONS = 3
PAGES = REGIONS * REGION_PAGES
FLAGS = (0, PRESENT, PRESENT | WRITABLE, PRESENT | WRITABLE | DIRTY, PRESENT | TRACKED | DIRTY)


def drawn(seed: int) -> Sptes:
    """Regions large, small or empty, with any flags and any log."""
    rng = np.random.default_rng(seed)
    sptes = make_sptes(PAGES)
    sptes.level[:] = rng.integers(2, size=REGIONS)
    small = np.repeat(sptes.level == 0, REGION_PAGES)
    kept = np.repeat(rng.integers(4, size=REGIONS) > 0, REGION_PAGES)
    sptes.spte[:] = np.where(small & kept, rng.choice(FLAGS, PAGES), 0)
    sptes.large[:] = np.where(sptes.level == 1, rng.choice(FLAGS[1:], REGIONS), 0)
    sptes.dirty[:] = rng.integers(2, size=PAGES)
    return sptes


def copied(sptes: Sptes) -> Sptes:
    return Sptes(*(part.copy() for part in sptes))


SEEDS = st.integers(0, 10_000)


@given(SEEDS, st.integers(0, REGIONS), st.integers(0, REGIONS))
def test_protect_large(seed: int, first: int, end: int) -> None:
    sptes = drawn(seed)
    before = copied(sptes)
    changed = log_ops.protect_large(sptes, first, end)
    hit = [r for r in range(first, end) if before.level[r] == 1 and before.large[r] & WRITABLE]
    before.large[hit] &= ~np.uint8(WRITABLE)
    assert changed == len(hit)
    assert all(np.array_equal(a, b) for a, b in zip(sptes, before, strict=True))


@given(SEEDS, st.integers(0, PAGES), st.integers(0, PAGES), st.sampled_from([WRITABLE, DIRTY]))
def test_protect_small(seed: int, first: int, end: int, flag: int) -> None:
    sptes = drawn(seed)
    before = copied(sptes)
    changed = log_ops.protect_small(sptes, first, end, flag)
    hit = [p for p in range(first, end) if before.spte[p] & flag]
    before.spte[hit] &= ~np.uint8(flag)
    assert changed == len(hit)
    assert all(np.array_equal(a, b) for a, b in zip(sptes, before, strict=True))


@given(SEEDS)
def test_split_large_keeps_what_may_be_done(seed: int) -> None:
    sptes = drawn(seed)
    before = copied(sptes)
    assert log_ops.split_large(sptes, 0, REGIONS) == int(before.level.sum())
    assert not sptes.level.any()
    wanted = np.where(np.repeat(before.level, REGION_PAGES) == 1, np.repeat(before.large, REGION_PAGES), before.spte)
    assert np.array_equal(sptes.spte, wanted)


@given(SEEDS, st.integers(0, PAGES), st.integers(0, PAGES), st.sampled_from([WRITABLE, DIRTY]))
def test_clear_masked(seed: int, first: int, end: int, flag: int) -> None:
    sptes = drawn(seed)
    before = copied(sptes)
    mask = np.random.default_rng(seed + 1).integers(2, size=PAGES, dtype=np.uint8)
    cleared = log_ops.clear_masked(sptes, mask, first, end, flag)
    hit = [p for p in range(first, end) if mask[p] and before.dirty[p]]
    before.dirty[hit] = 0
    before.spte[hit] &= ~np.uint8(flag)
    assert cleared == len(hit)
    assert all(np.array_equal(a, b) for a, b in zip(sptes, before, strict=True))


@given(SEEDS, st.booleans())
def test_recover_large(seed: int, zap: bool) -> None:
    sptes = drawn(seed)
    before = copied(sptes)
    mapped = before.spte.reshape(REGIONS, REGION_PAGES).any(axis=1) & (before.level == 0)
    assert log_ops.recover_large(sptes, 0, REGIONS, zap) == int(mapped.sum())
    assert np.array_equal(sptes.level, before.level | (0 if zap else mapped))
    assert not sptes.spte.any()
    assert (sptes.large[mapped] == (0 if zap else PRESENT | WRITABLE | DIRTY)).all()
    assert np.array_equal(sptes.dirty, before.dirty)


@given(SEEDS)
def test_make_old(seed: int) -> None:
    sptes = drawn(seed)
    young = (sptes.spte & PRESENT != 0) & (sptes.spte & TRACKED == 0)
    assert log_ops.make_old(sptes, 0, PAGES) == int(young.sum())
    assert (sptes.spte[young] & (TRACKED | WRITABLE) == TRACKED).all()
    assert log_ops.make_old(sptes, 0, PAGES) == 0


@given(SEEDS, st.integers(1, 4))
def test_keep_first_of(seed: int, group: int) -> None:
    sptes = drawn(seed)
    level = sptes.level.copy()
    log_ops.keep_first_of(sptes, group)
    assert np.array_equal(sptes.level, np.where(np.arange(REGIONS) % group == 0, level, 0))


@given(SEEDS, st.integers(0, PAGES), st.integers(0, PAGES), st.integers(1, 50))
def test_clean_among(seed: int, first: int, end: int, step: int) -> None:
    bitmap = drawn(seed).dirty
    assert log_ops.clean_among(bitmap, first, end, step) == int((bitmap[first:end:step] == 0).sum())


@given(SEEDS, st.integers(0, PAGES), st.integers(0, PAGES))
def test_all_writable_or_small(seed: int, first: int, end: int) -> None:
    sptes = drawn(seed)
    large = np.repeat(sptes.level, REGION_PAGES) == 1
    flags = np.where(large, np.repeat(sptes.large, REGION_PAGES), sptes.spte)
    reads = (flags & PRESENT != 0) & (flags & TRACKED == 0)
    fine = reads & (~large | (flags & WRITABLE != 0))
    assert log_ops.all_writable_or_small(sptes, first, end) == bool(fine[first:end].all())
