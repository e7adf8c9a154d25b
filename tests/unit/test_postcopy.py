"""Post-copy: order of the parts, figures with closed forms, outcomes of a broken connection, QMP's names, refusals."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hostsim import Scenario, run
from hostsim.core.errors import InputError, InvariantError
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import HostSheet
from hostsim.costs.postcopy_sheet import load_postcopy
from hostsim.guest.first_touch import FirstTouches
from hostsim.guest.workload import Workload, build_guest
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters, ParameterChange
from hostsim.qemu.postcopy import steps
from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.from_result import evidence_from_result

MS = 1_000_000
SHEET = HostSheet(1_000, 0, 100, MS, 50_000, MS, 60_000, 0, 5_000, 60_000)
N_PAGES = 4096


def spec_of(*loads: Workload, link: LinkSpec | None = None, n_vcpus: int = 1, **parameters: Any) -> MachineSpec:
    wanted = {"postcopy_ram": True, "postcopy_after_rounds": 1, "max_bandwidth": 50_000_000, "downtime_limit_ms": 5}
    migration = MigrationParameters(**{**wanted, **parameters})
    blocks = lay_out([("pc.ram", N_PAGES, [(0, N_PAGES)])])
    works = loads or (Workload("w", "uniform", tuple(range(n_vcpus)), 0, N_PAGES, Fraction(50_000), Fraction(50_000)),)
    return MachineSpec(
        blocks, works, n_vcpus, SHEET, 1, 30_000 * MS, "tcg", link or LinkSpec(100_000_000, 100_000, 200_000), migration,
        inputs={"postcopy": load_postcopy("generic")},
    )  # fmt: skip


def ran(spec: MachineSpec) -> Machine:
    machine = Machine(spec)
    machine.run()
    return machine


@pytest.mark.parametrize("qemu", ["7.2", "10.0", "10.2"])
def test_every_page_is_placed_once_and_the_destination_has_the_newest_content(qemu: str) -> None:
    machine = ran(spec_of(qemu=qemu))
    m, there = machine.migration, machine.migration.destination
    assert m.state.status == "completed"
    assert there.requests > 10
    assert not there.phase.missing.any()
    assert np.array_equal(m.ram.copied, machine.vm.memory.version)
    assert m.counters().ram["postcopy-bytes"] >= 4104 * there.n_missing


@pytest.mark.parametrize(
    ("qemu", "states"),
    [
        ("7.2", ["setup", "active", "postcopy-active", "completed"]),
        ("10.0", ["setup", "active", "device", "postcopy-active", "completed"]),
        ("10.2", ["setup", "active", "device", "postcopy-device", "postcopy-active", "completed"]),
    ],
)
def test_states_follow_as_in_each_version(qemu: str, states: list[str]) -> None:
    marks = ran(spec_of(qemu=qemu)).migration.recorder.marks
    assert [event.split()[1] for _, event, _ in marks if event.startswith("migrate_set_state")] == states


def test_the_destination_discards_range_by_range_before_it_loads_pages_and_devices() -> None:
    """Discards, then LISTEN, then devices: the last discard is over one device_load_ns before the guest runs."""
    outages_ns = {}
    for discard_ns in (0, 10_000, 20_000):
        spec = spec_of()
        costs = replace(spec.inputs["postcopy"], discard_range_ns=discard_ns)
        one = ran(replace(spec, inputs={"postcopy": costs})).migration
        marks = {event: t for t, event, _ in one.recorder.marks}
        outages_ns[discard_ns] = one.destination.run_ns - marks["postcopy_vm_stop"]
    ranges = (outages_ns[20_000] - outages_ns[10_000]) / 10_000
    assert 100 < ranges < N_PAGES / 2
    assert ranges == int(ranges)
    shorter = outages_ns[10_000] - outages_ns[0]
    assert 0 < shorter < 10_000 * ranges, "discards go on while the source saves the devices"


@pytest.mark.parametrize(
    ("link", "held"), [(LinkSpec(0, 0, 12_800), 10), (LinkSpec(0, 0, 0), None), (LinkSpec(0, 100_000, 4608, 4096), 42)]
)
def test_the_source_waits_for_discards_that_the_sockets_do_not_hold(
    link: LinkSpec, held: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unix socket of 12 800 bytes holds 10 messages of 1280; TCP holds 8704 bytes, 42 commands of 206; no socket: all."""
    ranges, downtimes_ms = [], []
    monkeypatch.setattr(steps, "_stale_ranges", lambda _migration: ranges[0])
    for count in (0, 1200):
        ranges[:] = [count]
        spec = spec_of(link=link)
        slow = replace(spec.inputs["postcopy"], discard_range_ns=100_000)
        downtimes_ms.append(ran(replace(spec, inputs={"postcopy": slow})).migration.state.downtime_ms)
    waits_ms = (1200 - 12 * held) // 10 if held else 0
    assert downtimes_ms[1] - downtimes_ms[0] == pytest.approx(waits_ms, abs=10 if link.latency_ns else 1)


def requests_of_the_first_window(**costs: int) -> int:
    spec = spec_of(max_postcopy_bandwidth=10_000_000)
    one = Machine(replace(spec, inputs={"postcopy": replace(spec.inputs["postcopy"], **costs)}))
    while one.migration.destination is None:
        one.env.step()
    one.env.run(until=one.migration.destination.run_ns + 50 * MS)
    return one.migration.destination.requests


def test_pages_of_the_first_burst_wait_for_the_discards() -> None:
    """So the guest, which runs soon after the last discard, asks for pages while the first burst still goes on."""
    assert requests_of_the_first_window(discard_range_ns=0, device_load_ns=40 * MS) <= 1
    assert requests_of_the_first_window(discard_range_ns=40_000, device_load_ns=MS) >= 3


def test_a_guest_that_touches_nothing_waits_for_nothing() -> None:
    writer = Workload("w", "uniform", (0,), 0, 8, Fraction(1000))
    there = ran(spec_of(writer, postcopy_after_rounds=0)).migration.destination
    assert there.faults <= 8
    assert there.stalled_ns < 100 * MS


def test_a_read_of_a_missing_page_stalls_as_a_write_does() -> None:
    reader = Workload("r", "sequential", (0,), 0, N_PAGES, read_rate_per_s=Fraction(100_000))
    there = ran(spec_of(reader, postcopy_after_rounds=0)).migration.destination
    assert there.faults > 20


def test_a_sweep_in_the_order_of_the_background_stream_faults_once_a_lap_of_the_stream() -> None:
    """The background sweep goes on behind the requested page, so the next pages are there before they are touched."""
    rate = Fraction(10_000)
    slow = Workload("r", "sequential", (0,), 0, N_PAGES, read_rate_per_s=rate, start_page=N_PAGES // 2)
    there = ran(spec_of(slow, postcopy_after_rounds=0)).migration.destination
    assert 1 <= there.faults <= 3


def test_behind_a_limit_a_request_waits_for_the_next_window_unless_preempt_sends_it() -> None:
    fifo = ran(spec_of(max_postcopy_bandwidth=10_000_000)).migration.destination
    preempt = ran(spec_of(max_postcopy_bandwidth=10_000_000, postcopy_preempt=True)).migration.destination
    assert fifo.stalls.max_ns > 80 * MS
    assert preempt.stalls.percentile_ns(99) < 5 * MS
    assert preempt.requests > 3 * fifo.requests


def test_an_operator_may_change_the_limit_of_the_phase() -> None:
    """migrate-set-parameters max-postcopy-bandwidth while the guest is at the destination (migrate_params_apply)."""
    slow = {"max_postcopy_bandwidth": 4_000_000, "max_bandwidth": 40_000_000}
    change = ParameterChange(600 * MS, 0, (("max_postcopy_bandwidth", 40_000_000),))
    alone, raised = (ran(spec_of(qemu="7.2", changes=changes, **slow)).migration.state for changes in ((), (change,)))
    assert alone.total_time_ms > 2 * raised.total_time_ms > 1_200


def test_a_request_behind_a_full_socket_waits_as_long_as_the_link_takes_for_it() -> None:
    link = LinkSpec(20_000_000, 0, 400_000)
    there = ran(spec_of(link=link)).migration.destination
    gathered = 32 * 4104
    assert 400_000 / 20e6 * 1e9 < there.stalls.percentile_ns(90) < (400_000 + 2 * gathered) / 20e6 * 1e9


def test_a_host_page_is_sent_and_placed_whole() -> None:
    machine = ran(spec_of(host_page_bytes=2 << 20, postcopy_after_rounds=1))
    there = machine.migration.destination
    assert there.n_missing % 512 == 0
    assert there.faults <= there.n_missing // 512


def test_all_vcpus_blocked_is_less_than_each_one() -> None:
    found = ran(spec_of(n_vcpus=3)).migration.destination.blocktime(in_ns=True)
    assert 0 < found.total_ms <= min(found.vcpu_ms)
    assert len(found.dist) == 24
    assert sum(found.dist) > 10


@pytest.mark.parametrize("preempt", [False, True])
def test_a_recovery_sends_the_lost_pages_again_and_loses_no_write(preempt: bool) -> None:
    machine = ran(
        spec_of(postcopy_link_fails_ns=30 * MS, postcopy_recover_after_ns=500 * MS, postcopy_preempt=preempt)
    )
    m = machine.migration
    assert m.state.status == "completed"
    assert m.state.pages_lost > 0
    assert m.state.paused_ns > 500 * MS
    states = [event.split()[1] for _, event, _ in m.recorder.marks if event.startswith("migrate_set_state")]
    assert states[-4:] == ["postcopy-paused", "postcopy-recover", "postcopy-active", "completed"]


def test_without_a_recovery_the_guest_is_lost() -> None:
    machine = ran(spec_of(postcopy_link_fails_ns=30 * MS))
    assert machine.migration.state.status == "postcopy-paused"
    assert machine.migration.destination.phase.missing.any()


def test_a_second_copy_of_a_page_ends_the_run() -> None:
    there = ran(spec_of()).migration.destination
    there.phase.p[28] += 1
    with pytest.raises(InvariantError, match="second copy"):
        there.check_complete()


def test_first_touches_of_paced_writes_are_those_of_a_coupon_collector() -> None:
    """Of n pages, one drawn anew each time, the mean number of draws until the last is hit is n times the harmonic sum."""
    n, rate = 64, 1000
    draws = []
    for seed in range(200):
        guest = build_guest([Workload("w", "uniform", (0,), 0, n, Fraction(rate))], seed)
        times, gfns = FirstTouches(guest.table, 0, np.ones(n, np.uint8), 0).batch(np.ones(n, np.uint8))
        assert sorted(gfns.tolist()) == list(range(n))
        draws.append(times[-1] * rate / 1e9)
    mean = n * sum(1 / k for k in range(1, n + 1))
    sigma = n * np.pi / np.sqrt(6) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - mean) < 5 * sigma


def test_batches_of_first_touches_are_one_ascending_sequence() -> None:
    n = 40_000
    guest = build_guest([Workload("w", "uniform", (0,), 0, n, Fraction(0), Fraction(1000))], 1)
    missing = np.ones(n, np.uint8)
    touches, seen = FirstTouches(guest.table, 0, missing, 5), []
    while len(batch := touches.batch(missing)[0]):
        seen.extend(batch.tolist())
    assert len(seen) == n
    assert seen == sorted(seen)
    assert seen[0] >= 5


SCENARIO: dict[str, Any] = {
    "duration": "60s",
    "vm": {
        "memory": "64MiB", "vcpus": 2,
        "workload": [{"pattern": "uniform", "write_rate": "40k/s", "read_rate": "40k/s"}],
    },
    "migration": {"bandwidth": "100Mbit/s", "postcopy_ram": True, "postcopy_after_rounds": 1, "postcopy_blocktime": True},
}  # fmt: skip


def scenario(**migration: Any) -> Scenario:
    return Scenario.model_validate({**SCENARIO, "migration": {**SCENARIO["migration"], **migration}})


def test_qmp_names_and_verdict() -> None:
    result = run(scenario())
    query = result.migrations[0].query
    assert query["ram"]["postcopy-requests"] > 0
    assert query["ram"]["postcopy-bytes"] > query["ram"]["downtime-bytes"] == 0
    assert len(query["postcopy-latency-dist"]) == 24
    assert len(query["postcopy-vcpu-blocktime"]) == 2
    verdict = diagnose(evidence_from_result(result))
    assert verdict.outcome == "completed by post-copy"
    assert any(line.startswith("Waits: ") for line in verdict.findings)
    assert "postcopy-latency" not in run(scenario(qemu="7.2")).migrations[0].query


def test_the_verdict_on_a_lost_guest() -> None:
    result = run(scenario(postcopy_link_fails="50ms"))
    verdict = diagnose(evidence_from_result(result))
    assert verdict.outcome == "lost in post-copy"
    assert verdict.remedy("recover") is not None
    assert not verdict.converged


@pytest.mark.parametrize(
    ("keys", "key", "wanted"),
    [
        ({"postcopy_preempt": True}, "postcopy_preempt", "Postcopy preempt requires postcopy-ram"),
        ({"postcopy_after_rounds": 0}, "postcopy_after_rounds", "Enable postcopy"),
        ({"postcopy_after": "1s"}, "postcopy_after", "Enable postcopy"),
        ({"postcopy_ram": True, "postcopy_recover_after": "1s"}, "postcopy_recover_after", "nothing to recover from"),
        ({"postcopy_ram": True, "max_postcopy_bandwidth": "8bit/s"}, "max_postcopy_bandwidth", "at least"),
    ],
)
def test_keys_that_need_another(keys: dict[str, Any], key: str, wanted: str) -> None:
    with pytest.raises(InputError) as error:
        Scenario.model_validate({"vm": {"memory": "4MiB"}, "migration": keys})
    assert f"migration.{key}" in str(error.value)
    assert wanted in str(error.value)


def test_pre_copy_with_the_capability_alone_is_pre_copy() -> None:
    plain = ran(spec_of(postcopy_ram=False, postcopy_after_rounds=-1, downtime_limit_ms=300))
    capable = ran(replace(plain.spec, migration=replace(plain.spec.migration, postcopy_ram=True)))
    assert capable.migration.counters() == plain.migration.counters()
