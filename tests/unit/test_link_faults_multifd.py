"""Outages and losses under multifd: each channel is a connection with a timer, a window and losses of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hostsim.core.knobs import Knobs
from hostsim.core.rng import stream_key
from hostsim.machine.machine import Machine
from hostsim.qemu import tcp_row
from hostsim.qemu.link import LinkSpec
from hostsim.results.collect import migration_result
from tests.unit.test_link_faults import GBIT, RTO_S, S, out
from tests.unit.test_migration_thread import MS, machine
from tests.unit.test_switchover import names, statuses

KEY = stream_key(1, "link.loss")


def went(link: LinkSpec, channels: int = 3, rate: int = 5_000, **options: Any) -> Machine:
    one = machine(rate=rate, link=link, multifd=True, multifd_channels=channels, **{"downtime_limit_ms": 5, **options})
    one.run()
    return one


def has_newest(one: Machine) -> bool:
    return np.array_equal(one.migration.ram.copied, one.vm.memory.version)


def total_s(one: Machine) -> float:
    return one.migration.state.total_time_ms / 1000


@pytest.mark.parametrize("qemu", ["7.2", "10.2"])
@pytest.mark.parametrize(("length_s", "expiries"), [(0.3, 2), (2.0, 4)])
def test_all_channels_wait_until_the_first_expiry_after_the_outage(length_s: float, expiries: int, qemu: str) -> None:
    """As one stream does: 0.2, 0.6, 1.4, 3.1 s after the last acknowledgement; a sync waits for the slowest channel."""
    plain, hit = (went(link, rate=0, qemu=qemu) for link in (GBIT, out(0.2, length_s)))
    assert total_s(hit) - total_s(plain) == pytest.approx(RTO_S * (2**expiries - 1), abs=0.11)
    assert hit.migration.link.counts()[0] >= 2 * expiries
    busy = went(out(0.2, length_s), qemu=qemu)
    assert busy.migration.state.status == "completed"
    assert has_newest(busy)


@pytest.mark.parametrize("loss", [0.01, 0.02])
def test_losses_make_each_channel_slower(loss: float) -> None:
    """Each has the rate that Mathis et al. leave it, 1448 bytes a round trip x sqrt(3 / 2p), so three are thrice as fast."""
    link = LinkSpec(0, 5 * MS, 1 << 20, 3 << 20, loss=loss, loss_key=KEY)
    of_one, of_three = (went(link, channels, 0, max_bandwidth=0, return_path=True) for channels in (1, 3))
    clean = went(replace(link, loss=0.0), 3, 0, max_bandwidth=0, return_path=True)
    assert total_s(of_three) > 2 * total_s(clean)
    assert total_s(of_one) > 2 * total_s(of_three)
    assert has_newest(of_one)
    assert has_newest(of_three)


def test_each_channel_draws_its_own_losses() -> None:
    one = went(LinkSpec(125_000_000, MS, 1 << 20, loss=0.01, loss_key=KEY))
    rows = one.migration.ram.net.rows[:3]
    assert (rows[:, tcp_row.LOSSES] > 3).all()
    assert len({int(first) for first in rows[:, tcp_row.NEXT_LOSS]}) == 3
    keys = {one.spec.link.loss_key_of(name) for name in ("", "channel 0", "channel 1")}
    assert len(keys) == 3
    assert one.spec.link.loss_key_of("") == KEY


def test_a_broken_channel_fails_the_migration_and_the_guest_runs_on() -> None:
    spec = replace(machine(rate=5_000, link=out(0.2, 5_000), multifd=True).spec, duration_ns=1_000 * S)
    one = Machine(spec)
    one.run()
    assert statuses(one)[-1][1] == "failed"
    assert statuses(one)[-1][0] / 1e6 == pytest.approx(0.2 + RTO_S * 1023 + 720, abs=0.6)
    assert migration_result(one, one.migration, "qemu").query["error-desc"].startswith("Unable to write to socket")
    assert one.vm.running


def test_a_cancel_ends_a_wait_for_a_channel() -> None:
    one = went(out(0.2, 100), timeout_ns=3 * S)
    assert names(one)[-2:] == ["cancelling", "cancelled"]
    assert statuses(one)[-1][0] == 3_000_000


def test_an_outage_after_completion_is_seen_by_the_answer() -> None:
    """The answer waits for all connections; without a network it never comes, and the guest runs on at the source."""
    plain = went(GBIT, return_path=True, max_bandwidth=0)
    stop_s = next(t for t, event, _ in plain.migration.recorder.marks if event.endswith("vm_stop")) / S
    hit = went(out(stop_s + 0.001, 1.0), return_path=True, max_bandwidth=0)
    assert names(hit)[-1] == "completed"
    assert hit.migration.state.downtime_ms > 1_400


@pytest.mark.parametrize("knobs", [Knobs(1, 64, 0), Knobs(17, 1 << 22, 3 * MS)])
def test_speed_knobs_move_nothing(knobs: Knobs) -> None:
    one = went(out(0.2, 0.7, loss=0.002, loss_key=KEY), max_bandwidth=64 << 20)
    other = Machine(one.spec, knobs)
    other.run()
    assert one.migration.recorder.marks == other.migration.recorder.marks
    assert one.migration.recorder.samples == other.migration.recorder.samples
    assert one.migration.link.counts()[2] > 3
