"""The verdict on a comparison: combinations that converge, the best for each figure, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hostsim.study.compare.best import Best
from hostsim.study.compare.figures import NO_MIGRATION, RAN_OUT
from hostsim.study.compare.modes import KEY as MODES_KEY
from hostsim.study.compare.summary import Row, Summary
from hostsim.study.statistics import Spread
from hostsim.verdict.words import bytes_words, number_words, percent_words, seconds_words

TITLES: Mapping[str, str] = {
    "total_time_ms": "total time",
    "downtime_ms": "downtime",
    "transferred_bytes": "sent",
    "guest_slowdown_percent": "guest slowdown",
    "ageing.pass_mean_ns": "ageing pass",
}
ENDED = {"active": "not complete", NO_MIGRATION: "at its end", RAN_OUT: "out of memory"}
LISTED_MAX = 3


def figure_words(name: str, value: float) -> str:
    """A figure as people read it, by the unit its name ends in."""
    if name.endswith("_ms"):
        return seconds_words(value / 1000)
    if name.endswith("_ns"):
        return seconds_words(value / 1e9)
    if name.endswith("_bytes"):
        return bytes_words(value)
    if name.endswith("_share"):
        return percent_words(value)
    return percent_words(value / 100) if name.endswith("_percent") else number_words(value, 6)


def spread_words(name: str, spread: Spread) -> str:
    """``5.25 s ±2 %``: the mean, and how far the interval reaches on its longer side."""
    text = figure_words(name, spread.mean)
    if spread.reach is None or spread.mean <= 0:
        return text
    return f"{text} ±{number_words(100 * spread.reach / spread.mean, 2)} %"


def ratio_words(ratio: float) -> str:
    """0.3521 -> "0.352x"."""
    return f"{number_words(ratio)}x"


def label(row: Row) -> str:
    """``link.bandwidth=1Gbit/s, migration.downtime_limit=100ms``; a mechanism by its name alone."""
    return setting_words(row.settings)


def setting_words(settings: Mapping[str, object]) -> str:
    """As ``label``, of keys and values."""
    return ", ".join(f"{value}" if key == MODES_KEY else f"{key}={value}" for key, value in settings.items())


def ended_words(row: Row) -> str:
    """The end of a combination's runs: "yes", "cancelled", or the count of its seeds that completed."""
    if len(row.statuses) > 1:
        return f"{row.n_converged} of {len(row.statuses)}"
    status = row.statuses[0]
    return "yes" if status == "completed" else ENDED.get(status, status)


def verdict_lines(summary: Summary, bests: Sequence[Best]) -> list[str]:
    """The first opens with VERDICT; then a line for each figure."""
    lines = [f"VERDICT: {_convergence(summary)}."] if summary.has_migration else [f"VERDICT: {_ran(summary)}."]
    lines += [f"{_best_line(summary, best)}." for best in bests]
    return lines


def _convergence(summary: Summary) -> str:
    rows, n = summary.rows, len(summary.rows)
    good = sum(row.converges for row in rows)
    if n == 1:
        return "the only combination " + ("converges" if good else f"does not converge ({_seeds(rows[0])})")
    if good == n:
        return f"all {n} combinations converge"
    others = listed([f"{label(row)} ({_seeds(row)})" for row in rows if not row.converges])
    if any(row.n_converged for row in rows):
        return f"{good} of {n} combinations converge{' with every seed' * (len(summary.seeds) > 1)}; not: {others}"
    return f"none of {n} combinations converges: {others}"


def _seeds(row: Row) -> str:
    text, (status, *others) = ended_words(row), set(row.statuses)
    if len(row.statuses) > 1 and not others and not row.converges:
        return f"{ENDED.get(status, status)} with all {len(row.statuses)} seeds"
    return f"{text} seeds" if len(row.statuses) > 1 else text


def _ran(summary: Summary) -> str:
    done = sum(row.converges for row in summary.rows)
    gone = [label(row) for row in summary.rows if RAN_OUT in row.statuses]
    ran_out = f"; out of memory: {listed(gone)}" if gone else ""
    return f"{done} of {len(summary.rows)} combinations ran to their end; the scenario has no migration{ran_out}"


def _best_line(summary: Summary, best: Best) -> str:
    title = TITLES[best.name].capitalize()
    value = figure_words(best.name, best.mean)
    if best.all_equal:
        return f"{title}: {value} with all{_of_those(summary, best)}"
    if best.all_as_good:
        return f"{title}: about {value} with all{_of_those(summary, best)}; the seeds differ by more than the combinations"
    winner = " and ".join(label(summary.rows[i]) for i in (best.row, *best.equal[:1]))
    more = f" and {len(best.equal) - 1} more" if len(best.equal) > 1 else ""
    others = [label(summary.rows[i]) for i in best.as_good]
    noise = f"; equally good with these seeds: {listed(others)}" if others else ""
    return f"{title}: best {value} with {winner}{more}{_against_first(summary, best)}{noise}"


def _of_those(summary: Summary, best: Best) -> str:
    if best.judged == len(summary.rows):
        return ""
    return " that converge" if any(row.converges for row in summary.rows) else f" {best.judged} that have it"


def _against_first(summary: Summary, best: Best) -> str:
    first = summary.baseline(best.name)
    alike = {best.row, *best.equal, *best.as_good}
    if first in alike or best.from_first is None or best.from_first.ratio is None:
        return ""
    against = "the first combination" if first == 0 else label(summary.rows[first])
    ratio = number_words(best.from_first.ratio)
    return f" (about as much as with {against})" if ratio == "1" else f" ({ratio} times that of {against})"


def listed(texts: Sequence[str]) -> str:
    """The first three of ``texts``, and how many more there are."""
    more = len(texts) - LISTED_MAX
    return "; ".join([*texts[:LISTED_MAX], *([f"{more} more"] if more > 0 else [])])
