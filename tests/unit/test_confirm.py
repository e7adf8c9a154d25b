"""The values that a verdict advises are run again: each completes, wrong forecasts too, and less is not promised."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hostsim import Scenario, run
from hostsim.cli.main import build_app
from hostsim.core.trace import muted, tracer
from hostsim.results.tables import RunResult
from hostsim.study.compare.figures import figures_of
from hostsim.study.compare.work import work_of
from hostsim.verdict import Remedy, Verdict, diagnose, evidence_from_result, render
from hostsim.verdict import confirm as confirming
from hostsim.verdict.confirm import confirmed, tried
from hostsim.verdict.trial import Trial, changed, try_out
from hostsim.verdict.trial_budget import TrialBudget

ENOUGH = 1e9


def scenario(load: dict[str, Any], migration: dict[str, Any], **other: Any) -> Scenario:
    vm = {"memory": "256MiB", "workload": [load], **other.pop("vm", {})}
    return Scenario.model_validate({"vm": vm, "migration": migration, **other})


def near(timeout: str = "40s") -> Scenario:
    """The floor of syncs at any instant is below the threshold, that of a sync each 100 ms is above it."""
    load = {"pattern": "uniform", "at": "64MiB", "size": "16MiB", "write_rate": "30000/s", "pacing": "open"}
    return scenario(load, {"qemu": "7.2", "bandwidth": "330Mbit/s", "timeout": timeout})


def floor(**migration: Any) -> Scenario:
    load = {"pattern": "uniform", "size": "64MiB", "write_rate": "60k/s"}
    given = {"profile": "libvirt", "timeout": "20s", **migration}
    return scenario(load, given, link={"bandwidth": "800Mbit/s"})


def clock_paced(catch_up: float) -> Scenario:
    load = {"pattern": "sequential", "size": "128MiB", "write_rate": "60k/s", "pacing": "open", "catch_up": catch_up}
    return scenario(load, {"profile": "libvirt", "timeout": "20s"}, link={"bandwidth": "1Gbit/s"})


@pytest.fixture(scope="module")
def stuck() -> tuple[Scenario, RunResult, Verdict]:
    asked = floor()
    result = run(asked)
    return asked, result, confirmed(asked, result)


@pytest.mark.parametrize("timeout", ["40s", "80s"])
def test_more_time_is_not_promised_to_a_migration_that_never_completes(timeout: str) -> None:
    asked = near(timeout)
    verdict = confirmed(asked, run(asked))
    assert verdict.outcome == "not converging"
    assert verdict.remedy("timeout") is None
    assert "more would do" not in render(verdict)
    for kind in ("downtime_limit", "bandwidth"):
        remedy = verdict.remedy(kind)
        assert remedy is not None
        assert remedy.confirmed


def test_a_forecast_that_is_too_hopeful_is_corrected_by_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = near()
    result = run(asked)
    hopeful = replace(
        diagnose(evidence_from_result(result)), outcome="would converge", remedies=(Remedy("timeout", "time", 41.0, "s"),)
    )  # fmt: skip
    monkeypatch.setattr(confirming, "diagnose", lambda _evidence: hopeful)
    verdict = confirmed(asked, result)
    assert (verdict.outcome, verdict.reason) == ("not converging", "near threshold")


def test_each_value_completes_with_three_seeds(stuck: tuple[Scenario, RunResult, Verdict]) -> None:
    asked, result, verdict = stuck
    evidence = evidence_from_result(result)
    for kind in ("downtime_limit", "bandwidth", "auto_converge"):
        remedy, change = verdict.remedy(kind), tried()[kind].changes
        assert remedy is not None
        assert remedy.value is not None
        assert remedy.confirmed
        assert remedy.seeds == (1, 2, 3)
        assert all(try_out(asked, change(remedy.value, evidence), seed, ENOUGH).completed for seed in remedy.seeds)


def test_the_words_tell_what_came_of_it(stuck: tuple[Scenario, RunResult, Verdict]) -> None:
    _, _, verdict = stuck
    text = render(verdict)
    assert text.count("; run again, it completes in ") == 3
    assert "and until then the guest does" in text
    assert text.endswith('"Run again" means a run of this scenario with that change alone (seeds 1, 2, 3).')
    assert [remedy["confirmed"] for remedy in verdict.to_dict()["remedies"]] == [True, True, True, False]


def test_the_same_run_gives_the_same_verdict(stuck: tuple[Scenario, RunResult, Verdict]) -> None:
    asked, result, verdict = stuck
    assert confirmed(asked, result) == verdict


def test_a_value_that_does_not_do_is_raised(stuck: tuple[Scenario, RunResult, Verdict]) -> None:
    asked, result, _ = stuck
    computed = diagnose(evidence_from_result(result))
    low = [replace(one, value=0.7 * one.value) if one.kind == "downtime_limit" and one.value else one
           for one in computed.remedies]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confirming, "diagnose", lambda _evidence: replace(computed, remedies=tuple(low)))
        remedy = confirmed(asked, result).remedy("downtime_limit")
    assert remedy is not None
    assert remedy.confirmed
    assert remedy.value is not None
    assert low[0].value is not None
    assert remedy.value > low[0].value
    assert f"downtime limit of at least {remedy.value:.0f} ms" in remedy.text
    assert f"{remedy.value:.0f}" in remedy.command


def test_without_work_left_nothing_is_called_confirmed(stuck: tuple[Scenario, RunResult, Verdict]) -> None:
    asked, result, _ = stuck
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confirming, "WORK_MOST", 1000)
        told = confirmed(asked, result)
        assert not any(remedy.confirmed for remedy in told.remedies)
        assert "--confirm runs them" in render(told)
        assert confirmed(asked, result, all_of_it=True).remedy("bandwidth").confirmed  # type: ignore[union-attr]


def throttled(vcpus: int) -> Scenario:
    """More vCPUs share the same writes."""
    return floor(auto_converge=True).model_copy(update={"vm": floor().vm.model_copy(update={"vcpus": vcpus})})


def test_sleeps_of_a_throttle_are_work() -> None:
    one, many = (try_out(throttled(vcpus), {}, 1, ENOUGH) for vcpus in (1, 32))
    assert many.work > 2 * one.work
    assert try_out(throttled(32), {}, 1, one.work).status == "stopped"


def test_work_of_a_run_is_that_of_its_trial() -> None:
    """The run's sleeps are counted from its throttle, those of the trial one by one."""
    asked = throttled(32)
    trial, result = try_out(asked, {}, 1, ENOUGH), run(asked)
    ram_pages = asked.vm.memory_pages
    assert confirming._work_of(result, ram_pages, 0)[0] == pytest.approx(trial.work, rel=0.15)
    assert 1 / 2 < work_of(figures_of(result), asked) / trial.work < 2


def test_a_migration_with_many_vcpus_is_not_given_up_for_its_sleeps() -> None:
    """A trial is given up after so many passes over memory; sleeps bring it no nearer to that."""
    sent = try_out(throttled(1), {}, 1, ENOUGH)
    assert try_out(throttled(32), {}, 1, ENOUGH, sent_most=2 * sent.work).completed == sent.completed


def test_a_value_that_was_too_much_work_to_run_says_how_to_run_it(stuck: tuple[Scenario, RunResult, Verdict]) -> None:
    asked, result, _ = stuck
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrialBudget, "spend", lambda *_: None)
        told = confirmed(asked, result)
    assert "--confirm runs it" in told.remedy("bandwidth").text  # type: ignore[union-attr]


@pytest.mark.long
@pytest.mark.parametrize("catch_up", [1.5, 4.0])
def test_auto_converge_helps_a_guest_paced_by_the_clock_from_some_throttle_on(catch_up: float) -> None:
    asked = clock_paced(catch_up)
    result = run(asked)
    remedy = confirmed(asked, result).remedy("auto_converge")
    assert remedy is not None
    assert remedy.helps
    assert remedy.confirmed
    assert remedy.value is not None
    assert catch_up * (1 - remedy.value / 100) < 1
    assert "raise migration.timeout, 20 s now" in remedy.text


def test_a_margin_completes() -> None:
    load = {"pattern": "uniform", "size": "64MiB", "write_rate": "10k/s"}
    asked = scenario(load, {"profile": "libvirt"}, link={"bandwidth": "1Gbit/s"})
    verdict = confirmed(asked, run(asked))
    assert {margin.kind for margin in verdict.margins} == {"downtime_limit", "bandwidth"}
    for margin in verdict.margins:
        assert margin.confirmed
        key = {"downtime_limit": "migration.downtime_limit", "bandwidth": "link.bandwidth"}[margin.kind]
        scale = 1_000_000 if margin.kind == "downtime_limit" else 1
        assert margin.value is not None
        assert try_out(asked, {key: round(margin.value) * scale}, 1, ENOUGH).completed
    assert "Margin: it also completes with a downtime limit of " in render(verdict)


def test_a_margin_that_fails_is_left_out() -> None:
    """At the time-out of 3 s nothing slower completes, whatever the dirty curve says."""
    load = {"pattern": "uniform", "size": "64MiB", "write_rate": "1000/s"}
    asked = scenario(load, {"profile": "libvirt", "timeout": "3s"}, link={"bandwidth": "800Mbit/s"})
    verdict = confirmed(asked, run(asked))
    assert verdict.converged
    assert "bandwidth" not in {margin.kind for margin in verdict.margins}


def test_a_trial_ends_when_its_work_is_spent() -> None:
    asked = floor(timeout="never")
    trial = try_out(asked, {}, 1, 200_000)
    assert trial.status == "stopped"
    assert 200_000 < trial.work < 400_000


def test_a_change_is_made_to_a_copy() -> None:
    asked = floor()
    again = changed(asked, {"migration.timeout": 0, "link.bandwidth": 10**9, "duration": 7}, 5)
    assert (again.seed, again.duration, again.link.bandwidth) == (5, 7, 10**9)
    assert again.migration is not None
    assert asked.migration is not None
    assert (again.migration.timeout, asked.migration.timeout, asked.seed) == (0, 20_000_000_000, 1)
    assert not Trial(1, "stopped", 1).completed


TOML = """\
[vm]
memory = "64MiB"

[[vm.workload]]
pattern = "uniform"
size = "48MiB"
write_rate = "60k/s"

[migration]
bandwidth = "32MiB/s"
timeout = "5s"
"""


def run_command(tmp_path: Path, *options: str) -> Any:
    path = tmp_path / "a.toml"
    path.write_text(TOML)
    return CliRunner().invoke(build_app(), ["run", str(path), "--no-files", *options])


def test_the_command_confirms_and_says_so_in_json(tmp_path: Path) -> None:
    (told,) = json.loads(run_command(tmp_path, "--json").stdout)["verdicts"]
    by_kind = {remedy["kind"]: remedy for remedy in told["remedies"]}
    assert told["outcome"] == "not converging"
    assert by_kind["downtime_limit"]["confirmed"] is True
    assert by_kind["downtime_limit"]["seeds"] == [1, 2, 3]
    (plain,) = json.loads(run_command(tmp_path, "--json", "--no-confirm").stdout)["verdicts"]
    assert not any(remedy["confirmed"] for remedy in plain["remedies"])


def test_the_command_without_confirming_promises_no_run(tmp_path: Path) -> None:
    assert "run again" in run_command(tmp_path).stdout
    plain = run_command(tmp_path, "--no-confirm").stdout
    assert "run again" not in plain
    assert "These values are computed, not confirmed by runs; --confirm runs them" in plain


def test_runs_that_confirm_are_not_traced(capfd: pytest.CaptureFixture[str]) -> None:
    with muted():
        tracer().debug("of a trial")
    assert capfd.readouterr().err == ""


def test_a_trial_of_empty_iterations_stops_by_its_syncs_and_its_time() -> None:
    """A link that carries next to nothing: hours of syncs with nothing to send are work, too."""
    slow = floor().model_copy(update={"link": floor().link.model_copy(update={"latency": 60 * 10**9})})
    trial = try_out(slow, {}, 1, work_most=200_000)
    assert (trial.status, trial.completed) == ("stopped", False)
    assert 200_000 < trial.work < 600_000
