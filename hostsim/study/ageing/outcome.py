"""What ``hostsim age`` found: a row a case, its figures over all seeds, and a verdict on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hostsim.study.ageing.case import AgeCase
from hostsim.study.ageing.options import AgePlan
from hostsim.study.ageing.trial import AgeTrial, age_trial
from hostsim.study.study_row import StudyRow, latencies_of, spreads_of
from hostsim.study.trials import Show, run_trials

FIGURES = (
    "pass_mean_ns", "pass_max_ns", "vcpu_slowdown_percent", "notifier_calls_per_s", "host_lock_wait_p99_ns",
    "vcpu_lock_wait_p99_ns", "lock_held_percent", "young_pages", "false_old_pages", "working_set_pages", "used_pages",
    "faults_per_pass", "passes",
)  # fmt: skip
NOTICED_PERCENT, HEAVY_PERCENT = 1.0, 10.0
"""Slowdowns below the first are called small, from the second on heavy."""
MISJUDGED_SHARE = 0.1
"""access_tracking_perf_test warns where more pages than this are still idle."""


@dataclass(frozen=True)
class AgeRow(StudyRow[AgeCase]):
    """Of one combination."""

    @property
    def falls_behind(self) -> bool:
        """Whether a pass takes longer than its period."""
        return self.mean("pass_mean_ns") > self.case.period_ns

    @property
    def misjudged_share(self) -> float:
        """Share of the pages in use that it takes for idle."""
        used = self.mean("used_pages")
        return self.mean("false_old_pages") / used if used > 0 else 0.0


def run_age(plan: AgePlan, workers: int | None, show: Show) -> list[AgeRow]:
    """Run all cases with all seeds; workers: moves no result."""
    found = run_trials(plan.cases, plan.seeds, age_trial, workers, show)
    return [_row(case, settings, trials) for case, settings, trials in zip(plan.cases, plan.settings, found, strict=True)]


def _row(case: AgeCase, settings: dict[str, str], trials: Sequence[AgeTrial]) -> AgeRow:
    figures = spreads_of([trial.figures for trial in trials], FIGURES)
    return AgeRow(case, settings, figures, latencies_of([trial.latencies for trial in trials]))


def row_verdict(row: AgeRow) -> str:
    """One line: what it costs the guest, and what it sees."""
    return f"{_cost(row)}; {_sight(row)}"


def _cost(row: AgeRow) -> str:
    percent = row.mean("vcpu_slowdown_percent")
    if row.falls_behind:
        return f"cannot keep up: a pass takes longer than its period; guest {percent:.2g} % slower"
    if percent >= HEAVY_PERCENT:
        return f"too dear: guest {percent:.2g} % slower"
    if percent >= NOTICED_PERCENT:
        return f"guest {percent:.2g} % slower"
    return "free" if percent < 0.005 else f"cheap: guest {percent:.1g} % slower"


def _sight(row: AgeRow) -> str:
    share = row.misjudged_share
    if row.mean("used_pages") == 0:
        return "nothing is used, nothing is missed" if row.mean("young_pages") == 0 else "takes idle pages for used"
    if share > MISJUDGED_SHARE:
        return f"takes {100 * share:.0f} % of what is used for idle"
    return "sees what is used"


def verdict_lines(rows: Sequence[AgeRow], varied: Sequence[str]) -> list[str]:
    """The first opens with VERDICT: how many rows are fit for use; then the cheapest of those and the dearest of all."""
    fit = [row for row in rows if is_fit(row)]
    who = f"{len(fit)} of {len(rows)} {_plural(len(rows))}"
    told = [f"VERDICT: {who} see what is used and slow the guest by less than {NOTICED_PERCENT:g} %."]
    if len(rows) > 1:
        cheapest = min(fit, key=lambda row: row.mean("vcpu_slowdown_percent"), default=None)
        dearest = max(rows, key=lambda row: row.mean("vcpu_slowdown_percent"))
        told += [f"Cheapest of them: {label(cheapest, varied)}: {row_verdict(cheapest)}."] if cheapest else []
        told.append(f"Dearest: {label(dearest, varied)}: {row_verdict(dearest)}.")
    return told


def is_fit(row: AgeRow) -> bool:
    """Whether it sees what is used, keeps up, and costs the guest little."""
    sees = row.misjudged_share <= MISJUDGED_SHARE
    return sees and not row.falls_behind and row.mean("vcpu_slowdown_percent") < NOTICED_PERCENT


def label(row: AgeRow, varied: Sequence[str]) -> str:
    """``vcpus=8, policy=mglru``: what varies; all of them if nothing does."""
    return ", ".join(f"{key}={value}" for key, value in row.settings.items() if key in varied or not varied)


def _plural(n: int) -> str:
    return "combination" if n == 1 else "combinations"
