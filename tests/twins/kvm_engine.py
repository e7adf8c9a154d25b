"""The engine on a case, with the host's own threads and trackers, and its run as the plain facts the twin gives."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict
from typing import Any

import numpy as np
import simpy

from hostsim.core.clock import Clock
from hostsim.core.knobs import Knobs
from hostsim.core.memory import GuestMemory, RamBlock
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.costs.costs import LogCosts
from hostsim.costs.exits import EXCLUSIVE, MAP, NONE, PML_FULL, SHARED, SPLIT, SPURIOUS, TRACK, WP, ExitCosts
from hostsim.guest.pacing import work_at
from hostsim.guest.touch import CLOCK_FIRST
from hostsim.guest.workload import build_guest
from hostsim.kvm.address_spaces import AddressSpaces
from hostsim.kvm.engine import GuestEngine
from hostsim.kvm.lay_out import MmuConfig
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.loops import layout as lay
from hostsim.kvm.mmu_notifier import MmuNotifier, NotifierPlan
from hostsim.kvm.plan import LogPlan
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.table_work import TableCosts
from hostsim.machine.trackers import TRACKERS
from hostsim.spte_index.spte import BLANK, DIRTY, IN_LOG, KEPT, OLD, PRESENT, STALE, TRACKED, WRITABLE, Sptes, make_sptes
from tests.twins.kvm_actors import Actors
from tests.twins.kvm_case import FAULTS, Ageing, Case, Hold, Invalidation
from tests.twins.kvm_run import Facts, told
from tests.twins.kvm_vcpu import NO_FAULT

KIND = {
    "map": MAP, "track": TRACK, "wp": WP, "split": SPLIT, "spurious": SPURIOUS, "pml_full": PML_FULL, "retry": lay.RETRY,
}  # fmt: skip
NAME = {kind: name for name, kind in KIND.items()}
MODE = {"none": NONE, "shared": SHARED, "exclusive": EXCLUSIVE}
FLAG = {"present": PRESENT, "writable": WRITABLE, "tracked": TRACKED, "dirty": DIRTY, "old": OLD, "stale": STALE}
LOG_CAPACITY = 1 << 14
Process = Generator[simpy.Event, Any, Any]


def flags_of(words: Any) -> int:
    return sum(FLAG[word] for word in words)


def _backing(case: Case) -> Any:
    """The state of the host at the start."""
    is_there = [page // case.host_page_size in case.host_pages for page in range(case.n_pages)]
    return np.where(is_there, lay.RESIDENT, lay.UNTOUCHED)


def words_of(flags: int) -> list[str]:
    return sorted(word for word, flag in FLAG.items() if flags & flag)


class EnginePort:
    """The acts of the host threads of a case on a VM of hostsim."""

    def __init__(self, case: Case, env: Clock | None = None) -> None:
        self.case, self.env = case, env or Clock()
        memory, self.guest = _memory(case), build_guest(case.workloads, 1)
        config = MmuConfig(
            _mmu(case), case.huge, case.whole_table, case.rules.ring_entries, case.rules.ring_soft,
            case.costs.pfn_ns, case.costs.populate_ns, case.host_page_size, case.block_regions,
            "zap" if case.ageing.old == "zap" else "access-tracking", cap_pages=case.cap_pages,
            unmap_all_ns=case.costs.unmap_all_ns, prefetch=case.prefetch,
        )  # fmt: skip
        self.engine = GuestEngine(self.guest, memory, case.n_vcpus, config, _exit_costs(case), 8, LOG_CAPACITY)
        if case.costs.populate_ns:
            self.engine.pages.backing[:] = _backing(case)
        self.engine.set_sptes(_sptes(case), 0)
        if case.tlb is not None:
            firsts = self.guest.table.ints[:, CLOCK_FIRST]
            self.engine.tlb.model(0, [float(case.tlb[w]) for w in self.guest.clock_workload[firsts].tolist()])
        self.kvm = self.engine.kvm
        self.vm = LiveVm(self.env, memory, self.guest, case.n_vcpus, 0, self.engine, _plan(case))
        self.spaces = AddressSpaces(self.vm, TableCosts(**case.table_ns, tables_at_once=case.sync_tables))
        self.notifier = MmuNotifier(self.env, self.engine, self.vm.lock, self.vm.flush, _notifier_plan(case))
        self.tracker = TRACKERS[case.rules.interface](self.vm, Knobs(), 0)
        self.bmap = np.zeros(case.n_pages, np.uint8)
        self.shootdown = self.vm.flush.shootdown
        self.start_log, self.stop_log, self.before_send = (
            self.tracker.start_log, self.tracker.stop_log, self.tracker.before_send,
        )  # fmt: skip

    def sync(self) -> Process:
        harvest = yield from self.tracker.sync(self.bmap)
        return harvest.newly_dirty_pages

    def to_send(self) -> set[int]:
        return set(np.flatnonzero(self.bmap).tolist())

    def sent(self, page: int) -> None:
        self.bmap[page] = 0

    def fill_buffers(self) -> None:
        kvm = self.kvm
        for vcpu, entries in enumerate(self.case.pml):
            own = self.buffer(vcpu)
            both = [*entries[: PML_ENTRIES - 1 - len(own)], *own]
            kvm.buffers[vcpu, : len(both)] = both
            kvm.vcpus[vcpu].pml_entries = len(both)

    def buffer(self, vcpu: int) -> list[int]:
        """The vCPU's PML buffer."""
        return [int(page) for page in self.kvm.buffers[vcpu, : self.kvm.vcpus[vcpu].pml_entries]]

    def ring(self, vcpu: int) -> list[int]:
        """The vCPU's dirty ring, oldest entry first."""
        entries = self.kvm.buffers[vcpu, PML_ENTRIES:]
        head, n = int(self.kvm.vcpus[vcpu].ring_head), int(self.kvm.vcpus[vcpu].ring_entries)
        return [int(entries[(head + i) % len(entries)]) for i in range(n)]

    def throttle(self, vcpu: int, sleep_ns: int) -> None:
        self.vm.vcpus[vcpu].throttle(sleep_ns)

    def pause(self) -> Process:
        yield self.env.all_of([vcpu.pause() for vcpu in self.vm.vcpus])

    def resume(self) -> None:
        for vcpu in self.vm.vcpus:
            vcpu.resume()

    def stop_after(self, vcpu: int, work_ns: int) -> None:
        first = int(np.flatnonzero(self.guest.clock_vcpu == vcpu)[0])
        now_ns = self.env.now_ns
        self.engine.stop_at(vcpu, int(work_at(self.guest.clocks[first], now_ns)) + work_ns, now_ns)

    def hold(self, hold: Hold) -> Process:
        yield from self.vm.lock.hold(MODE[hold.mode], hold.hold_ns, hold.unit_ns)

    def begin_invalidation(self, what: Invalidation) -> Process:
        yield from self.notifier.invalidate_range_start(what.first, what.end)

    def end_invalidation(self, what: Invalidation) -> Process:
        yield from self.notifier.invalidate_range_end(what.first, what.end)

    def age(self, what: Ageing) -> Process:
        young = np.zeros(self.case.n_pages, np.uint8)
        yield from getattr(self.notifier, what.event)(what.first, what.end, young)
        return np.flatnonzero(young).tolist()

    def reap(self) -> Process:
        """DirtyRing has a reaper of its own."""
        yield self.env.event()


class EngineRun:
    """As ``TwinRun``; cuts_ns: when something that does nothing happens on the host."""

    def __init__(self, case: Case, end_ns: int, cuts_ns: list[int], env: Clock | None = None) -> None:
        self.case, self.end_ns, self.port = case, end_ns, EnginePort(case, env)
        self.actors = Actors(self.port, case)
        env = self.port.env
        for _, process in self.actors.processes():
            env.process(process)
        self.begin()
        for ns in cuts_ns:
            env.timeout(ns)
        if end_ns:
            env.run(until=end_ns)

    def begin(self) -> None:
        """Other threads of the host are set going."""

    def facts(self) -> Facts:
        port, kvm = self.port, self.port.kvm
        engine, vm, sptes = port.engine, port.vm, kvm.sptes
        wait_ns, hold_ns = engine.sums.tolist()
        log = kvm.log[: kvm.state.logged_exits][["ns", "vcpu", "page", "kind"]].tolist()
        return {
            "log": [(ns, vcpu, page, NAME[kind]) for ns, vcpu, page, kind in log],
            "exits": {NAME[kind]: n for kind, n in sorted(enumerate(engine.exits.tolist()), key=_by_name) if n},
            **self.actors.record,
            "to_send": sorted(port.to_send()),
            "dirty": np.flatnonzero(sptes.spte & IN_LOG).tolist(),
            "spte": {page: words_of(flags & ~KEPT) for page, flags in enumerate(sptes.spte.tolist()) if flags & ~KEPT},
            "giant": self._giant(),
            "large": {r: words_of(int(sptes.large[r])) for r in np.flatnonzero(sptes.level == 1).tolist()},
            "blank": np.flatnonzero(sptes.spte & BLANK).tolist(),
            "host_pages": np.flatnonzero(engine.pages.backing == lay.RESIDENT).tolist(),
            "emptied": int(kvm.state.emptied),
            "version": {page: n for page, n in enumerate(engine.memory.version.tolist()) if n},
            "buffers": [port.buffer(v) for v in range(self.case.n_vcpus)],
            "rings": [port.ring(v) for v in range(self.case.n_vcpus)],
            "out": [engine.is_out(v) for v in range(self.case.n_vcpus)],
            "ring_full": [vcpu.ring_full_exits for vcpu in vm.vcpus],
            "stall_ns": engine.stall_ns,
            "work_ns": self._work_ns(),
            "wait_ns": wait_ns,
            "hold_ns": hold_ns,
            "latencies": self._latencies(),
            "host_wait_ns": vm.lock.wait_ns,
            "host_hold_ns": vm.lock.hold_ns,
            "flushes": vm.flush.count,
            "flush_ns": vm.flush.ns,
            "page_tables": asdict(port.spaces.work.counts),
        }

    def _latencies(self) -> dict[str, list[Any]]:
        """As the twin's; counters that stayed 0 are left out."""
        engine = self.port.engine
        found = {NAME.get(kind, NO_FAULT): one for kind, one in engine.exit_latencies().items()}
        found |= {"wait": engine.lock_waits(), "hold": engine.lock_holds()}
        return {name: told(one) for name, one in sorted(found.items()) if one.count}

    def _giant(self) -> dict[int, list[str]]:
        """Flags by block that one spte maps; all its regions have the same."""
        sptes, size = self.port.kvm.sptes, self.case.block_regions
        found: dict[int, list[str]] = {}
        for region in np.flatnonzero(sptes.level == 2).tolist():
            flags = words_of(int(sptes.large[region]))
            assert found.setdefault(region // size, flags) == flags, "one spte has the same flags everywhere"
        return found

    def _work_ns(self) -> dict[tuple[int, int], int]:
        guest, now_ns = self.port.guest, self.port.env.now_ns
        rows = zip(guest.clock_workload.tolist(), guest.clock_vcpu.tolist(), guest.clocks, strict=True)
        return {(w, v): int(work_at(row, now_ns)) for w, v, row in rows}


def _by_name(item: tuple[int, int]) -> str:
    return NAME.get(item[0], "")


def _memory(case: Case) -> GuestMemory:
    zero = np.zeros(case.n_pages, np.uint8)
    zero[sorted(case.blank)] = 1
    return GuestMemory((RamBlock("pc.ram", 0, case.n_pages),), zero, np.zeros(case.n_pages, np.uint16))


def _sptes(case: Case) -> Sptes:
    sptes = make_sptes(case.n_pages)
    for page, words in case.spte.items():
        sptes.spte[page] = flags_of(words)
    for region, words in case.large.items():
        sptes.level[region], sptes.large[region] = 1, flags_of(words)
    for block, words in case.giant.items():
        whole = slice(block * case.block_regions, (block + 1) * case.block_regions)
        sptes.level[whole], sptes.large[whole] = 2, flags_of(words)
    return sptes


def _exit_costs(case: Case) -> ExitCosts:
    costs = case.costs
    mode, hold_ns = np.zeros(lay.N_EXITS, np.int64), np.zeros(lay.N_EXITS, np.int64)
    for kind, name in costs.mode.items():
        mode[KIND[kind]], hold_ns[KIND[kind]] = MODE[name], costs.hold_ns[kind]
    queue_ns = np.array([costs.queue_ns[name] for name in sorted(MODE, key=MODE.__getitem__)], np.int64)
    scalars = (costs.exit_ns, costs.entry_ns, costs.spurious_ns, costs.pml_ns, costs.pml_drain_ns)
    more = (np.array(costs.crowd_ns), np.array(costs.lone_ns), costs.scattered_ns, costs.prefetch_ns, costs.ipi_ns)
    before_ns = np.zeros(lay.N_EXITS, np.int64)
    for kind, ns in zip(FAULTS, costs.before_ns, strict=True):
        before_ns[KIND[kind]] = ns
    return ExitCosts(*scalars, mode, hold_ns, queue_ns, *more, before_ns, costs.wait_lock_ns, costs.word_ns)


def _notifier_plan(case: Case) -> NotifierPlan:
    rules = case.ageing
    mode = EXCLUSIVE if rules.locked else NONE
    return NotifierPlan(rules.age_ns, rules.zap_ns, case.host_costs.lock_pair_ns, mode, rules.flush)


def _mmu(case: Case) -> MmuSpec:
    return MmuSpec(write_tracking=case.rules.mechanism, a_bits=case.ageing.old == "a-bit")


def _plan(case: Case) -> LogPlan:
    costs, rules = case.host_costs, case.rules
    log_costs = LogCosts(
        costs.get_ns, costs.clear_ns, costs.protect_ns, costs.split_ns, costs.recover_ns, costs.all_set_ns,
        costs.flush_ns, costs.first_ipi_ns, costs.more_ipi_ns, bare_word_ns=costs.bare_word_ns,
        request_ns=costs.request_ns,
    )  # fmt: skip
    return LogPlan(
        rules.interface, log_costs, _mmu(case), costs.lock_pair_ns,
        eager_split=rules.eager, recovery=rules.recovery if case.huge else "none", slot_mode=MODE[rules.mode],
        slot_yields=rules.yields, chunk_shift=rules.chunk_pages.bit_length() - 1, reap_period_ns=rules.reaper_ns,
        invalidates=rules.invalidates, clear_lock=rules.clear_lock, recovery_flush=rules.recovery_flush,
    )  # fmt: skip
