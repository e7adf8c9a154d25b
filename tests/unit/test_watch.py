"""The live view without anything alive: recordings of real migrations, cut where they were at that moment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostsim.logs.growing import GrowingLog
from hostsim.logs.sniff import parse_logs
from hostsim.report.watch_display import View, watch_display
from hostsim.report.watch_live import Forecasts
from hostsim.report.watch_study import screen_lines as study_lines
from hostsim.report.watch_study import watch_folder
from hostsim.report.watch_view import Stall, Watched, as_object, plain_line, screen_lines, sparkline
from hostsim.scenario import Scenario
from hostsim.study.compare.figures import Figures
from hostsim.study.compare.plan import make_plan, with_seeds
from hostsim.study.compare.plan_file import Finished, Group, PlannedRuns, planned_runs, read_plan, write_plan
from hostsim.study.compare.record import record_bytes, write_record
from hostsim.study.compare.study_file import load_study
from hostsim.verdict.outlook import Outlook, outlook
from tests.helpers.command import QUICK, hostsim

SAMPLES = Path(__file__).parents[1] / "data" / "logs" / "query_migrate_samples.jsonl"
STUCK, SMALL = "fast/precopy", "fast/xbzrle"


@cache
def records(tag: str = STUCK) -> tuple[dict[str, Any], ...]:
    """The first migration of that tag, as records."""
    lines = [json.loads(line) for line in SAMPLES.read_text().splitlines()]
    found = [line["info"] for line in lines if line["tag"] == tag]
    starts = [i for i, one in enumerate(found) if one.get("total-time", 0) < found[i - 1].get("total-time", 0)]
    return tuple({"execute": "query-migrate", "return": one} for one in found[: starts[0] if starts else None])


@cache
def stuck() -> Watched:
    """Nearly at the end of a migration that does not converge."""
    return seen(len(records()) - 3)


def grown(n: int, tag: str = STUCK) -> GrowingLog:
    log = GrowingLog("test")
    for record in records(tag)[:n]:
        log.take(record)
    return log


def seen(n: int, **more: Any) -> Watched:
    log = grown(n).log()
    return Watched("QEMU 7.2.22, VM small, /run/vm/monitor.sock", log=log, outlook=outlook(log), **more)


# -- the log that grows


def test_a_log_that_grows_tells_what_the_whole_log_tells() -> None:
    whole = parse_logs("\n".join(json.dumps(record) for record in records()))[0]
    log = grown(len(records())).log()
    assert log is not None
    assert (log.status[-1], log.lines[1]) == (whole.status[-1], len(records()))
    for name in ("transferred_bytes", "remaining_bytes", "dirty_sync_count", "total_time_ms"):
        told, all_told = getattr(log, name), getattr(whole, name)
        assert told[~np.isnan(told)][-1] == all_told[~np.isnan(all_told)][-1], name


def test_close_answers_of_one_iteration_are_thinned_and_syncs_are_kept() -> None:
    log = GrowingLog("test")
    for i in range(400):
        ram = {"total": 1 << 30, "remaining": (400 - i) << 20, "transferred": i << 20, "dirty-sync-count": 1 + i // 100}
        log.take({"return": {"status": "active", "total-time": 50 * i, "ram": ram}})
    kept = log.log()
    assert kept is not None
    assert 20 <= len(kept) <= 60
    ends = [i for i in range(1, len(kept)) if kept.dirty_sync_count[i] > kept.dirty_sync_count[i - 1]]
    assert [kept.total_time_ms[i] - kept.total_time_ms[i - 1] for i in ends] == [50, 50, 50]


def test_another_migration_takes_the_place_of_the_one_before() -> None:
    log = grown(len(records()))
    first = records()[0]
    assert log.take(first)
    assert len(log.log() or ()) == 1
    assert log.mark == ("active", 1)


# -- the forecast


def test_nothing_to_forecast_before_a_migration() -> None:
    assert outlook(None).kind == "waiting"
    log = GrowingLog("test")
    log.take({"execute": "query-migrate", "return": {}})
    assert outlook(log.log()).kind == "waiting"
    log.take({"execute": "query-migrate", "return": {"status": "setup"}})
    assert outlook(log.log()).words == "the migration is being set up, nothing is sent yet"


def test_the_forecast_follows_the_migration() -> None:
    kinds = [*(outlook(grown(n).log()).kind for n in (1, 4)), _settled().kind]
    assert kinds == ["too early", "too early", "does not converge"]


def test_a_migration_that_does_not_converge_has_a_level_a_limit_and_a_remedy() -> None:
    found = _settled()
    assert found.settles_bytes is not None
    assert found.allowed_bytes is not None
    assert found.allowed_bytes < found.settles_bytes[0] < found.settles_bytes[1]
    assert found.remedy is not None
    assert found.remedy.text.startswith("downtime limit of at least")
    assert found.words.startswith("does not converge: remaining settles at ")
    assert found.words.endswith(" MB, the limit of 300 ms allows 18 MB")


def test_the_time_left_runs_down_between_two_forecasts() -> None:
    made = Outlook("ends", "", (3.0, 5.0), None, 1e6)
    assert made.later(1.0).left_s == (2.0, 4.0)
    assert made.later(1.0).words == "ends in 2 s to 4 s: remaining falls below the 1 MB that the downtime limit allows"
    assert made.later(9.0).left_s == (0.0, 0.0)
    assert outlook(None).later(9.0) == outlook(None)


def test_a_printed_line_has_no_forecast_of_an_iteration_before() -> None:
    forecasts = Forecasts()
    first, later = grown(12), grown(len(records()) - 3)
    assert forecasts.fresh(first.log(), first.mark) == forecasts.of(first.log(), first.mark)
    forecasts._spent_s = 3600.0
    assert forecasts.fresh(later.log(), later.mark) is None
    assert forecasts.of(later.log(), later.mark) == forecasts._made
    forecasts._spent_s = 0.0
    assert forecasts.fresh(later.log(), later.mark) == _settled()


def test_a_guest_that_is_stopped_for_its_last_pages_is_no_riddle() -> None:
    log = grown(6)
    log.take({"return": records()[5]["return"] | {"status": "device"}})
    found = outlook(log.log())
    assert (found.kind, found.words[:40]) == ("ends", "the guest is stopped while its last 918 ")


# -- the view


@settings(max_examples=30)
@given(st.integers(1, 66), st.integers(0, 3), st.integers(20, 140), st.integers(3, 50))
def test_a_screen_fits_its_terminal(n: int, n_stalls: int, width: int, height: int) -> None:
    stalls = [Stall("exit_wp_faults", 10**9, 10**9)] * n_stalls
    watched = Watched("VM", log=grown(n).log(), outlook=_settled(), stalls=stalls, notes=["connected again"] * 3)
    lines = screen_lines(watched, width, height)
    assert 1 <= len(lines) <= height
    assert max(map(len, lines)) <= width


@cache
def _settled() -> Outlook:
    return outlook(grown(len(records()) - 3).log())


def test_a_terminal_of_80_by_24_has_room_for_everything() -> None:
    stalls = [Stall("lock_wait_vcpu", 12, 1_200_000)]
    lines = screen_lines(replace(stuck(), stalls=stalls, notes=["connected again"]), 80, 23)
    text = "\n".join(lines)
    assert lines[0].startswith("QEMU 7.2.22, VM small, /run/vm/monitor.sock")
    assert lines[0].endswith("active  29.9 s") or " s" in lines[0][-8:]
    for part in (
        "remaining   █", "since begun █", "sent at     480 Mbit/s", "limit  ", "iteration    seen at", "longest stalls",
        "lock_wait_vcpu", "1.2 ms (12 in all)", "Forecast: does not converge", "- downtime limit of at least",
        "connected again",
    ):  # fmt: skip
        assert part in text, part
    assert sum(line.strip()[:2].strip().isdigit() for line in lines) >= 3


def test_what_is_not_known_is_a_dash() -> None:
    lines = screen_lines(seen(1), 80, 24)
    assert any(line.endswith("dirtied at  -") for line in lines)
    assert screen_lines(Watched("VM"), 80, 24)[0].endswith("no migration yet")
    assert plain_line(Watched("VM")) == "no migration runs yet"


def test_a_line_says_where_it_stands_and_where_it_goes() -> None:
    line = plain_line(stuck())
    assert " active, iteration " in line
    assert " MB remaining, sent at 480 Mbit/s, dirtied at " in line
    assert "; does not converge: remaining settles at " in line


def test_json_has_units_in_its_names() -> None:
    told = json.loads(json.dumps(as_object(stuck())))
    assert told["status"] == "active"
    assert told["bandwidth_bytes_per_s"] == pytest.approx(60e6, rel=0.01)
    assert told["forecast"]["kind"] == "does not converge"
    assert told["forecast"]["settles_least_bytes"] < told["forecast"]["settles_most_bytes"]


def test_a_sparkline_falls_with_its_figures_over_time() -> None:
    t_s = np.array([0.0, 1, 2, 3, 9])
    assert sparkline(t_s, np.array([8.0, 6, 4, 2, 0]), 5) == "█▄▄▄ "
    assert sparkline(t_s[:1], np.array([8.0]), 5) == "█"
    assert sparkline(t_s, np.zeros(5), 5) == "     "
    assert sparkline(t_s[:0], np.zeros(0), 5) == ""


def test_lines_come_when_their_mark_changes_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with watch_display(as_json=False, every_s=3600) as show:
        for mark, is_last in ((1, False), (1, False), (2, False), (2, False), (2, True)):
            show(View(lambda _w, _h: [], lambda mark=mark: f"mark {mark}", dict, mark, is_last))  # type: ignore[misc]
    assert capsys.readouterr().out.split("\n") == ["mark 1", "mark 2", ""]


# -- the command


def test_a_scenario_is_watched_to_its_verdict(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    done = hostsim("watch", "quick.toml", "--set", "migration.downtime_limit=1ms", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert any(", iteration 2: " in line and "dirtied at " in line for line in lines)
    assert any(line.startswith("VERDICT: ") for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == ["quick.toml"]


def test_json_of_a_scenario_is_one_object_a_line(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    done = hostsim("watch", "quick.toml", "--json", cwd=tmp_path)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert (told[-1]["status"], told[-1]["forecast"]["kind"]) == ("completed", "ended")
    assert {one["subject"] for one in told} == {"quick"}
    assert [one["iteration"] for one in told[1:-1]] == sorted(one["iteration"] for one in told[1:-1])


def test_watching_changes_no_result(tmp_path: Path) -> None:
    from hostsim.report.watch_live import watch_scenario
    from hostsim.simulation import run

    scenario = Scenario.model_validate({"vm": {"memory": "64MiB"}, "migration": {"bandwidth": "64MiB/s"}})
    assert watch_scenario(scenario, lambda _view: None).to_dict() == run(scenario).to_dict()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "TARGET, --qmp: got neither, wanted either a scenario, a study or a folder, or --qmp SOCKET"),
        (("a.toml", "--qmp", "s"), "TARGET, --qmp: got both"),
        ((".",), ".: got no plan.json in it, wanted a folder into which"),
        ((".", "--seed", "1"), "--seed: got it with ., wanted it with a scenario only"),
        (("--qmp", "s", "--set", "a=b"), "--set: got it with --qmp, wanted it with a scenario only"),
        (("--qmp", "s"), "s: no such socket"),
        (("--qmp", "s", "--every", "1us"), "--every: got 1us, wanted from 50ms to 1h"),
        (("none.toml",), "none.toml: "),
    ],
)
def test_what_cannot_be_watched_is_said(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = hostsim("watch", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {words}")


# -- comparisons


FIGURES: Figures = {"status": "completed", "total_time_ms": 5000, "downtime_ms": 300, "transferred_bytes": 6 * 10**9}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    groups = tuple(Group({"link.bandwidth": f"{i}Gbit/s"}, (f"{i}a", f"{i}b")) for i in (1, 10))
    (tmp_path / "plan.json").write_text(json.dumps(PlannedRuns("mine", groups).as_object()))
    return tmp_path  # type: ignore[return-value]


def finish(folder: Path, *keys: str, **more: Any) -> None:
    for key in keys:
        write_record(folder, key, record_bytes(key, {"figures": FIGURES | more}))


def test_a_folder_shows_what_is_finished(folder: Path) -> None:
    finish(folder, "10a", "10b", total_time_ms=4000)
    found = Finished(folder, read_plan(folder))
    found.look()
    lines = study_lines(folder, found, 42.0, 80, 24)
    assert lines[0] == "mine: 2 of 4 runs finished, about 42 s left"
    assert lines[5].split() == ["10Gbit/s", "2", "of", "2", "2", "4", "s", "300", "ms", "6", "GB", "-"]
    assert lines[6].split() == ["1Gbit/s", "0", "of", "2", "-", "-", "-", "-", "-"]
    assert not found.is_over()


def test_many_combinations_fit_the_screen(tmp_path: Path) -> None:
    groups = tuple(Group({"link.bandwidth": f"{i}Gbit/s"}, (f"{i}",)) for i in range(60))
    found = Finished(tmp_path, PlannedRuns("mine", groups))
    lines = study_lines(tmp_path, found, None, 80, 24)
    assert len(lines) <= 24
    assert lines[-1].startswith("and ")
    assert lines[-1].endswith(" more combinations")


@pytest.mark.parametrize("failed", [False, True])
def test_watching_a_folder_ends_with_its_runs(failed: bool, folder: Path) -> None:
    finish(folder, "1a", "1b", "10a", *(() if failed else ("10b",)))
    if failed:
        (folder / "compare.json").write_text("{}")
    done = hostsim("watch", folder, "--json", cwd=folder)
    (told,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (told["finished"], told["total"]) == (3 if failed else 4, 4)
    assert told["combinations"][0]["means"]["total_time_ms"] == 5000


def test_runs_that_come_are_seen(folder: Path) -> None:
    found, lines = Finished(folder, read_plan(folder)), list[str]()

    def show(view: View) -> None:
        lines.append(view.line())
        finish(folder, ("1a", "1b", "10a", "10b")[min(3, len(lines) - 1)])

    watch_folder(folder, found, show, 0.0)
    assert [line.split(",")[0] for line in lines] == [f"{n} of 4 runs finished" for n in range(5)]


def test_a_study_is_watched_where_its_runs_go(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    study = 'scenario = "quick.toml"\n[vary]\n"link.bandwidth" = ["1Gbit/s", "2Gbit/s"]\n'
    (tmp_path / "study.toml").write_text(study)
    plan = make_plan(load_study(tmp_path / "study.toml"))
    finish(tmp_path / "out" / "study", *(run.key for run in plan.runs))
    write_plan(tmp_path / "out" / "study", plan)
    (tmp_path / "out" / "study" / "compare.json").write_text("{}")
    for target in ("study.toml", "out/study"):
        done = hostsim("watch", target, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "2 of 2 runs finished\n")


def test_seeds_that_are_added_are_watched_too(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    (tmp_path / "study.toml").write_text('scenario = "quick.toml"\n[vary]\n"link.bandwidth" = ["1Gbit/s", "2Gbit/s"]\n')
    plan = make_plan(load_study(tmp_path / "study.toml"))
    found = Finished(tmp_path, planned_runs(plan))
    finish(tmp_path, *(run.key for run in plan.runs))
    found.look()
    assert (found.count, found.is_over()) == (2, False), "the sweep may go on with more seeds"
    more = with_seeds(plan, 3)
    write_plan(tmp_path, more)
    finish(tmp_path, *(run.key for run in more.runs))
    found.look()
    assert (found.count, len(found.planned.keys), found.is_over()) == (6, 6, True)


@pytest.mark.parametrize("content", ["", "{}", '{"format": "other"}', '{"format": "hostsim-compare-plan/1", "name": 1}'])
def test_a_broken_plan_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(content)
    done = hostsim("watch", tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert "plan.json: got a broken plan (" in done.stderr
