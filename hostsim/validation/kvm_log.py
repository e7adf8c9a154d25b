"""K3b, K5-K7, K10: enabling, clearing and disabling a log, and TLB flushes."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.costs.costs import flush_ns, load_costs
from hostsim.kvm import dirty_log
from hostsim.kvm.costs import era_policy, kvm_costs
from hostsim.kvm.setup import KvmSetup, LogPolicy
from hostsim.spte_index.spte import IN_LOG
from hostsim.validation.kvm_machine import dirtied, logged, measured, populated, seconds, time_row, took
from hostsim.validation.rows import Row, exact

X86, ENABLING_HOST, FLUSHING_HOST = "cascade-lake", "skylake", "haswell"


def rmap_rows() -> Iterator[Row]:
    """K3b: eager split when logging starts, CLEAR through the rmap."""
    data = measured("K3b")
    for vcpus in map(int, data["enable_seconds"]):
        setup = KvmSetup(vcpus, data["pages_per_vcpu"], backing="1GiB", policy=era_policy("E4", "shadow"))
        vm = populated(setup, kvm_costs(X86, "E4", "shadow", n_vcpus=vcpus))
        got = {"enable": seconds(took(vm, dirty_log.enable(vm)))}
        dirtied(vm)
        got["clear"] = seconds(took(vm, dirty_log.clear(vm)))
        for what, took_s in got.items():
            expected = data[f"{what}_seconds"][str(vcpus)]
            yield time_row(X86, f"K3b/{what}/{vcpus}", f"{what}, {vcpus} GiB, s", expected, took_s, data["tolerance"])


def clear_rows() -> Iterator[Row]:
    """K5: CLEAR of 160 GiB through the TDP tree, before and after a bit was cleared by one atomic AND."""
    data = measured("K5")
    setup = KvmSetup(1, data["pages"])
    for when, era in (("before", "E4"), ("after", "E5")):
        vm = logged(setup, kvm_costs(X86, era))
        vm.sptes.spte[:] |= IN_LOG
        vm.bitmap[:] = 1
        got = seconds(took(vm, dirty_log.clear(vm)))
        yield time_row(X86, f"K5/{when}", "CLEAR of 160 GiB, s", data["seconds"][when], got, data["tolerance"])


def disable_rows() -> Iterator[Row]:
    """K6: logging disabled while 64 vCPUs run, a flush for each region and batched."""
    data = measured("K6")
    for when, era in (("before", "E4"), ("after", "E5")):
        setup = KvmSetup(data["vcpus"], data["pages_per_vcpu"], backing="2MiB", policy=era_policy(era))
        vm = logged(setup, kvm_costs(FLUSHING_HOST, era, n_vcpus=setup.n_vcpus))
        tally = took(vm, dirty_log.disable(vm, running=setup.n_vcpus))
        what = f"disable 256 GiB, {tally.flushes} flushes, s"
        yield time_row(FLUSHING_HOST, f"K6/{when}", what, data["seconds"][when], seconds(tally), data["tolerance"])
    yield exact("published", "K6/regions", "regions of 2 MiB recovered", data["flushes"]["before"], setup.n_pages // 512)


def flush_rows() -> Iterator[Row]:
    """K7: a TLB shootdown of one page among threads of the host."""
    data, sheet = measured("K7"), load_costs(FLUSHING_HOST)
    for threads, expected in data["ns"].items():
        got = flush_ns(sheet, int(threads) - 1, in_guest_mode=False)
        yield time_row(FLUSHING_HOST, f"K7/{threads}", f"shootdown, {threads} threads, ns", expected, got, data["tolerance"])


def enable_rows() -> Iterator[Row]:
    """K10: enabling the log of 128 GiB, and how much shorter it is with initially-all-set."""
    data = measured("K10")
    costs = kvm_costs(ENABLING_HOST, "E2")
    got = {}
    for when, all_set in (("protect", False), ("all-set", True)):
        vm = populated(KvmSetup(1, data["pages"], policy=LogPolicy(initially_all_set=all_set)), costs)
        got[when] = seconds(took(vm, dirty_log.enable(vm)))
        expected = data["seconds"][when]
        yield time_row(ENABLING_HOST, f"K10/{when}", "enable, 128 GiB, s", expected, got[when], data["tolerance"])
    ratio = data["seconds"]["protect"] / data["seconds"]["all-set"]
    got_ratio = got["protect"] / got["all-set"]
    row = time_row(ENABLING_HOST, "K10/ratio", "protect / all-set", ratio, got_ratio, data["tolerance"])
    yield row.unscored("fitted: both of its times are")
