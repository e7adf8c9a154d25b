from __future__ import annotations

from pathlib import Path

import pytest

from hostsim.measure.calibrate.calibration import LARGEST_LEAST_BYTES, LARGEST_MOST_BYTES, largest_bytes
from hostsim.measure.calibrate.machine import MachineFacts, read_machine

CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R)   Gold 6152 CPU
flags\t\t: fpu vme{more}
{vmx}
processor\t: 1
model name\t: another
"""
CACHES = (("1", "Data", "32K"), ("1", "Instruction", "32K"), ("2", "Unified", "1024K"), ("3", "Unified", "30976K"))
MIB = 1 << 20


def machine_of(root: Path, more: str = "", vmx: str = "", caches: tuple[tuple[str, str, str], ...] = CACHES) -> MachineFacts:
    (root / "proc").mkdir()
    (root / "proc" / "cpuinfo").write_text(CPUINFO.format(more=more, vmx=f"{vmx}\n"))
    (root / "proc" / "meminfo").write_text("MemTotal:  16 kB\nMemAvailable:    2097152 kB\n")
    for at, (level, kind, size) in enumerate(caches):
        folder = root / "sys/devices/system/cpu/cpu0/cache" / f"index{at}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    return read_machine(root)


def test_what_the_kernel_says(tmp_path: Path) -> None:
    found = machine_of(tmp_path, vmx="vmx flags\t: vnmi ept pml")
    assert found.title == "Intel(R) Xeon(R) Gold 6152 CPU"
    assert found.cache_bytes == (32 << 10, 1 << 20, 30976 << 10)
    assert (found.has_pml, found.available_bytes) == (True, 2 << 30)


@pytest.mark.parametrize(
    ("vmx", "has_pml"), [("vmx flags\t: vnmi ept", False), ("", None), ("vmx flags\t: pmlx", False)]
)
def test_pml_is_left_open_where_nobody_says(tmp_path: Path, vmx: str, has_pml: bool | None) -> None:
    assert machine_of(tmp_path, vmx=vmx).has_pml is has_pml


def test_a_virtual_machine_says_so(tmp_path: Path) -> None:
    assert machine_of(tmp_path, more=" hypervisor lahf_lm").title.endswith("in a virtual machine")


@pytest.mark.parametrize("caches", [(), (("x", "Data", "32K"),), (("1", "Data", "many"),), (("1", "Data", "0K"),)])
def test_caches_that_are_not_told(tmp_path: Path, caches: tuple[tuple[str, str, str], ...]) -> None:
    assert machine_of(tmp_path, caches=caches).cache_bytes == ()


def test_a_kernel_without_these_files(tmp_path: Path) -> None:
    found = read_machine(tmp_path)
    assert found.model
    assert (found.cache_bytes, found.available_bytes, found.has_pml) == ((), None, False)


@pytest.mark.parametrize(
    ("caches", "available", "expected"),
    [
        ((), None, LARGEST_LEAST_BYTES),
        ((32 << 10, MIB, 96 * MIB), None, 384 * MIB),
        ((512 * MIB,), None, LARGEST_MOST_BYTES),
        ((), 400 * MIB, 100 * MIB),
        ((), MIB, 8 * MIB),
    ],
)
def test_how_far_footprints_go(caches: tuple[int, ...], available: int | None, expected: int) -> None:
    assert largest_bytes(MachineFacts("x", False, caches, None, available)) == expected
