"""Runs of a question's scenarios: in workers, each scenario once, finished runs read from the folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import join

from hostsim.scenario.schema import Scenario
from hostsim.study.compare.figures import Figures
from hostsim.study.compare.identity import run_key
from hostsim.study.compare.plan import Run
from hostsim.study.compare.record import read_record
from hostsim.study.compare.runner import Failure, Progress, RunsFailedError, run_plan
from hostsim.study.compare.together import choose_workers
from hostsim.study.compare.work import work_of

Show = Callable[[Progress], None]


@dataclass
class Bench:
    """The runs of one question.

    workers: processes, None: one a core; moves no result. out: folder of finished runs, None: no files.
    show: called as runs progress. force: run again what is finished. file: of the scenario, for the command that replays.
    cluster: address of a Dask scheduler; "": processes of this machine.
    """

    workers: int | None = None
    out: Path | None = None
    show: Show | None = None
    force: bool = False
    file: str = "SCENARIO.toml"
    cluster: str = ""
    expected: int = 0
    """Runs announced so far, for the time left."""
    done: int = 0
    work: int = 0
    """Work of all runs so far, counted in pages, never in seconds: equal on all machines."""
    _known: dict[str, Figures] = field(default_factory=dict)

    def figures(self, scenarios: Sequence[Scenario]) -> list[Figures]:
        """The figures of a run of each scenario. RunsFailedError, InputError if memory is too small."""
        runs = [Run(0, scenario.seed, scenario, run_key(scenario)) for scenario in scenarios]
        to_do = list({run.key: run for run in runs if not self._has(run.key)}.values())
        if to_do:
            self._run(to_do)
        self.work += sum(work_of(self._known[run.key], run.scenario) for run in runs)
        return [self._known[run.key] for run in runs]

    def _has(self, key: str) -> bool:
        if key in self._known:
            return True
        found = None if self.out is None or self.force else read_record(self.out, key)
        if found is not None:
            self._known[key] = found
        return found is not None

    def _run(self, runs: Sequence[Run]) -> None:
        workers = 0 if self.cluster else choose_workers(runs, self.workers)
        outcome = run_plan(runs, {}, workers, self.out, self._show, cluster=self.cluster)
        self.done += len(runs)
        if outcome.failures:
            raise _failed(self.file, [(run, outcome.failures[run.key]) for run in runs if run.key in outcome.failures])
        self._known |= {key: figures for key, figures in outcome.figures.items() if figures is not None}

    def _show(self, progress: Progress) -> None:
        if self.show is not None:
            total = max(self.expected, self.done + progress.total)
            self.show(Progress(total, self.done + progress.done, progress.simulated_ns, progress.shares))


def _failed(file: str, failed: Sequence[tuple[Run, Failure]]) -> RunsFailedError:
    replays = [join(["hostsim", "run", file, "--seed", str(run.seed)]) for run, _ in failed]
    lines = [f"{failure.text}; replay: {replay}" for (_, failure), replay in zip(failed, replays, strict=True)]
    return RunsFailedError("\n".join(lines), max(failure.exit_code for _, failure in failed))
