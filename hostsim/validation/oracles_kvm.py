"""O26, O28, O35: page tables and hidden faults, exits of full logs, TLB flushes: forms, and engines against them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out, make_memory
from hostsim.core.rng import NEVER
from hostsim.costs.costs import flush_ns, load_costs
from hostsim.costs.exits import MAP, NONE, PML_FULL
from hostsim.guest.workload import Active, Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.rules import RING_RESERVED
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.trackers.dirty_ring import DirtyRing
from hostsim.measure.selftest.walked_vm import Walk, WalkedSpec, WalkedVm
from hostsim.spte_index.spte import PRESENT, WRITABLE, make_sptes
from hostsim.theory.kvm_counts import (
    PREFETCHED,
    faults_of_touches,
    full_buffer_exits,
    hidden_faults,
    table_count,
    tables_by_level,
)
from hostsim.validation import draws
from hostsim.validation.kvm_machine import machine
from hostsim.validation.lock_runs import LockRun, Loops, exit_costs
from hostsim.validation.rows import Row, absolute, exact
from hostsim.validation.samples import SUITE

START_NS, LOOP_NS, FAULT_NS = 10_000_000, 200, 20_000
"""The log is on by then; a vCPU's own work on a page; more than a fault takes, its share of a reap included. Checked."""


def ring_full_exits(pages: int, entries: int, n_vcpus: int = 2, *, in_turn: bool = True) -> list[int]:
    """Ring-full exits of each vCPU that writes ``pages`` of its own once, in order, with ``entries`` to the soft limit.

    in_turn: one vCPU after the other, because a reap takes the entries of all vCPUs; else all at once.
    """
    rate, length_ns = Fraction(NS_PER_S, LOOP_NS), pages * LOOP_NS
    turns = [START_NS + v * pages * FAULT_NS * in_turn for v in range(n_vcpus)]
    loads = [
        Workload(f"vcpu {v}", "sequential", (v,), v * pages, pages, rate, active=Active(turns[v], length_ns))
        for v in range(n_vcpus)
    ]
    n_pages = n_vcpus * pages
    memory, env = make_memory(lay_out([("pc.ram", n_pages, [(0, n_pages)])])), Clock()
    mmu = MmuSpec(era="E4", ring_entries=entries + RING_RESERVED)
    vm = live_vm(env, memory, build_guest(loads, 1), n_vcpus, 0, mmu, "dirty-ring")
    ring = DirtyRing(vm, reap_period_ns=NEVER // 2)
    env.process(ring.start_log())
    env.run(until=max(turns) + pages * FAULT_NS)
    assert vm.tally().wp_faults >= n_pages, "all of them have been written"
    return [vcpu.ring_full_exits for vcpu in vm.vcpus]


GIB_PAGES = 262_144
PML_ENTRIES = 512
LOGGED_PAGES = (511, 512, 5_000)
RING_ENTRIES = (64, 4_096)
RING_RUNS = ((64, 63), (64, 64), (64, 1_000), (1_000, 999), (1_000, 5_000))
"""Entries to the soft limit of a ring, pages that each vCPU writes."""
FLUSHING_HOST = "haswell"
FLUSHED_VCPUS = 64
"""The sheet that row K7 gave its flushes to."""


def kvm_rows(seed: int = 1) -> Iterator[Row]:
    """Tables and faults of a region, full buffers, flushes."""
    yield from _table_rows(draws.generator(seed, 26))
    yield from _hidden_fault_rows(draws.generator(seed, 126))
    yield from _full_log_rows(draws.generator(seed, 28))
    yield from _full_buffer_run_rows()
    yield from _full_ring_run_rows()
    yield from _flush_rows()


def _table_rows(rng: np.random.Generator) -> Iterator[Row]:
    yield exact(SUITE, "O26", "tables that map 1 GiB", 515, table_count(0, GIB_PAGES))
    for first, pages in ((0, 1), (511, 2), (0, 513), (3, GIB_PAGES), *_drawn_regions(rng)):
        counted = sum(tables_by_level(np.arange(first, first + pages)))
        yield exact(SUITE, f"O26/{first}+{pages}", "tables, each counted once", counted, table_count(first, pages))


def _drawn_regions(rng: np.random.Generator) -> list[tuple[int, int]]:
    return [(int(rng.integers(1 << 34)), int(rng.integers(1, 1 << 20))) for _ in range(4)]


def _hidden_fault_rows(rng: np.random.Generator) -> Iterator[Row]:
    yield exact(SUITE, "O26", "hidden faults of 1 GiB", 262_144, hidden_faults(GIB_PAGES))
    yield exact(SUITE, "O26", "with 8 present neighbours mapped by each", 32_768, hidden_faults(GIB_PAGES, PREFETCHED))
    for pages in (GIB_PAGES, 1_001):
        counted = faults_of_touches(rng.permutation(pages).tolist())
        yield exact(SUITE, f"O26/{pages}", "the same, touched in any order", hidden_faults(pages, PREFETCHED), counted)
    at = np.zeros(1, np.int64)
    run = LockRun(make_sptes(GIB_PAGES), exit_costs({MAP: NONE}, {MAP: 500}), Loops(at, at, at + GIB_PAGES, at + 170))
    run.advance()
    yield exact(SUITE, "O26-run", "map faults of 1 GiB", hidden_faults(GIB_PAGES), int(run.exits[MAP]))
    mapped = np.flatnonzero(run.sptes.spte & PRESENT)
    yield exact(SUITE, "O26-run", "tables that map what was mapped", 515, sum(tables_by_level(mapped)))
    shadow = "map faults of 1 GiB, not logged, shadow paging"
    yield exact(SUITE, "O26-run", shadow, hidden_faults(GIB_PAGES, PREFETCHED), _unlogged_faults())


def _unlogged_faults() -> int:
    """Map faults of a pass over 1 GiB that the host has and KVM has not mapped."""
    vm = WalkedVm(WalkedSpec(MmuSpec(mmu="shadow"), "get-dirty-log", 1, GIB_PAGES, populated=True))
    vm.vm.engine.mmu.zap(0, GIB_PAGES, vm.env.now_ns)
    vm.env.run(until=vm.env.process(vm.run(Walk())))
    return int(vm.tally().map_faults)


def _full_log_rows(rng: np.random.Generator) -> Iterator[Row]:
    """A buffer filled entry by entry; other exits in between only make it fill later."""
    for entries in (PML_ENTRIES, *RING_ENTRIES):
        pages = int(rng.integers(10 * entries, 20 * entries))
        what = f"exits of {pages} pages into {entries} entries"
        yield exact(SUITE, f"O28/{entries}", what, _exits_counted(pages, entries), full_buffer_exits(pages, entries))


def _exits_counted(pages: int, entries: int) -> int:
    exits, used = 0, 0
    for _ in range(pages):
        used += 1
        if used == entries:
            exits, used = exits + 1, 0
    return exits


def _full_buffer_run_rows() -> Iterator[Row]:
    """Two vCPUs log pages by PML; then every so often a page has to be mapped, which empties the buffer."""
    for pages in LOGGED_PAGES:
        bound = 2 * full_buffer_exits(pages, PML_ENTRIES)
        run = _logging_run(pages, 0)
        full = int(run.exits[PML_FULL])
        yield exact(SUITE, f"O28-run/{pages}", "PML-full exits of two vCPUs, no other exit", bound, full)
    pages = LOGGED_PAGES[-1]
    bound = 2 * full_buffer_exits(pages, PML_ENTRIES)
    for every in (2000, 600, 512, 100):
        run = _logging_run(pages, every)
        left = 2 * _exits_with_drains(pages, every)
        full, where = int(run.exits[PML_FULL]), f"O28-run/{pages}/{every}"
        yield exact(SUITE, where, f"PML-full exits of two vCPUs, another exit each {every} pages", left, full)
        yield exact(SUITE, where, f"below the bound of {bound}", True, full < bound)


def _exits_with_drains(pages: int, every: int) -> int:
    """Page 0, every, 2 every .. is not mapped: its fault empties the buffer, and mapping it logs nothing."""
    runs = [len(range(first + 1, min(first + every, pages))) for first in range(0, pages, every)]
    return sum(full_buffer_exits(run, PML_ENTRIES) for run in runs)


def _logging_run(pages: int, unmapped_every: int) -> LockRun:
    """Two vCPUs write ``pages`` each, of which every ``unmapped_every``-th is not mapped (0: all are)."""
    sptes = make_sptes(2 * pages)
    sptes.spte[: 2 * pages] = PRESENT | WRITABLE
    if unmapped_every:
        for first in (0, pages):
            sptes.spte[first : first + pages : unmapped_every] = 0
    first_pages = np.array([0, pages])
    loops = Loops(np.zeros(2, np.int64), first_pages, first_pages + pages, np.full(2, 170))
    run = LockRun(sptes, exit_costs({MAP: NONE}, {MAP: 500}), loops, mechanism="pml")
    run.advance()
    return run


def _full_ring_run_rows() -> Iterator[Row]:
    """Two vCPUs write pages of their own, rings are reaped when one is full; at once they reap for each other."""
    for entries, pages in RING_RUNS:
        each = full_buffer_exits(pages, entries)
        for vcpu, exits in enumerate(ring_full_exits(pages, entries)):
            where = f"O28-run/ring/{entries}/{pages}/{vcpu}"
            yield exact(SUITE, where, f"ring-full exits of vCPU {vcpu}, {pages} pages, soft limit {entries}", each, exits)
        at_once = ring_full_exits(pages, entries, in_turn=False)
        where = f"O28-run/ring/{entries}/{pages}"
        yield exact(SUITE, where, f"at once: at most {each} each", True, max(at_once) <= each)


def _flush_rows() -> Iterator[Row]:
    """Local + first IPI + further IPIs x (targets - 1); on a VM, the requests to its other vCPUs as well."""
    sheet = load_costs(FLUSHING_HOST)
    yield exact(SUITE, "O35", "flush without a target in guest mode, ns", 661, flush_ns(sheet, 0))
    yield exact(SUITE, "O35", "more with the first target, ns", 775, flush_ns(sheet, 1) - flush_ns(sheet, 0))
    each = flush_ns(sheet, 3, in_guest_mode=False) - flush_ns(sheet, 2, in_guest_mode=False)
    yield absolute(SUITE, "O35", "more with each further thread, ns; published as about 70", 70, each, 5)
    for running in (0, 1, 2, 64):
        expected = round(flush_ns(sheet, running, n_vcpus=FLUSHED_VCPUS))
        what = "flush of a VM with so many vCPUs in guest mode, ns"
        yield exact(SUITE, f"O35-run/{running}", what, expected, _flush_ns(running))


def _flush_ns(running: int) -> int:
    """A flush of a VM of which ``running`` vCPUs are in guest mode."""
    vm = WalkedVm(machine(FLUSHING_HOST, "E5", FLUSHED_VCPUS, 512))
    for vcpu in vm.vm.vcpus[:running]:
        vcpu.release()
    vm.env.run(until=1_000_000)
    vm.env.process(vm.vm.flush())
    vm.env.run()
    return vm.tally().flush_ns
