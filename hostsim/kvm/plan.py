"""The plan by which the host keeps the dirty log of a VM, with its costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.costs.costs import LogCosts
from hostsim.costs.era import ClearLock, RecoveryFlush
from hostsim.costs.exits import EXCLUSIVE, SHARED
from hostsim.kvm.interfaces import INTERFACE_TRAITS, Interface
from hostsim.kvm.spec import MmuSpec
from hostsim.spte_index.cache_costs import CacheCosts
from hostsim.spte_index.spte import REGION_PAGES

Recovery = Literal["none", "zap", "in-place"]
"""Fate of the 4 KiB sptes of huge pages when logging ends."""
MASK_PAGES = 64
"""Pages that kvm_arch_mmu_enable_log_dirty_pt_masked clears at once: a word of the bitmap."""
CLEAR_BITMAP_SHIFT = 18
"""QEMU x-clear-bitmap-shift: 2^18 pages are cleared at once (migration/migration.h::CLEAR_BITMAP_SHIFT_DEFAULT)."""
REAP_PERIOD_NS = 1_000_000_000
"""accel/kvm/kvm-all.c::kvm_dirty_ring_reaper_thread sleeps 1 s between two reaps."""
PROTECTED_A_LOOK = 64
"""Sptes write-protected between two tests whether mmu_lock has waiters."""
# Model limit: the walk that protects sptes tests for waiters of mmu_lock at each 64th spte; KVM tests at each.


def whole_ns(ns: float) -> int:
    """A hold of mmu_lock, or work beside it, in whole nanoseconds, at least one."""
    return max(1, round(ns))


@dataclass(frozen=True)
class LogPlan:
    """Choices of a kernel and of user space on the log of one VM.

    LogPlan is apart from MmuConfig: trackers read it and the engine does not. The twins draw choices that QEMU does not
    make, such as a CLEAR of 64 pages.

    interface: the interface that user space uses.
    costs: time of each unit of work [ns].
    mmu: choices of the scenario; write_tracking and n_slots are read here.
    lock_pair_ns: time to take and drop mmu_lock once more.
    eager_split: large sptes are split when they are protected.
    recovery: treatment of the 4 KiB sptes of huge pages when the log is switched off.
    slot_mode: the mode in which switching the log on and off takes mmu_lock.
    slot_yields: switching yields mmu_lock to waiters.
    chunk_shift: a CLEAR covers 2^chunk_shift pages.
    reap_period_ns: period of QEMU's reaper thread.
    invalidates: switching the log on, and a GET that finds a dirty page, unmap the whole slot
    (book3s_pr.c::kvm_vm_ioctl_get_dirty_log_pr).
    recovery_flush: one flush for each spte that is zapped, for each recovered region, or one a slot.
    clear_lock: the way a CLEAR takes mmu_lock.
    caches: prices of cache lines, for calls whose code other work has pushed out of them.
    """

    interface: Interface
    costs: LogCosts
    mmu: MmuSpec = field(default_factory=MmuSpec)
    lock_pair_ns: float = 0.0
    eager_split: bool = True
    recovery: Recovery = "in-place"
    slot_mode: int = EXCLUSIVE
    slot_yields: bool = True
    chunk_shift: int = CLEAR_BITMAP_SHIFT
    reap_period_ns: int = REAP_PERIOD_NS
    invalidates: bool = False
    recovery_flush: RecoveryFlush = "slot"
    clear_lock: ClearLock = "exclusive"
    caches: CacheCosts = field(default_factory=CacheCosts)

    @property
    def pml(self) -> bool:
        """Whether a harvest drains PML buffers first."""
        return self.mmu.write_tracking == "pml"

    @property
    def d_bit(self) -> bool:
        """Whether a harvest scans D bits in the sptes, and there is no log."""
        return self.mmu.write_tracking == "d-bit"

    @property
    def n_slots(self) -> int:
        """Memslots; each is switched on and off by an ioctl of its own."""
        return self.mmu.n_slots

    @property
    def all_set(self) -> bool:
        """Whether the log starts with all pages dirty and no page protected."""
        return INTERFACE_TRAITS[self.interface].all_set

    @property
    def start_unit_ns(self) -> int:
        """Work between two tests for waiters of mmu_lock while the log is switched on [ns]; 0: no yields."""
        unit_ns = self.costs.split_ns if self.eager_split else PROTECTED_A_LOOK * self.costs.protect_ns
        return whole_ns(unit_ns) if self.slot_yields else 0

    @property
    def stop_unit_ns(self) -> int:
        """Work between two tests for waiters of mmu_lock while the log is switched off [ns]; 0: no yields."""
        return whole_ns(self.costs.recover_ns) if self.slot_yields else 0

    @property
    def stop_spte_ns(self) -> int:
        """Time to zap one spte of a region while the log is switched off, its flush not included [ns]."""
        return whole_ns(self.costs.recover_ns / REGION_PAGES)

    def start_hold_ns(self, large: int, small: int) -> int:
        """Hold of mmu_lock that protects ``large`` and ``small`` sptes."""
        large_ns = self.costs.split_ns if self.eager_split else self.costs.protect_ns
        return whole_ns(large * large_ns + small * self.costs.protect_ns)

    def stop_hold_ns(self, regions: int, pages: int = 0) -> int:
        """Hold of mmu_lock that recovers ``regions`` of huge pages, and looks at mappings of ``pages`` that stay."""
        return whole_ns(regions * self.costs.recover_ns + pages * self.costs.disable_page_ns)

    def slot_calls_ns(self, first_ns: float, next_ns: float, n_bytes: int) -> int:
        """Calls that switch the log of all memslots, beside their pages; 0: not measured.

        The first loads the kernel's code for it from where the guest's work on ``n_bytes`` of memory has left it.
        first_ns, next_ns: a call with empty caches, and one right after it; 0: as the first.
        """
        # Model limit: before a log is switched the guest has touched as much memory as it has.
        cold_ns = (first_ns - next_ns) * self.caches.unused_share(n_bytes) if next_ns else 0.0
        return round((next_ns or first_ns) * self.n_slots + cold_ns)

    @property
    def clear_mode(self) -> int:
        """Mode in which a CLEAR takes mmu_lock."""
        return SHARED if self.clear_lock == "shared" else EXCLUSIVE

    def clear_masks(self, due: NDArray[np.uint8]) -> int:
        """Turns of a CLEAR at mmu_lock: one, or one for each word of the bitmap that has a dirty page.

        due: uint8[pages of the call], 1: the page is cleared; the call begins at a multiple of 64 pages.
        """
        if self.clear_lock != "each-mask":
            return 1
        return max(1, len(np.unique(np.flatnonzero(due) // MASK_PAGES)))

    def clear_unit_ns(self, hold_ns: int, masks: int) -> int:
        """Work of a CLEAR of ``hold_ns`` between two looks for waiters of mmu_lock [ns]; 0: no yields."""
        # Model limit: the turns of a CLEAR that takes mmu_lock anew for each 64 pages all last as long, whether the word has
        # few dirty pages or many.
        return -(-hold_ns // masks) if masks > 1 else 0

    def clear_hold_ns(self, pages: int, large: int, masks: int = 1, bare_words: int = 0) -> int:
        """Hold of mmu_lock that clears ``pages``, and protects or splits ``large`` sptes of a log that began all set.

        arch/x86/kvm/mmu/mmu.c::kvm_arch_mmu_enable_log_dirty_pt_masked.

        pages: due, with a 4 KiB spte. large: a split protects its 512 small sptes, too.
        masks: turns at the lock; each but the first adds a pair of lock and unlock.
        bare_words: words of 64 pages of which no page due has a 4 KiB spte.
        """
        # Model limit: under the shared lock a page costs a CLEAR as much as under the exclusive one; there KVM would need a
        # cmpxchg, which is slow on some arm64 processors (20231027172640.2335197-1-dmatlack).
        large_ns = self.costs.split_ns if self.eager_split else self.costs.protect_ns
        bare_ns = bare_words * self.costs.bare_word_ns
        return whole_ns(pages * self.costs.clear_ns + bare_ns + large * large_ns + (masks - 1) * self.lock_pair_ns)

    def reset_hold_ns(self, masks: int, entries: int) -> int:
        """Hold of mmu_lock that resets ``entries`` of dirty rings, one turn at the lock for each of ``masks``."""
        return whole_ns(masks * self.lock_pair_ns + entries * (self.costs.ring_reset_ns or self.costs.clear_ns))
