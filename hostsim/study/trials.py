"""Trials of a study: every case with every seed, by worker processes, in the order of the cases whoever is done first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

from hostsim.core.errors import HostsimError
from hostsim.study.compare.runner import Progress
from hostsim.study.compare.together import cores, workers_that_fit
from hostsim.study.compare.workers import Died, run_tasks
from hostsim.study.how_far import WHOLE, HowFar

Case = TypeVar("Case")
Answer = TypeVar("Answer")
Show = Callable[[Progress], None]


class TrialDiedError(HostsimError):
    """A worker ended without an answer."""


def seeds_of(seed: int, reps: int) -> list[int]:
    """Seeds of ``reps`` replications, shared by all cases: common random numbers."""
    return list(range(seed, seed + reps))


def run_trials(
    cases: Sequence[Case], seeds: Sequence[int], trial: Callable[[Case, int, HowFar], Answer], workers: int | None,
    show: Show, trial_bytes: int = 0,
) -> list[list[Answer]]:
    """For each case the answers by seed.

    workers: None: one a core, fewer where memory is short; moves no result.
    show: called when a trial has progressed; trial_bytes: memory of the largest trial.
    Errors of a trial are raised here; TrialDiedError if a worker dies.
    """
    tasks = [(case, seed) for case in cases for seed in seeds]
    progress, answers = Progress(len(tasks)), [None] * len(tasks)
    show(progress)
    most = min(workers or cores(), len(tasks)) or 1
    n_workers = most if workers is not None else workers_that_fit(trial_bytes, most)

    def heard(number: int, per_mille: int) -> None:
        progress.shares[number] = per_mille / WHOLE
        show(progress)

    with closing(run_tasks(partial(_one, trial, tasks), range(len(tasks)), n_workers, heard)) as done:
        for number, answer in done:
            progress.shares.pop(number, None)
            if isinstance(answer, Died):
                raise TrialDiedError(f"a worker ended with exit code {answer.code}: if memory ran out, use fewer --workers")
            answers[number] = answer
            progress.done += 1
            show(progress)
    found: list[Any] = answers
    return [found[i * len(seeds) : (i + 1) * len(seeds)] for i in range(len(cases))]


def _one(trial: Callable[..., Any], tasks: Sequence[tuple[Any, int]], number: int, how_far: HowFar) -> Any:
    return trial(*tasks[number], how_far)
