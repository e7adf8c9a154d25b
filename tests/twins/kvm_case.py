"""A guest under KVM and the acts of its host, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hostsim.costs.era import Prefetch, RecoveryFlush
from hostsim.guest.workload import Workload
from hostsim.kvm.table_work import PRICES

REGION_PAGES = 512
PML_ENTRIES = 512
FAULTS = ("map", "track", "wp", "split")
Flags = frozenset[str]
Interface = Literal["get-dirty-log", "clear-dirty-log", "initially-all-set", "dirty-ring"]
Mechanism = Literal["write-protect", "pml", "d-bit"]


@dataclass(frozen=True)
class GuestCosts:
    """populate_ns: to make a host page, 0: all are there; mode, hold_ns: by kind of fault; queue_ns: by mode, then by
    requests and holders beside one's own; unmap_all_ns: to unmap everything where the cap is reached; crowd_ns: more for a
    host page, by others that make one; lone_ns: more for a fault 0.2 ms and 1 ms after the entry; scattered_ns: more for
    one far from the vCPU's last one; prefetch_ns: more under the lock for each spte that is prefetched.
    ipi_ns: more for an IPI than out and in. before_ns: of a fault that is not lockless, until it asks for mmu_lock, by kind.
    wait_lock_ns: a reader that meets a writer comes into the queue, after the one before; word_ns: the lock word comes from
    a vCPU to a host thread, and a reader that has waited is let in after the one before.
    """

    exit_ns: int
    entry_ns: int
    spurious_ns: int
    pml_ns: int
    pml_drain_ns: int
    pfn_ns: int
    populate_ns: int
    mode: dict[str, str]
    hold_ns: dict[str, int]
    queue_ns: dict[str, tuple[int, ...]]
    unmap_all_ns: int = 0
    crowd_ns: tuple[int, ...] = (0,)
    lone_ns: tuple[int, int] = (0, 0)
    scattered_ns: int = 0
    prefetch_ns: int = 0
    ipi_ns: int = 0
    before_ns: tuple[int, ...] = (0, 0, 0, 0)
    wait_lock_ns: int = 0
    word_ns: int = 0


@dataclass(frozen=True)
class HostCosts:
    """Of the threads that work on a log, a unit: page, spte, region, pair of lock and unlock, flush.

    request_ns: of a flush, for each vCPU but the first.
    """

    get_ns: float
    clear_ns: float
    protect_ns: float
    split_ns: float
    recover_ns: float
    all_set_ns: float
    lock_pair_ns: float
    flush_ns: float
    first_ipi_ns: float
    more_ipi_ns: float
    bare_word_ns: float = 0.0
    request_ns: float = 0.0


@dataclass(frozen=True)
class LogRules:
    """How the kernel keeps the log.

    mode: of mmu_lock when a log starts or stops; yields: such a hold yields; recovery: what becomes of small sptes of
    huge pages; recovery_flush: after each of them, after a region of theirs, or one at the end; invalidates: a log that
    begins, and a GET that finds anything, unmap all; clear_lock: how a CLEAR takes mmu_lock.
    """

    interface: Interface
    mechanism: Mechanism
    eager: bool
    mode: Literal["shared", "exclusive"]
    yields: bool
    recovery: Literal["none", "zap", "in-place"]
    chunk_pages: int
    ring_entries: int
    ring_soft: int
    reaper_ns: int
    invalidates: bool = False
    clear_lock: Literal["exclusive", "each-mask", "shared"] = "exclusive"
    recovery_flush: RecoveryFlush = "slot"


@dataclass(frozen=True)
class Sync:
    """The migration thread syncs, sends, waits wait_ns; restart: the log is stopped and started again after that."""

    wait_ns: int
    restart: bool = False


@dataclass(frozen=True)
class Throttle:
    """After wait_ns the vCPUs are kicked to sleep."""

    wait_ns: int
    vcpus: tuple[int, ...]
    sleep_ns: int


@dataclass(frozen=True)
class Pause:
    """After wait_ns all vCPUs are stopped; when all are out and pause_ns are over they run on."""

    wait_ns: int
    pause_ns: int


@dataclass(frozen=True)
class Hold:
    """After wait_ns a host thread holds mmu_lock for hold_ns, and yields at multiples of unit_ns if that is not 0."""

    wait_ns: int
    mode: str
    hold_ns: int
    unit_ns: int


@dataclass(frozen=True)
class Invalidation:
    """After wait_ns the host takes pages [first, end) away; gap_ns lie between the two holds of mmu_lock.

    After the second hold the host flushes its own TLBs, if the first page is even.
    """

    wait_ns: int
    first: int
    end: int
    gap_ns: int

    @property
    def shoots(self) -> bool:
        return self.first % 2 == 0


@dataclass(frozen=True)
class Errand:
    """After wait_ns the vCPU is asked to leave for user space when it has done work_ns more."""

    wait_ns: int
    vcpu: int
    work_ns: int


@dataclass(frozen=True)
class Ageing:
    """After wait_ns a host thread asks which pages of [first, end) are young: event is the notifier's."""

    wait_ns: int
    event: Literal["clear_flush_young", "clear_young", "test_young"]
    first: int
    end: int


@dataclass(frozen=True)
class AgeingRules:
    """old: what ageing does to a young spte; locked: under mmu_lock, exclusively; flush: clear_flush_young does.

    age_ns, zap_ns: a page.
    """

    old: Literal["a-bit", "access-tracking", "zap"]
    locked: bool
    flush: bool
    age_ns: float
    zap_ns: float


@dataclass(frozen=True)
class Script:
    """The acts of the host: first_ns is when the log starts; stop: whether it is stopped at the end."""

    first_ns: int
    syncs: tuple[Sync, ...]
    stop: bool
    kicks: tuple[Throttle | Pause, ...]
    holds: tuple[Hold, ...]
    invalidations: tuple[Invalidation, ...]
    errands: tuple[Errand, ...]
    ageings: tuple[Ageing, ...] = ()


@dataclass(frozen=True)
class Case:
    """spte: flags of 4 KiB mappings; large: flags by region mapped by one large spte; giant: by block
    of block_regions regions mapped by one; blank: pages that read as zeros.

    pml: what is put in front of each vCPU's buffer after each sync; host_pages: numbers of those that are there; end_ns:
    when the run is looked at; tlb: by workload, whether its accesses miss the TLB (always or never), None: not modelled;
    cap_pages: so many sptes at most, 0: no cap; prefetch: sptes around its own that a fault sets where nothing is logged.
    table_ns: prices of KVM's work on page tables; a sync yields after sync_tables of them.
    """

    n_regions: int
    n_vcpus: int
    workloads: tuple[Workload, ...]
    spte: dict[int, Flags]
    large: dict[int, Flags]
    blank: frozenset[int]
    pml: tuple[tuple[int, ...], ...]
    huge: bool
    whole_table: bool
    costs: GuestCosts
    host_costs: HostCosts
    rules: LogRules
    ageing: AgeingRules
    script: Script
    end_ns: int
    host_pages: frozenset[int] = frozenset()
    giant: dict[int, Flags] = field(default_factory=dict)
    block_regions: int = 1
    tlb: tuple[bool, ...] | None = None
    cap_pages: int = 0
    prefetch: Prefetch = "none"
    table_ns: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PRICES, 0.0))
    sync_tables: int = 1

    @property
    def host_page_size(self) -> int:
        """In pages."""
        return REGION_PAGES * self.block_regions if self.huge else 1

    @property
    def n_pages(self) -> int:
        return self.n_regions * REGION_PAGES
