"""Memory of a measured VM: pages that lie in a row in the host's memory are made of a huge page, and are 4 KiB pages."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import numpy as np
import pytest

from hostsim.measure.kvm import region
from hostsim.measure.kvm.region import HUGE_BYTES, Region

N_BYTES = 4 * HUGE_BYTES


def huge_kib(address: int) -> int:
    """KiB in huge pages of the mapping of this process that holds ``address``."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if ends := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(ends[1], 16) <= address < int(ends[2], 16)
        elif inside and line.startswith("AnonHugePages:"):
            return int(line.split()[1])
    raise AssertionError("no such mapping")


def test_no_page_laid_in_a_row_is_huge() -> None:
    memory = Region.anonymous(N_BYTES)
    try:
        memory.lay_in_a_row()
        assert huge_kib(memory.address) == 0
        assert np.all(memory.array(np.uint64)[::512] == 1)
    finally:
        memory.close()


@pytest.mark.parametrize("unknown", [mmap.MADV_HUGEPAGE, 20])
def test_an_old_kernel_gives_pages_as_they_come(unknown: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = region.Region._advised

    def old(self: Region, advice: int, offset: int = 0, n_bytes: int | None = None) -> bool:
        return advice != unknown and asked(self, advice, offset, n_bytes)

    memory = Region.anonymous(N_BYTES)
    monkeypatch.setattr(region.Region, "_advised", old)
    try:
        memory.lay_in_a_row()
        assert huge_kib(memory.address) == 0
        assert np.all(memory.array(np.uint64)[::512] == 1)
    finally:
        memory.close()
