"""A solution in sentences: whether today reaches the target, which change does, and the obstacles of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.margin_words import in_the_way
from hostsim.report.origin_words import BY, seeds_words
from hostsim.report.predict_words import chance_words, estimate_words, more_runs_words
from hostsim.study.compare.modes import OF_MODE
from hostsim.study.solve.solution import Cell, Change, Solution
from hostsim.study.solve.target import Target
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
    """The answer; the first line opens with VERDICT."""
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
    """P where runs tell it; else the total time, "-" where the target is not reached."""
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
    """``hostsim run vm.toml --set migration.downtime_limit=1040ms``."""
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
