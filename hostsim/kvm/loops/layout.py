"""The arrays of one VM under KVM that the compiled loops share, and what their rows and columns mean.

Compiled code is handed all of them as one word (hostsim.compiled.by_reference); what is small lies together in
``state``, ``vcpus``, ``queue`` and ``costs``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.by_reference import ByReference
from hostsim.guest.touch import N_INTS
from hostsim.spte_index.spte import Sptes

Ints = NDArray[np.int64]

RETRY, LOG, FILL, YOUNG = 7, 8, 9, 10
"""Beside the kinds of hostsim.costs.exits. RETRY: an invalidation went over the page meanwhile. LOG, FILL, YOUNG: no
exits: the hardware sets the D bit, a zero page gets content, the hardware sets the A bit.
"""
N_EXITS = 8

(LOGGED, HARDWARE, PML, HUGE, WHOLE_TABLE, RING, RING_SOFT, PFN_NS, REORDERED,
 LOCK_READERS, LOCK_WRITERS, LOCK_HEAD, LOCK_LENGTH,
 SEQ, IN_PROGRESS, RANGE_FIRST, RANGE_END,
 WAIT_NS, HOLD_NS, LOGGED_EXITS, N_DUE, N_COUNTED, AGEING,
 BACKED, POPULATE_NS, HOST_PAGES, FRAMES, N_FRESH, BLOCK, CLEARED, CAP, MAPPED, UNMAPPED_ALL,
 WALK_NS, HOLDERS) = range(35)  # fmt: skip
"""Of Kvm.state. HARDWARE: D bits catch writes; RING: the log is a ring a vCPU; REORDERED: what comes next of vCPUs in guest
mode was found anew; LOCK_..: mmu_lock; SEQ: mmu_invalidate_seq, IN_PROGRESS: mmu_invalidate_in_progress, with its range;
WAIT_NS, HOLD_NS: of vCPUs at mmu_lock; N_DUE: what comes up for the host; N_COUNTED: parts, the first ones, whose
armed pages are counted; AGEING: what ageing does to an spte; BACKED: Kvm.backing tells which pages the host has;
POPULATE_NS: to make one; HOST_PAGES: gfns of a host page; FRAMES: free ones at hand for it, N_FRESH: used up of them;
BLOCK: regions that the largest spte maps, 1: those of 2 MiB are the largest; CLEARED: where it begins in Kvm.tape when
sptes were last made old, 0: TLBs are not modelled (hostsim.kvm.loops.tlb); CAP: sptes, all of 4 KiB, that may be there,
0: no cap, and MAPPED, how many are there, is not kept; UNMAPPED_ALL: how often all went because of it; WALK_NS: of the
walkers' next event; HOLDERS: hosts that have mmu_lock.
"""
CLEARS_A, TRACKS, ZAPS = range(3)
"""Values of AGEING: clears the A bit; without A bits, makes the next access fault, or unmaps."""
EXITS = 40
"""Of Kvm.state, exits by kind from here on."""
DUE = 48
"""Of Kvm.state, (ns, what, who) from here on; behind them the clocks by vCPU."""

(V_NS, V_STAGE, V_PAGE, V_KIND, V_MODE, V_STREAM, V_FIRST, V_END, V_CLOCK, V_CLOCK_END, V_KICKED, V_FULL, V_PML, V_HEAD,
 V_RING, V_TAKEN, V_SEQ, V_AWAY_NS, V_STALL_NS, V_STOP, V_FRAMES, V_EXIT) = range(22)  # fmt: skip
"""Rows of Kvm.vcpus. V_FIRST .. V_END: its streams; V_CLOCK .. V_CLOCK_END: places in Kvm.state of its clocks; V_PML:
entries in its PML buffer; V_HEAD, V_RING, V_TAKEN: oldest entry of its dirty ring, how many, how many of them user space
has taken; V_AWAY_NS: since when it is out of the guest because of an exit; V_STALL_NS: how long altogether; V_STOP: work
of its first clock at which it leaves by itself, NEVER: not at all; V_FRAMES: frames it fills for the host page it wants;
V_EXIT: kind of the exit under way, NOTHING: an IPI or a kick; NO_EXIT: it comes from user space, or waits for a PML entry.
"""
N_VCPU = 22
NO_EXIT = -1

IN_GUEST, REQUEST, PFN, WAITING, DONE, EXITED, ENTRY, RESUME, LEAVING, OUT, FAULTS, AGAIN = range(12)
"""What comes next. WAITING, OUT and FAULTS are not in the heap; PFN: the host page is known; EXITED: a PML buffer was
drained; FAULTS: the host is asked for the page; AGAIN: it has answered, the page is looked up again.
"""

(S_CLASS, S_CLOCK, S_VCPU, S_NEXT, S_INDEX, S_FOUND, S_PAGE, S_DRAWS, S_DRAWN, S_OFFSET, S_KEY0, S_KEY1) = range(12)
"""Columns of Kvm.streams. S_NEXT: work time of the candidate; S_INDEX: number of the first touch or write not yet made;
S_FOUND: that of the candidate; S_PAGE: its page, -1: drawn when it comes up; S_DRAWS: draws so far; S_DRAWN: armed weight
when it was drawn; S_OFFSET: lateness of its writes among those of its class.
"""
N_STREAM = 12

P_CLASS, P_FIRST, P_END, P_WRITE, P_KIND, P_ARMED, P_WEIGHTS, P_SUPERS = range(8)
"""Columns of Kvm.parts, regions of gfns of equal touch. P_ARMED: armed pages, or the sum of their weights; P_WEIGHTS,
P_SUPERS: where their sums by region and by super-region begin in Kvm.tape.
"""
N_PART = 8
UNIFORM, BY_WEIGHT, BY_VISIT = range(3)
UNIT = 1 << 24
"""Weight of a page in a part by weight whose pages are alike; STALE ones differ, by their chance to miss the TLB."""
STALE_ROW = 2
"""Of Kvm.counts: 1 where a region, and how many regions of 512, may have STALE sptes."""

C_PART, C_PARTS, C_TRACE, C_TRACE_END, C_GFN, C_MISS, C_STEP, C_LEVELS, C_LEVEL = range(N_INTS, N_INTS + 9)
"""Columns of Kvm.ints behind those of a touch class. C_TRACE .. C_TRACE_END: times of a trace in Kvm.tape, their gfns C_GFN
further on; C_MISS: where the weights of its pages while STALE begin in Kvm.tape, one each C_STEP words, 0: the same for all;
C_LEVELS: levels of a sweep's tree of visits, whose words begin at C_LEVEL, C_LEVEL + 1, ..
"""
LEVELS_MAX = 7
N_CLASS = C_LEVEL + LEVELS_MAX + 1

Q_WHO, Q_MODE, Q_ASKED, Q_HEAP, Q_STATE, Q_WATCH = range(6)
"""Rows of Kvm.queue. Q_WHO: the ring of those who wait for mmu_lock; the others by vCPU, then by host. Q_MODE, Q_ASKED: how
and since when; Q_HEAP: scratch; Q_STATE: of a host; Q_WATCH: 1: tell the host when somebody queues behind it.
"""
N_QUEUE = 6
HOST_IDLE, HOST_WAITING, HOST_HOLDS = range(3)

COST, MODE_OF, HOLD_OF, QUEUE_OF = range(4)
"""Rows of Kvm.costs: single numbers; by kind of fault how it takes mmu_lock, and how long; from QUEUE_OF on by mode, what
others at the lock add to a hold.
"""
EXIT_NS, ENTRY_NS, SPURIOUS_NS, PML_NS, PML_DRAIN_NS, QUEUE_LENGTH, UNMAP_ALL_NS = range(7)
N_COSTS = 6

R_MEAN, R_SCALE = range(2)
"""Rows of Kvm.rates."""

DUE_GRANTED, DUE_OUT, DUE_CONTENDED, DUE_FAULT = 1, 2, 3, 4

UNTOUCHED, RESIDENT, AWAY = range(3)
"""Of Kvm.backing: the host has no page yet; it is in the host's page table; AWAY and more: the host has
to be asked for it.
"""

LOCK_WAITS, LOCK_HOLDS, WALKER_WAITS, WALKER_CALLS = range(N_EXITS, N_EXITS + 4)
"""Rows of Kvm.latencies behind those by V_EXIT: of vCPUs at mmu_lock, of walkers there; from WALKER_CALLS on of the calls of
each host's walker.
"""

DUE_WALKED = 5
(W_STAGE, W_NS, W_EVENT, W_MODE, W_FLUSHES, W_AT, W_CALLS, W_ASKED_NS, W_SINCE_NS, W_FOUND, W_TOLD, W_YOUNG, W_PAGES,
 W_WAIT_NS, W_HOLD_NS, W_FLUSH_COUNT, W_FLUSH_NS) = range(17)  # fmt: skip
"""Columns of Kvm.walks. W_NS: of what comes next; W_EVENT, W_MODE: what is called, how it takes mmu_lock; W_FLUSHES: 1: what
was young is flushed; W_AT, W_CALLS: the call under way, how many there are; W_ASKED_NS, W_SINCE_NS: when it began, and when
it had the lock; W_FOUND: young pages of it; W_TOLD: bytes of Kvm.found so far; W_YOUNG, W_PAGES: of calls so far; W_WAIT_NS,
W_HOLD_NS: at mmu_lock; W_FLUSH_COUNT, W_FLUSH_NS: flushes.
"""
N_WALK = 17
WALK_IDLE, WALK_BEGINS, WALK_ASKED, WALK_GRANTED, WALK_AGES, WALK_FLUSHES = range(6)
"""Values of W_STAGE."""
CALL_FIRST, CALL_END, CALL_HOLD = range(3)
"""Of Kvm.calls: pages of a call, and how long it works on them."""
N_CALL = 3
CALLS_MAX, FOUND_MAX = 1 << 14, 1 << 20
"""Calls, and pages of all of them together, that a walker is given at a time."""
CALL_CLEAR_FLUSH, CALL_CLEAR, CALL_TEST = range(3)
"""Values of W_EVENT: clear_flush_young, clear_young, test_young."""

REGION_BITS = 9
SUPER_BITS = 18


@dataclass(frozen=True, eq=False)
class Kvm(ByReference):
    """One VM. Arrays are changed in place.

    sptes; zero: uint8[n_pages], 1 = reads as zeros; version: uint32[n_pages]. counts: int64[3, n_regions + n_supers],
    armed pages by is_write and by region, then by 512 regions; STALE_ROW. parts: int64[n_parts, N_PART]; ints:
    int64[n_classes, N_CLASS]; rates: float64[2, n_classes], mean time between touches of a page, scale of the weights (with
    TLBs, of sweeps and traces: time between touches of a page); page_weights: int64, of WEIGHTED classes from DATA_OFFSET
    on; tape: int64, trees of visits (32 a word), traces, sums of armed weights, and what TLBs need. streams:
    int64[n_streams, N_STREAM]; exact: float64[n_streams], the work time of a drawn touch before rounding, or the share of
    writes that went to armed pages when a write was drawn; clocks: int64[n_clocks, N_FIELDS]. vcpus: int64[N_VCPU,
    n_vcpus]; buffers: int64[n_vcpus, 512 + n], PML buffer and dirty ring; queue: int64[N_QUEUE, n_vcpus + n_hosts];
    state: int64; costs: int64[N_COSTS, n]; log: int64[capacity, 4] gets (t_set, vcpu, page, kind). backing: uint8[n_pages]
    if BACKED; fresh: int64[n], pages that got frames at hand, oldest first. latencies: int64[WALKER_CALLS + n_hosts,
    N_COUNTERS], as in hostsim.core.latencies: exits from guest to guest or to user space, waits for mmu_lock, its holds,
    calls of walkers. walks: int64[n_hosts, N_WALK]; calls: int64[n_hosts, N_CALL, CALLS_MAX]; found: uint8[n_hosts,
    FOUND_MAX], what the calls found, page by page, that under way included; flush_ns: int64[n_vcpus + 1], a
    flush by how many vCPUs are in guest mode; unseen: float64[n_hosts], pages called old that were expected to be accessed.
    """

    sptes: Sptes
    zero: NDArray[np.uint8]
    version: NDArray[np.uint32]
    counts: Ints
    parts: Ints
    ints: Ints
    rates: NDArray[np.float64]
    page_weights: Ints
    tape: Ints
    streams: Ints
    exact: NDArray[np.float64]
    clocks: Ints
    vcpus: Ints
    buffers: Ints
    queue: Ints
    state: Ints
    costs: Ints
    log: Ints
    backing: NDArray[np.uint8]
    fresh: Ints
    latencies: Ints
    walks: Ints
    calls: Ints
    found: NDArray[np.uint8]
    flush_ns: Ints
    unseen: NDArray[np.float64]
