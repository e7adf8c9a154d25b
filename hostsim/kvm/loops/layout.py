"""The state of one VM under KVM that the compiled loops share: records, arrays, and the values of their fields.

Compiled code is handed all of it as one word (hostsim.compiled.by_reference); a record is read by the names of its fields
(hostsim.compiled.record). Fields that begin with is_, has_ or does_ are 1 or 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.by_reference import ByReference
from hostsim.compiled.record import Record, Records
from hostsim.core.memory import Versions
from hostsim.spte_index.spte import Sptes

Ints = NDArray[np.int64]

RETRY, LOG, FILL, YOUNG = 7, 8, 9, 10
"""Beside the kinds of hostsim.costs.exits. RETRY: an invalidation went over the page meanwhile. LOG, FILL, YOUNG: no
exits: the hardware sets the D bit, a zero page gets content, the hardware sets the A bit.
"""
N_EXITS = 8
NO_EXIT = -1

CLEARS_A, TRACKS, ZAPS = range(3)
"""Values of State.ageing: clears the A bit; without A bits, makes the next access fault, or unmaps."""

IN_GUEST, ENTRY, RESUME, REQUEST, PFN, AGAIN, QUEUES, DONE, EXITED, LEAVING, WAITING, OUT, FAULTS = range(13)
"""Values of Vcpu.stage: the step at next_ns. PFN: the host page is known; AGAIN: the host has answered, and the vCPU looks
the page up again; QUEUES: a reader has met a writer, and is on its way into the queue; EXITED: a PML buffer was drained;
WAITING, OUT and FAULTS are not on the agenda; FAULTS: the host is asked for the page.
Steps of the guest come first and stages without a step last, so that one comparison tells them.
"""

UNIFORM, BY_WEIGHT, BY_VISIT = range(3)
"""Values of Part.kind."""
UNIT = 1 << 24
"""Weight of a page in a part by weight whose pages are alike; STALE ones differ, by their chance to miss the TLB."""
STALE_ROW = 2
"""Of Kvm.counts: 1 where a region, and how many regions of 512, may have STALE sptes."""
BLOCK = 8
"""Draws of a stream that are made at once."""
RING = 2 * BLOCK
"""Draws of a stream that are kept: two blocks, as hints look a draw ahead."""
TRIED = 4
"""Places, and pages of a region, whose words are made ahead; a draw seldom tries more."""
THINS, PLACES, SHARES, PROBES = 0, 1, 1 + TRIED, 1 + 2 * TRIED
"""Rows of a stream in Kvm.words: thinning; TRIED places; TRIED numbers below REGION_PAGES, and the region of a place is
taken if it has more armed pages; TRIED - 1 pages of a region, by their number in it, as the first one tried is the place.
"""
N_ROWS = 3 * TRIED
LEVELS_MAX = 7
"""Levels of a tree of visits: 32 ** 7 pages."""

HOST_IDLE, HOST_WAITING, HOST_HOLDS = range(3)
"""Values of Waiter.state."""

DUE_GRANTED, DUE_OUT, DUE_CONTENDED, DUE_FAULT, DUE_WALKED = 1, 2, 3, 4, 5
"""Values of DueEvent.what."""

UNTOUCHED, RESIDENT, AWAY = range(3)
"""Of Kvm.backing: the host has no page yet; it is in the host's page table; AWAY and more: the host has
to be asked for it.
"""

LOCK_WAITS, LOCK_HOLDS, WALKER_WAITS, WALKER_CALLS = range(N_EXITS, N_EXITS + 4)
"""Rows of Kvm.latencies behind those by kind of exit: of vCPUs at mmu_lock, of walkers there; from WALKER_CALLS on of the
calls of each host's walker.
"""
N_HOSTS = 8
"""Slots of host processes in the queue of one mmu_lock. slots_lock admits one process to the log at a time; notifier calls
of reclaim and ageing may need more slots than N_HOSTS.
"""

WALK_IDLE, WALK_BEGINS, WALK_ASKED, WALK_GRANTED, WALK_AGES, WALK_FLUSHES = range(6)
"""Values of Walk.stage."""
CALL_CLEAR_FLUSH, CALL_CLEAR, CALL_TEST = range(3)
"""Values of Walk.event: clear_flush_young, clear_young, test_young."""
CALLS_MAX, FOUND_MAX = 1 << 14, 1 << 20
"""Calls, and pages of all of them together, that a walker is given at a time."""

LONE_NEAR_NS, LONE_FAR_NS = 200_000, 1_000_000
"""Times since the last entry at which a fault that comes alone was measured."""
IN_A_ROW_PAGES = 32
"""Farthest page from that of the fault before at which a fault still costs as one in a row. Measured on Zen 4: 2.53 us at 17
pages, 2.64 at 33, 2.73 at 65, where one on the next page costs 2.50.
"""

NO_PREFETCH, ENDED_RUNS, ALL_RUNS, IN_ORDER = range(4)
"""Values of State.prefetches, in the order of PREFETCHES in hostsim.costs.era."""
PREFETCH_PAGES = 8
"""PTE_PREFETCH_NUM of arch/x86/kvm/mmu/mmu.c: sptes of the aligned group around a fault."""

REGION_BITS = 9
SUPER_BITS = 18


class State(Record):
    """Of the VM: switches of its MMU, mmu_lock, mmu notifiers, host memory, counters."""

    is_logged: int
    has_d_bits: int  # D bits catch writes while logged
    has_pml: int
    is_huge: int  # host memory comes in 2 MiB pages
    splits_whole: int  # a fault that splits keeps the other pages of its table mapped
    block_regions: int  # regions that the largest spte maps; 1: there are no sptes of 1 GiB
    has_rings: int  # the log is a ring a vCPU
    ring_soft_entries: int
    ageing: int
    pfn_ns: int  # to look up the host page of a fault
    is_reordered: int  # next events of vCPUs in guest mode were found anew: the agenda has to be made again
    agenda_first: int  # place of the first entry in Kvm.agenda
    agenda_ns: int  # time from which its entries count
    lock_readers: int  # holders of mmu_lock
    lock_writers: int
    lock_head: int  # of Kvm.lock_ring
    lock_queued: int
    entered_ns: int  # until when readers that have waited in the queue are let in
    wait_lock_ns: int  # until when readers that have met a writer are on their way into the queue
    lock_last: int  # 1 + the vCPU or host slot that was granted mmu_lock last; 0: none yet
    host_holders: int  # holders that are host processes or walkers
    invalidate_seq: int  # mmu_invalidate_seq
    invalidate_in_progress: int  # mmu_invalidate_in_progress
    invalidate_first: int  # first gfn of the range that is invalidated now
    invalidate_end: int
    wait_ns: int  # of vCPUs at mmu_lock, summed
    hold_ns: int  # of mmu_lock by vCPUs, summed
    logged_exits: int  # rows of Kvm.log
    n_due: int  # rows of Kvm.due
    counted_parts: int  # parts, the first ones, whose armed pages are counted
    is_backed: int  # Kvm.backing says which pages the host has
    populate_ns: int  # to make a host page
    host_page_gfns: int
    frames: int  # free ones at hand
    populating: int  # vCPUs that make a host page now
    fresh_pages: int  # rows of Kvm.fresh
    cleared_at: int  # where in Kvm.tape it is when sptes were last made old; 0: TLBs are not modelled (loops.tlb)
    cap_sptes: int  # sptes, all of 4 KiB, that may be mapped; 0: no cap, and mapped_sptes is not kept
    mapped_sptes: int
    emptied: int  # how often all sptes were unmapped because of the cap
    walk_ns: int  # time of the walkers' next event
    prefetches: int  # which sptes around its own a fault sets where the slot is not logged
    prefetched_sptes: int  # so far
    exits: Annotated[Ints, N_EXITS]  # by kind


class Vcpu(Record):
    """A vCPU: its next event, the exit under way, its PML buffer and dirty ring."""

    next_ns: int  # of its next event
    stage: int
    page: int  # gfn of the access under way
    kind: int  # of the fault
    lock_mode: int  # how the fault takes mmu_lock
    stream: int  # that makes the access; -1: none, the vCPU has done the work it was let in for
    stream_first: int  # its rows of Kvm.streams
    stream_end: int
    clock_first: int  # its rows of Kvm.own_clocks
    clock_end: int
    is_kicked: int  # it goes to user space when its exit is over
    is_ring_full: int  # it is in user space for a full ring
    pml_entries: int
    ring_head: int  # oldest entry of its ring
    ring_entries: int
    ring_taken: int  # entries that user space has collected
    invalidate_seq: int  # State.invalidate_seq when it looked its page up
    away_since_ns: int  # when it left the guest for an exit
    stall_ns: int  # out of the guest for exits, summed
    stop_work_ns: int  # work of its first clock at which it leaves by itself; NEVER: not at all
    frames: int  # that it populates for the host page it wants
    entered_ns: int  # its last entry
    last_fault_page: int  # gfn of its last fault
    exit_kind: int  # of the exit under way; NOTHING: an IPI or a kick; NO_EXIT: from user space, or for a PML entry
    granted_ns: int  # when it was last granted mmu_lock
    prefetched: int  # sptes that its fault sets beside its own: bits, from the first of its group on


class Stream(Record):
    """The touches of one class by one work clock. The candidate is the next touch that may be seen."""

    touch_class: int
    kind: int  # of its class, as is is_write; beside the hot fields, as every exit asks for both
    is_write: int
    clock: int
    vcpu: int
    next_work_ns: int  # work time of the candidate; NEVER: there is none
    index: int  # number of the first touch or write not yet made
    found_index: int  # number of the candidate
    visit: int  # of a sweep: the candidate's number within its cycle
    page: int  # gfn of the candidate; -1: the loop draws it at next_work_ns
    draws: int
    draws_made: int  # draws below this number, and not below the last RING of them, are in Kvm.words and Kvm.waits
    drawn_weight: int  # armed weight when the candidate was drawn
    offset_ns: int  # lateness of its writes among those of its class
    key0: int  # of its draws
    key1: int


class Part(Record):
    """Gfns [first, end) that a class touches alike."""

    touch_class: int
    first: int
    end: int
    is_write: int
    kind: int
    armed: int  # armed pages, or the sum of their weights
    weights_at: int  # where their sums by region begin in Kvm.tape
    supers_at: int  # by super-region


class TouchClass(Record):
    """Of a touch class, beside its row of Kvm.ints. Places are words of Kvm.tape."""

    part: int  # its first row of Kvm.parts
    n_parts: int
    trace_at: int  # times of a trace
    trace_end: int
    gfn_distance: int  # from a time of the trace to its gfn
    miss_at: int  # weights of its pages while STALE
    miss_step: int  # from page to page; 0: one weight for all
    n_levels: int  # of a sweep's tree of visits
    level_at: Annotated[Ints, LEVELS_MAX + 1]  # of each level, and the end


class Rate(Record):
    """Of a touch class."""

    mean_ns: float  # between touches of a page; of a paced class the share of writes to its hot part
    scale: float  # of the weights; with TLBs, of sweeps and traces: time between touches of a page [ns]
    hot_share: float  # of a paced class: share of its writes to a weight of 1 in its hot part
    cold_share: float  # and in its cold part


class Waiter(Record):
    """A vCPU or a host process at mmu_lock."""

    lock_mode: int
    asked_ns: int
    state: int  # of a host process
    word_ns: int  # of a host process: from its last grant until it has the lock word
    is_watched: int  # 1: the loop reports to the host process that another waiter queued behind it


class Costs(Record):
    """Of exits."""

    exit_ns: int
    entry_ns: int
    spurious_ns: int
    pml_ns: int
    pml_drain_ns: int
    queue_length: int  # columns of Kvm.queue_ns
    unmap_all_ns: int
    lone_near_ns: int  # added to a fault LONE_NEAR_NS after the last entry
    lone_far_ns: int  # and LONE_FAR_NS after it or later; 0: a fault costs the same however late it comes
    scattered_ns: int  # added to a fault more than IN_A_ROW_PAGES from the vCPU's last one
    is_cold: int  # lone_far_ns or scattered_ns is not 0
    prefetch_ns: int  # under mmu_lock for each spte that a fault prefetches
    ipi_ns: int  # added to leaving and entering the guest for an IPI
    wait_lock_ns: int  # a reader that has met a writer, until it is in the queue
    word_ns: int  # the lock word, to a host process that takes the lock after a vCPU
    lock_modes: Annotated[Ints, N_EXITS]  # how a fault takes mmu_lock, by kind
    hold_ns: Annotated[Ints, N_EXITS]
    before_ns: Annotated[Ints, N_EXITS]  # before a fault asks for mmu_lock


class LoggedExit(Record):
    """An exit that was handled."""

    ns: int  # when its state was set
    vcpu: int
    page: int
    kind: int
    since_ns: int  # when the vCPU left the guest
    lock_mode: int  # how it took mmu_lock
    asked_ns: int  # when it asked for mmu_lock, if it took it
    granted_ns: int


class DueEvent(Record):
    """An event for the host."""

    ns: int
    what: int
    who: int  # a vCPU or a host slot, by ``what``


class Walk(Record):
    """The walker of a host slot."""

    stage: int
    next_ns: int  # of its next event
    event: int
    lock_mode: int
    does_flush: int  # young pages are flushed
    call: int  # under way
    n_calls: int
    asked_ns: int  # when the call began
    since_ns: int  # when the call got mmu_lock
    found: int  # young pages of the call
    found_bytes: int  # bytes of Kvm.found of calls so far
    young: int
    pages: int
    wait_ns: int  # for mmu_lock, summed
    hold_ns: int  # of mmu_lock, summed
    flushes: int
    flush_ns: int


class Call(Record):
    """A notifier call of a walker, about gfns [first, end)."""

    first: int
    end: int
    hold_ns: int  # work on them


@dataclass(frozen=True, eq=False)
class Kvm(ByReference):
    """One VM. Records and arrays are changed in place.

    sptes; answers: uint16[2 * 2 * 256], by is_logged, large and flags, of hostsim.kvm.loops.armed; zero:
    uint8[n_pages], 1 = reads as zeros; version: uint16[n_pages]. counts: int64[3, n_regions + n_supers], armed pages by
    is_write and by region, then by 512 regions; STALE_ROW. parts: [n_parts], those of sweeps last; ints:
    int64[n_classes, N_INTS] of hostsim.guest.touch; classes, rates: [n_classes]; page_weights: int64, of WEIGHTED classes
    from DATA_OFFSET on; tape: int64, trees of visits (32 a word), traces, sums of armed weights, and the tables of TLBs.
    streams: [n_streams], by vCPU; words: uint32[n_streams * N_ROWS * RING], waits: float64[n_streams * RING], their
    draws of the time to come: words of 32 bits, and exponentials of mean 1 for a class that is not PACED; exact:
    float64[n_streams], the work time of a drawn touch before rounding, or the share of writes that went to armed pages
    when a write was drawn; clocks: int64[n_clocks, N_FIELDS]; own_clocks: int64[n_clocks], rows of clocks by vCPU, -1 -
    row: of a task that is parked. vcpus: [n_vcpus]; agenda: int64[n_vcpus + SPARE], entries of hostsim.kvm.loops.agenda;
    buffers: int64[n_vcpus, 512 + n], PML buffer and dirty ring; waiters: [n_vcpus + n_hosts]; lock_ring: int64[n_vcpus +
    n_hosts], the queue of mmu_lock.
    costs; queue_ns: int64[n_modes, n], added to a hold by others at the lock; crowd_ns: int64[n], added to making a host
    page by others that make one.
    log: [capacity]; due: [n]. backing: uint8[n_pages] if is_backed; fresh: int64[n], pages that got frames at hand, oldest
    first. latencies: int64[WALKER_CALLS + n_hosts, N_COUNTERS], as in hostsim.core.latency: exits from guest to guest or
    to user space, waits for mmu_lock, its holds, calls of walkers. walks: [n_hosts]; calls: [n_hosts, CALLS_MAX]; found:
    uint8[n_hosts, FOUND_MAX], 1: the call found the page young, the call under way included; flush_ns: int64[n_vcpus + 1], a
    flush by how many vCPUs are in guest mode; unseen: float64[n_hosts], pages called old that were expected to be accessed.
    """

    sptes: Sptes
    answers: NDArray[np.uint16]
    zero: NDArray[np.uint8]
    version: Versions
    counts: Ints
    parts: Records[Part]
    ints: Ints
    classes: Records[TouchClass]
    rates: Records[Rate]
    page_weights: Ints
    tape: Ints
    streams: Records[Stream]
    words: NDArray[np.uint32]
    waits: NDArray[np.float64]
    exact: NDArray[np.float64]
    clocks: Ints
    own_clocks: Ints
    vcpus: Records[Vcpu]
    agenda: Ints
    buffers: Ints
    waiters: Records[Waiter]
    lock_ring: Ints
    state: State
    costs: Costs
    queue_ns: Ints
    crowd_ns: Ints
    log: Records[LoggedExit]
    due: Records[DueEvent]
    backing: NDArray[np.uint8]
    fresh: Ints
    latencies: Ints
    walks: Records[Walk]
    calls: Records[Call]
    found: NDArray[np.uint8]
    flush_ns: Ints
    unseen: NDArray[np.float64]
