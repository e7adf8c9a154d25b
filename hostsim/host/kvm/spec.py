"""What a machine says of KVM's MMU under its VM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Interface = Literal["get-dirty-log", "clear-dirty-log", "initially-all-set", "dirty-ring"]
INTERFACES: tuple[Interface, ...] = ("get-dirty-log", "clear-dirty-log", "initially-all-set", "dirty-ring")
"""How user space learns of dirty pages: the values of ``dirty_tracking`` beside "tcg"."""


@dataclass(frozen=True)
class MmuSpec:
    """era: the kernel; costs: the sheet; mmu: tdp, direct or shadow; page_size: of the host's memory under the guest.

    write_tracking: what catches the first write; eager_split: None: as the era does; ring_entries: a vCPU's dirty ring;
    a_bits: whether its page tables have accessed bits.
    """

    era: str = "E4"
    costs: str = "cascade-lake"
    mmu: str = "tdp"
    page_size: Literal["4KiB", "2MiB", "1GiB"] = "4KiB"
    write_tracking: Literal["write-protect", "pml", "d-bit"] = "write-protect"
    eager_split: bool | None = None
    ring_entries: int = 4096
    a_bits: bool = True
