"""Continuous checkpoints: the replica is a past state of the guest, outputs wait for it, a failure loses unseen work."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InputError, InvariantError
from hostsim.core.knobs import Knobs
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.workload import Workload
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.checkpoints import Checkpoints, CheckpointSpec, Outputs
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.parameters import MigrationParameters
from hostsim.report.charts.migration import headline, own_charts
from hostsim.results.collect import interruptions
from hostsim.results.read import read_run
from hostsim.results.series import moments_of
from hostsim.results.store import run_files
from hostsim.results.tables import RunResult
from hostsim.scenario import Scenario
from hostsim.simulation import run
from hostsim.study.compare.figures import slowdown_percent
from hostsim.verdict import diagnose, evidence_from_result

MS = 1_000_000
TRACKERS = ("tcg", "get-dirty-log", "clear-dirty-log", "initially-all-set", "dirty-ring")
PAGES = 2048


def machine(tracking: str = "tcg", knobs: Knobs | None = None, rate: int = 4_000, **spec: Any) -> Machine:
    found = {"policy": "remus", "epoch_ns": 20 * MS, "output_rate_per_s": 500.0, "copy_page_ns": 400, **spec}
    loads = (
        Workload("sweep", "sequential", (0, 1), 0, 1000, Fraction(rate), Fraction(1000), split=True),
        Workload("drawn", "uniform", (1,), 500, 1500, Fraction(rate)),
    )
    return Machine(
        MachineSpec(
            lay_out([("pc.ram", PAGES, [(0, 1200)])]), loads, 2, load_sheet("generic"), duration_ns=900 * MS,
            dirty_tracking=tracking, link=LinkSpec(50_000_000, 100_000, 212_992), mmu=MmuSpec(),
            migration=MigrationParameters(max_bandwidth=0), checkpoints=CheckpointSpec(**found),  # type: ignore[arg-type]
        ),
        knobs,
    )  # fmt: skip


def ran(*args: Any, **options: Any) -> tuple[Machine, Checkpoints]:
    one = machine(*args, **options)
    one.run()
    assert one.checkpoints is not None
    return one, one.checkpoints


@pytest.mark.parametrize("policy", ["remus", "kemari"])
@pytest.mark.parametrize("tracking", TRACKERS)
def test_each_checkpoint_is_whole(policy: str, tracking: str) -> None:
    """Every commit compares all pages with the guest at the pause; the guest goes on in between."""
    one, found = ran(tracking, policy=policy)
    assert len(found.done) > 5
    assert one.migration is not None
    assert one.migration.state.status == "colo"
    assert sum(point.dirty_pages for point in found.done) > 1000
    for before, after in pairwise(found.done):
        assert before.committed_ns <= after.paused_ns or policy == "kemari"
        assert after.resumed_ns >= before.running_again_ns


@pytest.mark.parametrize("tracking", ["tcg", "clear-dirty-log", "dirty-ring"])
def test_pieces_of_work_move_nothing(tracking: str) -> None:
    whole, small = (ran(tracking, knobs)[1] for knobs in (Knobs(), Knobs(window_ns=300_000, send_batch_pages=7)))
    assert whole.done == small.done
    assert whole.delays.summary() == small.delays.summary()


@pytest.mark.parametrize("policy", ["remus", "kemari"])
def test_the_series_goes_on_beside_the_checkpoints(policy: str) -> None:
    """Samples each 100 ms; their bandwidth is what was sent, their dirtied pages are what the syncs have found."""
    one, found = ran(policy=policy)
    assert one.migration is not None
    moments = [moment for moment in moments_of(one.migration, one.vm.guest) if moment.sample.status == "colo"]
    times_ns = np.array([moment.sample.t_ns for moment in moments])
    assert len(times_ns) >= 5
    assert np.diff(times_ns).max() <= 100 * MS
    spans_s = np.diff(times_ns, prepend=times_ns[0]) / 1e9
    began_ns = one.migration.state.start_ns + times_ns[0]
    later = [point for point in found.done if point.resumed_ns >= began_ns]
    sent = sum(moment.sample.bandwidth_bytes_per_s * span for moment, span in zip(moments, spans_s, strict=True))
    assert sent == pytest.approx(sum(point.sent_bytes for point in later), rel=0.15)
    dirtied = np.nansum([moment.dirtied_pages_per_s * span for moment, span in zip(moments, spans_s, strict=True)])
    assert dirtied == pytest.approx(sum(point.dirty_pages for point in later), rel=0.15)
    ran_ns = sum(point.paused_ns - point.resumed_ns for point in later)
    share = ran_ns / sum(point.running_again_ns - point.resumed_ns for point in later)
    assert np.mean([moment.guest_speed for moment in moments[1:]]) == pytest.approx(share, rel=0.1)


def test_the_pause_before_the_first_epoch_is_told_apart() -> None:
    one, found = ran()
    assert one.migration is not None
    facts = interruptions(one.migration)
    assert facts["goes_on"]
    stopped_ns = next(t for t, event, _ in one.migration.recorder.marks if event == "migration_thread_low_pending")
    assert facts["stopped_ms"] == (found.began_ns - stopped_ns) / MS


def ran_remus() -> RunResult:
    vm = {"memory": "64MiB", "workload": [{"pattern": "uniform", "size": "16MiB", "write_rate": "10000/s"}]}
    checkpoints = {"policy": "remus", "epoch": "50ms", "output_rate": "500/s"}
    keys = {"vm": vm, "migration": {"bandwidth": "unlimited"}, "checkpoints": checkpoints, "duration": "1s"}
    return run(Scenario.model_validate(keys))


def test_the_verdict_names_the_pause_after_the_first_copy() -> None:
    findings = diagnose(evidence_from_result(ran_remus())).findings
    assert any(line.startswith("First copy: at its end the guest stood still") for line in findings)
    assert not any("runs at the source" in line for line in findings)


def test_a_chart_has_the_figures_of_a_unit_in_one_panel() -> None:
    result = ran_remus()
    (migration,) = result.migrations
    (chart,) = own_charts(migration)
    assert [panel.y.label for panel in chart.panels] == ["time", "dirty pages", "sent", "outputs"]
    assert [line.name for line in chart.panels[0].lines] == ["ran", "pause", "replica has it after", "output delay"]
    table = migration.own["checkpoints"].table
    assert chart.panels[1].lines[0].y.tolist() == table["dirty_pages"].tolist()
    share = float(migration.own["checkpoints"].figures["run_share"])
    slowdown = slowdown_percent(migration)
    assert slowdown is not None
    assert slowdown == pytest.approx(100 * (1 - share), abs=2.0), "the pauses of checkpoints are its price"
    told = diagnose(evidence_from_result(result)).to_dict()
    read, notes = read_run(run_files(replace(result, verdicts=(told,))))
    assert (read.migrations[0].status, notes) == ("protected", [])
    assert headline(read.migrations[0]) == headline(migration)


def test_an_output_waits_for_its_checkpoint() -> None:
    _, found = ran()
    assert found.delays.count == sum(one.outputs for one in found.done) > 100
    first = found.done[0]
    assert found.delays.max_ns >= first.committed_ns - first.paused_ns
    assert found.delays.min_ns >= min(one.committed_ns - one.paused_ns for one in found.done)


def test_an_output_of_kemari_waits_for_its_own_pause_alone() -> None:
    _, found = ran(policy="kemari")
    assert all(one.outputs == 1 for one in found.done)
    assert found.delays.total_ns == sum(one.running_again_ns - one.paused_ns for one in found.done)


def test_one_buffer_lets_the_link_set_the_pace() -> None:
    """At 50 MB/s a checkpoint takes longer than the epoch of 20 ms: the guest runs until it has been sent."""
    _, found = ran(rate=60_000)
    assert all(one.paused_ns - one.resumed_ns > 20 * MS for one in found.done[2:])


@pytest.mark.parametrize("policy", ["remus", "kemari"])
def test_a_failure_loses_what_no_client_has_seen(policy: str) -> None:
    one, found = ran(policy=policy, fails_ns=700 * MS, detection_ns=50 * MS)
    assert found.failover is not None
    last = found.done[-1]
    assert found.failover.checkpoint == last.number
    assert last.committed_ns <= found.failover.failed_ns == 700 * MS
    assert found.failover.lost_ns == found.failover.failed_ns - last.paused_ns
    assert found.failover.took_over_ns >= 750 * MS
    assert found.failover.lost_work_ns <= 4 * found.failover.lost_ns
    assert one.env.now_ns == found.failover.took_over_ns
    assert found.failover.dropped_outputs >= 0


def test_outputs_that_wait_are_dropped() -> None:
    """All outputs are released or dropped: together they are a Poisson stream over the time that the guest ran."""
    _, found = ran(fails_ns=700 * MS, output_rate_per_s=5_000.0)
    assert found.failover is not None
    again = Outputs(1, 5_000.0)
    spans = [(one.resumed_ns, one.paused_ns) for one in found.done]
    released = sum(len(again.within(start, end)) for start, end in spans)
    assert released == found.delays.count
    assert 0 < found.failover.dropped_outputs < 0.1 * released


def test_a_lost_write_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that the bitmap of a pause lacks breaks the run at the commit."""
    one = machine()
    assert one.checkpoints is not None
    assert one.migration is not None
    send, ram = one.checkpoints._send, one.migration.ram

    def without_a_page(epoch: Any) -> Any:
        gfn = int(np.flatnonzero(ram.bmap)[0])
        ram.bmap[gfn] = 0
        ram.add_dirty(-1)
        yield from send(epoch)

    monkeypatch.setattr(one.checkpoints, "_send", without_a_page)
    with pytest.raises(InvariantError, match="the replica does not have the content"):
        one.run()


def test_outputs_are_cut_anywhere() -> None:
    whole = Outputs(3, 1000.0).within(0, 1_000 * MS)
    cut = Outputs(3, 1000.0)
    parts = [cut.within(start * MS, (start + 7) * MS) for start in range(0, 1001, 7)]
    assert np.concatenate(parts).tolist() == [*whole.tolist(), *np.concatenate(parts).tolist()[len(whole) :]]
    assert 850 < len(whole) < 1150


SCENARIO = {
    "duration": "2s",
    "vm": {"memory": "8MiB", "workload": [{"pattern": "uniform", "size": "4MiB", "write_rate": "5000/s"}]},
    "migration": {"bandwidth": "unlimited"},
    "checkpoints": {"policy": "remus", "output_rate": "200/s"},
}


def with_keys(**keys: Any) -> dict[str, Any]:
    return {**SCENARIO, "checkpoints": {**SCENARIO["checkpoints"], **keys}}  # type: ignore[dict-item]


def test_a_scenario_says_what_protects_it() -> None:
    result = run(Scenario(**with_keys(fails_at="1s")))
    told = result.to_dict()["checkpoints"][0]
    assert result.migrations[0].status == "failed over"
    assert result.migrations[0].converged
    assert told["failover"]["failed_ns"] == 1_000 * MS
    assert told["output_delay"]["count"] > 50
    assert len(result.migrations[0].own["checkpoints"].table) == told["checkpoints"]


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"policy": "kemari", "output_rate": "0/s"}, "checkpoints.output_rate"),
        ({"policy": "kemari", "epoch": "10ms"}, "checkpoints.epoch"),
        ({"fails_at": "3s"}, "checkpoints.fails_at"),
        ({"epoch": "0ms"}, "checkpoints.epoch"),
    ],
)
def test_what_makes_no_sense_is_refused(keys: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError, match=key.replace(".", r"\.")):
        Scenario(**with_keys(**keys))


def test_checkpoints_need_a_first_copy() -> None:
    with pytest.raises(InputError, match=r"\[migration\]"):
        Scenario(**{key: value for key, value in SCENARIO.items() if key != "migration"})
