"""K3b, K5-K7, K10: enabling, clearing and disabling a log, and TLB flushes."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.costs.costs import flush_ns, load_costs
from hostsim.kvm.spec import Interface
from hostsim.measure.selftest.walked_vm import WalkedVm
from hostsim.spte_index.spte import IN_LOG
from hostsim.validation.kvm_faults import shrink_of
from hostsim.validation.kvm_machine import dirtied, logged, machine, measured, measured_pass, seconds, time_row, took
from hostsim.validation.rows import Row, exact

INTERFACES: dict[str, Interface] = {"protect": "clear-dirty-log", "all-set": "initially-all-set"}
"""K10: the interface of each series."""
X86, ENABLING_HOST, FLUSHING_HOST = "cascade-lake", "skylake", "haswell"


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
