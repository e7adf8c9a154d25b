"""The arguments of KVM's ioctls: numbers and structures of linux/kvm.h, page tables, the guest's bytes."""

from __future__ import annotations

import re
import subprocess
from ctypes import sizeof
from pathlib import Path

import numpy as np
import pytest

from hostsim.measure.kvm import abi, guest
from hostsim.measure.kvm.pace import PACE_INSTRUCTIONS
from hostsim.measure.kvm.page_tables import LARGE_LEAF, LEAF, PAGE_BYTES, PageTables, tables_bytes
from hostsim.measure.kvm.region import Region
from hostsim.measure.kvm.ring import DirtyRing
from hostsim.measure.kvm.vm import VmSpec, address_of, clear, vcpu_cpu
from tests.helpers.needs import needs_nasm

SOURCE = Path(guest.__file__).with_name("guest.asm")
MIB = 1 << 20


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("KVM_RUN", 0xAE80),
        ("KVM_SET_USER_MEMORY_REGION", 0x4020AE46),
        ("KVM_GET_DIRTY_LOG", 0x4010AE42),
        ("KVM_CLEAR_DIRTY_LOG", 0xC018AEC0),
        ("KVM_GET_SREGS", 0x8138AE83),
        ("KVM_SET_REGS", 0x4090AE82),
        ("KVM_ENABLE_CAP", 0x4068AEA3),
        ("KVM_IOEVENTFD", 0x4040AE79),
        ("KVM_GET_SUPPORTED_CPUID", 0xC008AE05),
        ("KVM_GET_STATS_FD", 0xAECE),
    ],
)
def test_numbers_are_those_that_strace_shows(name: str, number: int) -> None:
    assert getattr(abi, name) == number
    assert abi.IOCTL_NAMES[number] == name


def test_fields_stand_where_the_kernel_has_them() -> None:
    run = abi.kvm_run
    assert (run.immediate_exit.offset, run.exit_reason.offset, run.io_port.offset) == (1, 8, 34)
    assert (sizeof(abi.kvm_segment), sizeof(abi.kvm_sregs), sizeof(abi.kvm_cpuid_entry2)) == (24, 312, 40)


@needs_nasm
def test_the_guest_is_its_source_assembled(tmp_path: Path) -> None:
    subprocess.run(["nasm", "-f", "bin", str(SOURCE), "-o", "guest.bin"], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "guest.bin").read_bytes() == guest.PROGRAM


def test_the_mailbox_is_that_of_the_source() -> None:
    text = SOURCE.read_text(encoding="ascii")
    equal = {name.lower(): int(value, 0) for name, value in re.findall(r"^(\w+)\s+equ (\w+)", text, re.MULTILINE)}
    assert equal.pop("pace_turns") * 8 == PACE_INSTRUCTIONS
    assert equal.pop("stack") == PAGE_BYTES
    assert (equal.pop("doorbell"), equal.pop("event")) == (guest.DOORBELL_PORT, guest.EVENT_PORT)
    assert equal == {name: getattr(guest.Mailbox, name).offset for name, _ in guest.Mailbox._fields_}
    assert int(re.findall(r"^org (\w+)", text, re.MULTILINE)[0], 0) == guest.CODE_GPA


def test_commands_are_in_the_order_of_the_table() -> None:
    labels = re.findall(r"^commands: dq (.*)$", SOURCE.read_text(encoding="ascii"), re.MULTILINE)[0].split(", ")
    assert labels == ["done", *(command.name.lower() for command in guest.Command if command)]


def walk(words: np.ndarray[tuple[int], np.dtype[np.uint64]], root: int, address: int) -> int:
    """The guest-physical address that a processor finds."""
    table = root
    for shift in (39, 30, 21, 12):
        entry = int(words[table // 8 + (address >> shift & 511)])
        assert entry & 7 == 7, f"not present, writable and of user mode at {shift}"
        if entry & (LARGE_LEAF & ~LEAF) and shift == 21:
            return (entry & ~0x1FFFFF) + (address & 0x1FFFFF)
        table = entry & ~0xFFF
    return table + (address & 0xFFF)


@pytest.mark.parametrize("large", [False, True])
def test_every_alias_leads_to_the_page(large: bool) -> None:
    n_bytes, first = 8 * MIB, 2 * MIB
    end = first + tables_bytes(n_bytes, 3, large=large)
    words = np.zeros(end // 8, np.uint64)
    tables = PageTables(words, first, end)
    for alias in range(3):
        tables.map(address_of(0, alias), 1 << 30, n_bytes, large=large)
    for alias in range(3):
        for page in (0, 1, 511, 512, 2047):
            assert walk(words, tables.root, address_of(page, alias) + 8) == (1 << 30) + page * PAGE_BYTES + 8


def test_slots_and_processors_are_shared_out() -> None:
    assert VmSpec(4 * MIB, n_slots=3).slots() == [(0, 341), (341, 682), (682, 1024)]
    assert [vcpu_cpu(i, (0, 1)) for i in range(3)] == [1, 0, 1]
    assert vcpu_cpu(5, (3,)) == 3


def test_a_call_keeps_its_bitmap_alive() -> None:
    bitmap = np.zeros(4, np.uint64)
    number, argument = clear(64, 128, bitmap[1:3])
    assert (number, argument.first_page, argument.num_pages) == (abi.KVM_CLEAR_DIRTY_LOG, 64, 128)
    assert argument.dirty_bitmap == bitmap.ctypes.data + 8
    assert np.shares_memory(argument.buffer, bitmap)


def test_a_ring_is_harvested_in_order_and_round_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Region.anonymous(8 * DirtyRing.ENTRY_BYTES)
    monkeypatch.setattr(Region, "shared", lambda *_of: memory)
    ring = DirtyRing(0, 8)

    def push(*places: int) -> None:
        for place in places:
            ring._entries[place % 8] = (abi.KVM_DIRTY_GFN_F_DIRTY, 1, place)

    assert len(ring.harvest()) == 0
    push(0, 1, 2, 3, 4)
    assert ring.harvest()["offset"].tolist() == [0, 1, 2, 3, 4]
    assert ring._entries["flags"].tolist() == [3] * 5 + [0] * 3
    assert len(ring.harvest()) == 0
    push(5, 6, 7, 8, 9)
    assert ring.harvest()["offset"].tolist() == [5, 6, 7, 8, 9]
    ring.close()
