from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import HostSheet
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.results.collect import migration_result
from tests.twins.compare import record_windows

MS = 1_000_000
SHEET = HostSheet(1_000, 0, 100, MS, 50_000, MS, 60_000, 0, 5_000, 60_000)
PAGE_BYTES = 4104


def machine(
    rate: int = 0, n_pages: int = 4000, filled: int = 4000, pages_written: int = 4000, link: LinkSpec | None = None,
    **options: Any,
) -> Machine:
    load = Workload("load", "sequential", (0,), 0, min(pages_written, n_pages), Fraction(rate))
    blocks = lay_out([("pc.ram", n_pages, [(0, filled)])])
    parameters = MigrationParameters(**{"max_bandwidth": 32 << 20, **options})
    spec = MachineSpec(blocks, (load,), 1, SHEET, 1, 20_000 * MS, "tcg", link or LinkSpec(), parameters)
    return Machine(spec, log_capacity=1 << 16)


@pytest.mark.parametrize(("qemu", "pages"), [("7.2", 818), ("10.0", 832), ("10.2", 832)])
def test_a_window_of_32_mib_per_s_sends_what_qemus_traces_show(qemu: str, pages: int) -> None:
    """7.2: a window sends up to the next page: 818 pages; 10.x: up to the next 32 pages of the stream."""
    one = machine(qemu=qemu)
    windows = record_windows(one)
    one.run()
    first = one.migration.ram.send_log[: one.migration.ram.normal_pages]
    in_first_window = int((first[:, 0] < windows[0][0]).sum())
    assert pages <= in_first_window <= pages + 2


def test_an_idle_zero_guest_takes_two_syncs() -> None:
    """All pages are out in the first window: no sync but those of setup and stop."""
    one = machine(filled=0, n_pages=1000)
    one.run()
    answer = one.migration.counters()
    assert (answer.status, answer.dirty_sync_count, answer.duplicate, answer.normal) == ("completed", 2, 1000, 0)


def test_the_estimate_is_per_window_and_unsmoothed() -> None:
    one = machine()
    windows = record_windows(one)
    one.run()
    for t_ns, bandwidth, threshold in windows:
        assert t_ns > 0
        assert threshold == int(bandwidth * 300)


@pytest.mark.parametrize("qemu", ["7.2", "10.0", "10.2"])
def test_bytes_are_split_by_the_stop(qemu: str) -> None:
    """Both parts are of the RAM stream; device state and section headers are in neither (10.0: 113 kB of the total)."""
    one = machine(rate=5000, qemu=qemu)
    one.run()
    answer = one.migration.counters()
    assert answer.precopy_bytes + answer.downtime_bytes == one.migration.ram.sent_bytes
    assert answer.downtime_bytes > 0
    assert answer.remaining == 0
    assert answer.normal + answer.duplicate >= 4000


def test_7_2_counts_the_ram_stream_alone() -> None:
    old, new = machine(qemu="7.2"), machine(qemu="10.2")
    old.run()
    new.run()
    assert old.migration.counters().transferred == old.migration.ram.sent_bytes
    assert new.migration.counters().transferred == new.migration.ram.sent_bytes + new.migration.ram.section_bytes


def test_switchover_bandwidth_moves_the_threshold_alone() -> None:
    plain, told = machine(rate=5000), machine(rate=5000, avail_switchover_bandwidth=10**9)
    windows = record_windows(plain), record_windows(told)
    plain.run()
    told.run()
    assert windows[0][0][1] == windows[1][0][1]
    assert windows[1][0][2] == 300 * 10**6


def test_switchover_bandwidth_counts_in_whole_bytes_per_ms() -> None:
    """16 MiB/s and a limit of 1 s are a threshold of 16777000 bytes: what QEMU 10.0 traces (v10_link_rand150_asb16)."""
    one = machine(rate=5000, avail_switchover_bandwidth=16 << 20, downtime_limit_ms=1000)
    windows = record_windows(one)
    one.run()
    assert windows[0][2] == 16_777_000


def test_the_first_window_opens_before_setup_is_written() -> None:
    """The list of RAMBlocks is in its bytes (migration_thread calls update_iteration_initial_status first)."""
    one = machine(qemu="7.2")
    windows = record_windows(one)
    one.run()
    listed = 8 + (1 + len("pc.ram") + 8) + 8
    assert round((windows[0][1] - windows[1][1]) * 100) == listed + 1 + len("pc.ram")


@pytest.mark.parametrize(("qemu", "statuses"), [("7.2", []), ("10.2", ["device"])])
def test_the_status_while_the_guest_is_stopped(qemu: str, statuses: list[str]) -> None:
    one = machine(rate=5000, qemu=qemu)
    one.run()
    found = list(dict.fromkeys(sample.status for sample in one.migration.recorder.samples))
    assert found == ["none", "setup", "active", *statuses]


def test_a_return_path_waits_for_the_destination() -> None:
    """For what waits in the buffer to leave, and for the way there and back.

    The buffer keeps what is in flight: 50 MB/s over 10 ms are 500 kB of its 1 MiB. The rest takes 11 ms to leave, one of
    which the switchover takes.
    """
    link = LinkSpec(50_000_000, 5 * MS, 1 << 20)
    one, other = machine(link=link, max_bandwidth=0), machine(link=link, max_bandwidth=0, return_path=True)
    one.run()
    other.run()
    wait_ms = other.migration.counters().downtime_ms - one.migration.counters().downtime_ms
    assert 19 <= wait_ms <= 21


def test_a_link_is_the_bottleneck_where_the_limit_is_not() -> None:
    one = machine(link=LinkSpec(4_104_000, 0, 0), max_bandwidth=0)
    one.run()
    assert one.migration.counters().total_time_ms == pytest.approx(4000, abs=20)


def test_a_timeout_cancels_and_keeps_the_last_answer() -> None:
    one = machine(rate=50_000, timeout_ns=2_000 * MS)
    one.run()
    m = one.migration
    assert (m.state.status, m.state.last_answer.status) == ("cancelled", "active")
    assert m.state.last_answer.total_time_ms == 2_000
    assert one.vm.running
    assert m.throttle.percent == 0


@pytest.mark.parametrize(("qemu", "status"), [("10.0", "cancelled"), ("10.2", "completed")])
def test_pending_that_is_the_threshold_completes_in_10_2_only(qemu: str, status: str) -> None:
    """One page that is always dirty again, and a threshold of one page."""
    options: dict[str, Any] = {"avail_switchover_bandwidth": 4_096_000, "downtime_limit_ms": 1, "timeout_ns": 3_000 * MS}
    one = machine(rate=5_000_000, pages_written=1, qemu=qemu, **options)
    one.run()
    assert one.migration.counters().status == status


def test_parameters_scale_the_quota() -> None:
    assert MigrationParameters().rate_limit_bytes == (128 << 20) // 10
    assert replace(MigrationParameters(), max_bandwidth=0).rate_limit_bytes == 0


@pytest.mark.parametrize("qemu", ["7.2", "10.2"])
def test_a_sample_ends_where_the_guest_stops(qemu: str) -> None:
    """Between stop and end it does no work and dirties nothing; until the stop it does both."""
    one = machine(rate=5000, qemu=qemu)
    one.run()
    migration = one.migration
    found = migration_result(one, migration, "qemu")
    series = found.series
    stop_ns = next(t - migration.state.start_ns for t, event, _ in migration.recorder.marks if event.endswith("vm_stop"))
    at = series["t_ns"].tolist().index(stop_ns)
    assert set(series["guest_speed"][at + 1 :]) == {0.0} == set(series["dirtied_pages_per_s"][at + 1 :])
    assert series["dirtied_pages_per_s"][at - 1] > 0
    assert series["guest_speed"][at - 1] == pytest.approx(1.0)
    spans_s = np.diff(series["t_ns"]) / 1e9
    counted = np.nansum(series["dirtied_pages_per_s"][1:] * spans_s)
    assert counted == pytest.approx(sum(sync.dirtied_pages for sync in migration.recorder.syncs[1:]), rel=1e-9)
    worked_ns = np.sum(series["guest_speed"][1:] * np.diff(series["t_ns"])) * len(one.vm.guest.clocks)
    assert worked_ns == pytest.approx(one.vm.work_ns(), rel=1e-9)


def test_a_sample_ends_before_each_step_of_the_throttle() -> None:
    one = machine(rate=200_000, auto_converge=True, timeout_ns=9_000 * MS)
    one.run()
    start_ns = one.migration.state.start_ns
    steps = [(t - start_ns, percent) for t, event, percent in one.migration.recorder.marks if event == "migration_throttle"]
    throttle = {sample.t_ns: sample.throttle_percent for sample in one.migration.recorder.samples}
    assert len(steps) > 1
    assert all(throttle[t_ns] < percent for t_ns, percent in steps)
