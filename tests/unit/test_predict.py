"""Predictions: how many runs, what they say, where the answer flips."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

import hostsim
from hostsim.core.errors import InputError
from hostsim.core.units import parse_duration, parse_said_bandwidth, parse_said_dirty_rate
from hostsim.report.charts.chart import Bars, Panel
from hostsim.report.html.kinds.predict import margins_chart, runs_chart
from hostsim.report.predict_report import (
    converges_words,
    in_the_way,
    margin_lines,
    margin_words,
    prediction_lines,
    rests_on,
    rule_words,
)
from hostsim.scenario.build import workloads_of
from hostsim.scenario.toml_text import scenario_text
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.forecast import computed_figures, forecast
from hostsim.study.predict.given import Given
from hostsim.study.predict.guest import Guest, scenario_of
from hostsim.study.predict.knobs import KNOBS
from hostsim.study.predict.margins import Margin, converging, margins_of
from hostsim.study.predict.predict import predict_drawn
from hostsim.study.predict.prediction import Estimate
from hostsim.study.predict.replications import Rule, Wanted, pilots, replicate, same_guest
from hostsim.study.predict.work_ahead import computed_work
from hostsim.study.statistics import Median, Spread
from hostsim.theory.guest_curve import guest_curve
from tests.helpers.predicted import predicted, small_guest

GUEST = Guest("64GiB", "10Gbit", "6.5Gbit", "8GiB", "300ms")


@pytest.mark.parametrize(
    ("text", "bytes_per_s"), [("10Gbit", 1_250_000_000), ("10Gbps", 1_250_000_000), ("10Gbit/s", 1_250_000_000),
                              ("40MiB/s", 40 << 20)],
)  # fmt: skip
def test_bandwidths_are_read_as_people_say_them(text: str, bytes_per_s: int) -> None:
    assert parse_said_bandwidth(text) == bytes_per_s


@pytest.mark.parametrize("text", ["10Gb", "10G", "10", "10 mbps", "0Gbit", "-1Gbit", "10GB"])
def test_a_bandwidth_that_may_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="Gbit"):
        parse_said_bandwidth(text)


@pytest.mark.parametrize(
    ("text", "pages_per_s"),
    [("4096B/s", Fraction(1)), ("200k pages/s", Fraction(200_000)), ("200k/s", Fraction(200_000)), ("0", Fraction(0)),
     ("4.096MB/s", Fraction(1000))],
)  # fmt: skip
def test_dirty_rates_are_pages_a_second(text: str, pages_per_s: Fraction) -> None:
    assert parse_said_dirty_rate(text) == pages_per_s


def test_options_make_a_scenario_that_a_file_can_hold() -> None:
    scenario, table = scenario_of(GUEST)
    assert scenario.vm.memory == 64 << 30
    assert scenario.vm.workload[0].write_rate == round(6.5e9 / 8 / 4096)
    assert (scenario.link.bandwidth, scenario.migration and scenario.migration.bandwidth) == (1_250_000_000, 0)
    assert 'size = "8GiB"' in scenario_text(table)


@pytest.mark.parametrize(
    ("guest", "told"),
    [(Guest(), "--ram"), (Guest("64GiB", "10Gbit", "4GB/s", "65GiB"), "at most 64GiB"),
     (Guest("64GiB", "10Gbit", "4GB/s", mode="fast"), "--mode"), (Guest("64GiB", "10Gbit", "4GB/s", vcpus=5000), "--vcpus"),
     (Guest("64GiB", "10Gbit", "4GB/s", downtime_limit="1h"), "--downtime-limit"), (Guest("64G", "10Gbit", "1/s"), "GiB")],
)  # fmt: skip
def test_options_that_make_no_guest_are_refused_by_name(guest: Guest, told: str) -> None:
    with pytest.raises(InputError, match=told):
        scenario_of(guest)


@pytest.mark.parametrize(
    ("guest", "overrides", "pass_s"),
    [
        (Guest("4GiB", "10Gbit", "1/s"), ["link.latency=1s"], 4 * 1024**3 / 1_310_720),
        (Guest("64GiB", "10Gbit", "1/s"), ["migration.bandwidth=32MiB/s"], 2048),
        (Guest("4TiB", "200Gbit", "1/s"), [], 2**30 * 310e-9),
        (Guest("4TiB", "200Gbit", "1/s", mode="xbzrle"), [], 2**30 * 310e-9),
    ],
)  # fmt: skip
def test_a_migration_has_time_for_four_passes(guest: Guest, overrides: list[str], pass_s: float) -> None:
    """A window of 2.5 MiB a round trip of 2 s, max-bandwidth, and one thread, which no link of 200 Gbit/s makes faster."""
    scenario, table = scenario_of(guest, overrides)
    assert scenario.duration > 4 * pass_s * 1e9
    assert parse_duration(table["duration"]) == scenario.duration


@pytest.mark.parametrize(
    ("mode", "tracking", "found"),
    [("auto-converge", "", "initially-all-set"), ("auto-converge", "get-dirty-log", "get-dirty-log"), ("xbzrle", "", "tcg"),
     ("dirty-limit", "", "dirty-ring")],
)  # fmt: skip
def test_a_throttled_guest_is_logged_by_kvm(mode: str, tracking: str, found: str) -> None:
    """Under TCG each sync waits for vCPUs that sleep: at 99 % rounds take a second, whatever is left to be sent."""
    scenario, _ = scenario_of(Guest("4GiB", "1Gbit", "1GB/s", "2GiB", mode=mode, tracking=tracking))
    assert scenario.vm.dirty_tracking == found


def test_a_duration_that_is_set_is_kept() -> None:
    scenario, _ = scenario_of(Guest("64GiB", "10Gbit", "1/s"), ["migration.bandwidth=32MiB/s", "duration=1min"])
    assert scenario.duration == 60_000_000_000


def test_a_guest_that_writes_nothing_has_no_workload() -> None:
    scenario, _ = scenario_of(Guest("1GiB", "10Gbit", "0"))
    assert scenario.vm.workload == ()


def test_work_and_not_workers_decides_the_number_of_runs() -> None:
    found = [replicate(same_guest(small_guest()), Wanted(work=60_000), Bench(workers)) for workers in (1, 2)]
    assert found[0].figures == found[1].figures
    assert 2 <= len(found[0].figures) < 30
    assert found[0].rule.name == "work"
    assert len({figures["total_time_ms"] for figures in found[0].figures}) > 1


def test_runs_are_added_until_the_interval_is_narrow() -> None:
    loose = replicate(same_guest(small_guest()), Wanted(until_ci=0.5), Bench(1))
    assert (len(loose.figures), loose.rule.name) == (10, "interval")
    strict = replicate(same_guest(small_guest()), Wanted(15, until_ci=1e-9), Bench(1))
    assert (len(strict.figures), strict.rule.name) == (15, "most")


def test_each_replication_may_be_another_guest() -> None:
    limits = ["20ms", "40ms", "60ms"]
    found = predict_drawn([small_guest(downtime_limit=limit) for limit in limits], bench=Bench(1))
    assert found.n == 3
    assert found.estimates["downtime_ms"].spread.low != found.estimates["downtime_ms"].spread.high


def test_the_margins_are_run_on_both_sides() -> None:
    base = small_guest()
    margins = {one.knob: one for one in margins_of(base, True, converging(1.0), Bench(1))}
    assert len(margins) == len(KNOBS)
    rate = margins["dirty_rate_pages_per_s"]
    assert rate.confirmed
    assert rate.near
    assert rate.far
    assert 2000 < rate.near < rate.far <= 1.5 * rate.near
    assert margins["bandwidth_bytes_per_s"].confirmed


def test_a_prediction_of_python_is_that_of_the_bench() -> None:
    found = hostsim.predict(small_guest(), reps=3, workers=1, margins=False)
    assert (found.n, found.seeds, found.converges.k) == (3, (1, 2, 3), 3)
    assert found.to_dict()["figures"]["total_time_ms"]["n"] == 3
    assert found.logged["guest_slowdown_percent"].spread.mean > 0


@pytest.mark.parametrize(
    ("bandwidth", "limit", "total_s"),
    [("10Gbit", "10s", 14.1), ("15Gbit", "2s", 9.92), ("5Gbit", "28100ms", 27.6), ("10Gbit", "300ms", 15.8)],
)
def test_a_limit_longer_than_a_round_is_not_counted_twice(bandwidth: str, limit: str, total_s: float) -> None:
    """Simulated: a pass of 16 GiB at 5 Gbit/s takes 27.5 s, and a limit of 28.1 s stops the guest at its start."""
    scenario, _ = scenario_of(Guest("16GiB", bandwidth, "1.5Gbit", "8GiB", limit))
    found = forecast(scenario)
    assert found is not None
    assert found.total_s == pytest.approx(total_s, rel=0.03)


def test_a_window_that_holds_the_stream_is_named() -> None:
    """By hand: 2.5 MiB of the socket buffer in 2 s are 10.5 Mbit/s."""
    scenario, _ = scenario_of(Guest("4GiB", "10Gbit", "100MB/s", "1GiB"), ["link.latency=1s"])
    window, floor = in_the_way(computed_figures(scenario))
    assert "a window of 2.62 MB each round trip of 2 s, which is 10.5 Mbit/s whatever the link carries" in window
    assert "at 10.5 Mbit/s no less than" in floor
    wide, _ = scenario_of(Guest("4GiB", "10Gbit", "100MB/s", "1GiB"))
    assert list(in_the_way(computed_figures(wide))) == []


def test_a_run_that_ends_in_its_first_pass_tells_nothing() -> None:
    short = small_guest().model_copy(update={"duration": 100_000_000})
    found = hostsim.predict(short, reps=2, workers=1, margins=False)
    assert converges_words(found).startswith("cannot tell: none of 2 runs got through the first pass within 100 ms")


def test_the_computation_knows_the_floor() -> None:
    calm, busy = forecast(small_guest()), forecast(KNOBS[0].turned(small_guest(), 50_000))
    assert calm is not None
    assert busy is not None
    assert (calm.completes, busy.completes) == (True, False)
    assert busy.floor_bytes > busy.threshold_bytes


def test_the_computation_stays_silent_where_it_knows_nothing() -> None:
    assert forecast(small_guest(xbzrle=True)) is None


@pytest.mark.parametrize(("completed", "stuck"), [(30, 0), (0, 5), (4, 3), (1, 0)])
def test_the_answer_is_sentences(completed: int, stuck: int) -> None:
    lines = prediction_lines(predicted(completed, stuck))
    head = "it does not converge" if not completed else "it converges in"
    assert lines[0].startswith(f"VERDICT: {head}")
    assert all(line.endswith(".") for line in lines)


def test_a_margin_that_was_not_run_says_so() -> None:
    assert "not run" in margin_words(Margin("bandwidth_bytes_per_s", 1e9, True, 5e8))
    assert "3.2 Mbit/s" not in margin_words(Margin("bandwidth_bytes_per_s", 1e9, True, 5e8, 5.1e8, 4.9e8, (1,)))


def test_runs_that_are_equal_are_drawn_and_runs_that_do_not_complete_are_counted() -> None:
    equal = Estimate("total_time_ms", Spread(2, 5000.0, None, None), Median(2, 5000.0, None, None), 5000.0)
    done = [{"status": "completed", "total_time_ms": 5000.0}] * 2
    (panel,) = runs_chart(done, {"total_time_ms": equal}).panels
    assert isinstance(panel, Panel)
    assert panel.x is not None
    assert (panel.x.low, panel.x.high) == (4.95e9, 5.05e9)
    ended = runs_chart([{"status": "cancelled"}, {"status": "active"}, {"status": "cancelled"}], {})
    (bars,) = ended.panels
    assert isinstance(bars, Bars)
    assert bars.rows == ("cancelled", "not complete")
    assert [bar.words for bar in bars.groups[0][1]] == ["2 of 3", "1 of 3"]


def test_margins_say_on_which_side_the_migration_converges() -> None:
    chart = margins_chart(predicted().margins)
    assert chart is not None
    (bars,) = chart.panels
    assert isinstance(bars, Bars)
    assert [name for name, _ in bars.groups] == ["now: converges", "the answer flips: does not converge"]


@pytest.mark.parametrize(
    ("guest", "runs"),
    [
        (Guest("64GiB", "10Gbit", "6.5Gbit", "8GiB"), 2), (Guest("1TiB", "100Gbit", "20Gbit", "300GiB"), 2),
        (Guest("1TiB", "100Gbit", "20Gbit", "300GiB", tracking="initially-all-set"), 1),
        (Guest("4TiB", "100Gbit", "20Gbit", "300GiB"), 1),
    ],
)  # fmt: skip
def test_a_guest_too_large_for_two_runs_gets_one(guest: Guest, runs: int) -> None:
    """Counted: 27, 553, 2723 and 2224 million pages."""
    assert pilots(scenario_of(guest)[0]) == runs


def test_a_large_guest_is_given_up_earlier_and_no_guest_before_its_computed_end() -> None:
    never, _ = scenario_of(Guest("1TiB", "100Gbit", "20Gbit", "300GiB"))
    slow, _ = scenario_of(Guest("1TiB", "100Gbit", "10Gbit", "300GiB"))
    ends = forecast(slow)
    assert ends is not None
    assert ends.completes
    assert never.duration == pytest.approx(1.5 * 558e9, rel=0.01)
    assert slow.duration >= 1.5 * ends.total_s * 1e9


def test_the_work_of_a_run_is_known_before_it() -> None:
    """Of runs of this guest 4.4 million pages were harvested, 21.1 million sent in 69.3 s (seeds 1 to 30)."""
    assert computed_work(scenario_of(GUEST)[0]) == pytest.approx(4.42e6 + 21.1e6 + 693 * 2000, rel=0.02)


def test_margins_beyond_the_budget_are_computed_and_say_so() -> None:
    bench = Bench(1)
    margins = margins_of(small_guest(), True, converging(1.0), bench, work=5_000)
    assert bench.done == 0
    assert not any(margin.confirmed for margin in margins)
    told = list(margin_lines(margins))
    assert "does not converge" not in "\n".join(told)
    assert told[-1].startswith("Margins marked 'not run' are computed from the dirty curve and not confirmed")


def test_few_runs_name_the_budget_that_made_them_few() -> None:
    assert rule_words(Rule("work", 30, None, 1.1e9, 9e8), 2) == (
        "2 runs instead of 30: one is work of 1,100 million pages, and the budget of an answer is 900 million pages; "
        "--reps 30 runs all"
    )
    assert "n = 1), so its figures have no interval" in rests_on(predicted(1))
    assert "interval" not in rests_on(predicted(1)).partition("no interval")[2]
    assert rests_on(predicted(1)).endswith("taken as given")


@pytest.mark.parametrize(
    ("loads", "pages"),
    [
        ([("0B", "4MiB"), ("2MiB", "4MiB")], 1536), ([("8MiB", "4MiB"), ("0B", "4MiB")], 2048),
        ([("0B", "8MiB"), ("2MiB", "1MiB")], 2048),
    ],
)  # fmt: skip
def test_pages_that_two_workloads_write_are_counted_once(loads: list[tuple[str, str]], pages: int) -> None:
    table = small_guest().resolved()
    load = {"pattern": "uniform", "write_rate": "2000/s"}
    table["vm"]["workload"] = [{**load, "at": at, "size": size} for at, size in loads]
    scenario = hostsim.Scenario.model_validate(table)
    assert guest_curve(workloads_of(scenario), 1).max_pages == pages


@pytest.mark.parametrize(
    ("said", "mode", "overrides", "found"),
    [
        ("", "auto-converge", (), "initially-all-set"), ("", "dirty-limit", (), "dirty-ring"), ("", "postcopy", (), "tcg"),
        ('dirty_tracking = "tcg"', "auto-converge", (), "tcg"),
        ("", "auto-converge", ("vm.dirty_tracking=tcg",), "tcg"),
    ],
)  # fmt: skip
def test_a_file_that_names_no_log_is_logged_as_options_are(
    tmp_path: Path, said: str, mode: str, overrides: tuple[str, ...], found: str
) -> None:  # fmt: skip
    file = tmp_path / "vm.toml"
    file.write_text(f'[vm]\nmemory = "16MiB"\n{said}\n[migration]\nbandwidth = "1MiB/s"\n', encoding="utf-8")
    assert Given(file, Guest(mode=mode), overrides).scenario().vm.dirty_tracking == found


@pytest.mark.parametrize(
    ("guest", "knob", "told"),
    [
        (Guest("8MiB", "1Gbit", "1/s", "", "1ms"), "downtime_limit_ms", "QEMU takes no shorter downtime limit (now 1 ms)"),
        (Guest("64MiB", "1Gbit", "40Mbit"), "working_set_bytes", "the working set is all memory already (now 67.1 MB)"),
    ],
)  # fmt: skip
def test_a_figure_that_is_as_far_as_it_can_be_says_so(guest: Guest, knob: str, told: str) -> None:
    """It said that by computation no value changed the answer, which no computation had looked for."""
    knobs = [one for one in KNOBS if one.name == knob]
    (margin,) = margins_of(scenario_of(guest)[0], True, converging(1.0), Bench(1), knobs)
    assert margin_words(margin) == told


ONE_RUN = [(True, "it converges in its only run (P"), (False, "not even its only run")]


@pytest.mark.parametrize(("completed", "said"), ONE_RUN)
def test_one_run_is_not_said_to_be_one_of_several(completed: bool, said: str) -> None:
    found = predict_drawn(same_guest(scenario_of(GUEST)[0]), Wanted(1), Bench(1))
    share = replace(found.converges, k=int(completed))
    assert said in converges_words(replace(found, converges=share, statuses=("completed" if completed else "cancelled",)))
