"""Rounds of a log as a fit takes them: whole windows of QEMU's loop, the cursor's circle, and errors that do not pull."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hostsim.fitting.cursor import with_cursor
from hostsim.fitting.expected import written_independently
from hostsim.fitting.fitted import fit
from hostsim.fitting.mixture import Problem
from hostsim.fitting.noise import take_turns, with_errors
from hostsim.fitting.observed import observe
from hostsim.fitting.pacing import Pace
from hostsim.fitting.points import Point, points_of
from hostsim.logs.sniff import read_logs
from hostsim.report.fit_report import fit_lines
from hostsim.verdict.log_rounds import Windows
from tests.helpers.real_logs import postgres_log, qemu_log
from tests.twins.cursor_twin import rounds_of

CLASSES = [(35_700, 0.051), (950, 39.0)]
ALL = sum(pages for pages, _ in CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


def polled(remaining: list[float], newly: float) -> Windows:
    """Two answers with 100 pages a window between them, and a sync that found ``newly`` pages."""
    sent = remaining[0] - remaining[1] + newly
    pages = np.array([0.0, sent])
    return Windows.of(np.array(remaining), pages, pages, 100.0, 150.0)


@pytest.mark.parametrize(("before", "window", "pending"), [(140.0, 1, 140.0), (250.0, 2, 150.0), (251.0, 3, 51.0)])
def test_a_sync_comes_with_the_first_window_that_the_threshold_lets(before: float, window: int, pending: float) -> None:
    sync = polled([before, 300.0], newly=300.0 + 350.0 - before).sync_between(0)
    assert sync is None  # 350 pages are no whole windows
    sync = polled([before, 300.0], newly=300.0 + 400.0 - before).sync_between(0)
    assert sync is not None
    assert (sync.window, sync.pending_pages) == (window, pending)


def test_a_sync_that_the_pages_contradict_has_no_window() -> None:
    assert polled([900.0, 1000.0], newly=500.0).sync_between(0) is None  # 900 pages are not sent in 4 windows


def test_rounds_of_the_loaded_database_last_whole_windows(folder: Path) -> None:
    (log,) = read_logs(str(postgres_log("Precopy_Nonconvergent_16T_1", folder)))
    lengths = np.array([r.duration_s for r in observe(log).rounds])
    whole = np.abs(lengths / 0.1 - np.rint(lengths / 0.1)) < 0.05
    assert whole.mean() > 0.9


def test_expected_rounds_are_those_of_the_twin() -> None:
    points = points_of(rounds_of(CLASSES, 330, 990, 150, seed=1), ALL)
    rates, pages = np.array([rate for _, rate in CLASSES]), np.array([n for n, _ in CLASSES])
    late = slice(40, None)
    found = np.array([p.found_pages for p in points])[late].mean()
    placed = written_independently(with_cursor(points, [(float(n), r) for n, r in CLASSES], Pace()), rates) @ pages
    alike = written_independently(points, rates) @ pages
    assert placed[late].mean() == pytest.approx(found, rel=0.015)
    assert alike[late].mean() > 1.03 * found  # of hot pages as many wait as elsewhere, of the others fewer


def test_of_one_class_as_many_are_left_over_wherever_they_lie() -> None:
    points = points_of(rounds_of([(20_000, 0.4)], 1000, 3000, 12, seed=2), 20_000)
    placed = with_cursor(points, [(20_000.0, 0.4)], Pace())
    assert written_independently(placed, np.array([0.4])) == pytest.approx(written_independently(points, np.array([0.4])))


def test_rounds_that_found_little_by_chance_do_not_weigh_more() -> None:
    rng = np.random.default_rng(3)
    (one,) = points_of(rounds_of([(20_000, 0.4)], 1000, 3000, 1, seed=2), 20_000)
    points = [scattered(one, rng.normal(1.0, 0.2)) for _ in range(400)]
    pulled = Problem(points, 1e6, np.array([0.4])).fitted().expected[0]
    fair = Problem(with_errors(points, 0.0, np.full(400, one.found_pages)), 1e6, np.array([0.4])).fitted().expected[0]
    assert pulled < 0.95 * one.found_pages
    assert fair == pytest.approx(one.found_pages, rel=0.03)


def scattered(one: Point, share: float) -> Point:
    """A round that found another share of the pages, with an error of a fifth of what it found."""
    return replace(one, found_pages=one.found_pages * share, off_pages=0.2 * one.found_pages * share)


def test_turns_of_the_cursor_are_seen_and_said(folder: Path) -> None:
    loaded = fit(postgres_log("Precopy_Nonconvergent_16T_3", folder), draws=0)
    assert loaded.found.circles > 0
    assert any(line.startswith("Turns: ") for line in fit_lines(loaded))
    even = fit(qemu_log("v10_rand_090", folder), draws=0)
    assert even.found.circles == 0
    assert not any(line.startswith("Turns: ") for line in fit_lines(even))


def test_few_rounds_tell_no_turns() -> None:
    points = points_of(rounds_of(CLASSES, 330, 990, 12, seed=1), ALL)
    fitted = Problem(points, ALL, np.array([0.051, 39.0])).fitted()
    assert not take_turns(points, fitted)


def test_throttled_rounds_tell_how_long_a_vcpu_sleeps_on(folder: Path) -> None:
    found = fit(qemu_log("v10_ac_rand300", folder), draws=0)
    ((pages, rate),) = found.classes.pages
    assert pages == pytest.approx(16_384, rel=0.01)
    assert rate == pytest.approx(1.5, rel=0.03)
    assert 0 < found.found.pace.lost < 0.1
    assert found.table()["host"]["throttle_overshoot_ns"] == round(1e7 * found.found.pace.lost)
    found.scenario()


def test_a_guest_that_catches_up_is_found(folder: Path) -> None:
    found = fit(qemu_log("ac_rand150_openloop", folder), draws=0)
    ((pages, rate),) = found.classes.pages
    assert found.found.pace.catch_up == 10.0
    assert pages == pytest.approx(16_384, rel=0.01)
    assert rate == pytest.approx(0.75, rel=0.02)
