"""S2, S3 and O33 under swap: rows pass, and wrong figures would not."""

from __future__ import annotations

import numpy as np
import pytest

from hostsim.kvm.page_waits import PageWaits
from hostsim.memory.fault_waits import VCPU
from hostsim.theory.far_memory import AgeHistograms, smallest_age
from hostsim.validation.oracles_swap import fault_rows, swapping_vm
from hostsim.validation.published_memory import far_memory_rows, swap_rows
from hostsim.validation.rows import Row


@pytest.fixture(scope="module")
def faults() -> list[Row]:
    return list(fault_rows())


@pytest.fixture(scope="module")
def far() -> list[Row]:
    return list(far_memory_rows())


def test_scored_rows_pass(faults: list[Row], far: list[Row]) -> None:
    assert [row for row in faults if not (row.passed and row.scored)] == []
    assert [row for row in far if row.scored and not row.passed] == []


def test_what_a_sheet_was_set_on_is_not_scored() -> None:
    swap = list(swap_rows())
    assert [(row.id, row.scored) for row in swap] == [
        ("S2/swap-in", False), ("S2/swap-out", False), ("S2/fault", False), ("S2/guest", False),
    ]  # fmt: skip
    assert [row.got for row in swap[:3]] == [4050.0, 360.0, 4050.0]
    assert swap[3].got == pytest.approx(5311, abs=50)


def test_ids(faults: list[Row], far: list[Row]) -> None:
    both = [(what, swap) for swap in ("nvme", "zram") for what in ("faults", "vcpu")]
    assert [row.id for row in faults] == [f"O33-run/{what}/{swap}" for what, swap in both]
    assert [row.id for row in far] == ["S3/bound", "S3/form", "S3/cold", "S3/kept"]


def test_a_fault_that_is_not_watched_breaks_littles_law(monkeypatch: pytest.MonkeyPatch) -> None:
    count = PageWaits._count

    def late(waits: PageWaits, more: int, now_ns: int) -> None:
        count(waits, more if waits.faults != 7 else 0, now_ns)

    monkeypatch.setattr(PageWaits, "_count", late)
    run = swapping_vm(1, "zram", 5_000_000, 100_000_000, 1)
    assert run.vm.page_waits.in_flight_ns != run.host.vms[0].waits[VCPU].ns


def test_the_smallest_age_by_hand() -> None:
    """Page 0 is always young, page 1 every second scan, page 2 every fourth, page 3 never."""
    seen = AgeHistograms(4, 6)
    for scan in range(40):
        seen.note(np.array([1, scan % 2 == 0, scan % 4 == 0, 0], np.uint8))
        if scan == 7:
            seen.begin()
    assert seen.scans == 32
    assert seen.promoted[1:5].tolist() == [16 + 8, 8, 8, 0]
    assert seen.cold[1] == 16 + 24 + 32
    assert seen.working_set == 1 + 0.5 + 0.25
    per_minute = 8 / 32 / 2
    assert smallest_age(seen, share=per_minute / seen.working_set * 1.01) == 2
    assert smallest_age(seen, share=per_minute / seen.working_set * 0.99) == 4
    assert smallest_age(AgeHistograms(4, 6), share=1.0) == 1
