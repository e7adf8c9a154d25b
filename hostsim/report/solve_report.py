"""A solution in sentences, tables and files: whether today reaches the target, which change does, the others' obstacles."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.html.registry import folder_content, pictures_of
from hostsim.report.origin_words import BY, seeds_words
from hostsim.report.predict_report import chance_words, estimate_words, in_the_way, more_runs_words
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes, table_files
from hostsim.results.provenance import config_sha256, own_revision
from hostsim.results.tables import Table
from hostsim.study.compare.identity import versions
from hostsim.study.compare.modes import OF_MODE
from hostsim.study.solve.solution import Cell, Change, Solution
from hostsim.study.solve.target import Target
from hostsim.study.statistics import Share
from hostsim.verdict.commands import command_for
from hostsim.verdict.render import warning_lines
from hostsim.verdict.words import bandwidth_words, seconds_words

TITLES = {
    "downtime-limit": "downtime limit", "bandwidth": "bandwidth", "throttle": "auto-converge, max-cpu-throttle",
    "mode": "mechanism",
}  # fmt: skip
COMMAND_WIDTH = 76
"""Columns of a command, so that it fits 80 with its indentation and a backslash."""
COMMANDS = {"downtime-limit": "downtime_limit", "bandwidth": "bandwidth", "throttle": "auto_converge"}


def solution_lines(found: Solution) -> list[str]:
    """The verdict on ``found`` in sentences; the first line opens with VERDICT."""
    lines = [f"VERDICT: {_headline(found)}.", *warning_lines(found.warnings)]
    if not found.is_met:
        lines += list(in_the_way(found.computed))
        lines += [f"- {change_words(change, found)}." for change in found.changes]
    lines += [f"Assumption: {text}." for text in (*found.assumptions, *_logs(found))]
    return [*lines, f"{_rests_on(found)}."]


def _logs(found: Solution) -> Iterator[str]:
    """The dirty log of changes that were run under another one than the scenario's."""
    for change in found.changes:
        if log := (change.settings or {}).get("vm.dirty_tracking", ""):
            title = change.value if change.kind == "mode" else TITLES[change.kind]
            yield f"{title} was run under KVM's dirty log {log}, as the scenario names none; --tracking names another"


def change_words(change: Change, found: Solution) -> str:
    """As ``change_text``, with the command of a change that helps."""
    command = change_command(change, found.scenario) if change.helps else ""
    return f"{change_text(change)}: `{command}`" if command else change_text(change)


def change_text(change: Change) -> str:
    """``downtime limit of 760 ms (now 300 ms): 30 of 30 runs (P >= 0.89 at 95 %), total 12 s, downtime 770 ms``."""
    title = TITLES[change.kind]
    if change.reached is None or change.value is None:
        return f"{title} (now {value_words(change.kind, change.today)}): {change.obstacle}"
    value = f"{title} of {value_words(change.kind, change.value)} (now {value_words(change.kind, change.today)})"
    if change.kind == "mode":
        value = f"{title} {change.value} (now {change.today})"
    counted = f"{change.reached.k} of {change.reached.n} runs reach the target ({chance_words(change.reached)})"
    if not change.helps:
        return f"{value}: {counted}, too few"
    faster = "; a faster link" if _is_link(change) else ""
    return f"{value}: {counted}{_figures(change)}{faster}{_shown(change.note)}"


def value_words(kind: str, value: float | str | None) -> str:
    """A value of a change as people read it."""
    if value is None:
        return "no limit"
    if isinstance(value, str):
        return value
    if kind == "throttle":
        return f"{value:.0f} %" if value else "off"
    return seconds_words(value / 1000) if kind == "downtime-limit" else bandwidth_words(value)


def frontier_grid(found: Solution) -> Grid:
    """A row a link speed, a column a downtime limit; a cell: P by runs, or the computed total time."""
    limits = sorted({cell.downtime_limit_ms for cell in found.frontier})
    columns = [Column("speed", "link", role=Role.KEY, of=lambda row: bandwidth_words(row[0].bandwidth_bytes_per_s))]
    columns += [_limit_column(i, limit) for i, limit in enumerate(limits)]
    cells = found.frontier
    rows = [cells[i : i + len(limits)] for i in range(0, len(cells), len(limits))]
    return grid_of(columns, rows, "Reaches the target, by link and downtime limit: computed time, or P by runs")


def cell_words(cell: Cell) -> str:
    """P by the runs of the cell; without runs the computed total time, or "-" where the target is not reached."""
    if cell.runs:
        return f"{cell.share:.2f} P"
    return seconds_words(cell.total_s) if cell.computed and cell.total_s is not None else "-"


def runs_grid(found: Solution) -> Grid:
    """A row a pair of link and limit that was run: P that it reaches the target."""
    columns = [
        Column("speed", "link", role=Role.KEY, of=lambda cell: bandwidth_words(cell.bandwidth_bytes_per_s)),
        Column("limit", "limit", role=Role.KEY, of=lambda cell: seconds_words(cell.downtime_limit_ms / 1000)),
        Column("p", "P [95 % interval]", of=chance_cell),
        Column("runs", "runs", of=lambda cell: cell.runs),
        Column("seeds", "by", of=lambda cell: "other seeds" if cell.confirmed else "the search"),
        Column("total", "computed total", of=lambda cell: seconds_words(cell.total_s) if cell.total_s is not None else "-"),
    ]
    return grid_of(columns, [cell for cell in found.frontier if cell.runs], "The frontier by runs")


def chance_cell(cell: Cell) -> str:
    """``0.95 [0.76, 0.99]``: the share of the runs and its Wilson interval."""
    return f"{cell.share:.2f} [{cell.low:.2f}, {cell.high:.2f}]"


def frontier_caption(found: Solution) -> str:
    """The line below the frontier."""
    ran = [cell for cell in found.frontier if cell.runs]
    if not ran:
        return "-: does not reach the target (computed)"
    surely = sum(cell.confirmed for cell in ran)
    return (
        f"-: does not reach the target (computed). P: share of the runs that reach it; of {len(ran)} pairs that were run "
        f"{surely} are confirmed with other seeds"
    )


def commands_of(found: Solution) -> list[dict[str, str]]:
    """Commands that run each change that helps, and each confirmed pair of the frontier: their titles, and themselves."""
    changes = [(change, f"{TITLES[change.kind]} {value_words(change.kind, change.value)}") for change in found.changes]
    told = [(title, change.settings or {}) for change, title in changes if change.helps]
    cells = [cell for cell in found.frontier if cell.confirmed and cell.share >= found.target.converge]
    told += [(_pair(cell), cell.settings or {}) for cell in cells]
    by_command = {run_command(found.command, settings): title for title, settings in reversed(told) if settings}
    return [{"title": title, "command": command} for command, title in reversed(by_command.items())]


def run_command(command: str, settings: Mapping[str, str]) -> str:
    """``hostsim run vm.toml --set migration.downtime_limit=1040ms``: ``command``, then each of ``settings``, quoted."""
    return " ".join([command, *(f"--set {quote(f'{key}={value}')}" for key, value in settings.items())])


def command_lines(commands: Sequence[Mapping[str, str]]) -> list[str]:
    """Commands to copy, each below a comment with its title, continued by backslashes where a line is full."""
    lines = ["Run a change in the simulator:"] if commands else []
    for one in commands:
        lines += [f"  # {one['title']}", *(f"  {line}" for line in _continued(one["command"]))]
    return [*lines, ""] if lines else []


def _continued(command: str) -> list[str]:
    """``command`` in lines of COMMAND_WIDTH, broken before an option; no word is cut."""
    pieces = command.replace(" --", "\n--").split("\n")
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + 1 + len(piece) <= COMMAND_WIDTH:
            lines[-1] += f" {piece}"
        else:
            lines[-1] += " \\"
            lines.append(f"  {piece}")
    return lines


def _pair(cell: Cell) -> str:
    return f"link {bandwidth_words(cell.bandwidth_bytes_per_s)}, limit {seconds_words(cell.downtime_limit_ms / 1000)}"


def _limit_column(number: int, limit: float) -> Column:
    return Column(f"limit{number}", seconds_words(limit / 1000), of=lambda row: cell_words(row[number]))


def _headline(found: Solution) -> str:
    target = target_text(found.target)
    counted = f"{found.today.k} of {found.today.n} runs ({chance_words(found.today)})"
    if found.is_met:
        more = more_runs_words(found.today, found.target.converge)
        return f"the target ({target}) is reached without a change in {counted}{_shown(more)}"
    best = found.best
    if best is None:
        return f"no change that was tried reaches the target ({target}); unchanged, {counted} reach it"
    value = value_words(best.kind, best.value)
    what = f"the mechanism {value}" if best.kind == "mode" else f"{TITLES[best.kind]} {value}"
    now = f"now {value_words(best.kind, best.today)}"
    return f"{what} ({now}) reaches the target ({target}); unchanged, {counted} reach it"


def target_text(target: Target) -> str:
    """``it converges, downtime <= 500 ms, total <= 10 min, in 95 % of migrations``."""
    parts = ["it converges"]
    parts += [f"downtime <= {seconds_words(target.downtime_ms / 1000)}"] if target.downtime_ms is not None else []
    parts += [f"total <= {seconds_words(target.total_ms / 1000)}"] if target.total_ms is not None else []
    return f"{', '.join(parts)}, in {100 * target.converge:g} % of migrations"


def _figures(change: Change) -> str:
    got = change.estimates or {}
    named = (("total_time_ms", "total"), ("downtime_ms", "downtime"), ("guest_slowdown_percent", "guest slower by"))
    parts = [f"{title} {estimate_words(got[name])}" for name, title in named if name in got and got[name].spread.mean > 0]
    return f"; {', '.join(parts)}" if parts else ""


def change_command(change: Change, scenario: Mapping[str, Any]) -> str:
    """The command that makes the change under the profile of ``scenario``; "" if there is none."""
    profile = str((scenario.get("migration") or {}).get("profile", "qemu"))
    if change.kind == "mode":
        one = OF_MODE.get(str(change.value).partition("@")[0])
        return command_for(profile, one.remedy, one.remedy_value) if one is not None and one.remedy else ""
    assert isinstance(change.value, int | float), "changes of a value have one"
    return "" if _is_link(change) else command_for(profile, COMMANDS[change.kind], float(change.value))


def _is_link(change: Change) -> bool:
    """Whether the change needs other hardware, so that no command makes it."""
    return change.kind == "bandwidth" and "migration.bandwidth" not in (change.settings or {})


def _shown(text: str) -> str:
    return f"; {text}" if text else ""


def _rests_on(found: Solution) -> str:
    ran = [change for change in found.changes if change.reached is not None]
    parts = [f"Runs by {BY}. Unchanged: {seeds_words(found.seeds)}"]
    if ran:
        seeds = max((change.seeds for change in ran), key=len)
        parts.append(f"Changes were searched with the first of these seeds and confirmed with others ({seeds_words(seeds)})")
        wanted = [more_runs_words(change.reached, found.target.converge) for change in ran if change.reached]
        parts += [text for text in dict.fromkeys(wanted) if text][:1]
    return ". ".join(parts)


OWN_FILES = re.compile(
    r"(changes|frontier)\.(csv|parquet)|solve(-[\w-]+)?\.(png|svg)|verdict\.txt|report\.html|scenario\.toml"
)
CHANGES = {
    "kind": "str", "today": "str", "value": "str", "runs": "int64", "reached": "int64", "p_low": "float64",
    "p_high": "float64", "obstacle": "str", "command": "str", "run": "str",
}  # fmt: skip
FRONTIER = {
    "bandwidth_bytes_per_s": "float64", "downtime_limit_ms": "float64", "computed": "bool", "total_s": "float64",
    "corner": "bool", "runs": "int64", "reached": "int64", "p": "float64", "p_low": "float64", "p_high": "float64",
    "confirmed": "bool", "run": "str",
}  # fmt: skip


def write_solution(out: Path, found: Solution, content: dict[str, Any], scenario_toml: str = "") -> list[Path]:
    """Write the files of ``found``; returns their paths. OutputError, then ``out`` is as it was.

    scenario_toml: text of the scenario, where no file of the user holds it.
    """
    files = {
        "solve.json": json_bytes(content), "provenance.json": json_bytes(provenance(found)),
        "verdict.txt": "".join(f"{line}\n" for line in content["verdict"]).encode(),
        **table_files("changes", changes_table(found)), **table_files("frontier", frontier_table(found)),
        **pictures_of(folder_content("solve", content, provenance(found)), "solve"),
        **({"scenario.toml": scenario_toml.encode()} if scenario_toml else {}),
    }  # fmt: skip
    return write_files(out, files, stale=OWN_FILES if (out / "solve.json").exists() else None)


def provenance(found: Solution) -> dict[str, Any]:
    """All data to run the search again."""
    return {
        **versions(), "git": own_revision(), "python": platform.python_version(), "seeds": list(found.seeds),
        "target": found.target.text, "scenario": found.scenario, "config_sha256": config_sha256(dict(found.scenario)),
    }  # fmt: skip


def changes_table(found: Solution) -> Table:
    """A row a kind of change."""
    nan = float("nan")
    ran = [Share(0, 0, nan, nan) if one.reached is None else one.reached for one in found.changes]
    both = zip(found.changes, ran, strict=True)
    rows = [
        (one.kind, _text(one.today), _text(one.value), s.n, s.k, s.low, s.high, one.obstacle, *_commands(found, one))
        for one, s in both
    ]
    return Table.of("changes", CHANGES, rows)


def frontier_table(found: Solution) -> Table:
    """A row a pair of link speed and downtime limit."""
    return Table.of("frontier", FRONTIER, [_frontier_row(found, one) for one in found.frontier])


def _frontier_row(found: Solution, cell: Cell) -> tuple[Any, ...]:
    nan = float("nan")
    chances = (cell.share, cell.low, cell.high) if cell.runs else (nan, nan, nan)
    return (
        cell.bandwidth_bytes_per_s, cell.downtime_limit_ms, cell.computed, nan if cell.total_s is None else cell.total_s,
        cell.corner, cell.runs, cell.reached, *chances, cell.confirmed, run_command(found.command, cell.settings or {}),
    )  # fmt: skip


def _commands(found: Solution, change: Change) -> tuple[str, str]:
    """The command of the change's profile, and the command that runs it here; "" where there is none."""
    own = change_command(change, found.scenario) if change.value is not None else ""
    return own, run_command(found.command, change.settings) if change.settings else ""


def _text(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
