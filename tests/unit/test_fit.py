"""Fits of guests to logs: real ones, refused ones, and what is written."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.fitting.bottleneck import bottleneck_of
from hostsim.fitting.fitted import GuestFit, fit, fit_logs
from hostsim.fitting.guest_text import guest_text
from hostsim.fitting.refusal import NotIdentifiedError
from hostsim.fitting.whatif import Change, assumptions_of_whatif, drawn_scenarios, whatif
from hostsim.logs.sniff import parse_logs
from hostsim.report.fit_report import fit_lines, rounds_grid, whatif_lines
from hostsim.scenario.schema import Scenario
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.from_log import whole_window
from tests.helpers.polled import polled_log
from tests.helpers.real_logs import postgres_log, qemu_log

LOGS = Path(__file__).resolve().parents[1] / "data" / "logs" / "cases"
WRITTEN = 16_384
"""Pages that the real guests of the QEMU cases write."""
DRAWS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> GuestFit:
    """The PostgreSQL guest of 16 threads, from two runs."""
    logs = (postgres_log(f"Precopy_Nonconvergent_16T_{i}", folder) for i in (1, 2))
    return fit(*logs, draws=DRAWS)


@pytest.mark.parametrize(
    ("case", "rate"), [("rand_090", 7372), ("rand_150", 12_288), ("link_rand090", 7372), ("rand_150_dl1000", 12_288)]
)
def test_real_uniform_writers_are_found(case: str, rate: int, folder: Path) -> None:
    found = fit(qemu_log(case, folder), draws=0)
    assert found.classes.sweep is None
    assert len(found.classes.pages) == 1
    assert found.classes.written_pages == pytest.approx(WRITTEN, rel=0.05)
    assert found.classes.writes_per_s == pytest.approx(rate, rel=0.05)


def test_a_real_sweep_is_found(folder: Path) -> None:
    sweep = fit(qemu_log("seq_090", folder), draws=0).classes.sweep
    assert sweep is not None
    assert sweep.pages == pytest.approx(WRITTEN, rel=0.08)
    assert sweep.rate_pages_per_s == pytest.approx(7372, rel=0.03)


def test_throttled_rounds_tell_that_a_guest_is_bound_to_the_cpu(folder: Path) -> None:
    found = fit(qemu_log("ac_rand300", folder), draws=0)
    assert found.found.pace.is_seen
    assert found.found.pace.catch_up == 1.0
    assert found.classes.written_pages == pytest.approx(WRITTEN, rel=0.05)


def test_the_loaded_database_would_not_end_by_itself(loaded: GuestFit) -> None:
    assert loaded.ends_by_itself is False
    assert loaded.load_end_s is not None
    assert 109 < loaded.load_end_s < 112
    assert any("does not end by itself" in line for line in fit_lines(loaded))


def test_the_lightly_loaded_database_ends_by_itself(folder: Path) -> None:
    found = fit(postgres_log("Precopy_Convergent_1", folder), draws=DRAWS)
    assert found.ends_by_itself
    assert found.load_end_s is None


def test_the_written_guest_is_the_fitted_one(loaded: GuestFit) -> None:
    read = tomllib.loads(guest_text(loaded))
    for load in read["vm"]["workload"]:
        load.pop("pacing")
    assert read == loaded.table()
    scenario = Scenario.model_validate(read)
    assert scenario.vm.memory == 8_607_571_968
    written = sum(load.region_gfns(scenario.vm.memory)[1] for load in scenario.vm.workload)
    assert written == pytest.approx(loaded.classes.written_pages, rel=0.01)


def test_guests_are_drawn_by_the_seed(folder: Path) -> None:
    log = qemu_log("rand_090", folder)
    first, again, other = (fit(log, seed=seed, draws=4) for seed in (1, 1, 2))
    assert first.to_dict() == again.to_dict()
    assert first.classes.pages == other.classes.pages
    assert first.figures["working_set_pages"] != other.figures["working_set_pages"]


def test_results_are_data(loaded: GuestFit) -> None:
    told = json.loads(json.dumps(loaded.to_dict()))
    assert told["format"] == "hostsim-fit/1"
    assert len(told["rounds"]) == len(loaded.found.points)
    assert rounds_grid(loaded).columns


REFUSED = {
    "one-domjobinfo.txt": "one round only",
    "hmp-10-two-answers.txt": "known at one time only",
    "query-dirty-rate.json": "known at one time only",
    "backup-job.txt": "not a migration",
    "one-postcopy.txt": "after the switch to post-copy",
    "more-time.jsonl": "no guest with a steady load",
    "events-running.txt": "no answer with figures of RAM",
    "zero-pages.jsonl": "dirty rate and working set are free",
}


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_logs_that_do_not_identify_their_guest_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(NotIdentifiedError, match=reason):
        fit(LOGS / name)


@pytest.mark.parametrize("path", sorted(LOGS.iterdir()), ids=lambda path: path.name)
def test_every_kind_of_log_is_fitted_or_refused_in_words(path: Path) -> None:
    said = _said(path)
    assert said
    assert "nan" not in said.lower().split()


def _said(path: Path) -> str:
    try:
        found = fit(path, draws=2)
    except (NotIdentifiedError, InputError) as error:
        return str(error)
    found.scenario()
    return "\n".join(fit_lines(found))


def test_an_idle_guest_is_no_unknown_guest(folder: Path) -> None:
    found = fit(qemu_log("idle_m1024_bw100", folder), draws=2)
    assert found.classes.written_pages == 0
    assert "workload" not in found.table()["vm"]


def test_a_dirty_curve_is_fitted(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("seconds,pages\n0.5,3934\n1,6320\n2,8646\n8,9996\n")
    found = fit(path, memory="1GiB", draws=DRAWS)
    assert found.classes.written_pages == pytest.approx(10_000, rel=0.02)
    assert found.classes.writes_per_s == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize("text", ["seconds,pages\n1,100\n", "a,b\n1,2\n", "seconds,pages\n1,x\n2,y\n", ""])
def test_broken_curves_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(text)
    with pytest.raises(InputError):
        fit(path)


def test_a_stopped_guest_is_a_range(folder: Path) -> None:
    found = fit(postgres_log("Precopy_Convergent_1", folder), draws=2)
    scenarios = [drawn_scenarios(found, Change(mode="stop-and-copy"))(i) for i in range(8)]
    filled = [sum(fill.size for fill in scenario.vm.fill) for scenario in scenarios]
    assert not any(scenario.vm.workload for scenario in scenarios)
    assert min(filled) < 464_829 * 4096 < max(filled)  # pages that a stopped guest really sent


def filled_pages(found: GuestFit, change: Change, number: int) -> int:
    """Pages that are not zero at the start of a forecast."""
    return sum(fill.size for fill in drawn_scenarios(found, change)(number).vm.fill) // 4096


def test_memory_that_is_copied_earlier_is_a_range(folder: Path) -> None:
    found = fit(postgres_log("Precopy_Convergent_1", folder), draws=2)
    switched = Change(("migration.postcopy_ram=true", "migration.postcopy_after=250ms"))
    pages = [filled_pages(found, switched, i) for i in range(8)]
    sent_whole = (458_099, 470_488)  # by real runs of post-copy: the fewest, the most
    assert min(pages) < sent_whole[0]
    assert sent_whole[1] < max(pages)
    assert drawn_scenarios(found, switched)(1).vm.workload
    same = {filled_pages(found, Change(), i) for i in range(4)}
    assert same == {max(pages)}
    faster = filled_pages(found, Change(bandwidth="2.2Gbit"), 1)
    assert filled_pages(found, Change(bandwidth="25Gbit"), 1) < faster < max(pages)
    assert any(text.startswith("Range: memory is copied earlier") for text in assumptions_of_whatif(found, switched))
    assert not any(text.startswith("Range") for text in assumptions_of_whatif(found, Change()))


def test_a_forecast_of_postcopy_says_that_a_log_tells_no_reads(folder: Path) -> None:
    found = fit(qemu_log("rand_090", folder), draws=0)
    limited = Change(("migration.max_postcopy_bandwidth=1Gbit/s",), mode="postcopy@2")
    assert any("only read" in text for text in assumptions_of_whatif(found, limited))
    assert not any("only read" in text for text in assumptions_of_whatif(found, Change()))


def test_pacing_that_no_round_shows_is_drawn(folder: Path) -> None:
    drawn = drawn_scenarios(fit(qemu_log("rand_090", folder), draws=4), Change(mode="auto-converge"))
    paces = [drawn(i).vm.workload[0].pacing for i in range(4)]
    assert paces == ["closed", "open", "closed", "open"]


def test_the_place_of_a_sweep_is_drawn_and_said(folder: Path) -> None:
    found = fit(qemu_log("seq_090", folder), draws=0)
    drawn = drawn_scenarios(found, Change())
    loads = [drawn(i).vm.workload[-1] for i in range(4)]
    assert [round(4 * 4096 * load.start_page / (load.size or 1)) for load in loads] == [0, 2, 1, 3]
    assert any("where the guest's sweep stands" in text for text in assumptions_of_whatif(found, Change()))
    assert not any("sweep" in text for text in assumptions_of_whatif(fit(qemu_log("rand_090", folder), draws=0), Change()))


def test_windows_that_end_late_are_those_of_max_bandwidth() -> None:
    """640.2 Mbit/s in 100 ms, 633.9 in 101, 615.6 in 104: QEMU 7.2 under 80 MB/s on a busy host; a link's rates are any."""
    late_ms = np.array([100, 100, 104, 100, 101, 104, 100, 107])
    rates = 80_028_000 * 100 / late_ms
    assert whole_window(rates) == 80_028_000
    assert whole_window(rates[:3]) is None
    assert whole_window(80e6 * (1 - np.random.default_rng(3).random(40) / 10)) is None
    busy = Evidence("log", "completed", bandwidth_bytes_per_s=float(np.median(rates)), window_bytes_per_s=80_028_000.0)
    bottleneck = bottleneck_of(busy)
    assert bottleneck is not None
    assert (bottleneck.kind, bottleneck.bytes_per_s) == ("max-bandwidth", 80_000_000)
    assert bottleneck_of(replace(busy, window_bytes_per_s=None)).kind == "link"  # type: ignore[union-attr]


def test_a_forecast_sends_as_late_as_the_busy_host_of_the_log() -> None:
    """Windows that end 2.5 ms late send 2.4 % less than the limit allows; near the threshold that decides."""
    scenario = Scenario.model_validate({
        "duration": "31s",
        "vm": {"memory": "64MiB", "workload": [{"pattern": "uniform", "size": "32MiB", "write_rate": "3k/s"}]},
        "migration": {"qemu": "7.2", "bandwidth": "16MiB/s", "downtime_limit": "60ms", "timeout": "30s"},
        "host": {"machine": "qemu-tcg-2core", "lateness": "drawn", "sleep_overshoot_ns": 2_500_000,
                 "sleep_overshoot_spread_ns": 2_500_000},
    })  # fmt: skip
    found = fit_logs(parse_logs(polled_log(scenario, 0.2)), draws=0)
    assert found.setting.bottleneck is not None
    assert found.setting.bottleneck.late_ns == pytest.approx(2_500_000, rel=0.35)
    assert found.scenario().host.sheet().sleep_overshoot_ns == found.setting.bottleneck.late_ns


def test_a_larger_max_bandwidth_than_the_log_is_taken_to_allow_changes_nothing(folder: Path) -> None:
    """Without a word of it the forecast of a migration that max-bandwidth had held back was three times too long."""
    raised, told = Change(("migration.bandwidth=1GB/s",)), "is taken for that of the"
    by_link = fit(qemu_log("link_rand090", folder), draws=0)
    assert any(told in text for text in assumptions_of_whatif(by_link, raised))
    assert not any(told in text for text in assumptions_of_whatif(by_link, Change(bandwidth="1GB/s")))
    assert not any(told in text for text in assumptions_of_whatif(by_link, Change(("migration.bandwidth=1MB/s",))))
    by_limit = fit(qemu_log("rand_090", folder), draws=0)
    assert not any(told in text for text in assumptions_of_whatif(by_limit, raised))


def test_a_change_that_cannot_be_is_refused(folder: Path) -> None:
    found = fit(qemu_log("rand_090", folder), draws=0)
    wrong = (Change(("migration.nonsense=1",)), Change(bandwidth="fast"), Change(mode="warp"), Change(load_ends="soon"))
    for change in wrong:
        with pytest.raises(InputError):
            drawn_scenarios(found, change)


SAMPLE_PAGES = 512


def _curve(path: Path, points: list[tuple[float, int]], *, errors: bool) -> Path:
    """A curve of samples of 512 pages each, with the errors of counting them or without."""
    head = "seconds,pages,error_pages" if errors else "seconds,pages"
    rows = [f"{s},{n * SAMPLE_PAGES}" + f",{n**0.5 * SAMPLE_PAGES:.0f}" * errors for s, n in points]
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_curve_that_bends_upwards_beyond_its_errors_is_said_to(tmp_path: Path) -> None:
    points = [(0.125, 33), (0.25, 78), (1.0, 236), (4.0, 505), (20.0, 1457), (60.0, 2958)]
    assumed = fit(_curve(tmp_path / "a.csv", points, errors=False), draws=0, memory="32GiB")
    assert any("bends upwards: 16.9k pages after 125 ms" in note for note in assumed.notes)
    given = fit(_curve(tmp_path / "b.csv", points, errors=True), draws=0, memory="32GiB")
    assert not given.notes


def test_requests_of_postcopy_are_a_range(folder: Path) -> None:
    change = Change(mode="postcopy@2")
    found = fit(qemu_log("rand_090", folder), draws=0)
    answer = whatif(found, change=change, reps=2)
    (line,) = (line for line in whatif_lines(answer, found, change) if line.startswith("Requests: "))
    least, most = (answer.mean(f"mode.{name}") for name in ("page_requests", "missing_pages"))
    assert least is not None
    assert most is not None
    assert 0 <= least <= most
    assert "with its reads they are at most" in line
