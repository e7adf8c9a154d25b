"""Results of ``hostsim reclaim``: a row a case, and the smallest age within the budget, with and without a migration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hostsim.core.latency import Latencies
from hostsim.core.units import bytes_words, number_words
from hostsim.scenario.schema import Scenario
from hostsim.study.reclaim.budget import Limit
from hostsim.study.reclaim.measure import FIGURES, OF_MIGRATIONS, reclaim_figures
from hostsim.study.reclaim.preset import ReclaimPlan
from hostsim.study.study_row import StudyRow, latencies_of, spreads_of


@dataclass(frozen=True)
class ReclaimRow(StudyRow[Scenario]):
    """Figures of one age, device and policy.

    case: the scenario of the guest with reclaim.
    n_completed: migrations that completed.
    """

    n_completed: int

    @property
    def migrates(self) -> bool:
        """Whether a migration runs meanwhile."""
        return self.case.migration is not None

    @property
    def age_ns(self) -> int:
        """Pages that are idle for as long are paged out."""
        assert self.case.host.memory is not None, "a row has reclaim"
        assert self.case.host.memory.reclaim is not None, "a row has reclaim"
        return self.case.host.memory.reclaim.age


def reclaim_rows(plan: ReclaimPlan, figures: Mapping[str, Any]) -> list[ReclaimRow]:
    """A row a case. figures: of each run by its key, as the record has them."""
    return [_row(plan, number, figures) for number in range(len(plan.pairs))]


def _row(plan: ReclaimPlan, number: int, figures: Mapping[str, Any]) -> ReclaimRow:
    runs, plain = ([figures[run.key] for run in plan.runs_of(which)] for which in plan.pairs[number])
    trials = [reclaim_figures(mine, other) for mine, other in zip(runs, plain, strict=True)]
    names = [name for name in (*FIGURES, *OF_MIGRATIONS) if name in trials[0]]
    latencies = [{what: Latencies.of_state(one) for what, one in mine["latencies"].items()} for mine in runs]
    completed = sum(bool(mine.get("completed")) for mine in runs)
    return ReclaimRow(
        plan.scenario(number), plan.settings[number], spreads_of(trials, names), latencies_of(latencies), completed
    )


def row_verdict(row: ReclaimRow, limits: Sequence[Limit]) -> str:
    """The limits that ``row`` breaks, in words."""
    broken = [limit.text for limit in limits if not limit.is_met(row.figures)]
    return f"over {' and '.join(broken)}" if broken else "within the budget"


def set_point(rows: Sequence[ReclaimRow], limits: Sequence[Limit]) -> ReclaimRow | None:
    """The row with the smallest age from which on every age meets ``limits``; None if the largest of ``rows`` does not."""
    found = None
    for row in sorted(rows, key=lambda row: -row.age_ns):
        if not all(limit.is_met(row.figures) for limit in limits):
            break
        found = row
    return found


def verdict_lines(rows: Sequence[ReclaimRow], limits: Sequence[Limit]) -> list[str]:
    """The verdict on ``rows`` under ``limits``, whose first line opens with VERDICT.

    A line for each swap device and policy, and one more for each with a migration.
    """
    groups = list(dict.fromkeys((row.settings["swap"], row.settings["policy"]) for row in rows))
    lines = [line for swap, policy in groups for line in _group_lines(rows, swap, policy, limits)]
    return [f"VERDICT: {lines[0]}", *lines[1:]]


def _group_lines(rows: Sequence[ReclaimRow], swap: str, policy: str, limits: Sequence[Limit]) -> Iterator[str]:
    mine = [row for row in rows if (row.settings["swap"], row.settings["policy"]) == (swap, policy)]
    alone, meanwhile = ([row for row in mine if row.migrates is migrates] for migrates in (False, True))
    point = set_point(alone, limits)
    budget = ", ".join(limit.text for limit in limits)
    ages = ", ".join(row.settings["age"] for row in alone)
    unsafe = f"with each of the ages tried ({ages}) the guest exceeds the budget {budget}: no pages can be paged out."
    yield f"policy {policy}, swap {swap}: " + (f"{_row_words(point)}." if point else unsafe)
    if meanwhile:
        yield f"policy {policy}, swap {swap}, while the VM migrates: {_with_migration(point, meanwhile, limits)}."


def _row_words(row: ReclaimRow) -> str:
    gone, whole = row.mean("reclaimed_bytes"), float(row.case.vm.memory)
    share = f"{bytes_words(gone)} of {bytes_words(whole)} ({100 * gone / whole:.0f} %)"
    rate, p99_us, slower = row.mean("refaults_per_s"), row.mean("stall_p99_ns") / 1e3, row.mean("slowdown_percent")
    cost = (
        f"the guest reads {number_words(rate)} pages a second back, 99 % of its waits for them are shorter than "
        f"{number_words(p99_us)} us, and it is {number_words(slower)} % slower"
    )
    return f"pages that are idle for {row.settings['age']} can be paged out, {share} of memory; {cost}"


def _with_migration(point: ReclaimRow | None, rows: Sequence[ReclaimRow], limits: Sequence[Limit]) -> str:
    safe = set_point(rows, limits)
    if safe is None:
        kept = "no age keeps within the budget"
    elif point is not None and safe.age_ns == point.age_ns:
        kept = f"{safe.settings['age']} still keeps within the budget"
    else:
        kept = f"pages have to be idle for {safe.settings['age']} to keep within the budget"
    told = safe or (next((row for row in rows if row.age_ns == point.age_ns), rows[-1]) if point else rows[-1])
    return f"{kept}; {_migration(told)}"


def _migration(row: ReclaimRow) -> str:
    took, plain = row.mean("migration_ns") / 1e9, row.mean("plain_migration_ns") / 1e9
    sent, plainly = row.mean("migration_bytes"), row.mean("plain_migration_bytes")
    done = "the migration takes" if row.n_completed else "the migration does not complete; it ran"
    back = f"{row.mean('read_back_pages'):.0f} pages are read back from swap only to be sent"
    return (
        f"with {row.settings['age']} {done} {number_words(took)} s and sends {bytes_words(sent)} (without paging out "
        f"{number_words(plain)} s and {bytes_words(plainly)}), and {back}"
    )
