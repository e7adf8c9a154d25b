"""K rows of suite ``published``: faults, locks and harvests of KVM, predicted with the cost sheets.

K1-K4, K11: passes of vCPUs over their memory, with the faults and locks that they meet. K3b, K5-K7, K10: enabling, clearing
and disabling a log, and TLB flushes. K8, K9: time of ageing, and its cost to guests that populate their memory meanwhile.
K12, K13: entries of rmap descriptors, references of the two-dimensional walk, on the structures themselves. A row that a
constant of its sheet was set on is shown and not scored: its note says ``fitted``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from hostsim.costs.costs import flush_ns, load_costs
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.tally import Tally
from hostsim.measure.selftest.access_tracking_perf_test import AGEING, MARK_IDLE, POPULATE, AccessPlan, run_access_test
from hostsim.measure.selftest.walked_vm import WalkedVm
from hostsim.spte_index.rmap import DESC_KINDS
from hostsim.spte_index.spte import IN_LOG
from hostsim.validation.index_runs import descriptors_by_sptes, walk_references
from hostsim.validation.kvm_machine import (
    dirtied,
    idle,
    logged,
    machine,
    measured,
    measured_pass,
    rewritten,
    seconds,
    time_row,
    took,
)
from hostsim.validation.rows import Row, exact, relative

X86, ARM64, PML_HOST = "cascade-lake", "arm64-jing", "skylake"
LOCKS = {"shared": "E2", "lockless": "E3"}
"""K1: for each way of taking mmu_lock, an era whose TDP faults take it so."""
MANY, MANY_SHRINK = 32, 16


def protected_rows(shrink: int = 1) -> Iterator[Row]:
    """K1: write-protection faults of the second pass."""
    yield from _one_pass_rows("wp", shrink)


def idle_rows(shrink: int = 1) -> Iterator[Row]:
    """Rows K1: writes to memory that was marked idle."""
    yield from _one_pass_rows("track", shrink)


def _one_pass_rows(kind: str, shrink: int) -> Iterator[Row]:
    data = measured_pass("K1", shrink)
    for lock, era in LOCKS.items():
        spec, key = machine(X86, era, data["vcpus"], data["pages_per_vcpu"]), f"{kind}/{lock}"
        tally = dirtied(logged(spec)) if kind == "wp" else rewritten(idle(spec))
        yield time_row(X86, f"K1/{key}", "a pass of 64 vCPUs, s", data["seconds"][key], seconds(tally), data["tolerance"])


def lock_rows(shrink: int = 1) -> Iterator[Row]:
    """K2, K2b: permission faults under one exclusive lock, and under its shared side."""
    for row_id, era in (("K2", "E0"), ("K2b", "E2")):
        data = measured_pass(row_id, shrink)
        for vcpus, expected in data["seconds"].items():
            got = seconds(dirtied(logged(machine(ARM64, era, int(vcpus), data["pages_per_vcpu"]))))
            tolerance = data.get("tolerance_at", {}).get(vcpus, data["tolerance"])
            yield time_row(ARM64, f"{row_id}/{vcpus}", f"a pass of {vcpus} vCPUs, s", expected, got, tolerance)


def shadow_rows() -> Iterator[Row]:
    """K3, K4: the first pass after logging was enabled, memory in 1 GiB pages; rmaps need mmu_lock exclusively."""
    yield from _first_pass_rows("K3", "shadow", pml=False)
    yield from _first_pass_rows("K4", "direct", pml=True)


def shrink_of(vcpus: int) -> int:
    """How many times less memory a row with ``vcpus`` vCPUs is computed with: memory is all alike, and 64 GiB takes long."""
    return MANY_SHRINK if vcpus >= MANY else 1


def _first_pass_rows(row_id: str, mmu: str, *, pml: bool) -> Iterator[Row]:
    data = measured(row_id)
    for series, times in data["seconds"].items():
        for vcpus, expected in times.items():
            tally = _first_pass(data, series, int(vcpus), mmu, pml=pml)
            key = f"{row_id}/{series}/{vcpus}"
            what = f"first pass of {vcpus} vCPUs, s"
            shrink = shrink_of(int(vcpus))
            row = time_row(X86, key, what, expected, shrink * seconds(tally), data["tolerance"])
            yield replace(row, note=f"{row.note}; {data['tolerance_note']}")
            faults = _faults(data, series, int(vcpus), pml=pml)
            yield exact("published", f"{key}/faults", "faults", faults, tally.faults * shrink)
    if not pml:
        yield _sparse_row(data, row_id, mmu)


def _first_pass(data: dict[str, Any], series: str, vcpus: int, mmu: str, *, pml: bool) -> Tally:
    """``series``: off, on (eager split), and a share of writes."""
    tracking = "pml" if pml else "write-protect"
    spec = machine(
        X86, "E4", vcpus, data["pages_per_vcpu"] // shrink_of(vcpus), mmu=mmu, page_size="1GiB", write_tracking=tracking,
        eager_split=series.startswith("on"),
    )  # fmt: skip
    return dirtied(logged(spec), data["write_every"][series])


def _faults(data: dict[str, Any], series: str, vcpus: int, *, pml: bool) -> int:
    """Expected faults: none with eager split under PML (D bits), else one for each written page; for all if split late."""
    if series.startswith("on") and pml:
        return 0
    times = shrink_of(vcpus)
    every = 1 if series.startswith("off") else data["write_every"][series]
    accesses = -(-data["pages_per_vcpu"] // times // every)
    return vcpus * int(accesses) * times


def _sparse_row(data: dict[str, Any], row_id: str, mmu: str) -> Row:
    tally = _first_pass(data, "off-5%", 2, mmu, pml=False)
    return exact("published", f"{row_id}/off-5%/2/faults", "faults", 2 * data["pages_per_vcpu"], tally.faults)


def pml_rows(shrink: int = 1) -> Iterator[Row]:
    """K11: a page written under PML, the buffer drained in either order."""
    data = measured_pass("K11", shrink)
    for when, era in (("before", "E4"), ("after", "E6")):
        spec = machine(PML_HOST, era, data["vcpus"], data["pages_per_vcpu"], write_tracking="pml")
        tally = dirtied(logged(spec))
        got, key = tally.now_ns / data["pages_per_vcpu"], f"K11/{when}"
        yield time_row(PML_HOST, key, "a page and vCPU, ns", data["ns_per_page"][when], got, data["tolerance"])
        expected = spec.n_vcpus * (data["pages_per_vcpu"] // 512)
        yield exact("published", f"{key}/exits", "exits, one for each full buffer", expected, tally.pml_full + tally.faults)


INTERFACES: dict[str, Interface] = {"protect": "clear-dirty-log", "all-set": "initially-all-set"}
"""K10: the interface of each series."""
ENABLING_HOST, FLUSHING_HOST = "skylake", "haswell"


def rmap_rows() -> Iterator[Row]:
    """K3b: eager split when logging starts, CLEAR through the rmap."""
    data = measured("K3b")
    for vcpus in map(int, data["enable_seconds"]):
        times = shrink_of(vcpus)
        pages = data["pages_per_vcpu"] // times
        spec = machine(X86, "E4", vcpus, pages, mmu="shadow", page_size="1GiB", eager_split=True)
        vm = WalkedVm(spec)
        got = {"enable": seconds(took(vm, vm.enable()))}
        dirtied(vm)
        got["clear"] = seconds(took(vm, vm.clear()))
        for what, took_s in got.items():
            expected = data[f"{what}_seconds"][str(vcpus)]
            key, told = f"K3b/{what}/{vcpus}", f"{what}, {vcpus} GiB, s"
            yield time_row(X86, key, told, expected, times * took_s, data["tolerance"])


def clear_rows(shrink: int = 1) -> Iterator[Row]:
    """K5: CLEAR of 160 GiB through the TDP tree, before and after a bit was cleared by one atomic AND."""
    data = measured_pass("K5", shrink)
    for when, era in (("before", "E4"), ("after", "E5")):
        vm = logged(machine(X86, era, 1, data["pages"]))
        vm.sptes.spte[:] |= IN_LOG
        took(vm, vm.get())
        got = seconds(took(vm, vm.clear()))
        what = f"CLEAR of {160 / shrink:g} GiB, s"
        yield time_row(X86, f"K5/{when}", what, data["seconds"][when], got, data["tolerance"])


def disable_rows(shrink: int = 1) -> Iterator[Row]:
    """K6: logging disabled while 64 vCPUs run, a flush for each region and batched."""
    data = measured_pass("K6", shrink)
    for when, era in (("before", "E4"), ("after", "E5")):
        spec = machine(FLUSHING_HOST, era, data["vcpus"], data["pages_per_vcpu"], page_size="2MiB")
        vm = logged(spec)
        tally = took(vm, vm.run_while(vm.disable()))
        what = f"disable {256 // shrink} GiB, {tally.flushes} flushes, s"
        yield time_row(FLUSHING_HOST, f"K6/{when}", what, data["seconds"][when], seconds(tally), data["tolerance"])
    expected = data["flushes"]["before"] // shrink
    yield exact("published", "K6/regions", "regions of 2 MiB recovered", expected, spec.n_pages // 512)


def flush_rows() -> Iterator[Row]:
    """K7: a TLB shootdown of one page among threads of the host."""
    data, sheet = measured("K7"), load_costs(FLUSHING_HOST)
    for threads, expected in data["ns"].items():
        got = flush_ns(sheet, int(threads) - 1, in_guest_mode=False)
        yield time_row(FLUSHING_HOST, f"K7/{threads}", f"shootdown, {threads} threads, ns", expected, got, data["tolerance"])


def enable_rows() -> Iterator[Row]:
    """K10: enabling the log of 128 GiB, and how much shorter it is with initially-all-set."""
    data = measured("K10")
    got = {}
    for when, interface in INTERFACES.items():
        vm = WalkedVm(machine(ENABLING_HOST, "E2", 1, data["pages"], interface))
        got[when] = seconds(took(vm, vm.enable()))
        expected = data["seconds"][when]
        yield time_row(ENABLING_HOST, f"K10/{when}", "enable, 128 GiB, s", expected, got[when], data["tolerance"])
    ratio = data["seconds"]["protect"] / data["seconds"]["all-set"]
    got_ratio = got["protect"] / got["all-set"]
    row = time_row(ENABLING_HOST, "K10/ratio", "protect / all-set", ratio, got_ratio, data["tolerance"])
    yield row.unscored("fitted: both of its times are")


ERAS = {"none": "E4", "locked": "E4", "lockless": "E6"}
"""K8: kernels that age under mmu_lock, and without; the first without ageing."""
RUN_PAGES = 512
"""Pages of a vCPU in a run of K8. Memory is all alike, so times grow with it; ageing asks for each page some 100 times."""
SUITE = "published"


def populate_rows() -> Iterator[Row]:
    """K8: wall time of the vCPUs and mean pass of ageing; shapes: times over those without ageing, or without the lock."""
    # Model limit: vCPUs that populate memory meet at mmu_lock alone; in a host they meet at its page allocator, too.
    data = measured("K8")
    times = populate_times(data)
    for series in ERAS:
        for vcpus, wall_s in data["seconds"][series].items():
            where = f"K8/{series}/{vcpus}"
            what = f"{vcpus} vCPUs populate 1 GiB each, s"
            yield time_row(X86, where, what, wall_s, times[series, vcpus][0], data["tolerance"])
            if series != "none":
                pass_s, got = data["pass_seconds"][series][vcpus], times[series, vcpus][1]
                yield time_row(X86, f"{where}/pass", "a pass of ageing meanwhile, s", pass_s, got, data["tolerance"])
    for vcpus in data["seconds"]["none"]:
        yield from _shape_rows(data, times, vcpus)


def populate_times(data: dict[str, Any]) -> dict[tuple[str, str], tuple[float, float]]:
    """{(series, vCPUs): (wall time of the vCPUs, mean pass of ageing)} [s], for memory of the measured size."""
    scale, times = data["pages_per_vcpu"] / RUN_PAGES / 1e9, {}
    for series, era in ERAS.items():
        for vcpus in data["seconds"][series]:
            ages = series != "none"
            plan = AccessPlan(MmuSpec(era=era, costs=X86), int(vcpus), RUN_PAGES, True, True, ages)
            result = run_access_test(plan)
            passes = [phase.duration_ns / phase.passes for phase in result.of(AGEING)]
            times[series, vcpus] = result.of(POPULATE)[0].duration_ns * scale, sum(passes) * scale
    return times


def _shape_rows(data: dict[str, Any], times: dict[tuple[str, str], tuple[float, float]], vcpus: str) -> Iterator[Row]:
    walls, passes, tolerance = data["seconds"], data["pass_seconds"], data["tolerance"]
    expected = walls["locked"][vcpus] / walls["none"][vcpus]
    got = times["locked", vcpus][0] / times["none", vcpus][0]
    yield relative(SUITE, f"K8/shape/{vcpus}/wall", "populating with locked ageing, over none", expected, got, tolerance)
    expected = passes["locked"][vcpus] / passes["lockless"][vcpus]
    got = times["locked", vcpus][1] / times["lockless", vcpus][1]
    yield relative(SUITE, f"K8/shape/{vcpus}/pass", "a locked pass, over a lockless one", expected, got, tolerance)


def idle_marking_rows() -> Iterator[Row]:
    """K9: all memory marked idle from user space."""
    data = measured("K9")
    for vcpus, expected in data["seconds"].items():
        result = run_access_test(AccessPlan(MmuSpec(costs=X86), int(vcpus), data["pages_per_vcpu"]))
        got = result.of(MARK_IDLE)[0].duration_ns / 1e9
        yield time_row(X86, f"K9/{vcpus}", "1 GiB marked idle, s", expected, got, data["tolerance"])


ENTRIES_OF = {"3": 3, "15": 15, "14": 14}
SPTES = (0, 1, 2, 3, 4, 14, 15, 16, 28, 29, 300)
WALKS = {(4, 4): 24, (5, 5): 35, (3, 3): 15}
"""Guest and host levels: references."""


def index_rows() -> Iterator[Row]:
    """Rows K12, descriptors of the rmap, and K13, references of a two-dimensional walk."""
    for kind, ext in ENTRIES_OF.items():
        used = [0, *descriptors_by_sptes(kind, max(SPTES))[0]]
        yield exact(SUITE, f"K12/{kind}", "sptes a descriptor holds", ext, DESC_KINDS[kind].ext)
        for n in SPTES:
            yield exact(SUITE, f"K12/{kind}", f"descriptors for {n} sptes of a page", -(-n // ext) if n > 1 else 0, used[n])
    for (guest, host), references in WALKS.items():
        where = f"K13/{guest}x{host}"
        yield exact(SUITE, where, "memory references of a two-dimensional walk", references, walk_references(guest, host)[0])
        yield exact(SUITE, where, "(g + 1)(h + 1) - 1", references, (guest + 1) * (host + 1) - 1)


GROUPS: dict[str, tuple[Callable[..., Iterator[Row]], ...]] = {
    "K1": (protected_rows, idle_rows),
    "K2": (lock_rows,),
    "K2b": (lock_rows,),
    "K3": (shadow_rows,),
    "K3b": (rmap_rows,),
    "K4": (shadow_rows,),
    "K5": (clear_rows,),
    "K6": (disable_rows,),
    "K7": (flush_rows,),
    "K8": (populate_rows,),
    "K9": (idle_marking_rows,),
    "K10": (enable_rows,),
    "K11": (pml_rows,),
}
"""Functions that compute the rows of each id; only those of the wanted ids run."""


PASSES = (protected_rows, idle_rows, lock_rows, pml_rows, clear_rows, disable_rows)
"""Rows of passes over memory that is all alike, so that their time grows with it; these take most of the work."""


def kvm_rows(cases: Sequence[str] | None = None, shrink: int = 1) -> Iterator[Row]:
    """Rows K1 to K11 of the ids in ``cases``, all for None: about half a minute of work.

    shrink: passes go over so many times less memory and are compared with as many times less time: for tests.
    """
    wanted = None if cases is None else {case.split("/")[0] for case in cases}
    chosen = [group for key, groups in GROUPS.items() if wanted is None or key in wanted for group in groups]
    for group in dict.fromkeys(chosen):
        yield from group(shrink) if group in PASSES else group()
