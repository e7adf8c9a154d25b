"""hostsim measure-dirty: bias, spread and cost of a measured rate, and the forecast made from it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostsim.core.errors import InputError
from hostsim.report.measure_dirty_report import (
    caption,
    measure_content,
    measure_data,
    measure_table,
    verdict_lines,
    write_measure,
)
from hostsim.simulation import run
from hostsim.study.dirty_measure.measure import MEASURED_RUN
from hostsim.study.dirty_measure.options import MeasureOptions
from hostsim.study.dirty_measure.outcome import MeasureRow, TrueTime, measure_rows
from hostsim.study.dirty_measure.plan import FAULTS_MAX, MeasurePlan, measure_plan
from hostsim.theory.precopy import forecast, uniform_guest

PAGES, RATE = 4096, 2000
SMALL = f"""
[vm]
memory = "64MiB"
[[vm.workload]]
pattern = "uniform"
size = "{PAGES * 4}KiB"
write_rate = "{RATE}/s"
[migration]
bandwidth = "32MiB/s"
downtime_limit = "20ms"
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[MeasurePlan, MeasureOptions, list[MeasureRow], TrueTime]:
    file = tmp_path_factory.mktemp("dirty") / "vm.toml"
    file.write_text(SMALL)
    options = MeasureOptions(str(file), samples="16384", window="500ms", reps=16, method="page-sampling,bitmap")
    plan = measure_plan(options)
    runs = plan.plan.runs
    figures: dict[str, Any] = {one.key: MEASURED_RUN.take(one.scenario, lambda *_: None)["figures"] for one in runs}
    return plan, options, *measure_rows(plan, figures)


@pytest.mark.long
def test_a_log_is_exact_and_sampling_spreads_by_its_samples(study: Any) -> None:
    """1024 samples of 16384 pages, of which a share p is dirty: CV = sqrt((1 - p) / (1024 p))."""
    _, _, (sampled, logged), truth = study
    distinct = PAGES * -math.expm1(-RATE * 0.5 / PAGES)
    assert logged.written_mib == pytest.approx(distinct / 0.5 / 256, rel=0.02)
    assert abs(logged.bias_percent) < 100 / logged.written_mib, "QEMU answers in whole MiB/s"
    assert logged.lost_percent > 0 == sampled.lost_percent
    share = distinct / (4 * PAGES)
    expected = 100 * math.sqrt((1 - share) / (1024 * share))
    assert 0.6 * expected < sampled.cv_percent < 1.6 * expected
    assert sampled.figures["bias_percent"].low < 0 < sampled.figures["bias_percent"].high + 100 / sampled.written_mib
    assert (sampled.n, truth.n_completed) == (16, 8)


@pytest.mark.long
def test_the_output_is_whole(study: Any, tmp_path: Path) -> None:
    plan, options, rows, truth = study
    lines = verdict_lines(rows, truth)
    assert lines[0].startswith("VERDICT: ")
    assert any(line.startswith("Truth: the simulated migration takes") for line in lines)
    assert [cells[0] for cells in measure_table(rows).cells] == ["page-sampling", "bitmap"]
    content = measure_content(plan, options, rows, truth)
    assert content["seeds"] == list(range(1, 9))
    names = {path.name for path in write_measure(tmp_path / "out", content, rows)}
    assert {"measure-dirty.json", "measure-dirty.csv", "verdict.txt"} <= names
    assert len(measure_data(rows)) == 2
    assert "8 runs (seeds 1 to 8, hostsim " in caption(plan, options, rows)


@given(st.floats(0.1, 10), st.floats(1e-3, 0.9), st.integers(100, 10**6))
def test_the_uniform_guest_has_the_measured_rate_over_the_window(window_s: float, share: float, pages: int) -> None:
    curve = uniform_guest(share * pages / window_s, window_s, pages)
    assert curve(window_s) == pytest.approx(share * pages)
    assert curve(1e6 * window_s) == pytest.approx(pages)


def test_the_forecast_of_a_guest_that_is_uniform_is_its_migration(tmp_path: Path) -> None:
    """The guest writes all its memory: the recursion of passes agrees with the simulated migration within 10 %."""
    file = tmp_path / "vm.toml"
    file.write_text(SMALL.replace('memory = "64MiB"', f'memory = "{PAGES * 4}KiB"'))
    plan = measure_plan(MeasureOptions(str(file), method="bitmap", window="1s", reps=2))
    migration = run(plan.plan.runs[-1].scenario).migrations[0]
    page_s = migration.facts["page_wire_bytes"] / migration.facts["max_bandwidth_bytes_per_s"]
    distinct = PAGES * -math.expm1(-RATE / PAGES)
    found = forecast(distinct, 1.0, PAGES, page_s, 0.02, PAGES * page_s)
    assert found.converged
    assert found.total_s == pytest.approx(migration.total_time_ms / 1000, rel=0.1)


def test_counted_work_bounds_the_measurements_of_a_log() -> None:
    """A window in which 32 million pages are written is measured once a run, however many are asked for."""
    table = SMALL.replace("64MiB", "256GiB").replace("32MiB/s", "9000MiB/s").replace(f"{PAGES * 4}KiB", "256GiB")
    assert FAULTS_MAX < 50_000_000
    plan = _planned(table.replace(f"{RATE}/s", "30M/s"), window="2s")
    assert plan.reps == (8,)


def _planned(text: str, window: str) -> MeasurePlan:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vm.toml"
        file.write_text(text)
        return measure_plan(MeasureOptions(str(file), method="bitmap", window=window))


@pytest.mark.parametrize(
    ("options", "told"),
    [({"method": "guess"}, "page-sampling"), ({"samples": "5"}, "from 128"), ({"window": "10ms"}, "from 50ms"),
     ({"window": "x"}, "--window"), ({"file": "nowhere.toml"}, "nowhere.toml")],
)  # fmt: skip
def test_bad_options_are_told(options: dict[str, str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        measure_plan(MeasureOptions(**options))  # type: ignore[arg-type]
