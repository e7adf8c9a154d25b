"""From repetitions to numbers of a cost sheet: the meaning of each, and the arithmetic of those that no clock sees alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hostsim.measure.calibrate.calibration import Measured
from hostsim.measure.kvm.bench import Bench
from hostsim.measure.kvm.chains import CHAIN_WORK, CHAINS, chain_name, further_name
from hostsim.measure.kvm.estimates import estimate
from hostsim.measure.kvm.host import KvmHost
from hostsim.measure.kvm.repetitions import Counted
from hostsim.measure.kvm.rules import slope

EXIT_SHARE = 0.6
"""Of a round trip: leaving the guest and finding out why costs more than entering it; assumed, as shipped sheets do."""
LOCKED_SHARE = 0.17
"""Of a write-protection fault of the shadow MMU under mmu_lock: perf on a Zen 4 host with Linux 6.18."""
ROUND_TRIP_SHARE = 0.55
"""Of such a fault, exit and entry, from that run of perf; used where an exit that is no fault costs more than a fault."""

MEANING = {
    "loop_ns": "a page written, nothing to fault on",
    "read_loop_ns": "a page read, nothing to fault on",
    "populate_pass_ns": "first write to a page that the host has to allocate",
    "first_map_pass_ns": "first write to a page that the host has just made, not logged",
    "first_map_more_ns": "that write less a first write to the same page, mapped before",
    "map_pass_ns": "first write to a page that KVM has mapped before, not logged",
    "logged_map_pass_ns": "first write to a page that KVM has mapped before, logged: a fault a page",
    "unmap_page_ns": "MADV_DONTNEED of mapped memory, a page",
    "mprotect_page_ns": "mprotect to read-only of mapped memory, a page",
    "protect_page_ns": "logging enabled, slope over pages of two VMs, caches empty",
    "enable_call_ns": "logging enabled, a slot of next to no pages less its pages, caches empty",
    "enable_next_call_ns": "logging enabled for a further slot, right after another one, less its pages",
    "dirty_pass_ns": "a write-protected page written, one vCPU, back to back",
    "dirty_pass_own_ns": "a write-protected page written, all vCPUs at once, each in its own memory",
    "dirty_pass_shared_ns": "a write-protected page written, all vCPUs at once in one memory",
    "lone_fault_200us_ns": "a write-protected page written, one write each 200 us",
    "lone_fault_1000us_ns": "a write-protected page written, one write each 1000 us",
    "scattered_fault_ns": "a write-protected page written far from the one before: more than one in a row",
    "get_call_ns": "GET that protects nothing, a call",
    "get_dirty_page_ns": "GET that protects, a dirty page",
    "clear_dirty_page_ns": "CLEAR of all pages, a dirty page",
    "clear_nothing_ns": "CLEAR of 64 clean pages, a call",
    "clear_one_more_ns": "CLEAR of 64 pages of which one is dirty, less one of clean pages, a call",
    "disable_page_ns": "logging disabled, nothing to recover, slope over pages of two VMs, caches empty",
    "disable_call_ns": "logging disabled, a slot of next to no pages less its pages, caches empty",
    "disable_next_call_ns": "logging disabled for a further slot, right after another one, less its pages",
    "allocation_ns": "a page mapped at its second address, which takes a descriptor of the rmap, less at its third",
    "all_set_page_ns": "a log that begins all set, enabled, slope over pages",
    "all_set_first_clear_ns": "the first CLEAR of such a log, a page",
    "event_exit_ns": "OUT that an ioeventfd ends in the kernel: exit, entry, dispatch",
    "user_exit_ns": "OUT that user space ends, Python's part in it",
    "ring_pass_ns": "a write-protected page written, the dirty ring takes it",
    "ring_harvest_ns": "an entry read by NumPy",
    "ring_reset_ns": "KVM_RESET_DIRTY_RINGS, an entry",
    "ring_full_exit_ns": "an exit because a ring is full, harvest and reset not counted",
    "flush_first_ns": "CLEAR of one page, the share of a vCPU in guest mode",
    "flush_vcpu_ns": "CLEAR of one page, the share of a second vCPU in guest mode",
    "recover_region_ns": "logging disabled, a 2 MiB region that was split",
    "sync_table_ns": "a CR3 load, an unsync page table with a few sptes, less these sptes",
    "sync_spte_ns": "the same, the share of an spte, from 512 and a few of each table",
    "sync_drop_ns": "the same, the share of an spte whose entry the guest has changed",
    "sync_protect_ns": "the same, the share of an spte whose entry has lost W",
    "root_load_ns": "a CR3 load of 6 roots in turn, of which none is cached, less one of 4, which all are",
    "invlpg_ns": "INVLPG of a page whose table is in sync, emulated, less MOV",
    "invlpg_spte_ns": "INVLPG of a page whose table is unsync, its entry unchanged, less the former",
    "emulated_more_ns": "a write to a directory that KVM emulates, with its flush, less a first write to a page table",
    "zap_table_ns": "the directory that a guest clears: KVM zaps its shadow page, less the tables below it",
    "zap_entry_ns": "the same, the share of a table below it, caches empty",
    "age_page_ns": "a page marked idle with its spte mapped, less the same without",
    "swap_in_ns": "a page that was swapped out, written by a vCPU: half of them take longer",
    "swap_in_p99_ns": "the same: one in a hundred takes longer",
    "swap_out_page_ns": "MADV_PAGEOUT of mapped memory, a page",
    "swap_slot_ns": "MADV_DONTNEED of memory that is swapped out, less the same of memory that is not there, a page",
}
"""By name of a bench's number: the work that was timed."""
RENAMED = {"clear_dirty_page_ns": {"shadow": "clear_rmap_ns", "direct": "clear_rmap_ns", "tdp": "clear_tree_atomic_ns"}}
"""The sheet's name of a number, by MMU."""
PREFETCHING_PAGES = 1.5
"""Pages a fault of a pass, above which KVM prefetches sptes."""
ABOVE_ALL = ("all_set_page_ns", "first_map_more_ns", "clear_one_more_ns", "emulated_more_ns")
"""Only inputs of other numbers."""
AT_WISH = {
    "age_page_ns": "ageing: its triggers are root's; --as-root",
    **dict.fromkeys(
        ("swap_in_ns", "swap_in_p99_ns", "swap_out_page_ns", "swap_slot_ns"), "swapping: --as-root --swap present or zram"
    ),
}
"""Numbers that are measured if they are asked for, and how."""
CANNOT = {
    "idle_syscall_ns": "system calls around marking a page idle are not KVM's",
    "handover_ns": "queueing at mmu_lock: needs more vCPUs at once than two or eight",
    "shared_turn_ns": "queueing of readers at mmu_lock: needs many processors",
    "eager_split_ns": "huge pages split when logging begins: only the TDP MMU does",
    "spurious_hold_ns": "a spurious fault: it cannot be made at will",
    "flush_thread_ns": "a flush of the host's own threads is not KVM's",
}
"""Numbers that stay assumed on every host, and why."""


ROWS_OF_CHAINS = tuple(chain_name(work, length) for work in CHAIN_WORK for length in CHAINS)


@dataclass(frozen=True)
class NumberMaker:
    """Makes sourced numbers of a bench.

    host: where it ran.
    bench: its repetitions.
    remark: appended to each source, as that the machine was busy.
    doubts: reasons to distrust numbers that were made.
    absent: reasons why numbers that were timed are not made.
    """

    host: KvmHost
    bench: Bench
    remark: str = ""
    doubts: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def measured(self) -> Iterator[Measured]:
        """Every number that was timed."""
        for name, what in MEANING.items():
            if name not in ABOVE_ALL:
                yield from self._timed(RENAMED.get(name, {}).get(self.host.mmu, name), name, what)
        for work in CHAIN_WORK:
            if found := chain_slope(self.bench, work):
                what = f"{work}, the share of a further spte of a page, from 2 to 16, on the line through them, caches empty"
                yield from self._sourced(further_name(work), *found, what)

    def derived(self) -> Iterator[Measured]:
        """Numbers that follow from timed ones."""
        samples = {name: sample for name in (*MEANING, *ROWS_OF_CHAINS) if (sample := self.bench.sample(name))}
        found = {name: estimate(name, sample) for name, sample in samples.items()}
        ns = {name: one.ns for name, one in found.items()}
        pages = self.bench.sample("pages_a_map_fault")
        ns["pages_a_map_fault"] = pages.median_ns if pages else 1.0
        for name, value, how, of in follow(self.host, ns):
            yield from self._sourced(name, value, found[of].which, samples[of], f"{how} [{of}]")

    def _timed(self, name: str, of: str, what: str) -> Iterator[Measured]:
        """``name`` of the repetitions of the bench's number ``of``."""
        if sample := self.bench.sample(of):
            found = estimate(of, sample)
            yield from self._sourced(name, found.ns, found.which, sample, what)

    def _sourced(self, name: str, value: float, which: str, sample: Counted, what: str) -> Iterator[Measured]:
        """The number, unless it is a difference of timings that noise has made negative. A spread of a median of 0 is 0."""
        if value < 0:
            self.absent[name] = f"the difference of two timings is {value:.4g} ns, less than their noise here"
            return
        spread = sample.spread if sample.median_ns > 0 else 0.0
        if sample.doubt:
            self.doubts[name] = sample.doubt
        doubt = f", {sample.doubt}" if sample.doubt else ""
        where = f"measured on {self.host.words}{self.remark}"
        source = f"{where}, {which} of {sample.words}, spread {spread:.1%}{doubt}: {what}"
        yield Measured(name, float(f"{value:.4g}"), source, len(sample.ns), round(spread, 4))


def follow(host: KvmHost, ns: Mapping[str, float]) -> Iterator[tuple[str, float, str, str]]:
    """(number, value, its arithmetic, the timed number whose spread it has) from estimates ``ns``."""
    if {"loop_ns", "dirty_pass_ns"} <= ns.keys():
        fault_ns = float("inf") if host.pml else ns["dirty_pass_ns"] - ns["loop_ns"]
        yield from _of_shadow(ns, fault_ns) if host.mmu == "shadow" else _of_two_dimensions(ns, fault_ns)
    if "first_map_more_ns" in ns:
        how = "a pass over pages just made, less one over the same pages, mapped before"
        yield "first_map_ns", max(0.0, ns["first_map_more_ns"]), how, "first_map_more_ns"
    if ns.get("protect_page_ns") and "all_set_page_ns" in ns:
        ratio = ns["all_set_page_ns"] / ns["protect_page_ns"]
        yield "initially_set_ratio", ratio, "enabling a log that begins all set, as share of enabling", "protect_page_ns"
    if {"clear_one_more_ns", "clear_nothing_ns", "clear_dirty_page_ns"} <= ns.keys():
        flush_ns = ns["clear_one_more_ns"] - ns["clear_dirty_page_ns"]
        how = "a call of CLEAR that finds one page less one that finds none, less the page"
        yield "flush_local_ns", flush_ns, how, "clear_one_more_ns"
        yield "clear_call_ns", ns["clear_nothing_ns"] + flush_ns, "CLEAR that finds nothing, and a flush", "clear_nothing_ns"
        if "emulated_more_ns" in ns:
            how = "a write to a directory that KVM emulates less a first write to a page table and a flush"
            yield "emulate_write_ns", ns["emulated_more_ns"] - flush_ns, how, "emulated_more_ns"
    yield from of_chains(ns)


def of_chains(ns: Mapping[str, float]) -> Iterator[tuple[str, float, str, str]]:
    """Unmapping an spte, and freeing a descriptor of the rmap, from chains of 1, 2 and 8 sptes, as ``follow``.

    Enabling a log reads the same descriptors and frees none.
    """
    if not {chain_name(work, k) for work in ("enable", "unmap") for k in CHAINS[:3]} <= ns.keys():
        return
    unmap, enable = ([ns[chain_name(work, k)] for k in CHAINS[:3]] for work in ("unmap", "enable"))
    of = chain_name("unmap", 1)
    yield "zap_page_ns", unmap[0], "mprotect of pages with one spte each, less the same of pages that KVM has not mapped", of
    freed_ns = _with_second_ns(unmap) - _with_second_ns(enable)
    how = "what the second spte of a page adds to unmapping, less what it adds to enabling a log, which frees no descriptor"
    yield "free_cold_ns", freed_ns, how, chain_name("unmap", 2)


def _with_second_ns(chain: Sequence[float]) -> float:
    """Time of a descriptor: what the second spte of a page adds, less a further one. chain: of 1, 2, 8 sptes a page."""
    one, two, eight = chain
    return two - one - (eight - two) / (CHAINS[2] - CHAINS[1])


def _of_shadow(ns: Mapping[str, float], fault_ns: float) -> Iterator[tuple[str, float, str, str]]:
    """Every fault takes mmu_lock exclusively; an ordinary user does not see how long."""
    locked_ns = LOCKED_SHARE * fault_ns
    yield "exclusive_base_ns", locked_ns, f"a share of {LOCKED_SHARE} of the fault, assumed", "dirty_pass_ns"
    how = f"the fault less its hold of mmu_lock (a share of {LOCKED_SHARE}, assumed)"
    yield from _exit_and_entry(fault_ns - locked_ns, how, "dirty_pass_ns")
    yield from _populate(ns, fault_ns)
    yield from _prefetch(ns)


def _of_two_dimensions(ns: Mapping[str, float], fault_ns: float) -> Iterator[tuple[str, float, str, str]]:
    """EPT or NPT: exit and entry as an exit that is no fault has them; fault_ns: infinite if the processor logs writes."""
    around_ns, how = ns.get("event_exit_ns", math.inf), "an exit that an ioeventfd ends"
    if around_ns >= fault_ns:
        around_ns, how = ROUND_TRIP_SHARE * fault_ns, f"a share of {ROUND_TRIP_SHARE} of the fault, assumed"
    if math.isinf(around_ns):
        return
    yield from _exit_and_entry(around_ns, how, "event_exit_ns" if "event_exit_ns" in ns else "dirty_pass_ns")
    if not math.isinf(fault_ns):
        yield "lockless_hold_ns", fault_ns - around_ns, "the fault less exit and entry", "dirty_pass_ns"
    if "map_pass_ns" in ns:
        map_ns = _map_fault_ns(ns)
        yield "map_hold_ns", map_ns - around_ns, "a map fault less loop, exit and entry", "map_pass_ns"
        yield from _populate(ns, map_ns)
        yield from _prefetch(ns)


def _map_fault_ns(ns: Mapping[str, float]) -> float:
    """A fault that maps one page: of the logged pass where another one maps several."""
    if _prefetches(ns):
        return ns["logged_map_pass_ns"] - ns["loop_ns"]
    return ns["map_pass_ns"] * ns["pages_a_map_fault"] - ns["loop_ns"]


def _prefetches(ns: Mapping[str, float]) -> bool:
    return ns["pages_a_map_fault"] > PREFETCHING_PAGES and {"map_pass_ns", "logged_map_pass_ns"} <= ns.keys()


def _prefetch(ns: Mapping[str, float]) -> Iterator[tuple[str, float, str, str]]:
    """The sptes beside the first of a fault that maps several pages."""
    if _prefetches(ns):
        pages, loop_ns = ns["pages_a_map_fault"], ns["loop_ns"]
        rest_ns = pages * (ns["map_pass_ns"] - loop_ns) - (ns["logged_map_pass_ns"] - loop_ns)
        how = f"a fault that maps {pages:.3g} pages less one that maps one, a further page"
        yield "prefetch_spte_ns", rest_ns / (pages - 1), how, "map_pass_ns"


def _exit_and_entry(around_ns: float, how: str, of: str) -> Iterator[tuple[str, float, str, str]]:
    yield "exit_ns", EXIT_SHARE * around_ns, f"{how}, a share of {EXIT_SHARE} (assumed)", of
    yield "entry_ns", (1 - EXIT_SHARE) * around_ns, f"{how}, the rest", of


def _populate(ns: Mapping[str, float], map_ns: float) -> Iterator[tuple[str, float, str, str]]:
    if "populate_pass_ns" in ns:
        populate_ns = ns["populate_pass_ns"] - ns["loop_ns"] - map_ns
        yield "populate_ns", populate_ns, "a populating fault less one that has its page", "populate_pass_ns"


def chain_slope(bench: Bench, work: str) -> tuple[float, str, Counted] | None:
    """(Time [ns] that a further spte adds to ``work``, its kind of estimate, repetitions); None without repetitions.

    The time is on the line through the estimates. The second spte of a page also brings its descriptor, so the line begins
    there. Each length has a VM of its own, whose descriptors lie well or badly: slopes of single repetitions mix both, so
    that their median wanders.
    """
    samples = {name: sample for k in CHAINS[1:] if (sample := bench.sample(name := chain_name(work, k)))}
    if len(samples) < len(CHAINS) - 1:
        return None
    found = [estimate(name, sample) for name, sample in samples.items()]
    rows = zip(*(sample.ns for sample in samples.values()), strict=False)
    a_spte = slope(CHAINS[1:], [one.ns for one in found])[0]
    slopes = np.array([slope(CHAINS[1:], row)[0] for row in rows])
    is_calm = all(sample.is_calm for sample in samples.values())
    return a_spte, f"{found[0].which}s", Counted(slopes, min(sample.taken for sample in samples.values()), is_calm)
