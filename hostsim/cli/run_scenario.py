"""Simulating a scenario from the command line: load, run, write, print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hostsim.cli.report_files import NO_REPORT, ReportFiles
from hostsim.core.errors import InputError, Problem
from hostsim.report import console, files, tables
from hostsim.report.progress import confirm_progress, run_progress
from hostsim.report.tables import host_tables, migration_tables, rates_table, tables_of_run
from hostsim.report.verdict_texts import ran_out, verdict_texts
from hostsim.results.aside import check_file, write_file
from hostsim.results.encode import json_bytes
from hostsim.results.store import prepare_folder

if TYPE_CHECKING:
    from hostsim.machine.recording import Recording
    from hostsim.report.html.page import Content
    from hostsim.results.tables import RunResult
    from hostsim.scenario import Scenario
    from hostsim.verdict import Verdict

NOT_CONVERGED = 1


@dataclass(frozen=True)
class Options:
    """Options of the command line; ``out`` None: out/<name>."""

    file: Path
    overrides: tuple[str, ...] = ()
    seed: int | None = None
    as_json: bool = False
    style: Literal["text", "markdown"] = "text"
    out: Path | None = None
    write_files: bool = True
    fail_if_not_converged: bool = False
    quiet: bool = False
    confirm: bool | None = None
    """Whether runs confirm the verdict's values; None: as far as that takes about 2 s, or thrice the time of the run."""
    wide: bool = False
    perfetto: Path | None = None
    """File of the run's timeline; None: none is kept."""
    guestperf: Path | None = None
    """File of a report as guestperf writes it; None: none."""
    reports: ReportFiles = NO_REPORT


def run_scenario(options: Options) -> int:
    """Run the scenario, write its files, print its verdicts and tables. Returns the exit code.

    InputError, OutputError, InvariantError.
    """
    from hostsim.scenario import load_scenario

    scenario = load_scenario(options.file, overrides=options.overrides, seed=options.seed)
    _check_has_migration(options, scenario)
    options.reports.check()
    out = options.out or Path("out") / folder_name(scenario.name or options.file.stem)
    if options.write_files:
        prepare_folder(out)
    recording = _recording(options)
    result = _simulate(options, scenario, recording)
    verdicts = _verdicts(options, scenario, result)
    result = replace(result, verdicts=tuple(verdict.to_dict() for verdict in verdicts))
    paths = _write(result, out, verdicts) if options.write_files else []
    paths += _write_guestperf(result, options.guestperf) if options.guestperf else []
    paths += options.reports.write(lambda: _content(result, verdicts))
    _print_result(options, result, paths, verdicts)
    if recording is not None:
        _write_timeline(options, recording, result)
    failed = options.fail_if_not_converged and not all(m.converged for m in result.migrations)
    return NOT_CONVERGED if failed else 0


def folder_name(name: str) -> str:
    """``name`` with characters that a path may treat specially replaced by "-"; "run" if nothing is left."""
    return re.sub(r"[^\w.+=-]+", "-", name).strip(".-") or "run"


def _verdicts(options: Options, scenario: Scenario, result: RunResult) -> list[Verdict]:
    """The verdict on each migration, none where memory ran out; advised values are confirmed by runs first."""
    from hostsim.verdict.confirm import confirmed, unconfirmed

    numbers = [] if ran_out(result) else range(len(result.migrations))
    if options.confirm is False:
        return [unconfirmed(result, i) for i in numbers]
    with confirm_progress(quiet=options.quiet or options.as_json) as show:
        return [confirmed(scenario, result, i, all_of_it=options.confirm is True, show=show) for i in numbers]


def _write_guestperf(result: RunResult, path: Path) -> list[Path]:
    from hostsim.results.aside import write_files
    from hostsim.results.guestperf import report_of

    return write_files(path.parent, {path.name: json_bytes(report_of(result))})


def _check_has_migration(options: Options, scenario: Any) -> None:
    asked = {"--fail-if-not-converged": options.fail_if_not_converged, "--guestperf": options.guestperf}
    asking = [name for name, value in asked.items() if value]
    if asking and scenario.migration is None:
        wanted = f"a [migration] table, for {asking[0]}"
        raise InputError([Problem(str(options.file), "migration", "none", wanted)])


def _recording(options: Options) -> Recording | None:
    """A recording for --perfetto. MissingExtraError, and OutputError if the file cannot be written, before a long run."""
    if options.perfetto is None:
        return None
    from hostsim.machine.recording import Recording
    from hostsim.report.perfetto import check_extra

    check_extra()
    check_file(options.perfetto)
    return Recording()


def _write_timeline(options: Options, recording: Recording, result: RunResult) -> None:
    """Write the file of --perfetto, and say which part of the run it holds: beside JSON on standard error."""
    from hostsim.report.perfetto import sampling_lines, trace_bytes
    from hostsim.verdict.words import bytes_words

    assert options.perfetto is not None, "asked for"
    content = trace_bytes(recording, result)
    write_file(options.perfetto, content)
    where = f"Timeline: {options.perfetto} ({bytes_words(len(content))}, opens at ui.perfetto.dev)"
    kept = [f"  {line}" for line in sampling_lines(recording)]
    if not options.as_json:
        console.say([where])
        console.say_wrapped(kept)
    elif not options.quiet:
        for line in (where, *kept):
            console.note(line)


def _simulate(options: Options, scenario: Any, recording: Recording | None) -> RunResult:
    from hostsim.simulation import kinds_of, run

    quiet = options.quiet or options.as_json
    with run_progress(scenario.duration, quiet=quiet, kinds=kinds_of(scenario)) as progress:
        return run(scenario, progress=progress, recording=recording)


def _write(result: RunResult, out: Path, verdicts: Sequence[Verdict]) -> list[Path]:
    return files.write_folder(result, out, verdict_texts(result, "text", verdicts))


def _content(result: RunResult, verdicts: Sequence[Verdict]) -> Content:
    from hostsim.report.html.registry import run_content

    return run_content(result, verdict_texts(result, "text", verdicts))


def _print_result(options: Options, result: RunResult, paths: Sequence[Path], verdicts: Sequence[Verdict]) -> None:
    if options.as_json:
        console.say_raw(json_bytes(result.to_dict()).decode())
        return
    for text in verdict_texts(result, options.style, verdicts):
        console.say_verdict([*text.strip("\n").splitlines(), ""], markdown=options.style == "markdown")
    shown = [table for m in result.migrations for table in migration_tables(m)]
    shown += [] if result.host is None else host_tables(result.host)
    shown += [grid for _, grid in tables_of_run(result)]
    shown += [rates_table(result.dirty_rates)] if result.dirty_rates else []
    for table in shown or [tables.plain_table(result.guest)]:
        console.show(table, markdown=options.style == "markdown", wide=options.wide)
    if paths:
        console.say(["Files:", *(f"  {path}" for path in paths)])
        if left_out := files.missing_files():
            console.note(left_out)
