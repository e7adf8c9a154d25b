"""Outages and losses under post-copy: the stream and the requests wait, the guest waits with them, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest

from hostsim.core.knobs import Knobs
from hostsim.core.rng import stream_key
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.qemu.link import Drops, LinkSpec, Outage
from hostsim.qemu.postcopy.costs import costs_of
from hostsim.results.collect import migration_result
from tests.unit.test_link_faults import RTO_S
from tests.unit.test_postcopy import N_PAGES, ran, spec_of
from tests.unit.test_switchover import names

MS = 1_000_000
S = 1_000 * MS
LINK = LinkSpec(20_000_000, 100_000, 400_000)
SWITCH_S = 1.0
"""All pages are dirty again by then, so the phase takes 0.84 s."""


def machine(link: LinkSpec = LINK, **more: Any) -> Machine:
    load = Workload("w", "uniform", (0,), 0, N_PAGES, Fraction(20_000), Fraction(2_000))
    given = {"postcopy_after_rounds": -1, "postcopy_after_ns": round(SWITCH_S * S), "max_bandwidth": 0}
    return Machine(replace(spec_of(load, link=link, **{**given, **more}), duration_ns=3_000 * S))


def out(start_s: float, length_s: float, drops: Drops = "both", **more: Any) -> LinkSpec:
    return replace(LINK, outages=(Outage(round(start_s * S), round(length_s * S), drops),), **more)


def went(one: Machine) -> Machine:
    one.run()
    return one


@cache
def plain(preempt: bool = False) -> Machine:
    return went(machine(out(2_000, 1), postcopy_preempt=preempt))


def has_newest(one: Machine) -> bool:
    there = one.migration.destination
    return np.array_equal(one.migration.ram.copied, one.vm.memory.version) and not there.phase.missing.any()


def longest_stall_s(one: Machine) -> float:
    return one.migration.destination.stalls.max_ns / S


@pytest.mark.parametrize("preempt", [False, True])
def test_an_outage_that_does_not_come_changes_little(preempt: bool) -> None:
    """With faults the windows of the connections are followed, without them their steady rate is."""
    without = went(machine(postcopy_preempt=preempt)).migration
    with_windows = plain(preempt).migration
    assert with_windows.state.total_time_ms == pytest.approx(without.state.total_time_ms, rel=0.01)
    assert with_windows.destination.stalls.mean_ns == pytest.approx(without.destination.stalls.mean_ns, rel=0.1)


@pytest.mark.parametrize("preempt", [False, True])
@pytest.mark.parametrize(("length_s", "expiries"), [(0.3, 2), (1.0, 3), (5.0, 5)])
def test_a_phase_waits_until_the_first_expiry_after_the_outage(length_s: float, expiries: int, preempt: bool) -> None:
    """As pre-copy does: the timer doubles, 0.2, 0.6, 1.4, 3.1, 6.3 s after the last acknowledgement."""
    hit = went(machine(out(SWITCH_S + 0.4, length_s), postcopy_preempt=preempt))
    longer_s = (hit.migration.state.total_time_ms - plain(preempt).migration.state.total_time_ms) / 1000
    assert hit.migration.state.status == "completed"
    assert longer_s == pytest.approx(RTO_S * (2**expiries - 1), abs=0.04)
    assert has_newest(hit)


@pytest.mark.parametrize("preempt", [False, True])
@pytest.mark.parametrize("drops", ["both", "to-destination", "to-source"])
def test_the_guest_waits_for_the_outage(drops: Drops, preempt: bool) -> None:
    hit = went(machine(out(SWITCH_S + 0.4, 1.0, drops), postcopy_preempt=preempt))
    before, after = plain(preempt).migration.destination.blocktime(True), hit.migration.destination.blocktime(True)
    assert after.total_ms > before.total_ms + 900
    assert 1.0 < longest_stall_s(hit) < 1.6
    assert longest_stall_s(plain(preempt)) < 0.1
    assert has_newest(hit)


def test_a_request_in_an_outage_to_the_source_waits_though_the_stream_goes_on() -> None:
    """Acknowledgements are lost, too: the stream stops when the send buffer is full."""
    hit = machine(out(SWITCH_S + 0.4, 1.0, "to-source"), postcopy_preempt=True)
    hit.env.run(until=round((SWITCH_S + 0.9) * S))
    there = hit.migration.destination
    asked, placed = there.requests, int((there.phase.missing == 0).sum())
    hit.env.run(until=round((SWITCH_S + 1.35) * S))
    assert (there.requests, int((there.phase.missing == 0).sum())) == (asked, placed)
    assert there.faults == asked + 1
    hit.run()
    assert there.requests > asked


def test_an_outage_in_the_package_keeps_the_guest_from_running() -> None:
    marks = plain().migration.recorder.marks
    stop_s = next(t for t, event, _ in marks if event == "postcopy_vm_stop") / S
    hit = went(machine(out(stop_s + 0.0005, 1.0)))
    facts = migration_result(hit, hit.migration, "qemu").facts["postcopy"]
    assert 1_000 < facts["outage_ms"] < 2_000
    assert has_newest(hit)


def test_a_package_that_never_arrives_fails_the_migration_and_the_guest_runs_on() -> None:
    marks = plain().migration.recorder.marks
    stop_s = next(t for t, event, _ in marks if event == "postcopy_vm_stop") / S
    hit = went(machine(out(stop_s + 0.0005, 1_500.0)))
    assert names(hit)[-1] == "failed"
    assert hit.vm.running
    assert hit.migration.destination is None


def test_a_connection_that_tcp_gives_up_pauses_the_phase() -> None:
    hit = went(machine(out(SWITCH_S + 0.4, 1_200.0)))
    assert names(hit)[-1] == "postcopy-paused"
    assert hit.migration.state.end_ns / S == pytest.approx(SWITCH_S + 0.4 + RTO_S * 1023 + 720, abs=0.5)
    assert hit.migration.link.counts()[0] >= 15


@pytest.mark.parametrize("preempt", [False, True])
def test_a_recovery_waits_for_the_network_and_loses_no_write(preempt: bool) -> None:
    link = out(SWITCH_S + 0.4, 1_200.0)
    hit = went(machine(link, postcopy_preempt=preempt, postcopy_recover_after_ns=10 * S))
    marks = {event: t for t, event, _ in hit.migration.recorder.marks}
    assert names(hit)[-4:] == ["postcopy-paused", "postcopy-recover", "postcopy-active", "completed"]
    assert marks["migrate_set_state postcopy-recover"] == link.outages[0].start_ns + 1_200 * S
    assert hit.migration.state.pages_lost > 0
    assert has_newest(hit)


def recovered(*later: tuple[float, float, Drops]) -> Machine:
    """A phase that pauses and recovers at the end of its outage; ``later``: outages, start and length [s], after that."""
    first = out(SWITCH_S + 0.4, 1_200.0)
    begin_ns = first.outages[0].start_ns + first.outages[0].length_ns
    more = tuple(Outage(begin_ns + round(start_s * S), round(length_s * S), drops) for start_s, length_s, drops in later)
    return went(machine(replace(first, outages=first.outages + more), postcopy_recover_after_ns=10 * S))


def handshake_s(one: Machine) -> float:
    """From the last migrate-recover until the phase goes on."""
    at = {event: t for t, event, _ in one.migration.recorder.marks}
    return (at["migrate_set_state postcopy-active"] - at["migrate_set_state postcopy-recover"]) / S


def test_a_handshake_asks_for_bitmaps_and_takes_two_round_trips() -> None:
    """postcopy_resume_handshake: recover_ns, RECV_BITMAP and the bitmap, RESUME and RESUME_ACK."""
    one = recovered()
    bitmap_s = N_PAGES / 8 / LINK.bandwidth_bytes_per_s
    least_s = costs_of(one.migration).recover_ns / S + 4 * LINK.latency_ns / S + bitmap_s
    assert handshake_s(one) == pytest.approx(least_s, abs=0.001)
    assert has_newest(one)


@pytest.mark.parametrize("drops", ["both", "to-destination", "to-source"])
def test_a_handshake_waits_for_an_outage(drops: Drops) -> None:
    """Work of both sides takes 10 ms, so the outage drops the first message, or the bitmaps on their way back."""
    one = recovered((0.005, 1.0, drops))
    assert handshake_s(one) == pytest.approx(recover_s(one) + RTO_S * 7, abs=0.05)
    assert names(one)[-4:] == ["postcopy-paused", "postcopy-recover", "postcopy-active", "completed"]
    assert has_newest(one)


def recover_s(one: Machine) -> float:
    return costs_of(one.migration).recover_ns / S


def test_a_handshake_that_breaks_pauses_the_phase_again() -> None:
    one = recovered((0.005, 1_100.0, "both"))
    marks = [(t, event) for t, event, _ in one.migration.recorder.marks if "postcopy-" in event]
    states = [event.removeprefix("migrate_set_state ") for _, event in marks]
    assert states[-5:] == [
        "postcopy-paused", "postcopy-recover", "postcopy-paused", "postcopy-recover", "postcopy-active",
    ]  # fmt: skip
    begin_ns = next(t for t, event in marks if event.endswith("postcopy-recover"))
    again_ns = max(t for t, event in marks if event.endswith("postcopy-recover"))
    assert again_ns == begin_ns + round(1_100.005 * S)
    assert one.migration.state.status == "completed"
    assert one.migration.state.paused_ns > again_ns - begin_ns
    assert one.migration.link.counts()[0] >= 30, "the timer expired fifteen times on each of the two connections"
    assert has_newest(one)


@pytest.mark.parametrize("preempt", [False, True])
def test_losses_make_the_phase_longer(preempt: bool) -> None:
    link = replace(LINK, latency_ns=10 * MS, outages=(Outage(2_000 * S, S),))
    lossy = replace(link, outages=(), loss=0.01, loss_key=stream_key(1, "link.loss"))
    clean, hit = (went(machine(one, postcopy_preempt=preempt)) for one in (link, lossy))
    assert hit.migration.state.total_time_ms > 1.5 * clean.migration.state.total_time_ms
    assert hit.migration.link.counts()[2] > 50
    assert has_newest(hit)


@pytest.mark.parametrize("qemu", ["7.2", "10.2"])
def test_post_copy_after_multifd_outlasts_an_outage(qemu: str) -> None:
    keys = {"multifd": True, "multifd_channels": 3, "qemu": qemu}
    hit = went(machine(out(SWITCH_S + 0.3, 0.3), **keys))
    assert hit.migration.state.status == "completed"
    assert longest_stall_s(hit) > 0.3
    assert has_newest(hit)


@pytest.mark.parametrize("knobs", [Knobs(1, 64, 0), Knobs(17, 1 << 22, 3 * MS)])
def test_speed_knobs_move_nothing(knobs: Knobs) -> None:
    link = out(SWITCH_S + 0.2, 0.7, loss=0.002, loss_key=stream_key(1, "link.loss"))
    one = machine(link, postcopy_preempt=True)
    other = went(Machine(one.spec, knobs))
    one.run()
    assert one.migration.recorder.marks == other.migration.recorder.marks
    assert one.migration.link.counts() == other.migration.link.counts()
    assert (one.migration.destination.phase.latencies == other.migration.destination.phase.latencies).all()
    assert one.migration.link.counts()[2] > 3


def test_a_run_without_faults_has_no_counts() -> None:
    assert "retransmission_timeouts" not in migration_result(*_of(ran(spec_of())), "qemu").facts


def _of(one: Machine) -> tuple[Machine, Any]:
    return one, one.migration
