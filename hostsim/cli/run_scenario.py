"""Simulating a scenario from the command line: load, run, write, print."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hostsim.core.errors import InputError, Problem
from hostsim.report import console, files, tables
from hostsim.report.kvm_tables import limits_table, migration_tables, rates_table
from hostsim.report.memory_tables import host_tables
from hostsim.report.progress import confirm_progress, run_progress
from hostsim.results.encode import json_bytes
from hostsim.results.store import prepare_folder

if TYPE_CHECKING:
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
    guestperf: Path | None = None
    """File of a report as guestperf writes it; None: none."""


def run_scenario(options: Options) -> int:
    """Run it, write the files, print. Returns the exit code; InputError, OutputError, InvariantError."""
    from hostsim.scenario import load_scenario

    scenario = load_scenario(options.file, overrides=options.overrides, seed=options.seed)
    _check_has_migration(options, scenario)
    out = options.out or Path("out") / folder_name(scenario.name or options.file.stem)
    if options.write_files:
        prepare_folder(out)
    result = _simulate(options, scenario)
    verdicts = _verdicts(options, scenario, result)
    result = replace(result, verdicts=tuple(verdict.to_dict() for verdict in verdicts))
    paths = _write(result, out, verdicts) if options.write_files else []
    paths += _write_guestperf(result, options.guestperf) if options.guestperf else []
    _tell(options, result, paths, verdicts)
    failed = options.fail_if_not_converged and not all(m.converged for m in result.migrations)
    return NOT_CONVERGED if failed else 0


def folder_name(name: str) -> str:
    """``name`` with characters that a path may treat specially replaced by "-"; "run" if nothing is left."""
    return re.sub(r"[^\w.+=-]+", "-", name).strip(".-") or "run"


def verdict_texts(
    result: RunResult, style: Literal["text", "markdown"], verdicts: Sequence[Verdict] | None = None
) -> list[str]:
    """The verdict on each migration, if it had the time to come to one, and on the host's memory.

    Warnings stand in the verdict on the migration or, where there is none, by themselves.
    verdicts: where they are known already.
    """
    from hostsim.verdict import diagnose, evidence_from_result, render
    from hostsim.verdict.memory import host_verdict
    from hostsim.verdict.render import marked, warning_lines

    told = [] if result.host is None else ["\n".join(host_verdict(result.host, style))]
    if _ran_out(result) or not result.migrations:
        lines = warning_lines(result.warnings)
        alone = "\n".join(lines if style == "text" else map(marked, lines))
        return told + ([alone] if alone else [])
    if verdicts is None:
        verdicts = [diagnose(evidence_from_result(result, i)) for i in range(len(result.migrations))]
    return [render(verdict, style) for verdict in verdicts] + told


def _ran_out(result: RunResult) -> bool:
    return result.host is not None and result.host.out_of_memory is not None


def _verdicts(options: Options, scenario: Scenario, result: RunResult) -> list[Verdict]:
    """The verdict on each migration, none where memory ran out; advised values are confirmed by runs first."""
    from hostsim.verdict.confirm import confirmed, unconfirmed

    numbers = [] if _ran_out(result) else range(len(result.migrations))
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


def _simulate(options: Options, scenario: Any) -> RunResult:
    from hostsim.simulation import kinds_of, run

    quiet = options.quiet or options.as_json
    with run_progress(scenario.duration, quiet=quiet, kinds=kinds_of(scenario)) as progress:
        return run(scenario, progress=progress)


def _write(result: RunResult, out: Path, verdicts: Sequence[Verdict]) -> list[Path]:
    return files.write_folder(result, out, verdict_texts(result, "text", verdicts))


def _tell(options: Options, result: RunResult, paths: Sequence[Path], verdicts: Sequence[Verdict]) -> None:
    if options.as_json:
        console.say_raw(json_bytes(result.to_dict()).decode())
        return
    for text in verdict_texts(result, options.style, verdicts):
        console.say([*text.strip("\n").splitlines(), ""])
    shown = [table for m in result.migrations for table in migration_tables(m)]
    shown += [] if result.host is None else host_tables(result.host)
    shown += [] if result.dirty_limit is None else [limits_table(result.dirty_limit)]
    shown += [rates_table(result.dirty_rates)] if result.dirty_rates else []
    for table in shown or [tables.plain_table(result.guest)]:
        console.show(table, markdown=options.style == "markdown", wide=options.wide)
    if paths:
        console.say(["Files:", *(f"  {path}" for path in paths)])
        if left_out := files.missing_files():
            console.note(left_out)
