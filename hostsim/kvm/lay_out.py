"""From a guest's work to the arrays that the compiled loops of hostsim.kvm.loops share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hostsim.core.latencies import make_counters
from hostsim.core.memory import GuestMemory
from hostsim.core.rng import NEVER, mix32
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.costs.exits import ExitCosts
from hostsim.guest import touch
from hostsim.guest.pacing import TICK
from hostsim.guest.touch import TouchTable
from hostsim.guest.workload import Guest
from hostsim.kvm.loops import layout as lay
from hostsim.kvm.loops.visits import level_sizes
from hostsim.kvm.tlb import TlbReach
from hostsim.spte_index.spte import make_sptes

Ints = NDArray[np.int64]
RING_SPARE = PML_ENTRIES + 64
"""Entries a ring may get beyond its soft limit before its vCPU is out: a PML buffer, and faults under way."""
DUE_MAX = 64
UNLIMITED = 1 << 60
"""Frames at hand where the host's memory is not modelled."""
WEIGHT_BITS = 60
"""Sums of weights stay below 2 ** WEIGHT_BITS."""


@dataclass(frozen=True)
class MmuConfig:
    """How the MMU of a VM behaves.

    mechanism: what catches writes while logged; huge: host memory comes in 2 MiB pages, or in larger ones of block_regions
    of those, 512 but for tests; whole_table: a fault that splits keeps the other pages of its table mapped; ring_entries,
    ring_soft: of a vCPU's dirty ring, 0: the log is a bitmap; pfn_ns: to look up the host page of a fault; populate_ns: to
    make one, of host_pages gfns, where there is none yet, 0: all of memory is there; a_bits: the hardware notes accesses;
    ageing: what is done where it does not; tlb: of a vCPU, None: its accesses always miss; cap_pages: so many sptes at most,
    0: no cap, unmap_all_ns: to unmap all of them.
    """

    mechanism: Literal["write-protect", "pml", "d-bit"] = "write-protect"
    huge: bool = False
    whole_table: bool = False
    ring_entries: int = 0
    ring_soft: int = 0
    pfn_ns: int = 0
    populate_ns: int = 0
    host_pages: int = 1
    block_regions: int = 1
    a_bits: bool = True
    ageing: Literal["zap", "access-tracking"] = "access-tracking"
    tlb: TlbReach | None = None
    cap_pages: int = 0
    unmap_all_ns: int = 0


def lay_out(
    guest: Guest, memory: GuestMemory, n_vcpus: int, config: MmuConfig, exits: ExitCosts, n_hosts: int, log_capacity: int
) -> lay.Kvm:
    """All arrays of the VM; its vCPUs are about to enter the guest at 0, nothing is mapped."""
    sptes = make_sptes(memory.n_pages)
    n_regions = len(sptes.level)
    n_supers = (n_regions >> (lay.SUPER_BITS - lay.REGION_BITS)) + 1
    vcpus, state = np.zeros((lay.N_VCPU, n_vcpus), np.int64), np.zeros(_state_size(n_vcpus + n_hosts), np.int64)
    vcpus[lay.V_STAGE], vcpus[lay.V_STOP], vcpus[lay.V_EXIT] = lay.ENTRY, NEVER, lay.NO_EXIT
    _configure(state, config)
    costs = cost_table(exits)
    costs[lay.COST, lay.UNMAP_ALL_NS] = config.unmap_all_ns
    return lay.Kvm(
        sptes=sptes, zero=memory.zero, version=memory.version, counts=np.zeros((3, n_regions + n_supers), np.int64),
        vcpus=vcpus, buffers=np.zeros((n_vcpus, PML_ENTRIES + _ring(config)), np.int64),
        queue=np.zeros((lay.N_QUEUE, n_vcpus + n_hosts), np.int64), costs=costs,
        log=np.zeros((log_capacity, 4), np.int64), backing=_backing(memory, config), fresh=np.zeros(0, np.int64),
        latencies=make_counters(lay.WALKER_CALLS + n_hosts), **_walkers(n_hosts, n_vcpus),
        **_work(guest, state, vcpus),
    )  # fmt: skip


def _walkers(n_hosts: int, n_vcpus: int) -> dict[str, Any]:
    """Arrays of walkers: nobody walks, so there is room for no calls."""
    walks = np.zeros((n_hosts, lay.N_WALK), np.int64)
    walks[:, lay.W_NS] = NEVER
    return {
        "walks": walks, "calls": np.zeros((n_hosts, lay.N_CALL, 0), np.int64), "found": np.zeros((n_hosts, 0), np.uint8),
        "flush_ns": np.zeros(n_vcpus + 1, np.int64), "unseen": np.zeros(n_hosts),
    }  # fmt: skip


def with_calls(kvm: lay.Kvm) -> lay.Kvm:
    """The same VM, with room for the calls of walkers."""
    n_hosts = len(kvm.walks)
    return replace(
        kvm,
        calls=np.zeros((n_hosts, lay.N_CALL, lay.CALLS_MAX), np.int64),
        found=np.zeros((n_hosts, lay.FOUND_MAX), np.uint8),
    )


def _backing(memory: GuestMemory, config: MmuConfig) -> NDArray[np.uint8]:
    """Kvm.backing to begin with: a host page is there where one of its pages has content."""
    if not config.populate_ns:
        return np.zeros(0, np.uint8)
    starts = np.arange(0, memory.n_pages, config.host_pages)
    has_content = np.logical_or.reduceat(memory.zero == 0, starts)
    is_there = np.repeat(has_content, config.host_pages)[: memory.n_pages]
    return np.where(is_there, lay.RESIDENT, lay.UNTOUCHED).astype(np.uint8)


def with_work(kvm: lay.Kvm, guest: Guest) -> lay.Kvm:
    """The same VM, its vCPUs with the work of ``guest`` instead of theirs; nothing is counted as armed. In place."""
    kvm.counts[: lay.STALE_ROW] = 0
    return replace(kvm, **_work(guest, kvm.state[: _state_size(kvm.queue.shape[1])], kvm.vcpus))


def _work(guest: Guest, state: Ints, vcpus: Ints) -> dict[str, Any]:
    """The arrays that are about what the vCPUs do; their rows in ``vcpus`` are set."""
    tape = _Tape()
    parts, scale = _parts(guest.table, tape)
    ints = _classes(guest.table, parts, tape)
    streams, n_vcpus = _streams(guest, ints), vcpus.shape[1]
    bounds, _ = _grouped(streams[:, lay.S_VCPU], n_vcpus)
    vcpus[lay.V_FIRST], vcpus[lay.V_END] = bounds[:-1], bounds[1:]
    bounds, clocks = _grouped(guest.clock_vcpu, n_vcpus)
    state[lay.N_COUNTED] = np.count_nonzero(parts[:, lay.P_KIND] != lay.BY_VISIT)
    vcpus[lay.V_CLOCK], vcpus[lay.V_CLOCK_END] = len(state) + bounds[:-1], len(state) + bounds[1:]
    return {
        "parts": parts, "ints": ints, "rates": np.stack([guest.table.mean_ns, scale]),
        "page_weights": _weights(guest.table, scale), "tape": tape.words(), "streams": streams,
        "exact": np.zeros(len(streams), np.float64), "clocks": guest.clocks, "state": np.concatenate([state, clocks]),
    }  # fmt: skip


class _Tape:
    """Words laid end to end."""

    def __init__(self) -> None:
        self._pieces: list[Ints] = [np.zeros(1, np.int64)]
        self._length = 1

    def add(self, words: Ints) -> int:
        """Put ``words`` on; returns where they begin."""
        at = self._length
        self._pieces.append(words)
        self._length += len(words)
        return at

    def words(self) -> Ints:
        """All of it."""
        return np.concatenate(self._pieces)


def _state_size(n_queue: int) -> int:
    """Words of Kvm.state before the clocks; n_queue: vCPUs and hosts."""
    return lay.DUE + 3 * (DUE_MAX + n_queue)


def _configure(state: Ints, config: MmuConfig) -> None:
    state[lay.HARDWARE], state[lay.PML] = config.mechanism != "write-protect", config.mechanism == "pml"
    state[lay.HUGE], state[lay.WHOLE_TABLE], state[lay.PFN_NS] = config.huge, config.whole_table, config.pfn_ns
    state[lay.BACKED], state[lay.POPULATE_NS] = config.populate_ns > 0, config.populate_ns
    state[lay.BLOCK], state[lay.WALK_NS] = config.block_regions, NEVER
    state[lay.HOST_PAGES], state[lay.FRAMES] = config.host_pages, UNLIMITED
    state[lay.RING], state[lay.RING_SOFT] = config.ring_entries > 0, config.ring_soft
    state[lay.CAP] = config.cap_pages
    assert not config.cap_pages or (config.mechanism == "write-protect" and not config.huge), "a cap is on hptes of 4 KiB"
    assert config.a_bits or config.mechanism == "write-protect", "D bits come with A bits"
    state[lay.AGEING] = lay.CLEARS_A if config.a_bits else lay.ZAPS if config.ageing == "zap" else lay.TRACKS


def cost_table(exits: ExitCosts) -> Ints:
    """Kvm.costs."""
    n_modes, length = exits.queue_ns.shape
    costs = np.zeros((lay.QUEUE_OF + n_modes, max(lay.N_EXITS, length)), np.int64)
    single = (exits.exit_ns, exits.entry_ns, exits.spurious_ns, exits.pml_ns, exits.pml_drain_ns, length)
    costs[lay.COST, : len(single)] = single
    costs[lay.MODE_OF, : len(exits.mode)], costs[lay.HOLD_OF, : len(exits.mode)] = exits.mode, exits.hold_ns
    costs[lay.QUEUE_OF :, :length] = exits.queue_ns
    return costs


def _ring(config: MmuConfig) -> int:
    """Entries a ring has room for."""
    return max(config.ring_entries, config.ring_soft + RING_SPARE) if config.ring_entries else 1


def _grouped(owner: Ints, n_vcpus: int) -> tuple[Ints, Ints]:
    """(bounds, order): entries order[bounds[v]:bounds[v + 1]] are those of vCPU v."""
    order = np.argsort(owner, kind="stable").astype(np.int64)
    return np.searchsorted(owner[order], np.arange(n_vcpus + 1)).astype(np.int64), order


def _streams(guest: Guest, ints: Ints) -> Ints:
    """One row for each (class, clock), those of a vCPU together, by class and then clock."""
    rows = [
        _stream(guest.table.ints[c], c, rank, guest)
        for c in range(len(guest.table.ints))
        for rank in range(int(guest.table.ints[c, touch.CLOCK_COUNT]))
    ]
    streams = np.array(rows, np.int64).reshape(-1, lay.N_STREAM)
    traces = ints[streams[:, lay.S_CLASS], touch.KIND] == touch.TRACE
    streams[traces, lay.S_INDEX] = ints[streams[traces, lay.S_CLASS], lay.C_TRACE]
    return streams[np.argsort(streams[:, lay.S_VCPU], kind="stable")]


def _stream(row: Ints, c: int, rank: int, guest: Guest) -> Ints:
    stream = np.zeros(lay.N_STREAM, np.int64)
    clock, count = int(row[touch.CLOCK_FIRST]) + rank, int(row[touch.CLOCK_COUNT])
    assert guest.clocks[clock, TICK] == 0, "a guest that works at ticks does not exit"
    stream[[lay.S_CLASS, lay.S_CLOCK, lay.S_VCPU]] = c, clock, guest.clock_vcpu[clock]
    stream[lay.S_NEXT], stream[lay.S_PAGE] = NEVER, -1
    stream[lay.S_KEY0] = mix32(int(row[touch.KEY0]) ^ mix32(rank + 1))
    stream[lay.S_KEY1] = mix32(int(row[touch.KEY1]) ^ mix32(rank + 1))
    if row[touch.KIND] == touch.PACED:
        stream[lay.S_OFFSET] = rank * int(row[touch.RATE_DEN]) // (int(row[touch.RATE_NUM]) * count)
    return stream


def _parts(table: TouchTable, tape: _Tape) -> tuple[Ints, NDArray[np.float64]]:
    """(parts, those of sweeps last; scale of the weights by class)."""
    rows: list[list[int]] = []
    scale = np.ones(len(table.ints))
    for c, ints in enumerate(table.ints):
        first, end = int(ints[touch.FIRST_GFN]), int(ints[touch.FIRST_GFN] + ints[touch.N_PAGES])
        write, kind = int(ints[touch.IS_WRITE]), int(ints[touch.KIND])
        if kind == touch.WEIGHTED:
            sums = [tape.add(np.zeros((end - 1 >> bits) - (first >> bits) + 1, np.int64)) for bits in _SUM_BITS]
            rows.append([c, first, end, write, lay.BY_WEIGHT, 0, *sums])
            means = table.page_mean_ns[ints[touch.DATA_OFFSET] :][: end - first]
            scale[c] = 2.0 ** int(np.log2(2.0**WEIGHT_BITS / float((1.0 / means).sum())))
        elif kind == touch.PACED:
            hot = first + int(ints[touch.HOT_PAGES])
            rows += [[c, a, b, write, lay.UNIFORM, 0, 0, 0] for a, b in ((first, hot), (hot, end))]
        elif kind != touch.TRACE:
            rows.append([c, first, end, write, lay.BY_VISIT if kind == touch.SWEEP else lay.UNIFORM, 0, 0, 0])
    rows.sort(key=lambda row: row[lay.P_KIND] == lay.BY_VISIT)
    return np.array(rows, np.int64).reshape(-1, lay.N_PART), scale


def _weights(table: TouchTable, scale: NDArray[np.float64]) -> Ints:
    """Rates of pages in units of their class."""
    weights = np.zeros(len(table.page_mean_ns), np.int64)
    for c, row in enumerate(table.ints):
        if row[touch.KIND] == touch.WEIGHTED:
            own = slice(int(row[touch.DATA_OFFSET]), int(row[touch.DATA_OFFSET] + row[touch.N_PAGES]))
            weights[own] = np.maximum(1, scale[c] / table.page_mean_ns[own])
    return weights


_SUM_BITS = (lay.REGION_BITS, lay.SUPER_BITS)


def _classes(table: TouchTable, parts: Ints, tape: _Tape) -> Ints:
    """The touch classes, and where their parts, traces and trees of visits are."""
    classes = np.zeros((len(table.ints), lay.N_CLASS), np.int64)
    classes[:, : touch.N_INTS] = table.ints
    for c, row in enumerate(classes):
        own = np.flatnonzero(parts[:, lay.P_CLASS] == c)
        row[lay.C_PART], row[lay.C_PARTS] = own[0] if len(own) else 0, len(own)
        if row[touch.KIND] == touch.SWEEP:
            sizes = level_sizes(int(row[touch.CYCLE]))
            row[lay.C_LEVELS] = len(sizes)
            first = tape.add(np.zeros(sum(sizes), np.int64))
            row[lay.C_LEVEL : lay.C_LEVEL + len(sizes) + 1] = first + np.concatenate([[0], np.cumsum(sizes)])
        elif row[touch.KIND] == touch.TRACE:
            times, gfns = _trace(table, row)
            row[lay.C_TRACE] = tape.add(times)
            row[lay.C_TRACE_END] = row[lay.C_TRACE] + len(times)
            row[lay.C_GFN] = tape.add(gfns) - row[lay.C_TRACE]
    return classes


def _trace(table: TouchTable, row: Ints) -> tuple[Ints, Ints]:
    """(times, gfns) of a trace in time order, within an instant in gfn order."""
    bounds = table.trace_index[row[touch.DATA_OFFSET] :][: row[touch.N_PAGES] + 1]
    times = table.trace_ns[bounds[0] : bounds[-1]]
    gfns = int(row[touch.FIRST_GFN]) + np.repeat(np.arange(row[touch.N_PAGES]), np.diff(bounds))
    order = np.argsort(times, kind="stable")
    return times[order], gfns[order].astype(np.int64)
