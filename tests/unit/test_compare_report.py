"""The words, pictures and files of a comparison."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hostsim.core.errors import InputError, InvariantError
from hostsim.report import progress as bars
from hostsim.report.charts.chart import COLOURS, Bars, Panel
from hostsim.report.columns import Grid
from hostsim.report.compare_report import (
    as_content,
    as_object,
    caption,
    combinations_table,
    compare_tables,
    figure_words,
    provenance,
    ratio_words,
    runs_table,
    short_keys,
    verdict_lines,
    write_comparison,
)
from hostsim.report.html.kinds.compare import compare_chart, heat_maps
from hostsim.report.html.registry import folder_content, pictures_of
from hostsim.report.origin_words import rows_rest_on
from hostsim.report.progress import describe_runs
from hostsim.study.compare.axes import read_axes
from hostsim.study.compare.best import all_best
from hostsim.study.compare.plan import Plan, Request, make_plan
from hostsim.study.compare.runner import Failure, Outcome, Progress, failed_error
from hostsim.study.compare.summary import Row, Summary, summarise
from tests.helpers.command import QUICK, tree
from tests.unit.test_report_tables import text_of

FIRST = {"status": "completed", "total_time_ms": 4000, "downtime_ms": 200, "transferred_bytes": 2_000_000_000,
         "guest_slowdown_percent": 0.0, "syncs": 5}  # fmt: skip
COSTS = {"kvm.wp_faults": 77, "kvm.stall_share": 0.045, "kvm.ring_full": 0}
KVM = {**FIRST, "total_time_ms": 3000, "guest_slowdown_percent": 4.5, **COSTS}
CUT = {**FIRST, "status": "cancelled", "downtime_ms": None}


def compared(*figures: dict[str, Any] | None) -> Summary:
    """One seed a combination, of keys a.x and b.y."""
    return Summary(tuple(Row({"a.x": str(i), "b.y": "1"}, (one,)) for i, one in enumerate(figures)), (1,))


def printed(summary: Summary) -> str:
    return text_of(*compare_tables(summary))


def headings(grid: Grid) -> list[str]:
    return [column.heading for column in grid.columns]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "quick.toml").write_text(QUICK)
    axes = read_axes(["migration.bandwidth=16MiB/s,32MiB/s", "migration.downtime_limit=100ms,300ms"])
    return make_plan(Request(tmp_path / "quick.toml", axes))


def outcome_of(plan: Plan, *figures: dict[str, Any] | None) -> Outcome:
    keys = [run.key for run in plan.runs]
    failures = {key: Failure("a law broke", 3) for key, one in zip(keys, figures, strict=True) if one is None}
    return Outcome(dict(zip(keys, figures, strict=True)), failures, frozenset())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("total_time_ms", 4250, "4.25 s"), ("hold_ns", 1500, "1.5 us"), ("transferred_bytes", 2e9, "2 GB"),
        ("guest_slowdown_percent", 4.5, "4.5 %"), ("syncs", 17, "17"), ("syncs", 17.5, "17.5"),
    ],
)  # fmt: skip
def test_figures_are_told_by_their_unit(name: str, value: float, words: str) -> None:
    assert figure_words(name, value) == words
    assert ratio_words(0.35214) == "0.352x"


def test_the_verdict_names_what_is_best_and_by_how_much() -> None:
    summary = compared(FIRST, KVM)
    assert verdict_lines(summary, all_best(summary)) == [
        "VERDICT: all 2 combinations converge.",
        "Total time: best 3 s with a.x=1, b.y=1 (0.75 times that of the first combination).",
        "Downtime: 200 ms with all.",
        "Sent: 2 GB with all.",
        "Guest slowdown: best 0 % with a.x=0, b.y=1.",
    ]


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ((7,), "Each row is a single run of hostsim 0.1.0 (seed 7, n = 1), so it has no interval, and chance"),
        ((7, 8, 9), "Each row is the mean of 3 runs of hostsim 0.1.0, seeds 7 to 9"),
    ],
)
def test_the_last_line_of_a_verdict_names_runs_seeds_and_version(seeds: tuple[int, ...], words: str) -> None:
    assert rows_rest_on(seeds).startswith(words)


def test_the_verdict_names_what_does_not_converge() -> None:
    summary = compared(CUT, FIRST, KVM, None, CUT, CUT)
    first, total, *_ = verdict_lines(summary, all_best(summary))
    not_these = "a.x=0, b.y=1 (cancelled); a.x=3, b.y=1 (failed); a.x=4, b.y=1 (cancelled); 1 more"
    assert first == f"VERDICT: 2 of 6 combinations converge; not: {not_these}."
    assert total == "Total time: best 3 s with a.x=2, b.y=1 (0.75 times that of a.x=1, b.y=1)."
    none = compared(CUT, {**CUT, "status": "active"})
    assert verdict_lines(none, all_best(none)) == [
        "VERDICT: none of 2 combinations converges: a.x=0, b.y=1 (cancelled); a.x=1, b.y=1 (not complete).",
        "Guest slowdown: 0 % with all.",
    ]


@pytest.mark.parametrize(("figures", "words"), [(FIRST, "converges."), (CUT, "does not converge (cancelled).")])
def test_one_combination_alone(figures: dict[str, Any], words: str) -> None:
    summary = compared(figures)
    assert verdict_lines(summary, all_best(summary)) == [f"VERDICT: the only combination {words}"]


def test_without_a_migration_the_guest_is_judged() -> None:
    summary = compared({"status": "ran", "guest_slowdown_percent": 3.0}, {"status": "ran", "guest_slowdown_percent": 1.5})
    assert verdict_lines(summary, all_best(summary))[:2] == [
        "VERDICT: 2 of 2 combinations ran to their end; the scenario has no migration.",
        "Guest slowdown: best 1.5 % with a.x=1, b.y=1 (0.5 times that of the first combination).",
    ]
    alike = compared({"status": "ran", "guest_slowdown_percent": 3.0}, {"status": "ran", "guest_slowdown_percent": 2.9999})
    assert "(about as much as with the first combination)" in verdict_lines(alike, all_best(alike))[1]


def test_chance_is_told_where_seeds_tell_it() -> None:
    def of(name: str, *totals: float) -> Row:
        return Row({"x": name}, tuple({"status": "completed", "total_time_ms": total} for total in totals))

    summary = Summary((of("a", 1000, 1100, 1200), of("b", 501, 599, 700), of("c", 500, 600, 700)), (1, 2, 3))
    (line,) = [text for text in verdict_lines(summary, all_best(summary)) if text.startswith("Total")]
    best = "best 600 ms with x=b (0.545 times that of the first combination)"
    assert line == f"Total time: {best}; equally good with these seeds: x=c."
    alike = Summary(summary.rows[1:], (1, 2, 3))
    about = "Total time: about 600 ms with all; the seeds differ by more than the combinations."
    assert about in verdict_lines(alike, all_best(alike))
    text = printed(alike)
    assert "1x ~" in text
    assert "±41 %" in text
    assert "±: 95% confidence interval of 3 seeds; ~: within noise" in caption(alike)


def test_what_a_combination_has_not_is_a_dash() -> None:
    lines = [line.split() for line in printed(compared(CUT, KVM)).splitlines() if line.strip().endswith("5")]
    assert [line[:4] for line in lines] == [["0", "1", "cancelled", "-"], ["1", "1", "yes", "3"]]
    assert caption(compared(CUT, KVM)) == "x: ratio to the first row that converges"


def test_what_kvm_costs_is_a_table_of_its_own() -> None:
    main, costs = compare_tables(compared(FIRST, KVM))
    assert headings(costs) == ["x", "y", "converges", "wp faults", "vCPUs stalled"]
    assert [row[3:] for row in costs.cells] == [("-", "-"), ("77", "4.5 %")]
    assert "wp faults" not in headings(main)
    assert len(compare_tables(compared(FIRST, FIRST))) == 1


def test_ageing_is_judged_and_told() -> None:
    aged = {"ageing.pass_mean_ns": 2e6, "ageing.pass_max_ns": 3e6, "ageing.young_pages": 512, "ageing.lock_wait_p99_ns": 0}
    summary = compared({**FIRST, **aged}, {**FIRST, **aged, "ageing.pass_mean_ns": 5e8})
    assert "Ageing pass: best 2 ms with a.x=0, b.y=1." in verdict_lines(summary, all_best(summary))
    main, costs = compare_tables(summary)
    assert main.of_column(headings(main).index("ageing pass")) == ["2 ms", "500 ms"]
    assert headings(costs) == ["x", "y", "converges", "longest ageing pass", "young"]


def test_many_rows_are_cut_and_counted() -> None:
    summary = compared(*[FIRST] * 75)
    assert len([line for line in printed(summary).splitlines() if "yes" in line]) == 60
    assert "15 more rows in compare.csv" in caption(summary)


def test_keys_are_short_where_that_tells_them_apart() -> None:
    keys = ["link.bandwidth", "migration.bandwidth", "vm.vcpus"]
    assert list(short_keys(keys).values()) == ["link.bandwidth", "migration.bandwidth", "vcpus"]


def test_the_files_hold_every_figure(plan: Plan, tmp_path: Path) -> None:
    outcome = outcome_of(plan, FIRST, CUT, KVM, None)
    summary = summarise(plan, outcome.figures)
    content = as_object(plan, outcome, summary, all_best(summary), ["VERDICT: fine."])
    assert [run["warnings"] for run in content["runs"]] == [[]] * 4
    paths = write_comparison(tmp_path / "out", plan, outcome, summary, content)
    assert {path.name for path in paths} == set(tree(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == content
    assert (tmp_path / "out" / "verdict.txt").read_text() == "VERDICT: fine.\n"
    lines = (tmp_path / "out" / "compare.csv").read_text().splitlines()
    assert lines[0].startswith("migration.bandwidth,migration.downtime_limit,seeds,converged,total_time_ms,")
    assert [line.split(",")[4] for line in lines[1:]] == ["4000.0", "", "3000.0", ""]
    known = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert set(known["runs"]) == {run.key for run in plan.runs[:3]}
    assert known["vary"] == {"migration.bandwidth": ["16MiB/s", "32MiB/s"], "migration.downtime_limit": ["100ms", "300ms"]}


def test_without_the_extra_there_are_fewer_files(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostsim.report.html.registry.has_plots", lambda: False)
    monkeypatch.setattr("hostsim.results.encode.has_parquet", lambda: False)
    outcome = outcome_of(plan, *[FIRST] * 4)
    summary = summarise(plan, outcome.figures)
    paths = write_comparison(tmp_path / "out", plan, outcome, summary, {"verdict": []})
    assert {path.suffix for path in paths} == {".json", ".csv", ".txt"}


def test_columns_of_some_are_empty_for_others(plan: Plan) -> None:
    outcome = outcome_of(plan, FIRST, CUT, KVM, None)
    combinations, runs = combinations_table(summarise(plan, outcome.figures)), runs_table(plan, outcome)
    assert [str(value) for value in combinations["kvm.wp_faults"]] == ["nan", "nan", "77.0", "nan"]
    assert runs["status"].tolist() == ["completed", "cancelled", "completed", "failed"]
    assert [str(value) for value in runs["kvm.wp_faults"]] == ["nan", "nan", "77.0", "nan"]
    assert (runs["file"] != "").tolist() == [True, True, True, False]


def content_of(plan: Plan, *figures: dict[str, Any] | None) -> dict[str, Any]:
    """As compare.json has it, its keys sorted."""
    outcome = outcome_of(plan, *figures)
    content = folder_content("compare", as_content(plan, outcome, summarise(plan, outcome.figures)), {})
    return dict(content.main)


def test_the_picture_is_the_same_each_time(plan: Plan) -> None:
    outcome = outcome_of(plan, FIRST, CUT, KVM, None)
    content = as_content(plan, outcome, summarise(plan, outcome.figures))
    first, again = (pictures_of(folder_content("compare", content, provenance(plan, outcome)), "compare") for _ in range(2))
    assert first == again
    text = first["compare.svg"].decode()
    for words in ("total time", "downtime", "sent", "cancelled", "failed", "downtime_limit=300ms"):
        assert f">{words}</text>" in text, words


def test_an_end_without_a_figure_is_written_at_its_value(plan: Plan) -> None:
    panel = compare_chart(content_of(plan, FIRST, CUT, KVM, None)).panels[0]
    assert isinstance(panel, Panel)
    assert [line.name for line in panel.lines] == ["downtime_limit=100ms", "downtime_limit=300ms"]
    ended = {line.name: [(round(x), text) for x, text in line.notes] for line in panel.lines}
    assert ended == {
        "downtime_limit=100ms": [], "downtime_limit=300ms": [(16 << 20, "cancelled"), (32 << 20, "failed")],
    }  # fmt: skip


def test_names_have_bars_with_their_figures(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    plan = make_plan(Request(tmp_path / "quick.toml", read_axes(["migration.auto_converge=true,false"])))
    bars = compare_chart(content_of(plan, {**FIRST, "total_time_ms": 4321}, CUT)).panels[0]
    assert isinstance(bars, Bars)
    assert (bars.title, bars.rows) == ("total time", ("true", "false"))
    assert [bar.words for bar in bars.groups[0][1]] == ["4.32 s", "cancelled"]


@pytest.mark.parametrize("figures", [(CUT,) * 4, (None,) * 4, ({"status": "ran", "guest_slowdown_percent": 1.0},) * 4])
def test_a_picture_of_little_is_drawn_too(plan: Plan, figures: tuple[dict[str, Any] | None, ...]) -> None:
    content = folder_content("compare", content_of(plan, *figures), {})
    assert pictures_of(content, "compare")["compare.png"].startswith(b"\x89PNG")


def test_where_no_run_completes_the_ends_are_drawn(plan: Plan) -> None:
    (bars,) = compare_chart(content_of(plan, *[None] * 4)).panels
    assert isinstance(bars, Bars)
    assert {bar.words for _, group in bars.groups for bar in group} == {"failed"}


def test_more_lines_than_colours_are_counted(tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text(QUICK)
    limits = ",".join(f"{i}00ms" for i in range(1, 12))
    axes = read_axes(["migration.bandwidth=16MiB/s,32MiB/s", f"migration.downtime_limit={limits}"])
    content = content_of(make_plan(Request(tmp_path / "quick.toml", axes)), *[FIRST] * 22)
    assert compare_chart(content).lead == f"{11 - len(COLOURS)} more lines are in compare.csv."
    assert list(heat_maps(content)) == []


def test_failures_say_what_replays_them_and_the_gravest_decides(plan: Plan) -> None:
    keys = [run.key for run in plan.runs]
    failures = {keys[1]: Failure("no room", InputError.exit_code), keys[2]: Failure("law 3", InvariantError.exit_code)}
    error = failed_error(plan, Outcome({}, failures, frozenset()))
    assert error is not None
    assert error.exit_code == 3
    first, second = str(error).splitlines()
    assert first.startswith("no room; replay: hostsim run ")
    assert second.endswith("--set migration.bandwidth=32MiB/s --set migration.downtime_limit=100ms --seed 1")
    assert failed_error(plan, Outcome({}, {}, frozenset())) is None


def test_progress_tells_how_many_and_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_runs(Progress(12, 3)) == "3 of 12 runs"
    at_two = Progress(12, 3, {4: 4_200_000_000, 5: 0})
    assert describe_runs(at_two) == "3 of 12 runs, at 4.2 s and 0 ms simulated"
    screen = io.StringIO()
    monkeypatch.setattr(bars, "err_console", lambda: Console(file=screen, force_terminal=True, width=160))
    with bars.compare_progress() as show:
        show(Progress(12, 3))
    assert "3 of 12 runs" in screen.getvalue()


@pytest.mark.parametrize(("is_terminal", "quiet"), [(False, False), (True, True)])
def test_elsewhere_progress_is_silent(monkeypatch: pytest.MonkeyPatch, is_terminal: bool, quiet: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=160)
    monkeypatch.setattr(bars, "err_console", lambda: console)
    with bars.compare_progress(quiet=quiet) as show:
        show(Progress(12, 3))
    assert screen.getvalue() == ""
