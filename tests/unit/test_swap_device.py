"""A zram that is made, swapped to and removed, on files in place of the kernel's; a failure at each step leaves nothing."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hostsim.measure.kvm.device import KvmError, refusal
from hostsim.measure.privileged import swap_device
from hostsim.measure.privileged.putting_back import PuttingBack
from hostsim.measure.privileged.swap_device import HEADER_AT, swap_header, swaps_on, take_device
from tests.helpers.needs import needs_mkswap

SWAPS = """\
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/swap.img                               file\t\t2097148\t\t1024\t\t-2
/dev/zram0                              partition\t4194300\t\t0\t\t100
"""
MIB = 1 << 20
UUID_BYTES = slice(HEADER_AT + 12, HEADER_AT + 28)


@dataclass
class FakeKernel:
    """Files below ``root``, and the calls that were made."""

    root: Path
    calls: list[str] = field(default_factory=list)
    refuses: str = ""

    def call(self, name: str, path: Path, *_more: object) -> None:
        if name == self.refuses:
            raise refusal(f"{name} {path}", "Invalid argument")
        self.calls.append(f"{name} {path.name}")

    @property
    def removed(self) -> bool:
        return (self.root / "control/hot_remove").read_text() == "7"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    for name in ("control", "block/zram7", "dev"):
        (tmp_path / name).mkdir(parents=True)
    for name, content in (("control/hot_add", "7\n"), ("control/hot_remove", ""), ("dev/zram7", ""), ("swaps", SWAPS)):
        (tmp_path / name).write_text(content)
    fake = FakeKernel(tmp_path)
    for name, path in (("CONTROL", "control"), ("BLOCK", "block"), ("DEVICES", "dev"), ("SWAPS", "swaps")):
        monkeypatch.setattr(swap_device, name, tmp_path / path)
    monkeypatch.setattr(swap_device, "_call", fake.call)
    monkeypatch.setattr(swap_device, "NODE_S", 0.0)
    return fake


def test_a_zram_is_made_swapped_to_and_removed(kernel: FakeKernel) -> None:
    with PuttingBack() as back:
        device = take_device("zram", back, 32 * MIB)
        assert kernel.calls == ["swapon zram7"]
        assert (kernel.root / "block/zram7/disksize").read_text() == str(64 * MIB)
        assert (kernel.root / "dev/zram7").read_bytes() == swap_header(64 * MIB)
        assert not kernel.removed
    assert device.path.endswith("/dev/zram7")
    assert kernel.calls == ["swapon zram7", "swapoff zram7"]
    assert (kernel.root / "block/zram7/reset").read_text() == "1"
    assert kernel.removed


@pytest.mark.parametrize("step", ["disksize", "node", "header", "swapon", "work"])
def test_a_failure_at_any_step_leaves_nothing(step: str, kernel: FakeKernel) -> None:
    break_at(step, kernel)
    with pytest.raises((KvmError, RuntimeError)), PuttingBack() as back:  # noqa: PT012  the block is the work
        take_device("zram", back, 32 * MIB)
        raise RuntimeError("the work")
    assert kernel.removed
    assert kernel.calls == (["swapon zram7", "swapoff zram7"] if step == "work" else [])


def break_at(step: str, kernel: FakeKernel) -> None:
    """That step fails."""
    node = kernel.root / "dev/zram7"
    if step == "disksize":
        (kernel.root / "block/zram7/disksize").mkdir()
    if step in {"node", "header"}:
        node.unlink()
    if step == "header":
        node.mkdir()
    kernel.refuses = step


def test_a_device_that_is_not_made_is_not_removed(kernel: FakeKernel) -> None:
    (kernel.root / "control/hot_add").write_text("Device or resource busy")
    with pytest.raises(KvmError, match="hot_add"), PuttingBack() as back:
        take_device("zram", back, 32 * MIB)
    assert not kernel.removed
    (kernel.root / "control/hot_add").unlink()
    with pytest.raises(KvmError, match=r"modprobe zram num_devices=0"), PuttingBack() as back:
        take_device("zram", back, 32 * MIB)


def test_a_swapoff_that_fails_is_told_and_the_device_stays_for_it(kernel: FakeKernel) -> None:
    with pytest.raises(KvmError, match=r"not put back: swapoff .*zram7 .*Invalid argument.*by hand"), PuttingBack() as back:  # noqa: PT012  the block is the work
        take_device("zram", back, 32 * MIB)
        kernel.refuses = "swapoff"


def test_the_device_that_is_on_is_the_one_that_the_kernel_takes_first(kernel: FakeKernel) -> None:
    assert [device.path for device in swaps_on(SWAPS)] == ["/dev/zram0", "/swap.img"]
    with PuttingBack() as back:
        found = take_device("present", back, 32 * MIB)
        assert (found.path, found.free_bytes, found.priority) == ("/dev/zram0", 4194300 << 10, 100)
        with pytest.raises(KvmError, match=r"/dev/zram0 has 4095 MiB free, 8192 are needed; --swap zram makes one"):
            take_device("present", back, 8192 * MIB)
        (kernel.root / "swaps").write_text(SWAPS.splitlines()[0])
        with pytest.raises(KvmError, match=r"--swap present: no swap device is on; --swap zram makes one"):
            take_device("present", back, 32 * MIB)
    assert kernel.calls == []


@needs_mkswap
def test_the_header_is_that_of_mkswap(tmp_path: Path) -> None:
    area = tmp_path / "area"
    area.write_bytes(bytes(MIB))
    area.chmod(0o600)
    subprocess.run(["mkswap", str(area)], check=True, capture_output=True)
    theirs, ours = bytearray(area.read_bytes()[:4096]), bytearray(swap_header(MIB))
    theirs[UUID_BYTES] = ours[UUID_BYTES]
    assert theirs == ours
