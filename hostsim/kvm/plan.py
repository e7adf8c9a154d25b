"""How the host keeps the dirty log of a VM, and what that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hostsim.costs.costs import LogCosts
from hostsim.costs.exits import EXCLUSIVE
from hostsim.kvm.spec import Interface

Recovery = Literal["none", "zap", "in-place"]
"""Fate of the 4 KiB sptes of huge pages when logging ends."""
CLEAR_BITMAP_SHIFT = 18
"""QEMU x-clear-bitmap-shift: 2^18 pages are cleared at a go (migration/migration.h::CLEAR_BITMAP_SHIFT_DEFAULT)."""
REAP_PERIOD_NS = 1_000_000_000
"""accel/kvm/kvm-all.c::kvm_dirty_ring_reaper_thread sleeps 1 s between two reaps."""
PROTECTED_A_LOOK = 64
"""Sptes write-protected between two looks whether somebody waits for mmu_lock."""
# Model limit: the walk that protects sptes looks once in 64 of them; KVM looks at each.


def whole_ns(ns: float) -> int:
    """A hold of mmu_lock in whole nanoseconds, at least one."""
    return max(1, round(ns))


@dataclass(frozen=True)
class LogPlan:
    """interface: of user space; costs: a unit each, [ns]; lock_pair_ns: taking and releasing mmu_lock once more.

    pml: buffers are drained before a harvest; d_bit: sptes are scanned, there is no log; eager_split: large sptes are split
    when they are protected; recovery: what becomes of 4 KiB sptes of huge pages when the log ends; slot_mode: how switching
    the log on and off takes mmu_lock; slot_yields: whether it yields; invalidates: a log that begins and a GET that finds
    anything dirty unmap all of the slot (book3s_pr.c::kvm_vm_ioctl_get_dirty_log_pr); flush_each: a flush for each region
    that is recovered, else one a slot; n_slots: memslots, each of which is switched on and off by an ioctl of its own.
    """

    interface: Interface
    costs: LogCosts
    lock_pair_ns: float = 0.0
    pml: bool = False
    d_bit: bool = False
    eager_split: bool = True
    recovery: Recovery = "in-place"
    slot_mode: int = EXCLUSIVE
    slot_yields: bool = True
    chunk_shift: int = CLEAR_BITMAP_SHIFT
    reap_period_ns: int = REAP_PERIOD_NS
    invalidates: bool = False
    flush_each: bool = False
    n_slots: int = 1

    @property
    def all_set(self) -> bool:
        """Whether the log begins with all pages dirty and nothing protected."""
        return self.interface == "initially-all-set"

    @property
    def start_unit_ns(self) -> int:
        """Work between two looks at who waits while the log is switched on; 0: none."""
        unit_ns = self.costs.split_ns if self.eager_split else PROTECTED_A_LOOK * self.costs.protect_ns
        return whole_ns(unit_ns) if self.slot_yields else 0

    @property
    def stop_unit_ns(self) -> int:
        """The same while it is switched off."""
        return whole_ns(self.costs.recover_ns) if self.slot_yields else 0

    def start_hold_ns(self, large: int, small: int) -> int:
        """Hold of mmu_lock that protects ``large`` and ``small`` sptes."""
        large_ns = self.costs.split_ns if self.eager_split else self.costs.protect_ns
        return whole_ns(large * large_ns + small * self.costs.protect_ns)

    def stop_hold_ns(self, regions: int, pages: int = 0) -> int:
        """Hold of mmu_lock that recovers ``regions`` of huge pages, and looks at mappings of ``pages`` that stay."""
        return whole_ns(regions * self.costs.recover_ns + pages * self.costs.disable_page_ns)

    def clear_hold_ns(self, pages: int, large: int) -> int:
        """Hold of mmu_lock that clears ``pages``, and protects or splits ``large`` sptes of a log that began all set."""
        large_ns = self.costs.split_ns if self.eager_split else self.costs.protect_ns
        return whole_ns(pages * self.costs.clear_ns + large * large_ns)

    def reset_hold_ns(self, masks: int, entries: int) -> int:
        """Hold of mmu_lock that resets ``entries`` of dirty rings, one turn at the lock for each of ``masks``."""
        return whole_ns(masks * self.lock_pair_ns + entries * (self.costs.ring_reset_ns or self.costs.clear_ns))
