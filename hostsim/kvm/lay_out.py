"""From a guest's work to the arrays that the compiled loops of hostsim.kvm.loops share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from hostsim.compiled.plain import plain
from hostsim.compiled.record import Record, Records, one, records
from hostsim.core.latency import make_counters
from hostsim.core.memory import GuestMemory
from hostsim.core.rng import NEVER, mix32
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.costs.era import PREFETCHES, Prefetch
from hostsim.costs.exits import ExitCosts
from hostsim.guest import touch
from hostsim.guest.pacing import TICK
from hostsim.guest.touch import TouchTable
from hostsim.guest.workload import Guest
from hostsim.kvm.loops import layout as lay
from hostsim.kvm.loops.agenda import LAST, SPARE, VCPU_BITS
from hostsim.kvm.loops.armed import make_answers
from hostsim.kvm.loops.visits import level_sizes
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.tlb import TlbReach
from hostsim.spte_index.spte import make_sptes

Ints = NDArray[np.int64]
R = TypeVar("R", bound=Record)
RING_SPARE = PML_ENTRIES + 64
"""Entries a ring may get beyond its soft limit before its vCPU is out: a PML buffer, and faults under way."""
DUE_MAX = 64
UNLIMITED = 1 << 60
"""Free frames at hand without a model of the host's memory."""
WEIGHT_BITS = 60
"""Sums of weights stay below 2 ** WEIGHT_BITS."""


@dataclass(frozen=True)
class MmuConfig:
    """Behaviour of the MMU of a VM.

    It is a step of its own between MmuSpec and the arrays: an era and a cost sheet decide these values together, and the
    twins and the tests of the engine build choices that no era has, such as host pages of a few regions.

    mmu: choices of the scenario; write_tracking and a_bits are read here.
    huge: host memory comes in pages of 2 MiB or more.
    whole_table: a fault that splits a large spte keeps the other pages of its table mapped.
    ring_entries, ring_soft: size and soft limit of a vCPU's dirty ring, 0: the log is a bitmap.
    pfn_ns: time to look up the host page of a fault.
    populate_ns: time to allocate a host page that does not exist yet, 0: all host pages exist.
    host_pages: gfns of a host page.
    block_regions: 2 MiB regions of a host page larger than 2 MiB, 512 but for tests.
    ageing: replaces A bits of an MMU without them: ageing zaps sptes, or marks them for access tracking.
    tlb: reach of a vCPU's TLB, None: every access misses.
    cap_pages: most sptes, 0: no cap; unmap_all_ns: time to unmap all of them.
    prefetch: sptes that a fault sets beside its own where the slot is not logged, as of an era.
    """

    mmu: MmuSpec = field(default_factory=MmuSpec)
    huge: bool = False
    whole_table: bool = False
    ring_entries: int = 0
    ring_soft: int = 0
    pfn_ns: int = 0
    populate_ns: int = 0
    host_pages: int = 1
    block_regions: int = 1
    ageing: Literal["zap", "access-tracking"] = "access-tracking"
    tlb: TlbReach | None = None
    cap_pages: int = 0
    unmap_all_ns: int = 0
    prefetch: Prefetch = "none"


def lay_out(
    guest: Guest, memory: GuestMemory, n_vcpus: int, config: MmuConfig, exits: ExitCosts, n_hosts: int, log_capacity: int
) -> lay.Kvm:
    """All arrays of the VM; its vCPUs are about to enter the guest at 0 ns, and no page is mapped.

    guest: touch classes and their vCPUs.
    memory: pages and their content at the start.
    config: switches of KVM's MMU; exits: costs of exits and holds [ns].
    n_hosts: slots for host processes in the queue of mmu_lock.
    log_capacity: rows of the exit log; 0: none is kept.
    """
    sptes = make_sptes(memory.n_pages)
    n_regions = len(sptes.level)
    n_supers = (n_regions >> (lay.SUPER_BITS - lay.REGION_BITS)) + 1
    vcpus, state = records(lay.Vcpu, n_vcpus), one(lay.State)
    vcpus["stage"], vcpus["stop_work_ns"], vcpus["exit_kind"] = lay.ENTRY, NEVER, lay.NO_EXIT
    vcpus["last_fault_page"] = -NEVER
    _configure(state, config)
    assert n_vcpus <= 1 << VCPU_BITS, "an entry of the agenda has no room for more"
    kvm = lay.Kvm(
        sptes=sptes, answers=make_answers(has_d_bits=state.has_d_bits == 1), zero=memory.zero, version=memory.version,
        counts=np.zeros((3, n_regions + n_supers), np.int64),
        vcpus=vcpus, buffers=np.zeros((n_vcpus, PML_ENTRIES + _ring(config)), np.int64),
        agenda=np.full(n_vcpus + SPARE, LAST, np.int64), waiters=records(lay.Waiter, n_vcpus + n_hosts),
        lock_ring=np.zeros(n_vcpus + n_hosts, np.int64), state=state, due=records(lay.DueEvent, DUE_MAX + n_vcpus + n_hosts),
        costs=one(lay.Costs), queue_ns=np.zeros_like(exits.queue_ns),
        crowd_ns=np.zeros_like(exits.crowd_ns),
        log=records(lay.LoggedExit, log_capacity), backing=_backing(memory, config), fresh=np.zeros(0, np.int64),
        latencies=make_counters(lay.WALKER_CALLS + n_hosts), **_walkers(n_hosts, n_vcpus),
        **_work(guest, state, vcpus),
    )  # fmt: skip
    set_costs(kvm, exits)
    kvm.costs.unmap_all_ns = config.unmap_all_ns
    return kvm


def _walkers(n_hosts: int, n_vcpus: int) -> dict[str, Any]:
    """Arrays of walkers. Most VMs are never aged, so the rows of calls have no columns until the first walk (with_calls)."""
    walks = records(lay.Walk, n_hosts)
    walks["next_ns"] = NEVER
    return {
        "walks": walks, "calls": records(lay.Call, n_hosts, 0), "found": np.zeros((n_hosts, 0), np.uint8),
        "flush_ns": np.zeros(n_vcpus + 1, np.int64), "unseen": np.zeros(n_hosts),
    }  # fmt: skip


def with_calls(kvm: lay.Kvm) -> lay.Kvm:
    """Give ``kvm`` room for the calls of walkers."""
    n_hosts = len(kvm.walks)
    return replace(
        kvm,
        calls=records(lay.Call, n_hosts, lay.CALLS_MAX),
        found=np.zeros((n_hosts, lay.FOUND_MAX), np.uint8),
    )


def _backing(memory: GuestMemory, config: MmuConfig) -> NDArray[np.uint8]:
    """Kvm.backing at the start: a host page is resident if one of its gfns has content."""
    if not config.populate_ns:
        return np.zeros(0, np.uint8)
    is_there = memory.zero == 0
    if config.host_pages > 1:
        starts = np.arange(0, memory.n_pages, config.host_pages)
        is_there = np.repeat(np.logical_or.reduceat(is_there, starts), config.host_pages)[: memory.n_pages]
    # Not Python's integers, of which NumPy makes 8 bytes a page: they were the peak of a guest's memory.
    return np.where(is_there, np.uint8(lay.RESIDENT), np.uint8(lay.UNTOUCHED))


def with_work(kvm: lay.Kvm, guest: Guest) -> lay.Kvm:
    """``kvm`` with the work of ``guest`` on its vCPUs; no page is counted as armed. Changes counts and vCPUs in place."""
    kvm.counts[: lay.STALE_ROW] = 0
    return replace(kvm, **_work(guest, kvm.state, kvm.vcpus))


def _work(guest: Guest, state: lay.State, vcpus: Records[lay.Vcpu]) -> dict[str, Any]:
    """The arrays of the vCPUs' work, by field of Kvm; sets the bounds in ``vcpus`` in place."""
    tape = _Tape()
    parts, scale = _parts(guest.table, tape)
    classes = _classes(guest.table, parts, tape)
    streams, n_vcpus = _streams(guest, classes), len(vcpus)
    bounds, _ = _grouped(streams["vcpu"], n_vcpus)
    vcpus["stream_first"], vcpus["stream_end"] = bounds[:-1], bounds[1:]
    bounds, clocks = _grouped(guest.clock_vcpu, n_vcpus)
    state.counted_parts = int(np.count_nonzero(parts["kind"] != lay.BY_VISIT))
    vcpus["clock_first"], vcpus["clock_end"] = bounds[:-1], bounds[1:]
    rates = records(lay.Rate, len(classes))
    rates["mean_ns"], rates["scale"] = guest.table.mean_ns, scale
    set_shares(rates, guest.table.ints)
    return {
        "parts": parts, "ints": guest.table.ints, "classes": classes, "rates": rates,
        "page_weights": _weights(guest.table, scale), "tape": tape.words(), "streams": streams,
        "words": np.zeros(len(streams) * lay.N_ROWS * lay.RING, np.uint32),
        "waits": np.zeros(len(streams) * lay.RING, np.float64),
        "exact": np.zeros(len(streams), np.float64), "clocks": guest.clocks, "own_clocks": clocks,
    }  # fmt: skip


def set_shares(rates: Records[lay.Rate], ints: Ints) -> None:
    """Set the shares of paced classes. Their scale is a power of 2, so that no share is rounded by it. In place."""
    for rate, row in zip(rates, ints, strict=True):
        if row[touch.KIND] == touch.PACED:
            hot, cold = int(row[touch.HOT_PAGES]), int(row[touch.N_PAGES] - row[touch.HOT_PAGES])
            rate.hot_share = rate.mean_ns / hot / rate.scale if hot else 0.0
            rate.cold_share = (1.0 - rate.mean_ns) / cold / rate.scale if cold else 0.0


class _Tape:
    """A growing int64 array into which other arrays are laid end to end."""

    def __init__(self) -> None:
        self._pieces: list[Ints] = [np.zeros(1, np.int64)]
        self._length = 1

    def add(self, words: Ints) -> int:
        """Append ``words``; return the index of their first word."""
        at = self._length
        self._pieces.append(words)
        self._length += len(words)
        return at

    def words(self) -> Ints:
        """int64[n]: all words so far."""
        return np.concatenate(self._pieces)


def _configure(state: lay.State, config: MmuConfig) -> None:
    state.has_d_bits, state.has_pml = config.mmu.write_tracking != "write-protect", config.mmu.write_tracking == "pml"
    state.is_huge, state.splits_whole, state.pfn_ns = config.huge, config.whole_table, config.pfn_ns
    state.is_backed, state.populate_ns = config.populate_ns > 0, config.populate_ns
    state.block_regions, state.walk_ns = config.block_regions, NEVER
    state.host_page_gfns, state.frames = config.host_pages, UNLIMITED
    state.has_rings, state.ring_soft_entries = config.ring_entries > 0, config.ring_soft
    state.cap_sptes = config.cap_pages
    state.prefetches = PREFETCHES.index(config.prefetch)
    is_caught = config.mmu.write_tracking == "write-protect"
    assert not config.cap_pages or (is_caught and not config.huge), "a cap is on hptes of 4 KiB"
    assert not config.cap_pages or config.prefetch == "none", "a design with a cap is not x86's"
    assert config.mmu.a_bits or is_caught, "D bits come with A bits"
    state.ageing = lay.CLEARS_A if config.mmu.a_bits else lay.ZAPS if config.ageing == "zap" else lay.TRACKS


def set_costs(kvm: lay.Kvm, exits: ExitCosts) -> None:
    """Exits of the VM cost ``exits``. In place."""
    costs = kvm.costs
    costs.exit_ns, costs.entry_ns, costs.spurious_ns = exits.exit_ns, exits.entry_ns, exits.spurious_ns
    costs.pml_ns, costs.pml_drain_ns, costs.queue_length = exits.pml_ns, exits.pml_drain_ns, exits.queue_ns.shape[1]
    costs.lock_modes[: len(exits.mode)], costs.hold_ns[: len(exits.mode)] = exits.mode, exits.hold_ns
    costs.lone_near_ns, costs.lone_far_ns = exits.lone_ns.tolist()
    costs.scattered_ns = exits.scattered_ns
    costs.prefetch_ns, costs.ipi_ns = exits.prefetch_ns, exits.ipi_ns
    costs.wait_lock_ns, costs.word_ns = exits.wait_lock_ns, exits.word_ns
    costs.before_ns[: len(exits.before_ns)] = exits.before_ns
    costs.is_cold = costs.lone_far_ns + costs.scattered_ns > 0
    kvm.queue_ns[:], kvm.crowd_ns[:] = exits.queue_ns, exits.crowd_ns


def _ring(config: MmuConfig) -> int:
    """Entries a ring has room for."""
    return max(config.ring_entries, config.ring_soft + RING_SPARE) if config.ring_entries else 1


def _grouped(owner: Ints, n_vcpus: int) -> tuple[Ints, Ints]:
    """(bounds, order): the entries of vCPU v are order[bounds[v]:bounds[v + 1]]."""
    order = np.argsort(owner, kind="stable").astype(np.int64)
    return np.searchsorted(owner[order], np.arange(n_vcpus + 1)).astype(np.int64), order


def _streams(guest: Guest, classes: Records[lay.TouchClass]) -> Records[lay.Stream]:
    """One for each (class, clock), those of a vCPU together, by class and then clock."""
    rows = [
        _stream(guest.table.ints[c], c, rank, guest)
        for c in range(len(guest.table.ints))
        for rank in range(int(guest.table.ints[c, touch.CLOCK_COUNT]))
    ]
    streams = _gathered(lay.Stream, rows)
    for stream in streams:
        if guest.table.ints[stream.touch_class, touch.KIND] == touch.TRACE:
            stream.index = classes[stream.touch_class].trace_at
    return _taken(streams, np.argsort(streams["vcpu"], kind="stable"))


def _gathered(record: type[R], rows: list[R]) -> Records[R]:
    """An array of copies of ``rows``."""
    found = records(record, len(rows))
    for at, row in enumerate(rows):
        cast("Any", found)[at] = row
    return found


def _taken(array: Records[R], order: Ints) -> Records[R]:
    """``array`` in ``order``."""
    return cast("Records[R]", cast("Any", array)[order])


def _stream(row: Ints, c: int, rank: int, guest: Guest) -> lay.Stream:
    stream = one(lay.Stream)
    clock, count = int(row[touch.CLOCK_FIRST]) + rank, int(row[touch.CLOCK_COUNT])
    assert guest.clocks[clock, TICK] == 0, "a guest that works at ticks does not exit"
    stream.touch_class, stream.clock, stream.vcpu = c, clock, int(guest.clock_vcpu[clock])
    stream.kind, stream.is_write = int(row[touch.KIND]), int(row[touch.IS_WRITE])
    stream.next_work_ns, stream.page = NEVER, -1
    mix = plain(mix32)
    stream.key0 = mix(int(row[touch.KEY0]) ^ mix(rank + 1))
    stream.key1 = mix(int(row[touch.KEY1]) ^ mix(rank + 1))
    if row[touch.KIND] == touch.PACED:
        stream.offset_ns = rank * int(row[touch.RATE_DEN]) // (int(row[touch.RATE_NUM]) * count)
    return stream


def _parts(table: TouchTable, tape: _Tape) -> tuple[Records[lay.Part], NDArray[np.float64]]:
    """(parts, those of sweeps last; scale of the weights by class)."""
    found: list[lay.Part] = []
    scale = np.ones(len(table.ints))
    for c, ints in enumerate(table.ints):
        first, end = int(ints[touch.FIRST_GFN]), int(ints[touch.FIRST_GFN] + ints[touch.N_PAGES])
        kind = int(ints[touch.KIND])
        if kind == touch.WEIGHTED:
            part = _part(c, ints, first, end, lay.BY_WEIGHT)
            part.weights_at, part.supers_at = (
                tape.add(np.zeros((end - 1 >> bits) - (first >> bits) + 1, np.int64)) for bits in _SUM_BITS
            )
            found.append(part)
            means = table.page_mean_ns[ints[touch.DATA_OFFSET] :][: end - first]
            scale[c] = 2.0 ** int(np.log2(2.0**WEIGHT_BITS / float((1.0 / means).sum())))
        elif kind == touch.PACED:
            hot = first + int(ints[touch.HOT_PAGES])
            found += [_part(c, ints, a, b, lay.UNIFORM) for a, b in ((first, hot), (hot, end))]
        elif kind != touch.TRACE:
            found.append(_part(c, ints, first, end, lay.BY_VISIT if kind == touch.SWEEP else lay.UNIFORM))
    found.sort(key=lambda part: part.kind == lay.BY_VISIT)
    return _gathered(lay.Part, found), scale


def _part(c: int, ints: Ints, first: int, end: int, kind: int) -> lay.Part:
    part = one(lay.Part)
    part.touch_class, part.first, part.end, part.is_write, part.kind = c, first, end, int(ints[touch.IS_WRITE]), kind
    return part


def _weights(table: TouchTable, scale: NDArray[np.float64]) -> Ints:
    """Rates of pages in units of their class."""
    weights = np.zeros(len(table.page_mean_ns), np.int64)
    for c, row in enumerate(table.ints):
        if row[touch.KIND] == touch.WEIGHTED:
            own = slice(int(row[touch.DATA_OFFSET]), int(row[touch.DATA_OFFSET] + row[touch.N_PAGES]))
            weights[own] = np.maximum(1, scale[c] / table.page_mean_ns[own])
    return weights


_SUM_BITS = (lay.REGION_BITS, lay.SUPER_BITS)


def _classes(table: TouchTable, parts: Records[lay.Part], tape: _Tape) -> Records[lay.TouchClass]:
    """The touch classes, and where their parts, traces and trees of visits are."""
    classes = records(lay.TouchClass, len(table.ints))
    for c, (row, found) in enumerate(zip(table.ints, classes, strict=True)):
        own = np.flatnonzero(parts["touch_class"] == c)
        found.part, found.n_parts = int(own[0]) if len(own) else 0, len(own)
        if row[touch.KIND] == touch.SWEEP:
            sizes = level_sizes(int(row[touch.CYCLE]))
            found.n_levels = len(sizes)
            first = tape.add(np.zeros(sum(sizes), np.int64))
            found.level_at[: len(sizes) + 1] = first + np.concatenate([[0], np.cumsum(sizes)])
        elif row[touch.KIND] == touch.TRACE:
            times, gfns = _trace(table, row)
            found.trace_at = tape.add(times)
            found.trace_end = found.trace_at + len(times)
            found.gfn_distance = tape.add(gfns) - found.trace_at
    return classes


def _trace(table: TouchTable, row: Ints) -> tuple[Ints, Ints]:
    """(times, gfns) of a trace in time order, within an instant in gfn order."""
    bounds = table.trace_index[row[touch.DATA_OFFSET] :][: row[touch.N_PAGES] + 1]
    times = table.trace_ns[bounds[0] : bounds[-1]]
    gfns = int(row[touch.FIRST_GFN]) + np.repeat(np.arange(row[touch.N_PAGES]), np.diff(bounds))
    order = np.argsort(times, kind="stable")
    return times[order], gfns[order].astype(np.int64)
