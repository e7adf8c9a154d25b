"""The forecast by the readings of a curve themselves: all published totals, through the question that users ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim.fitting.by_curve import by_curve
from hostsim.fitting.fitted import GuestFit, fit
from hostsim.fitting.whatif import Change, drawn_scenarios, whatif
from hostsim.report.fit_report import whatif_content
from hostsim.validation.published_precopy import inputs_of
from hostsim.validation.rows import published

P1 = published("dirty_curve")
CELLS = [(name, i) for name, cells in P1["milliseconds"].items() for i in range(len(cells))]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> GuestFit:
    path = tmp_path_factory.mktemp("curve") / "curve.csv"
    rows = (f"{t_ms / 1000},{samples * P1['pages_per_sample']}\n" for t_ms, samples in P1["curve"])
    path.write_text("seconds,pages\n" + "".join(rows), encoding="utf-8")
    return fit(str(path), memory=f"{(P1['normal_pages'] + P1['zero_pages']) * 4}KiB", draws=2)


def asked(name: str, i: int, *more: str) -> Change:
    bytes_per_s, limit_s = inputs_of(P1, name, i)
    return Change((
        "vm.filled=list", f'vm.fill=[{{at="0B", size="{P1["normal_pages"] * 4}KiB"}}]',
        f"link.bandwidth={8 * bytes_per_s:.0f}bit/s", "migration.bandwidth=unlimited",
        f"migration.downtime_limit={min(limit_s, 1000):.3f}s", *more,
    ))  # fmt: skip


@pytest.mark.parametrize(("name", "i"), CELLS)
def test_the_readings_give_each_published_total(fitted: GuestFit, name: str, i: int) -> None:
    outcome = by_curve(fitted, drawn_scenarios(fitted, asked(name, i))(0))
    assert outcome is not None
    assert [round(1000 * outcome.total_s), outcome.passes] == P1["milliseconds"][name][i]


@pytest.mark.parametrize("more", ["migration.auto_converge=true", 'vm.workload.0.active={length="1s"}'])
def test_passes_that_the_curve_does_not_give_are_not_computed(fitted: GuestFit, more: str) -> None:
    assert by_curve(fitted, drawn_scenarios(fitted, asked("5Gbps", 0, more))(0)) is None


def test_a_curve_of_two_readings_is_none(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("seconds,pages\n1,1000\n10,6000\n", encoding="utf-8")
    two = fit(str(path), memory="1GiB", draws=2)
    assert by_curve(two, drawn_scenarios(two, Change(("link.bandwidth=1Gbit/s",)))(0)) is None


def test_programs_read_the_passes_by_the_readings(fitted: GuestFit) -> None:
    change = asked("10Gbps", 0)
    answer = whatif(fitted, change=change, reps=1, workers=1)
    told = whatif_content(answer, fitted, change)["by_readings"]
    total_ms, passes = P1["milliseconds"]["10Gbps"][0]
    assert (round(1000 * told["total_s"]), told["passes"], told["converged"]) == (total_ms, passes, True)
