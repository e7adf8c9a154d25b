"""Means, intervals and paired differences, compared with figures worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from hostsim.study import statistics as spread
from hostsim.study.compare.best import all_best, best_for
from hostsim.study.compare.figures import figures_of, lost_ms, slowdown_percent
from hostsim.study.compare.summary import Row, Summary
from tests.helpers.synthetic import migration, run_result

EXACT = 1e-9
"""scipy's t quantiles: to 1e-10 before 1.14."""
T_2 = 0.95 * math.sqrt(2.0 / (1.0 - 0.95**2))
"""Student's t for 95 % and 2 degrees of freedom, which has this closed form."""


def row(name: str, *totals: float | None, status: str = "completed", **more: Sequence[float]) -> Row:
    """``totals``: total time of each seed, None for a failed run."""
    figures: list[Any] = []
    for i, total in enumerate(totals):
        others = {key: values[i] for key, values in more.items()}
        figures.append(None if total is None else {"status": status, "total_time_ms": total, **others})
    return Row({"x": name}, tuple(figures))


def summary(*rows: Row) -> Summary:
    return Summary(rows, tuple(range(1, 1 + len(rows[0].by_seed))))


def test_the_interval_is_students() -> None:
    found = spread.spread_of([1.0, 2.0, 6.0])
    assert found is not None
    error = math.sqrt((4 + 1 + 9) / 2 / 3)
    assert found.mean == 3.0
    assert found.low == pytest.approx(3.0 - T_2 * error, rel=EXACT)
    assert found.high == pytest.approx(3.0 + T_2 * error, rel=EXACT)
    assert found.reach == pytest.approx(T_2 * error, rel=EXACT)


def test_without_the_extra_it_is_least_and_greatest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "find_spec", lambda _: None)
    found = spread.spread_of([1.0, 2.0, 6.0])
    assert (found and (found.low, found.high, found.reach)) == (1.0, 6.0, 3.0)
    assert spread.method() == "least and greatest value"


@pytest.mark.parametrize(("values", "low"), [([5.0], None), ([5.0, 5.0], 5.0)])
def test_one_value_has_no_interval_and_equal_ones_an_empty_one(values: list[float], low: float | None) -> None:
    found = spread.spread_of(values)
    assert found is not None
    assert (found.mean, found.low, found.high) == (5.0, low, low)
    assert spread.spread_of([]) is None


def test_differences_are_paired_by_seed() -> None:
    base, other = row("a", 100.0, 200.0, 300.0), row("b", 90.0, 189.0, 288.0)
    difference = other.against(base, "total_time_ms")
    assert difference is not None
    assert difference.ratio == pytest.approx(567 / 600)
    assert difference.spread.mean == -11.0
    assert difference.spread.high == pytest.approx(-11.0 + T_2 / math.sqrt(3), rel=EXACT)
    assert difference.effect == "less"  # though each alone scatters far more than they differ


@pytest.mark.parametrize(
    ("other", "effect"),
    [
        ((100.0, 200.0, 300.0), "same"),
        ((101.0, 199.0, 301.0), "within noise"),
        ((110.0, 211.0, 312.0), "more"),
        ((None, None, 310.0), "not known"),
        ((None, None, 300.0), "same"),
    ],
)
def test_effects(other: tuple[float | None, ...], effect: str) -> None:
    found = row("b", *other).against(row("a", 100.0, 200.0, 300.0), "total_time_ms")
    assert found is not None
    assert found.effect == effect


def test_what_was_sent_before_a_cancel_is_no_price() -> None:
    cancelled = row("a", 20_000.0, status="cancelled", guest_slowdown_percent=[3.0])
    assert cancelled.spread("total_time_ms") is None
    assert cancelled.spread("guest_slowdown_percent") is not None
    assert (cancelled.n_converged, cancelled.converges) == (0, False)


def test_a_failed_run_counts_nowhere() -> None:
    some = row("a", None, 4.0)
    assert some.statuses == ("failed", "completed")
    assert (some.n_converged, some.converges) == (1, False)
    assert some.spread("total_time_ms") == spread.spread_of([4.0])
    assert row("b", None).against(row("a", 1.0), "total_time_ms") is None


def test_ratios_hold_against_the_first_that_has_the_figure() -> None:
    found = summary(row("a", 9.0, status="active"), row("b", 4.0), row("c", 1.0))
    assert found.baseline("total_time_ms") == 1
    difference = found.against_baseline(found.rows[2], "total_time_ms")
    assert difference is not None
    assert difference.ratio == 0.25
    assert found.baseline("no combination has it") == 0


def test_a_base_of_nothing_has_no_ratio() -> None:
    base, other = row("a", 1.0, guest_slowdown_percent=[0.0]), row("b", 1.0, guest_slowdown_percent=[5.0])
    found = other.against(base, "guest_slowdown_percent")
    assert found is not None
    assert (found.ratio, found.spread.mean) == (None, 5.0)


def test_the_best_has_the_least_mean_and_names_its_equals() -> None:
    best = best_for(summary(row("a", 5.0), row("b", 3.0), row("c", 3.0), row("d", 4.0)), "total_time_ms")
    assert best is not None
    assert (best.row, best.mean, best.equal, best.as_good, best.tells) == (1, 3.0, (2,), (), False)
    assert best.from_first is not None
    assert best.from_first.ratio == 0.6
    assert not best.all_equal


def test_the_best_names_those_within_noise() -> None:
    rows = row("a", 100.0, 110.0, 120.0), row("b", 50.0, 60.0, 70.0), row("c", 51.0, 59.0, 71.0), row("d", 50.0, 60.0, 70.0)
    best = best_for(summary(*rows), "total_time_ms")
    assert best is not None
    assert (best.row, best.equal, best.as_good, best.tells) == (1, (3,), (2,), True)
    assert not best.all_as_good
    without = best_for(summary(*rows[1:]), "total_time_ms")
    assert without is not None
    assert without.all_as_good


def test_only_what_converges_is_judged_if_anything_does() -> None:
    slow = row("a", 9.0, 9.0, guest_slowdown_percent=[50.0, 50.0])
    free = row("b", 9.0, 9.0, status="cancelled", guest_slowdown_percent=[0.0, 0.0])
    quick = row("c", 3.0, 3.0, guest_slowdown_percent=[60.0, 60.0])
    best = best_for(summary(slow, free, quick), "guest_slowdown_percent")
    assert best is not None
    assert (best.row, best.judged) == (0, 2)
    other = row("d", 9.0, 9.0, status="cancelled", guest_slowdown_percent=[1.0, 1.0])
    alone = best_for(summary(free, other), "guest_slowdown_percent")
    assert alone is not None
    assert alone.row == 0


def test_there_is_no_best_of_one() -> None:
    assert all_best(summary(row("a", 1.0), row("b", 1.0, status="cancelled"))) == ()


# -- figures of a run


def test_figures_have_status_units_and_counters() -> None:
    result = run_result(migration())
    figures = figures_of(result)
    assert figures["status"] == "completed"
    assert figures["total_time_ms"] == result.migrations[0].total_time_ms
    assert figures["transferred_bytes"] == result.migrations[0].query["ram"]["transferred"]
    assert figures["transitions"] == 12345
    assert figures["throttle_max_percent"] == 0


def test_slowdown_is_the_work_that_a_throttle_took() -> None:
    free, slowed = migration(), migration(throttled=True)
    assert slowdown_percent(free) == 0.0
    series = slowed.series
    (stop_ns,) = slowed.events["t_ns"][slowed.events["event"] == "migration_completion_vm_stop"]
    live = (series["status"] == "active") & (series["t_ns"] <= stop_ns)
    by_hand = before_ns = lost_ns = 0
    for i, (t_ns, speed) in enumerate(zip(series["t_ns"], series["guest_speed"], strict=True)):
        if i > 0 and live[i]:
            by_hand += int(t_ns) - before_ns
            lost_ns += (1 - speed) * (int(t_ns) - before_ns)
        before_ns = int(t_ns)
    assert slowdown_percent(slowed) == pytest.approx(100 * lost_ns / by_hand, rel=1e-6)
    assert lost_ms(slowed) > 0


def test_a_run_without_a_migration_tells_what_its_guest_lost() -> None:
    figures = figures_of(run_result())
    assert figures["status"] == "ran"
    assert figures["guest_slowdown_percent"] == 95.0  # 1 s of work in 20 s
