from __future__ import annotations

import numpy as np
import pytest

from hostsim.spte_index.spte import DIRTY, PRESENT, REGION_PAGES, TRACKED, WRITABLE, make_sptes


@pytest.mark.parametrize(("n_pages", "n_regions"), [(1, 1), (511, 1), (512, 1), (513, 2), (262_144, 512)])
def test_a_slot_is_whole_regions_of_nothing(n_pages: int, n_regions: int) -> None:
    sptes = make_sptes(n_pages)
    assert [len(part) for part in sptes] == [n_regions * 512, n_regions, n_regions]
    assert all(part.dtype == np.uint8 and not part.any() for part in sptes)


def test_arrays_of_a_slot_are_its_own() -> None:
    sptes = make_sptes(1)
    for i, part in enumerate(sptes):
        part[0] = i + 1
    assert [part[0] for part in sptes] == [1, 2, 3]


def test_flags_are_bits_of_one_byte() -> None:
    flags = (PRESENT, WRITABLE, TRACKED, DIRTY)
    assert sum(flags) == PRESENT | WRITABLE | TRACKED | DIRTY < 256
    assert all(flag.bit_count() == 1 for flag in flags)


def test_a_region_is_two_mebibytes_of_four_kibibyte_pages() -> None:
    assert REGION_PAGES * 4096 == 2 << 20
