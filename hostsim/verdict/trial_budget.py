"""The work that trials of advice may take, and trials that spend it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hostsim.verdict.mechanism import Changes
from hostsim.verdict.moments import moments_of
from hostsim.verdict.trial import Trial, seeds_of, try_out

if TYPE_CHECKING:
    from hostsim.scenario import Scenario

SEEDS = 3
Show = Callable[[str], None]


def ignore(what: str) -> None:
    """Takes ``what``, a line on the progress, and shows nothing."""
    del what


@dataclass
class TrialBudget:
    """Work that is left for trials.

    most: of one, sleeps of a throttle left out, after which the trial counts as one that does not complete.
    """

    scenario: Scenario
    left: float
    most: float
    show: Show = ignore

    @property
    def varies(self) -> bool:
        """Whether the guest works in windows, so that the start of the migration decides."""
        return moments_of(self.scenario, SEEDS).period_ns > 0

    @contextmanager
    def part(self, share: float) -> Iterator[TrialBudget]:
        """A budget with ``share`` of the work left; work that it does not spend comes back to this budget."""
        inner = replace(self, left=self.left * share)
        before = inner.left
        yield inner
        self.left = max(0.0, self.left - (before - inner.left)) if self.left < float("inf") else self.left

    def spend(self, what: str, changes: Changes, seed: int) -> Trial | None:
        """A trial of the scenario with ``changes`` and ``seed``; its work leaves the budget.

        what: the value under trial, in words, for the line that shows the progress.
        None if no work is left for the trial, or if the trial stopped because the work ran out.
        """
        if self.left <= 0:
            return None
        self.show(f"{what}, seed {seed}")
        gc.collect()  # a machine is full of circles, and a large one may leave no room for the next
        trial = try_out(self.scenario, changes, seed, self.left, self.most)
        self.left -= trial.work
        return None if trial.status == "stopped" and self.left <= 0 else trial

    def all_complete(self, what: str, changes: Changes) -> tuple[Trial, ...] | None:
        """Trials of ``changes`` with as many seeds as the work allows.

        what: the value under trial, in words, as in ``spend``.
        () if one of the trials does not complete, None if no work is left for the first.
        """
        found: list[Trial] = []
        moments = moments_of(self.scenario, SEEDS)
        for number, seed in enumerate(seeds_of(self.scenario, SEEDS)):
            trial = self.spend(what, moments.changes(self.scenario, changes, number), seed)
            if trial is None:
                break
            if not trial.completed:
                return ()
            found.append(trial)
        return tuple(found) or None
