"""Triggers of ageing: reasons where this kernel has none, and the idle bits of a VM's pages on files made up for them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hostsim.measure.kvm.bench import Bench, Timing
from hostsim.measure.kvm.calibrate_kvm import calibration_of
from hostsim.measure.kvm.device import KvmError
from hostsim.measure.privileged import ageing
from hostsim.measure.privileged.ageing import PRESENT, IdleBits, Kernel, ages, words_of
from tests.unit.test_kvm_rules import FAULT, SHADOW, bench

FIRST, N = 3, 200
"""The VM's memory begins at this page of the process, and has so many."""


def with_files(root: Path, **files: str) -> Kernel:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Kernel(root)


def test_a_kernel_without_a_trigger_is_told_why(tmp_path: Path) -> None:
    assert with_files(tmp_path).why_not() == "ageing: this kernel has no page_idle (CONFIG_IDLE_PAGE_TRACKING)"
    damon = "sys/kernel/mm/damon/admin/kdamonds"
    kernel = with_files(tmp_path, **{f"{damon}/0/state": "on\n", f"{damon}/1/state": "off\n", f"{damon}/nr_kdamonds": "2"})
    assert kernel.why_not().endswith("gives no time of a page, and kdamond 0 works for others")
    assert "MGLRU ages a whole" in with_files(tmp_path, **{"sys/kernel/debug/lru_gen": ""}).why_not()
    assert with_files(tmp_path, **{"sys/kernel/mm/page_idle/bitmap": ""}).why_not() == ""


def test_the_reason_is_in_the_sheet_and_no_number_is(tmp_path: Path) -> None:
    found: Bench = bench(**FAULT)
    ages(found, with_files(tmp_path))
    calibration = calibration_of(SHADOW, found, 0.0)
    assert calibration.absent["age_page_ns"].startswith("ageing: this kernel has no page_idle")
    assert calibration.absent["swap_in_ns"] == "swapping: --as-root --swap present or zram"
    assert "--as-root" in calibration_of(SHADOW, bench(**FAULT), 0.0).absent["age_page_ns"]


def test_frames_share_words_of_the_bitmap() -> None:
    words, masks = words_of(np.array([3, 64, 65, 130, 1], np.uint64))
    assert words.tolist() == [0, 1, 2]
    assert masks.tolist() == [0b1010, 0b11, 0b100]


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[IdleBits, Path, np.ndarray[Any, Any]]:
    """Idle bits of a VM whose pages lie all over the memory."""
    frames = np.random.default_rng(1).permutation(5000)[:N].astype(np.uint64) + np.uint64(1)
    entries = np.concatenate([np.zeros(FIRST, np.uint64), frames | PRESENT])
    kernel = with_files(tmp_path, **{"sys/kernel/mm/page_idle/bitmap": "\0" * 800, "proc/self/pagemap": ""})
    kernel.pagemap.write_bytes(entries.tobytes())

    def timing(_vm: object, call: Any) -> Timing:
        call()
        return Timing(1.0, 1.0, {})

    monkeypatch.setattr(ageing, "host_timing", timing)
    vm: Any = SimpleNamespace(memory=SimpleNamespace(address=FIRST * 4096), spec=SimpleNamespace(n_pages=N))
    return IdleBits(kernel, vm), kernel.bitmap, frames


def test_marking_sets_the_bit_of_every_page_and_of_no_other(idle: tuple[IdleBits, Path, np.ndarray[Any, Any]]) -> None:
    bits, bitmap, frames = idle
    with bits:
        assert bits.count() == 0
        bits.mark()
        assert bits.count() == N
        set_bits = np.unpackbits(np.frombuffer(bitmap.read_bytes(), np.uint8), bitorder="little")
        assert np.flatnonzero(set_bits).tolist() == sorted(frames.tolist())
        bitmap.write_bytes(bytes(800))  # as when all pages have been used
        assert bits.count() == 0


def test_a_page_without_a_frame_is_refused(tmp_path: Path) -> None:
    kernel = with_files(tmp_path, **{"proc/self/pagemap": "\0" * 8 * (FIRST + N)})
    vm: Any = SimpleNamespace(memory=SimpleNamespace(address=FIRST * 4096), spec=SimpleNamespace(n_pages=N))
    with pytest.raises(KvmError, match=r"pagemap: a page of the VM has no frame there; root needs CAP_SYS_ADMIN"):
        IdleBits(kernel, vm)
