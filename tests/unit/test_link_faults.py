"""Outages and losses under a migration: TCP's timer, its end, what a random loss leaves, and the content at the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hostsim.core.knobs import Knobs
from hostsim.core.rng import stream_key
from hostsim.machine.machine import Machine
from hostsim.qemu import tcp, tcp_row
from hostsim.qemu.link import LinkSpec, Outage
from hostsim.results.collect import migration_result
from tests.unit.test_migration_thread import MS, machine
from tests.unit.test_switchover import names, statuses

S = 1_000 * MS
GBIT = LinkSpec(125_000_000, 100_000, 1 << 20)
RTO_S = 0.204
"""Round trip of 0.2 ms and 200 ms, in jiffies of 4 ms."""


def out(start_s: float, length_s: float, **more: object) -> LinkSpec:
    return replace(GBIT, outages=(Outage(round(start_s * S), round(length_s * S)),), **more)


def stalls(spec: LinkSpec, until_s: float) -> list[tuple[float, float]]:
    """(start, length) [s] of each write that blocks for more than 0.1 s, of a thread that writes all the time."""
    row, t_ns, found = np.zeros(tcp_row.N_ROW, np.int64), 0, []
    tcp_row.connect(row, spec.path)
    while t_ns < until_s * S:
        returned = int(tcp.write(row, spec.path, t_ns + 1_000, 41_040))
        if returned - t_ns > S // 10:
            found.append((t_ns / S, (returned - t_ns) / S))
        t_ns = returned
    return found


@pytest.mark.parametrize(("length_s", "expiries"), [(0.05, 1), (0.3, 2), (1.0, 3), (5.0, 5), (20.0, 7)])
def test_a_stall_ends_with_the_first_expiry_after_the_outage(length_s: float, expiries: int) -> None:
    """The timer doubles: 0.2, 0.6, 1.4, 3.1, 6.3, ... seconds after the last acknowledgement."""
    [(start_s, stall_s)] = stalls(out(1.0, length_s), 1.5 + 2.5 * length_s)
    assert start_s == pytest.approx(1.0, abs=0.02)
    assert stall_s == pytest.approx(RTO_S * (2**expiries - 1), abs=0.02)


def test_a_connection_without_a_network_breaks_after_tcp_retries2() -> None:
    """924.6 s after the first retransmission at the earliest (Documentation/networking/ip-sysctl.rst, tcp_retries2)."""
    row = np.zeros(tcp_row.N_ROW, np.int64)
    spec = out(0.0, 10_000)
    tcp_row.connect(row, spec.path)
    assert int(tcp.write(row, spec.path, 0, 2 << 20)) == tcp_row.NEVER_NS
    assert row[tcp_row.BROKEN_PS] / 1e12 == pytest.approx(RTO_S * 1023 + 6 * 120, abs=0.01)
    assert row[tcp_row.TIMEOUTS] == 15
    assert int(tcp.write(row, spec.path, 2_000 * S, 9)) == tcp_row.NEVER_NS


@pytest.mark.parametrize(("loss", "latency_ms"), [(1e-3, 5), (1e-2, 5), (1e-3, 0.5)])
def test_random_losses_leave_the_rate_of_mathis(loss: float, latency_ms: float) -> None:
    """Where cubic is no faster than Reno: 1448 bytes a round trip x sqrt(3 / 2p) (Mathis et al., CCR 27(3), 1997)."""
    spec = LinkSpec(125_000_000, round(latency_ms * MS), 1 << 26, 1 << 26, loss=loss, loss_key=stream_key(7, "link.loss"))
    row, t_ns = np.zeros(tcp_row.N_ROW, np.int64), 0
    tcp_row.connect(row, spec.path)
    while t_ns < 60 * S:
        t_ns = int(tcp.write(row, spec.path, t_ns + 1_000, 41_040))
    mathis = (1.5 / loss) ** 0.5 * 1448 / (2 * latency_ms / 1000)
    assert row[tcp_row.SENT] / 60 == pytest.approx(mathis, rel=0.15)


def test_a_migration_outlasts_an_outage_and_keeps_its_content() -> None:
    plain, hit = machine(rate=5_000, link=GBIT), machine(rate=5_000, link=out(0.2, 2.0))
    plain.run()
    hit.run()
    longer_ms = hit.migration.state.total_time_ms - plain.migration.state.total_time_ms
    assert hit.migration.state.status == "completed"
    assert 2_000 < longer_ms < 3_500
    assert (hit.migration.ram.copied == hit.vm.memory.version).all()
    facts = migration_result(hit, hit.migration, "qemu").facts
    assert facts["outages_s"] == [[0.2, 2.2]]
    assert facts["retransmission_timeouts"] == 4


def test_a_broken_connection_fails_the_migration_and_the_guest_runs_on() -> None:
    spec = replace(machine(rate=5_000, link=out(0.2, 5_000)).spec, duration_ns=1_000 * S)
    one = Machine(spec)
    one.run()
    result = migration_result(one, one.migration, "qemu")
    assert statuses(one)[-1][1] == "failed"
    assert statuses(one)[-1][0] / 1e6 == pytest.approx(0.2 + RTO_S * 1023 + 720, abs=0.5)
    assert result.query["error-desc"] == "Unable to write to socket: Connection timed out"
    assert one.vm.running


def test_an_outage_in_the_switchover_holds_the_guest_and_the_cancel() -> None:
    """The migration thread blocks with the big lock: migrate_cancel waits for the end of the switchover."""
    plain = machine(rate=8_000, link=GBIT, max_bandwidth=0)
    plain.run()
    stop_s = next(t for t, event, _ in plain.migration.recorder.marks if event.endswith("vm_stop")) / S
    link = out(stop_s + 0.001, 1.0)
    hit = machine(rate=8_000, link=link, max_bandwidth=0, timeout_ns=round((stop_s + 0.1) * S))
    hit.run()
    assert names(hit) == ["setup", "active", "device", "completed"]
    assert 1_400 < hit.migration.state.downtime_ms < 1_600


def test_a_cancel_ends_a_write_that_blocks() -> None:
    one = machine(rate=5_000, link=out(0.2, 100), timeout_ns=3 * S)
    one.run()
    assert names(one)[-2:] == ["cancelling", "cancelled"]
    assert statuses(one)[-1][0] == 3_000_000
    assert migration_result(one, one.migration, "qemu").facts["retransmission_timeouts"] == 3


def test_a_manager_that_loses_the_destination_cancels() -> None:
    spec = replace(machine(rate=5_000, link=out(0.2, 100), keepalive_ns=30 * S).spec, duration_ns=60 * S)
    one = Machine(spec)
    one.run()
    assert statuses(one)[-1] == (30_200_000, "cancelled")


def test_a_migration_is_tried_again_after_a_failure() -> None:
    spec = machine(rate=5_000, link=out(0.2, 940), retries=1, retry_after_ns=60 * S).spec
    one = Machine(replace(spec, duration_ns=2_000 * S))
    one.run()
    assert [m.state.status for m in one.attempts.every] == ["failed", "completed"]


def test_without_a_return_path_completed_may_be_said_of_a_stream_that_is_lost() -> None:
    plain = machine(n_pages=100, filled=100, link=GBIT, max_bandwidth=0)
    plain.run()
    end_s = plain.migration.state.end_ns / S
    stop_s = next(t for t, event, _ in plain.migration.recorder.marks if event.endswith("vm_stop")) / S
    hit = machine(n_pages=100, filled=100, link=out((stop_s + end_s) / 2 - 0.001, 5_000), max_bandwidth=0)
    hit.run()
    assert hit.migration.state.status == "completed"
    assert migration_result(hit, hit.migration, "qemu").facts["lost_after_completion"] is True


@pytest.mark.parametrize("knobs", [Knobs(1, 64, 0), Knobs(17, 1 << 22, 3 * MS)])
def test_speed_knobs_move_nothing(knobs: Knobs) -> None:
    link = out(0.2, 0.7, loss=0.002, loss_key=stream_key(1, "link.loss"))
    one = machine(rate=5_000, link=link, max_bandwidth=64 << 20)
    other = Machine(one.spec, knobs)
    one.run()
    other.run()
    assert one.migration.recorder.marks == other.migration.recorder.marks
    assert one.migration.recorder.samples == other.migration.recorder.samples
    assert one.migration.link.counts()[2] > 3
