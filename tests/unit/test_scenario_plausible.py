"""Scenarios that no real machine fits are warned of, from the figure on at which they are none."""

from __future__ import annotations

from copy import deepcopy
from math import exp
from typing import Any

import pytest

from hostsim.scenario import Scenario
from hostsim.scenario.assumed import assumptions_of
from hostsim.scenario.complete import complete
from hostsim.scenario.plausible import CHECKS, machine_limits, surely_sent_bytes_per_s, warnings_of
from hostsim.simulation import run

CORE = machine_limits().core_touches_per_s
PAGE = 4096


def load(rate: float, **keys: Any) -> dict[str, Any]:
    return {"pattern": "uniform", "write_rate": f"{int(rate)}/s", **keys}


def scenario(*loads: dict[str, Any], vcpus: int = 1, migration: dict[str, Any] | None = None, **tables: Any) -> Scenario:
    vm = {"memory": "64MiB", "vcpus": vcpus, "workload": list(loads), **tables.pop("vm", {})}
    return Scenario.model_validate({"vm": vm, **({} if migration is None else {"migration": migration}), **tables})


def only(found: Scenario) -> str:
    (text,) = warnings_of(found)
    return text


def test_an_ordinary_scenario_has_no_warning() -> None:
    ordinary = scenario(load(1e6), migration={"profile": "libvirt"}, link={"bandwidth": "10Gbit/s"})
    assert warnings_of(ordinary) == ()


def test_swap_and_ageing_after_the_switch_are_not_modelled_and_warned_of() -> None:
    memory = {"vm": {"dirty_tracking": "get-dirty-log"}, "host": {"memory": {"size": "128MiB"}}}
    text = only(scenario(load(1000), migration={"postcopy_ram": True}, **deepcopy(memory)))
    assert "the destination neither swaps nor ages memory" in text
    assert warnings_of(scenario(load(1000), migration={}, **deepcopy(memory))) == ()
    assert warnings_of(scenario(load(1000), migration={"postcopy_ram": True})) == ()


def test_a_downtime_limit_of_0_bounds_no_downtime() -> None:
    """By hand: a pass of 64 MiB at 32 MiB/s takes 2 s, in which 2000 of 4096 pages are drawn; QEMU sends them with the guest
    stopped, 4096 (1 - exp(-2000 / 4096)) pages in 0.19 s.
    """
    migration = {"bandwidth": "unlimited", "downtime_limit": "0ms"}
    zero = scenario(load(1000, size="16MiB"), migration=migration, link={"bandwidth": "32MiB/s"})
    assert "it never looks for pages that were dirtied again" in only(zero)
    assert warnings_of(scenario(load(1000), migration={"downtime_limit": "1ms"})) == ()
    (done,) = run(zero).migrations
    assert done.query["ram"]["dirty-sync-count"] == 2
    assert done.downtime_ms == pytest.approx(1000 * 4096 * (1 - exp(-2000 / 4096)) / 8192, rel=0.1)


def test_the_limits_have_unit_and_source() -> None:
    limits = machine_limits()
    assert CORE == 125_000_000
    assert limits.reported_stream_least_bytes_per_s < limits.reported_stream_most_bytes_per_s < limits.tcp_flow_bytes_per_s
    assert limits.core_write_bytes_per_s < limits.host_write_bytes_per_s


def test_no_core_touches_pages_faster_than_a_loop_over_pages() -> None:
    assert "vCPU 0 of vm touches 125M pages/s, but a core touches at most 125M" in only(scenario(load(CORE + 1)))
    at_most = only(scenario(load(CORE)))
    assert "touches" not in at_most
    assert "512 GB/s if it writes whole pages" in at_most


def test_petabytes_a_second_are_one_warning() -> None:
    text = only(scenario(load(1e12), vcpus=16))
    assert text.startswith("vCPU 0 of vm touches 62.5G pages/s, but a core touches at most 125M pages/s (8 ns a page")


def test_reads_count_as_touches_and_workloads_of_a_vcpu_add_up() -> None:
    half = {"pattern": "uniform", "read_rate": f"{CORE // 2}/s", "vcpus": [1]}
    more = {**half, "read_rate": f"{CORE // 2 + 1}/s"}
    assert warnings_of(scenario(half, half, vcpus=2)) == ()
    assert "vCPU 1 of vm touches" in only(scenario(half, more, vcpus=2))


def test_an_open_loop_catches_up_no_faster_than_a_core() -> None:
    reads = {"pattern": "uniform", "pacing": "open", "read_rate": f"{CORE // 10}/s"}
    assert warnings_of(scenario(reads)) == ()
    assert "catches up at 125M pages/s (catch_up)" in only(scenario({**reads, "read_rate": f"{CORE // 10 + 1}/s"}))


def test_whole_pages_are_more_than_a_core_writes() -> None:
    most = machine_limits().core_write_bytes_per_s // PAGE
    assert warnings_of(scenario(load(most))) == ()
    assert "25 GB/s if it writes whole pages, but a core writes at most 25 GB/s" in only(scenario(load(most + 1)))


def test_whole_pages_are_more_than_the_memory_of_a_server_takes() -> None:
    most = machine_limits().host_write_bytes_per_s // PAGE
    assert warnings_of(scenario(load(most), vcpus=64)) == ()
    assert "all vCPUs together write to 190M pages/s: 780 GB/s" in only(scenario(load(most + 1), vcpus=64))


def test_neighbours_are_looked_at_and_named() -> None:
    kvm = {"dirty_tracking": "get-dirty-log"}
    found = scenario(load(1), vm=kvm, neighbour=[{"memory": "64MiB", "workload": [load(2 * CORE)]}])
    assert only(found).startswith("vCPU 0 of neighbour[0] touches 250M pages/s")


def test_more_vcpus_than_a_server_has_cpus() -> None:
    most = machine_limits().host_threads
    assert warnings_of(scenario(load(1), vcpus=most)) == ()
    assert only(scenario(load(1), vcpus=most + 1)).startswith("769 vCPUs run at once")


STREAM = {"profile": "libvirt"}


@pytest.mark.parametrize("link", ["13Gbit/s", "10Gbit/s"])
def test_what_the_slowest_thread_sends_needs_no_warning(link: str) -> None:
    assert warnings_of(scenario(load(1), migration=STREAM, link={"bandwidth": link})) == ()


@pytest.mark.parametrize(
    ("link", "sent"), [("14Gbit/s", "14 Gbit/s"), ("100Gbit/s", "15.8 Gbit/s"), ("unlimited", "15.8 Gbit/s")]
)
def test_one_stream_beyond_the_slow_end_rests_on_its_range(link: str, sent: str) -> None:
    text = only(scenario(load(1), migration=STREAM, link={"bandwidth": link}))
    assert text.startswith(f"one stream sends up to {sent} here")
    assert "users reported 13.6 Gbit/s to 19.8 Gbit/s of one migration thread (host.page_send_ns = 2420 to 1660)" in text
    assert text.endswith("the answer rests on host.page_send_ns = 2080")


def test_max_bandwidth_is_a_limit_like_the_link() -> None:
    slow = {**STREAM, "bandwidth": "1GB/s"}
    assert warnings_of(scenario(load(1), migration=slow, link={"bandwidth": "100Gbit/s"})) == ()


def test_no_migration_sends_nothing() -> None:
    assert warnings_of(scenario(load(1), link={"bandwidth": "100Gbit/s"})) == ()


def test_a_page_time_of_ones_own_is_held_against_a_tcp_flow() -> None:
    fast = {"migration": STREAM, "link": {"bandwidth": "100Gbit/s"}}
    assert warnings_of(scenario(load(1), host={"page_send_ns": 506}, **fast)) == ()
    assert "one TCP flow was measured at 65 Gbit/s at most" in only(scenario(load(1), host={"page_send_ns": 505}, **fast))


def test_the_resolved_scenario_has_the_same_warnings() -> None:
    found = scenario(load(CORE + 1), migration=STREAM, link={"bandwidth": "100Gbit/s"})
    assert warnings_of(Scenario.model_validate(found.resolved())) == warnings_of(found)
    assert len(warnings_of(found)) == 2


def test_the_slow_end_of_a_sheet_is_what_one_stream_surely_sends() -> None:
    assert surely_sent_bytes_per_s(scenario(load(1)).resolved()) == 4104 * 10**9 // 2420
    assert surely_sent_bytes_per_s(scenario(load(1), host={"page_send_ns": 400}).resolved()) == 0
    assert surely_sent_bytes_per_s(scenario(load(1), host={"machine": "qemu-tcg-2core"}).resolved()) == 0
    assert surely_sent_bytes_per_s({}) == 0


def test_checks_are_listed_once() -> None:
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)


SWEEP = {"pattern": "sequential", "write_rate": "1000/s"}
KVM = {"dirty_tracking": "get-dirty-log"}


def test_sweeps_of_several_vcpus_rest_on_split() -> None:
    (text,) = assumptions_of(scenario(SWEEP, vcpus=4, vm=KVM, migration={}))
    assert "each of the 4 vCPUs of vm.workload.0 sweeps a part of its own (split = true)" in text
    assert "--set vm.workload.0.split=false" in text


def test_a_shared_sweep_rests_on_its_distances() -> None:
    (text,) = assumptions_of(scenario({**SWEEP, "split": False}, vcpus=4, vm=KVM, migration={}))
    assert "(split = false) keep the distances at which they begin" in text


@pytest.mark.parametrize(
    ("sweep", "more"),
    [
        ({**SWEEP, "split": True}, {}),
        ({**SWEEP, "vcpus": [1]}, {}),
        ({**SWEEP, "pacing": "open"}, {}),
        ({"pattern": "sequential", "read_rate": "1000/s"}, {}),
        ({**SWEEP, "pattern": "uniform"}, {}),
        (SWEEP, {"vm": {"dirty_tracking": "tcg"}}),
        (SWEEP, {"migration": None}),
    ],
)
def test_nothing_hangs_on_it_where_sweeps_do_not_drift(sweep: dict[str, Any], more: dict[str, Any]) -> None:
    assert assumptions_of(scenario(sweep, vcpus=4, **{"vm": KVM, "migration": {}, **more})) == ()


@pytest.mark.parametrize(
    ("vcpus", "mmu", "warned"),
    [(64, {"mode": "shadow"}, False), (65, {"mode": "shadow"}, True), (65, {"mode": "tdp"}, False),
     (65, {"era": "E0"}, True), (64, {"era": "E0", "costs": "arm64-jing"}, False)],
)  # fmt: skip
def test_a_queue_at_mmu_lock_longer_than_measured_is_said(vcpus: int, mmu: dict[str, Any], warned: bool) -> None:
    found = scenario(load(1e3), vcpus=vcpus, vm={"dirty_tracking": "get-dirty-log", "mmu": mmu})
    complete(found)
    texts = [text for text in warnings_of(found) if "queue for mmu_lock" in text]
    assert bool(texts) == warned
    assert all("65 vCPUs of vm" in text and "up to 64" in text for text in texts)
