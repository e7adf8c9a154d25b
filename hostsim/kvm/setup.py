"""What a VM under KVM is made of: vCPUs, memory, how it is backed and how its writes are logged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hostsim.costs.exits import ExitCosts
from hostsim.spte_index.spte import REGION_PAGES

Backing = Literal["4KiB", "2MiB", "1GiB"]
Recovery = Literal["none", "zap", "in-place"]
BACKING_PAGES: dict[Backing, int] = {"4KiB": 1, "2MiB": REGION_PAGES, "1GiB": REGION_PAGES * REGION_PAGES}
"""4 KiB pages of a host page."""


@dataclass(frozen=True)
class LogPolicy:
    """How the dirty log is kept.

    pml: D bits and the PML buffer, else write protection; eager_split: large sptes are split when logging starts, else at
    the first write; manual_protect: CLEAR protects, else GET does; initially_all_set: all pages are dirty to begin with and
    nothing is protected before the first CLEAR; recovery: what becomes of the 4 KiB sptes of huge pages when logging stops;
    flush_each: a flush for each region of theirs, else one a slot.
    """

    pml: bool = False
    eager_split: bool = True
    manual_protect: bool = True
    initially_all_set: bool = False
    recovery: Recovery = "in-place"
    flush_each: bool = False


@dataclass(frozen=True)
class LogCosts:
    """Nanoseconds of the thread that works on a whole slot, each for one unit of work.

    get_ns: a page whose bit is copied; clear_ns: a page cleared; protect_ns: an spte protected; split_ns, recover_ns: a
    2 MiB region; all_set_ns: a page of a log that begins all set; flush_ns, first_ipi_ns, more_ipi_ns: a TLB flush, with the
    first and with each further vCPU in guest mode.
    """

    get_ns: float
    clear_ns: float
    protect_ns: float
    split_ns: float
    recover_ns: float
    all_set_ns: float
    flush_ns: float
    first_ipi_ns: float
    more_ipi_ns: float

    def remote_flush_ns(self, running: int) -> float:
        """One flush with ``running`` other vCPUs in guest mode (oracle O35)."""
        if running == 0:
            return self.flush_ns
        return self.flush_ns + self.first_ipi_ns + self.more_ipi_ns * (running - 1)


@dataclass(frozen=True)
class KvmCosts:
    """Everything that takes time.

    exits: of faults; populate_ns: more, of one whose host page has to be allocated; loop_ns, read_loop_ns: a vCPU's own
    work for a page that it writes, and for one that it reads.
    """

    exits: ExitCosts
    populate_ns: int
    log: LogCosts
    loop_ns: float
    read_loop_ns: float


@dataclass(frozen=True)
class KvmSetup:
    """One slot, of which every vCPU has ``vcpu_pages``; with ``overlap`` all walk the first such part."""

    n_vcpus: int
    vcpu_pages: int
    overlap: bool = False
    backing: Backing = "4KiB"
    n_slots: int = 1
    policy: LogPolicy = field(default_factory=LogPolicy)

    @property
    def n_pages(self) -> int:
        """4 KiB pages of all slots together."""
        return self.n_vcpus * self.vcpu_pages

    @property
    def huge(self) -> bool:
        """Whether the host backs the slot with pages larger than 4 KiB."""
        return self.backing != "4KiB"

    @property
    def walked_pages(self) -> int:
        """Pages that some vCPU walks, from page 0 on."""
        return self.vcpu_pages if self.overlap else self.n_pages

    def first_page(self, vcpu: int) -> int:
        """Where ``vcpu`` begins."""
        return 0 if self.overlap else vcpu * self.vcpu_pages
