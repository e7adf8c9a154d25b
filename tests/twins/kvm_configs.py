"""Drawn guests under KVM with hosts that work on them: small, and with times that meet often. One integer, one case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from random import Random
from typing import Any

import numpy as np

from hostsim.costs.era import MMUS, PREFETCHES, era_names, load_era
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Active, TouchTrace, Workload
from tests.twins.kvm_case import (
    FAULTS,
    REGION_PAGES,
    Ageing,
    AgeingRules,
    Case,
    Errand,
    Flags,
    GuestCosts,
    Hold,
    HostCosts,
    Interface,
    Invalidation,
    LogRules,
    Pause,
    Script,
    Sync,
    Throttle,
)

MODES = ("none", "shared", "exclusive", "exclusive")
TIMES_NS = ((1, 2, 3, 4), (1, 2), (7, 11, 20), tuple(range(50, 400, 7)))
"""From always in the same instants to hardly ever."""
INTERFACES: tuple[Interface, ...] = ("get-dirty-log", "clear-dirty-log", "initially-all-set", "dirty-ring")
WARM: Flags = frozenset({"present", "writable", "dirty"})
NS_PER_S = 1_000_000_000


def drawn_case(seed: int) -> Case:
    """Case number ``seed``."""
    rng = Random(seed)
    times = rng.choice(TIMES_NS)
    n_regions, n_vcpus = rng.choice((1, 1, 2, 3, 4)), rng.choice((1, 2, 2, 3, 4, 6))
    n_pages = n_regions * REGION_PAGES
    gap_ns = rng.choice((1, 2, 4)) * rng.choice(times)
    end_ns = gap_ns * rng.randrange(100, 500)
    n_loads = rng.choice((1, 1, 2, 3))
    loads = tuple(_workload(rng, f"load-{i}", n_vcpus, n_pages, gap_ns, end_ns) for i in range(n_loads))
    rules = _rules(rng, times, end_ns)
    large = {region: _flags(rng, large=True) for region in range(n_regions) if rng.random() < 0.5}
    case = Case(
        n_regions, n_vcpus, loads, _sptes(rng, loads, large), large, _blank(rng, n_pages),
        tuple(_buffer(rng, n_pages, rules) for _ in range(n_vcpus)), rng.random() < 0.5, rng.random() < 0.4,
        _guest_costs(rng, times), _host_costs(rng, times, n_pages), rules,
        _ageing_rules(rng, times, rules, n_pages),
        _script(rng, times, n_vcpus, n_pages, rules, end_ns), end_ns,
    )  # fmt: skip
    case = replace(case, huge=True) if large else case
    case = _all_large(case) if rng.random() < 0.15 else _with_hptes(Random(f"hptes {seed}"), case)
    case = _with_errands(rng, case)
    more = Random(f"host pages {seed}")
    case = _with_tlb(Random(f"tlb {seed}"), _with_host_pages(more, _with_blocks(more, case)))
    case = _with_scattered(Random(f"scattered {seed}"), case)
    case = _with_clear_lock(Random(f"clear lock {seed}"), _with_prefetch(Random(f"prefetch {seed}"), case))
    return _with_word(Random(f"lock word {seed}"), _with_flushes(Random(f"flushes {seed}"), case))


def _with_flushes(rng: Random, case: Case) -> Case:
    """A flush asks each vCPU; a log that stops flushes once, after each region, or after each spte."""
    costs = replace(case.host_costs, request_ns=case.host_costs.flush_ns * rng.choice((0, 0.05, 0.21)))
    rules = replace(case.rules, recovery_flush=rng.choice(("slot", "slot", "each", "spte")))
    return replace(case, host_costs=costs, rules=rules)


def _with_word(rng: Random, case: Case) -> Case:
    """Readers that meet a writer, and host threads after a vCPU, wait for the word; faults have work before the lock."""
    before_ns = tuple(rng.choice((0, 0, 3, 40)) for _ in FAULTS)
    costs = replace(case.costs, wait_lock_ns=rng.choice((0, 30, 400)), word_ns=rng.choice((0, 1, 15)), before_ns=before_ns)
    return replace(case, costs=costs)


def _with_clear_lock(rng: Random, case: Case) -> Case:
    """A CLEAR takes mmu_lock as KVM does, or as patches proposed."""
    way = rng.choice(("exclusive", "each-mask", "shared"))
    return replace(case, rules=replace(case.rules, clear_lock=way))


def _with_prefetch(rng: Random, case: Case) -> Case:
    """Faults map neighbours; in most of these cases much is unmapped, and the log starts late or the host unmaps more."""
    rule = rng.choice(("none", "none", *PREFETCHES[1:]))
    if case.cap_pages or rule == "none":
        return case
    case = replace(case, prefetch=rule, costs=replace(case.costs, prefetch_ns=rng.choice((0, 1, 5, 40))))
    if rng.random() < 0.4:
        return case
    share, wait = rng.choice((0.0, 0.3, 0.8)), partial(_wait, rng, case.end_ns)
    invalidations = tuple(_invalidation(rng, wait, case.n_pages) for _ in range(rng.choice((0, 1, 3))))
    script = replace(
        case.script, first_ns=rng.choice((1, case.end_ns // 3, 2 * case.end_ns // 3)),
        invalidations=invalidations or case.script.invalidations,
    )  # fmt: skip
    mode = case.costs.mode | {"map": rng.choice(MODES[1:]), "wp": rng.choice(("none", "exclusive"))}
    spte = {page: flags for page, flags in case.spte.items() if rng.random() < share}
    there = rng.choice((0.6, 0.9, 1.0))
    pages = frozenset({*spte, *(page for page in range(case.n_pages) if rng.random() < there)})
    case = replace(case, costs=replace(case.costs, mode=mode), spte=spte, script=script, host_pages=pages)
    return replace(case, huge=False, block_regions=1, large={}, giant={})


def _with_scattered(rng: Random, case: Case) -> Case:
    """A fault far from the one before takes longer, and so does an IPI."""
    scattered_ns, ipi_ns = rng.choice((0, 0, 1, 3, 300)), rng.choice((0, 0, 1, 4, 50))
    return replace(case, costs=replace(case.costs, scattered_ns=scattered_ns, ipi_ns=ipi_ns))


def _with_tlb(rng: Random, case: Case) -> Case:
    """Accesses of some loads find old translations in the TLB; in half of these cases much is aged, mostly with no flush.

    With PML as it was: runs end where two host threads meet, and buffers would not fill until then.
    """
    if case.ageing.old != "a-bit" or rng.random() < 0.4:
        return case
    ageings, many = case.script.ageings, rng.choice((4, 8, 16))
    if case.rules.mechanism != "pml" and rng.random() < 0.5:
        wait = partial(_wait, rng, case.end_ns)
        ageings = tuple(_ageing(rng, wait, case.n_pages) for _ in range(many))
    misses = tuple(rng.random() < 0.3 for _ in case.workloads)
    return replace(
        case, tlb=misses, ageing=replace(case.ageing, flush=rng.random() < 0.4),
        script=replace(case.script, ageings=ageings),
    )  # fmt: skip


def _with_blocks(rng: Random, case: Case) -> Case:
    """Host memory comes in blocks of several regions, of which one spte maps some."""
    if not case.huge or rng.random() < 0.2:
        return case
    size = rng.choice((2, 2, 3, 4))
    used = {page // REGION_PAGES // size for page in case.spte} | {region // size for region in case.large}
    free = sorted(set(range(case.n_regions // size)) - used)
    blocks = set(free) if rng.random() < 0.5 else set(range(case.n_regions // size))
    giant = {block: _flags(rng, large=True) for block in sorted(blocks) if rng.random() < 0.9}
    spte = {page: flags for page, flags in case.spte.items() if page // REGION_PAGES // size not in giant}
    large = {region: flags for region, flags in case.large.items() if region // size not in giant}
    return replace(case, spte=spte, large=large, giant=giant, block_regions=size)


def _with_host_pages(rng: Random, case: Case) -> Case:
    """Host pages are missing under some pages that are not mapped, or none is."""
    size = case.host_page_size
    share, populate_ns = rng.choice((0.0, 0.5, 1.0)), rng.choice((0, 1, 5, 40))
    mapped = {page // size for page in case.spte} | {region * REGION_PAGES // size for region in case.large}
    mapped |= set(case.giant)
    drawn = {number for number in range(-(-case.n_pages // size)) if rng.random() < share}
    costs = replace(case.costs, populate_ns=populate_ns, crowd_ns=rng.choice(((0,), (0, 2), (0, 1, 5))))
    lone_ns = rng.choice(((0, 0), (0, 0), (40_000, 90_000), (300_000, 2_000_000)))
    return replace(case, costs=replace(costs, lone_ns=lone_ns), host_pages=frozenset(mapped | drawn))


def _with_hptes(rng: Random, case: Case) -> Case:
    """A GET unmaps, and there may be few sptes only, as on Book3S PR."""
    if case.rules.interface != "get-dirty-log" or rng.random() < 0.4:
        return case
    case = replace(case, rules=replace(case.rules, invalidates=rng.random() < 0.8))
    if rng.random() < (0.2 if case.rules.mechanism == "write-protect" else 0.6):
        return case
    case = replace(case, rules=replace(case.rules, mechanism="write-protect"), pml=((),) * case.n_vcpus)
    costs = replace(case.costs, unmap_all_ns=rng.choice((0, 1, 30)))
    case = replace(case, costs=costs, cap_pages=rng.choice((1, 3, 10, 40)), huge=False, large={})
    return _beside_a_reader(case) if case.n_vcpus > 1 and rng.random() < 0.7 else case


def _beside_a_reader(case: Case) -> Case:
    """One vCPU reads few pages at almost every instant, another one's writes fill the table, and unmap these pages."""
    rate = Fraction(NS_PER_S, max(1, case.end_ns // 1000))
    reader = replace(
        case.workloads[0], pattern="sequential", vcpus=(0,), first_gfn=0, n_pages=2, start_page=0, stride_pages=1,
        write_rate_per_s=Fraction(0), read_rate_per_s=rate, active=None, trace=None,
    )  # fmt: skip
    writer = replace(
        reader, name="writer", vcpus=(case.n_vcpus - 1,), first_gfn=2, n_pages=400, write_rate_per_s=rate / 7,
        read_rate_per_s=Fraction(0),
    )  # fmt: skip
    return replace(case, workloads=(reader, writer), cap_pages=max(case.cap_pages, 10), spte={})


def _with_errands(rng: Random, case: Case) -> Case:
    """vCPUs that work are let in for a while now and then."""
    working = sorted({vcpu for load in case.workloads for vcpu in load.vcpus})
    errands = tuple(
        Errand(rng.randrange(1, max(3, case.end_ns // 8)), rng.choice(working), rng.randrange(case.end_ns // 20 + 1))
        for _ in range(rng.choice((0, 0, 2, 6)))
    )
    return replace(case, script=replace(case.script, errands=errands))


def _all_large(case: Case) -> Case:
    """One vCPU reads at almost every instant, another one's writes split large sptes and unmap the pages that it reads."""
    rate = Fraction(NS_PER_S, max(1, case.end_ns // 600))
    reader = replace(
        case.workloads[0], pattern="sequential", vcpus=(0,), write_rate_per_s=Fraction(0), read_rate_per_s=rate,
        active=None, trace=None,
    )  # fmt: skip
    writer = replace(
        reader, name="writer", vcpus=(case.n_vcpus - 1,), write_rate_per_s=rate / 7, read_rate_per_s=Fraction(0)
    )
    large = dict.fromkeys(range(case.n_regions), WARM)
    return replace(
        case, workloads=(reader, writer) if case.n_vcpus > 1 else case.workloads, spte={}, large=large, huge=True,
        whole_table=False, rules=replace(case.rules, eager=False, recovery="in-place"),
        script=replace(case.script, kicks=(), holds=(), invalidations=(), ageings=()),
    )  # fmt: skip


def drawn_page_tables(seed: int) -> Case:
    """Case number ``seed`` under shadow paging, with a workload that writes page tables."""
    rng, case = Random(f"page tables {seed}"), drawn_case(seed)
    free = sorted({*range(case.n_vcpus)})
    size = rng.randint(1, case.n_regions)
    split = rng.random() < 0.4
    vcpus = tuple(sorted(rng.sample(free, rng.randint(1, min(size, len(free)) if split else len(free)))))
    rate = Fraction(NS_PER_S * len(vcpus) * rng.choice((20, 60, 200)), case.end_ns)
    tables = Workload(
        "tables", rng.choice(("sequential", "strided")), vcpus, rng.randrange(case.n_pages - size), size, rate,
        pacing=_pacing(rng), split=split, stride_pages=rng.randint(1, 3), active=_active(rng, case.end_ns),
        cr3_load_rate_per_s=rate / rng.choice((2, 3, 10)),
        **_processes(Random(f"processes {seed}"), size // len(vcpus) if split else size, rate, split or len(vcpus) == 1),
    )  # fmt: skip
    wide, time_ns = rng.choice((0, 1, 5)), rng.choice((0.0, 0.05, 0.7, 3.0))
    costs = replace(case.costs, mode=dict.fromkeys(FAULTS, "exclusive"))
    rules = replace(case.rules, mechanism="write-protect", invalidates=False)
    ageing = case.ageing if case.ageing.old == "a-bit" else replace(case.ageing, old="zap")
    return replace(
        case, workloads=(*case.workloads[: rng.choice((0, 1, 2))], tables), huge=False, block_regions=1, large={}, giant={},
        cap_pages=0, tlb=None, costs=costs, rules=rules, pml=((),) * case.n_vcpus, ageing=ageing,
        script=replace(case.script, errands=()), table_ns=_table_prices(wide, time_ns),
        sync_tables=rng.choice((1, 2, 13)),
    )  # fmt: skip


def _processes(rng: Random, tables: int, rate: Fraction, may_switch: bool) -> dict[str, Any]:
    """Of a workload that writes page tables, half of the time more than CR3 loads. tables: of a vCPU."""
    processes = rng.choice((1, min(tables, 2), rng.randint(1, min(tables, 7)))) if may_switch else 1
    invlpg_rate = rng.choice((Fraction(0), rate / 2, rate / 7))
    fork_rate = rng.choice((Fraction(0), rate / 4, rate / 9)) if processes > 1 else Fraction(0)
    return {"processes": processes, "invlpg_rate_per_s": invlpg_rate, "fork_rate_per_s": fork_rate}


def _table_prices(wide: int, time_ns: float) -> dict[str, float]:
    return {
        "sync_table_ns": wide * time_ns, "sync_spte_ns": time_ns, "sync_drop_ns": time_ns / 2,
        "sync_protect_ns": time_ns / 3, "root_load_ns": 7 * time_ns, "invlpg_ns": 3 * time_ns, "invlpg_spte_ns": 2 * time_ns,
        "emulate_write_ns": 5 * time_ns, "zap_table_ns": 11 * time_ns, "zap_entry_ns": time_ns / 4,
    }  # fmt: skip


def drawn_cuts(seed: int, case: Case) -> list[int]:
    """When something that does nothing happens on the host."""
    rng = Random(seed)
    return sorted(rng.randrange(case.end_ns) for _ in range(rng.choice((1, 3, 10))))


def _workload(rng: Random, name: str, n_vcpus: int, n_pages: int, gap_ns: int, end_ns: int) -> Workload:
    vcpus = tuple(sorted(rng.sample(range(n_vcpus), rng.randint(1, n_vcpus))))
    first_gfn = rng.choice((0, 0, 64, n_pages - 100, rng.randrange(n_pages - 16)))
    size = rng.randint(len(vcpus), min(n_pages - first_gfn, rng.choice((8, 40, 200, n_pages))))
    rate = Fraction(NS_PER_S * len(vcpus), gap_ns * rng.choice((1, 1, 2, 3)) * rng.choice((1, len(vcpus))))
    write, read = rng.choice(((1, 0), (1, 0), (1, 1), (1, Fraction(1, 2)), (0, 1)))
    load = Workload(
        name, rng.choice(("sequential", "strided", "trace")), vcpus, first_gfn, size, write * rate, read * rate,
        _pacing(rng), rng.random() < 0.4, stride_pages=rng.choice((1, 2, 3, 64, 37, rng.randint(1, size))),
        start_page=rng.choice((0, rng.randrange(size))), active=_active(rng, end_ns),
    )  # fmt: skip
    return replace(load, trace=_trace(rng, load, end_ns)) if load.pattern == "trace" else load


def _pacing(rng: Random) -> Pacing:
    if rng.random() < 0.5:
        return Pacing()
    speed = rng.choice((Fraction(1), Fraction(2), Fraction(10), Fraction(3, 2)))
    return Pacing(True, speed, gap_ns=5_000 if speed == 2 else 0)  # no draw of its own: others keep theirs


def _active(rng: Random, end_ns: int) -> Active | None:
    if rng.random() < 0.8:
        return None
    length_ns = rng.randint(1, end_ns // 2)
    return Active(rng.choice((0, rng.randrange(end_ns))), length_ns, rng.choice((0, length_ns, 2 * length_ns)))


def _trace(rng: Random, load: Workload, end_ns: int) -> TouchTrace:
    n, share = rng.randint(1, 60 * len(load.vcpus)), rng.choice((0.0, 0.7, 0.7, 1.0))
    times = sorted(rng.randrange(end_ns) // 3 * 2 for _ in range(n))
    gfns = [load.first_gfn + rng.randrange(load.n_pages) for _ in range(n)]
    vcpus, writes = [rng.choice(load.vcpus) for _ in range(n)], [rng.random() < share for _ in range(n)]
    return TouchTrace(np.array(times, np.int64), np.array(vcpus, np.int32), np.array(gfns, np.int64), np.array(writes))


def _flags(rng: Random, *, large: bool = False) -> Flags:
    """Large sptes are writable or dirty: none that is neither is there when a log starts."""
    share = {"writable": 0.6, "tracked": 0.15, "dirty": 0.4, "old": 0.2}
    flags = {"present", *(flag for flag, p in share.items() if rng.random() < p)}
    return frozenset(flags | {"writable"} if large and not flags & {"writable", "dirty"} else flags)


def _sptes(rng: Random, loads: tuple[Workload, ...], large: dict[int, Flags]) -> dict[int, Flags]:
    density, warm = rng.choice((0.0, 0.7, 1.0, 1.0)), rng.random() < 0.4
    worked = sorted({page for load in loads for page in range(load.first_gfn, load.first_gfn + load.n_pages)})
    pages = [page for page in worked if page // REGION_PAGES not in large and rng.random() < density]
    return {page: WARM if warm else _flags(rng) for page in pages}


def _blank(rng: Random, n_pages: int) -> frozenset[int]:
    share = rng.choice((0.0, 0.3, 1.0))
    return frozenset(page for page in range(n_pages) if rng.random() < share)


def _buffer(rng: Random, n_pages: int, rules: LogRules) -> tuple[int, ...]:
    """PML entries."""
    if rules.mechanism != "pml":
        return ()
    n = rng.choice((0, 3, rng.randrange(480, 512), rng.randrange(505, 512)))
    return tuple(rng.randrange(n_pages) for _ in range(n))


def _guest_costs(rng: Random, times: tuple[int, ...]) -> GuestCosts:
    longer = rng.choice((1, 1, 3))
    width = rng.choice((1, 1, 2, 4))
    return GuestCosts(
        rng.choice(times), rng.choice(times), rng.choice(times), rng.choice((0, *times)), rng.choice((0, 7, 512, 5000)),
        rng.choice((0, *times)), 0, _modes(rng), {kind: longer * rng.choice(times) for kind in FAULTS},
        {mode: tuple(rng.choice((0, *times)) for _ in range(width)) for mode in dict.fromkeys(MODES)},
    )  # fmt: skip


def _modes(rng: Random) -> dict[str, str]:
    if rng.random() < 0.5:
        return {kind: rng.choice(MODES) for kind in FAULTS}
    locks = load_era(rng.choice(era_names())).locks(rng.choice(MMUS))
    return {kind: getattr(locks, kind) for kind in FAULTS}


def _host_costs(rng: Random, times: tuple[int, ...], n_pages: int) -> HostCosts:
    """A pass over all pages takes about as long as a few faults."""
    unit = rng.choice(times)
    page = unit * rng.choice((1, 5, 20)) / n_pages

    def some(*shares: float) -> float:
        return rng.choice(shares) * unit

    return HostCosts(
        get_ns=page, clear_ns=some(0.02, 0.25, 1.5), protect_ns=rng.choice((page, some(0.05))), split_ns=some(0.5, 3, 10.25),
        recover_ns=some(0.5, 5), all_set_ns=rng.choice((page, page / 10)), lock_pair_ns=some(0.1, 2),
        flush_ns=some(1, 1, 3.5), first_ipi_ns=some(0, 1.5), more_ipi_ns=some(0, 0.4, 1), bare_word_ns=page * 3,
    )  # fmt: skip


def _rules(rng: Random, times: tuple[int, ...], end_ns: int) -> LogRules:
    interface = rng.choice(INTERFACES)
    mechanism = rng.choice(("write-protect", "pml", "d-bit" if interface == "get-dirty-log" else "write-protect"))
    era = load_era(rng.choice(era_names()))
    mmu = rng.choice(MMUS)
    entries, soft = rng.choice(((64, 8), (32, 5), (128, 100))) if mechanism != "pml" else (4096, rng.choice((8, 100, 600)))
    ring = interface == "dirty-ring"
    return LogRules(
        interface, mechanism, rng.random() < 0.5, "shared" if era.lock == "rwlock" and mmu == "tdp" else "exclusive",
        "enable" in era.yields, era.recovery[mmu], rng.choice((64, 128, 256, 512, 1 << 18)),
        entries if ring else 0, soft if ring else 0, max(1, end_ns // rng.choice((1, 3, 7)) + rng.randrange(17)),
    )  # fmt: skip


def _script(rng: Random, times: tuple[int, ...], n_vcpus: int, n_pages: int, rules: LogRules, end_ns: int) -> Script:
    wait = partial(_wait, rng, end_ns)
    ring = rules.interface == "dirty-ring"
    syncs = tuple(Sync(wait(6), not ring and rng.random() < 0.15) for _ in range(rng.choice((1, 2, 4, 6))))
    n_holds, n_invalidations = rng.choice(((0, 0), (0, 0), (1, 0), (5, 0), (0, 1), (0, 3), (2, 1)))
    holds = tuple(_hold(rng, wait, times) for _ in range(n_holds))
    invalidations = tuple(_invalidation(rng, wait, n_pages) for _ in range(n_invalidations))
    ageings = () if rng.random() < 0.5 else tuple(_ageing(rng, wait, n_pages) for _ in range(rng.choice((1, 4, 12))))
    kicks = tuple(_kick(rng, wait, n_vcpus) for _ in range(rng.choice((0, 0, 1, 4))))
    if rules.mechanism == "d-bit" and not invalidations:
        invalidations = tuple(_invalidation(rng, wait, n_pages) for _ in range(3))
    return Script(wait(8), syncs, rng.random() < 0.5, kicks, holds, invalidations, (), ageings)


def _wait(rng: Random, end_ns: int, share: int) -> int:
    return rng.randrange(1, max(3, end_ns // share))


def _hold(rng: Random, wait: Callable[[int], int], times: tuple[int, ...]) -> Hold:
    hold_ns = 3 * rng.choice(times) * rng.choice((1, 5))
    return Hold(wait(6), rng.choice(("shared", "exclusive")), hold_ns, rng.choice((0, rng.choice(times), 1)))


def _kick(rng: Random, wait: Callable[[int], int], n_vcpus: int) -> Throttle | Pause:
    if rng.random() < 0.3:
        return Pause(wait(6), wait(20))
    return Throttle(wait(6), tuple(sorted(rng.sample(range(n_vcpus), rng.randint(1, n_vcpus)))), wait(10))


def _invalidation(rng: Random, wait: Callable[[int], int], n_pages: int) -> Invalidation:
    first = rng.randrange(n_pages)
    end = rng.choice((n_pages, first + 1, min(n_pages, first + REGION_PAGES)))
    return Invalidation(wait(6), rng.choice((0, first)), end, wait(20))


def _ageing(rng: Random, wait: Callable[[int], int], n_pages: int) -> Ageing:
    event = rng.choice(("clear_flush_young", "clear_flush_young", "clear_young", "test_young"))
    first = rng.choice((0, rng.randrange(n_pages)))
    end = rng.choice((n_pages, n_pages, first + 1, min(n_pages, first + 64)))
    return Ageing(wait(12), event, first, end)


def _ageing_rules(rng: Random, times: tuple[int, ...], rules: LogRules, n_pages: int) -> AgeingRules:
    old = rng.choice(("a-bit", "a-bit", "access-tracking", "zap")) if rules.mechanism == "write-protect" else "a-bit"
    page_ns = rng.choice(times) * rng.choice((1, 5, 20)) / n_pages
    return AgeingRules(old, rng.random() < 0.6, rng.random() < 0.7, page_ns, rng.choice((1, 3)) * page_ns)
