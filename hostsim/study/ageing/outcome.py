"""Results of ``hostsim age``: a row a case, its figures over all seeds, and a verdict on each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from hostsim.core.latency import Latencies
from hostsim.costs.era import load_era
from hostsim.memory.policies.registry import Policy, policy_of
from hostsim.scenario.schema import Ageing, Scenario
from hostsim.study.ageing.measure import age_figures
from hostsim.study.ageing.preset import AgePlan
from hostsim.study.study_row import StudyRow, latencies_of, spreads_of

FIGURES = (
    "pass_mean_ns", "pass_max_ns", "vcpu_slowdown_percent", "notifier_calls_per_s", "host_lock_wait_p99_ns",
    "vcpu_lock_wait_p99_ns", "lock_held_percent", "young_pages", "false_old_pages", "false_young_pages", "working_set_pages",
    "used_pages", "faults_per_pass", "passes",
)  # fmt: skip
NOTICED_PERCENT, HEAVY_PERCENT = 1.0, 10.0
"""Slowdowns below the first are called small, from the second on heavy."""
MISJUDGED_SHARE = 0.1
"""access_tracking_perf_test warns where more pages than this are still idle; pages taken for used are judged alike."""


@dataclass(frozen=True)
class AgeRow(StudyRow[Scenario]):
    """Figures of one combination; case: the scenario of the aged guest."""

    @property
    def era(self) -> str:
        """The era of the kernel."""
        assert self.case.vm.mmu is not None, "a guest that is aged is under KVM"
        return self.case.vm.mmu.era

    @property
    def ageing(self) -> Ageing:
        """[ageing] of the scenario."""
        assert self.case.ageing is not None, "a row is aged"
        return self.case.ageing

    @property
    def by(self) -> Policy:
        """The policy, as kernels of the era have it."""
        return policy_of(self.ageing.policy, self.era, "age")

    @property
    def falls_behind(self) -> bool:
        """Whether a pass takes longer than its period."""
        return self.mean("pass_mean_ns") > self.ageing.period

    @property
    def missed_share(self) -> float:
        """Pages in use that the policy takes for idle, over the pages in use."""
        return self._of_used("false_old_pages")

    @property
    def surplus_share(self) -> float:
        """Unused pages that the policy takes for used, over the pages in use; infinite if no page is in use."""
        return self._of_used("false_young_pages")

    @property
    def sees(self) -> bool:
        """Whether both shares of misjudged pages are at most MISJUDGED_SHARE."""
        return max(self.missed_share, self.surplus_share) <= MISJUDGED_SHARE

    def _of_used(self, name: str) -> float:
        wrong, used = self.mean(name), self.mean("used_pages")
        return wrong / used if used > 0 else (inf if wrong >= 1 else 0.0)


def age_rows(plan: AgePlan, figures: Mapping[str, Any]) -> list[AgeRow]:
    """A row a combination. figures: of each run by its key, as the record has them."""
    return [_row(plan, number, figures) for number in range(len(plan.pairs))]


def _row(plan: AgePlan, number: int, figures: Mapping[str, Any]) -> AgeRow:
    aged, plain = ([figures[run.key] for run in plan.runs_of(which)] for which in plan.pairs[number])
    trials = [age_figures(mine, other) for mine, other in zip(aged, plain, strict=True)]
    latencies = [{what: Latencies.of_state(one) for what, one in mine["latencies"].items()} for mine in aged]
    return AgeRow(plan.scenario(number), plan.settings[number], spreads_of(trials, FIGURES), latencies_of(latencies))


def row_verdict(row: AgeRow) -> str:
    """One line: the cost of ageing to the guest, and the quality of its estimate."""
    return f"{_cost(row)}; {_sight(row)}"


def _cost(row: AgeRow) -> str:
    percent = row.mean("vcpu_slowdown_percent")
    if row.falls_behind:
        return f"cannot keep up: a pass takes longer than its period; guest {percent:.2g} % slower"
    if percent >= HEAVY_PERCENT:
        return f"too expensive: guest {percent:.2g} % slower"
    if percent >= NOTICED_PERCENT:
        return f"guest {percent:.2g} % slower"
    return "guest not slowed down" if percent < 0.005 else f"guest {percent:.1g} % slower"


def _sight(row: AgeRow) -> str:
    """The shares of pages that the policy misjudges, in either direction."""
    if row.sees:
        return "finds the used pages" if row.mean("used_pages") > 0 else "no page is used, and it finds none"
    wrong = []
    if row.missed_share > MISJUDGED_SHARE:
        wrong.append(f"counts {100 * row.missed_share:.0f} % of the used pages as idle")
    if row.surplus_share > MISJUDGED_SHARE:
        wrong.append(f"counts {_surplus(row)}")
    return "; ".join(wrong)


def _surplus(row: AgeRow) -> str:
    pages = row.mean("false_young_pages")
    if row.surplus_share == inf:
        return f"{pages:.0f} pages of an idle guest as used"
    return f"{pages:.0f} idle pages as used, {100 * row.surplus_share:.0f} % of the used ones"


def _reasons(row: AgeRow) -> Iterator[str]:
    """Why it is off."""
    if row.missed_share > MISJUDGED_SHARE:
        yield f"counts used pages as idle: {_why_missed(row)}"
    if row.surplus_share > MISJUDGED_SHARE:
        yield f"counts idle pages as used: {_why_surplus(row)}"


def _reason_lines(rows: Sequence[AgeRow], varied: Sequence[str]) -> list[str]:
    """A line for each reason, with the first row to which it applies."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for reason in _reasons(row):
            found.setdefault(reason, []).append(label(row, varied))
    more = {reason: f" (and {len(labels) - 1} more)" if len(labels) > 1 else "" for reason, labels in found.items()}
    return [f"Why {labels[0]}{more[reason]} {reason}." for reason, labels in found.items()]


def _why_missed(row: AgeRow) -> str:
    if row.by.misses:
        return row.by.misses
    flushes = row.ageing.flush and load_era(row.era).flush_when_ageing
    if row.case.vm.mmu is not None and row.case.vm.mmu.a_bits and not flushes:
        return "without a TLB flush translations stay in the TLB, and the hardware sets no accessed bit"
    return "what the guest accesses between a pass's look at a page and its call is missed"


def _why_surplus(row: AgeRow) -> str:
    return row.by.holds or "accessed bits that are older than a period count, too"


def verdict_lines(rows: Sequence[AgeRow], varied: Sequence[str]) -> list[str]:
    """The first opens with VERDICT: how many rows are fit for use; then the cheapest of those and the dearest of all."""
    fit = [row for row in rows if is_fit(row)]
    who = f"{len(fit)} of {len(rows)} {_plural(len(rows))}"
    bounds = f"are off by at most {100 * MISJUDGED_SHARE:.0f} % of the used pages and slow the guest by less than"
    told = [f"VERDICT: {who} {bounds} {NOTICED_PERCENT:g} %."]
    if len(rows) > 1:
        cheapest = min(fit, key=lambda row: row.mean("vcpu_slowdown_percent"), default=None)
        dearest = max(rows, key=lambda row: row.mean("vcpu_slowdown_percent"))
        told += [f"Cheapest of them: {label(cheapest, varied)}: {row_verdict(cheapest)}."] if cheapest else []
        told.append(f"Most expensive: {label(dearest, varied)}: {row_verdict(dearest)}.")
    return told + _reason_lines(rows, varied)


def is_fit(row: AgeRow) -> bool:
    """Whether the estimate of ``row`` is right, its passes keep up with the period, and the guest slows down little."""
    return row.sees and not row.falls_behind and row.mean("vcpu_slowdown_percent") < NOTICED_PERCENT


def label(row: AgeRow, varied: Sequence[str]) -> str:
    """The settings of ``row`` that vary, as ``vcpus=8, policy=mglru``; all settings if none varies."""
    return ", ".join(f"{key}={value}" for key, value in row.settings.items() if key in varied or not varied)


def _plural(n: int) -> str:
    return "combination" if n == 1 else "combinations"
