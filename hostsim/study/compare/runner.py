"""Running a plan: finished runs are read, the others run and written one by one; a failed run does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hostsim.core.errors import HostsimError, InvariantError
from hostsim.study.compare.figures import Figures
from hostsim.study.compare.plan import Plan, Run
from hostsim.study.compare.record import WHOLE_RUN, Measure, figures_in, read_record, record_bytes, write_record
from hostsim.study.compare.workers import Died, run_tasks

NO_MEMORY = 2
Answers = Generator[tuple[int, Any], None, None]


@dataclass(frozen=True)
class Failure:
    """A run that gave no result: the text of its error, and the exit code of the program."""

    text: str
    exit_code: int


@dataclass
class Progress:
    """The state of the runs, for the progress display. simulated_ns, shares: of runs at work, by their number."""

    total: int
    done: int = 0
    simulated_ns: dict[int, int] = field(default_factory=dict)
    shares: dict[int, float] = field(default_factory=dict)

    @property
    def through(self) -> float:
        """Runs that are done, plus the finished share of each run at work."""
        return self.done + sum(self.shares.values())


@dataclass(frozen=True)
class Outcome:
    """Figures by key of the run, None for a failed run; ``reused``: keys of runs that were finished before."""

    figures: Mapping[str, Figures | None]
    failures: Mapping[str, Failure]
    reused: frozenset[str]


class RunsFailedError(HostsimError):
    """Some runs failed, the others are finished; ``exit_code``: the highest of the failures'."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def finished_runs(plan: Plan, out: Path | None) -> dict[str, Figures]:
    """Figures of the plan's runs whose files are in ``out``."""
    if out is None:
        return {}
    found = {run.key: read_record(out, run.key, plan.request.measure) for run in plan.runs}
    return {key: figures for key, figures in found.items() if figures is not None}


def runs_to_do(plan: Plan, finished: Mapping[str, Figures]) -> list[Run]:
    """Runs that are not finished, each key once."""
    return list({run.key: run for run in plan.runs if run.key not in finished}.values())


def run_plan(
    runs: Sequence[Run],
    finished: Mapping[str, Figures],
    n_workers: int,
    out: Path | None = None,
    show: Callable[[Progress], None] | None = None,
    measure: Measure = WHOLE_RUN,
    cluster: str = "",
) -> Outcome:
    """Run ``runs``, and write the file of each into ``out`` once it is done. On OutputError the files before are whole.

    n_workers: processes on this machine; moves no result.
    show: called when a run has progressed.
    measure: how a run is measured.
    cluster: address of a Dask scheduler whose workers run the runs, in place of processes here; moves no result.
    """
    figures: dict[str, Figures | None] = dict(finished)
    failures: dict[str, Failure] = {}
    progress, tell = Progress(len(runs)), show or (lambda _: None)

    def heard(number: int, sim_ns: int) -> None:
        progress.simulated_ns[number] = sim_ns
        progress.shares[number] = min(1.0, sim_ns / runs[number].scenario.duration)
        tell(progress)

    tell(progress)
    with closing(_answers(runs, n_workers, heard, measure, cluster)) as answers:
        for number, answer in answers:
            key = runs[number].key
            figures[key] = _kept(key, answer, out, failures)
            progress.done += 1
            progress.simulated_ns.pop(number, None)
            progress.shares.pop(number, None)
            tell(progress)
    return Outcome(figures, failures, frozenset(finished))


def simulate(runs: Sequence[Run], measure: Measure, number: int, how_far: Callable[[int], None]) -> bytes | Failure:
    """The record of run ``number`` of ``runs``, or the reason why there is none.

    measure: simulates a scenario and takes its figures.
    how_far: called with the simulated time so far [ns].
    """

    def progress(sim_ns: int, info: Mapping[str, Any]) -> None:
        del info
        how_far(sim_ns)

    try:
        return record_bytes(runs[number].key, measure.take(runs[number].scenario, progress), measure)
    except HostsimError as error:
        return Failure(str(error), error.exit_code)
    except MemoryError as error:
        return Failure(f"not enough memory on this machine: {error or 'the guest is too large'}", NO_MEMORY)


def _answers(
    runs: Sequence[Run], n_workers: int, heard: Callable[[int, int], None], measure: Measure, cluster: str
) -> Answers:  # fmt: skip
    if cluster:
        from hostsim.study.compare.cluster import run_on_cluster

        return run_on_cluster(cluster, runs, measure, heard)
    import hostsim.simulation  # noqa: F401  before workers are forked: each would load it for itself

    return run_tasks(partial(simulate, runs, measure), range(len(runs)), n_workers, heard)


def _kept(key: str, answer: bytes | Failure | Died, out: Path | None, failures: dict[str, Failure]) -> Figures | None:
    if isinstance(answer, bytes):
        if out is not None:
            write_record(out, key, answer)
        return figures_in(answer)
    failures[key] = answer if isinstance(answer, Failure) else _of_dead_worker(answer)
    return None


def _of_dead_worker(died: Died) -> Failure:
    if died.code < 0:
        return Failure(f"its worker was killed by signal {-died.code}: if memory ran out, use fewer --workers", NO_MEMORY)
    return Failure(f"its worker ended with exit code {died.code}, see above", InvariantError.exit_code)


def failed_error(plan: Plan, outcome: Outcome) -> RunsFailedError | None:
    """All failures in ``outcome``, each with the command that replays the run of ``plan``; None if there are none."""
    if not outcome.failures:
        return None
    failed = {run.key: run for run in plan.runs if run.key in outcome.failures}
    lines = [f"{outcome.failures[key].text}; replay: {replay(plan, run)}" for key, run in failed.items()]
    return RunsFailedError("\n".join(lines), max(failure.exit_code for failure in outcome.failures.values()))


def replay(plan: Plan, run: Run) -> str:
    """The command that runs it alone; the run of a preset is replayed by the command of its row."""
    from shlex import join

    if plan.request.command:
        chosen = [text for key, value in plan.settings(run.combination).items() if value for text in (f"--{key}", value)]
        return join([*plan.request.command, *chosen, "--seed", str(run.seed)])
    settings = zip(plan.axes, plan.combinations[run.combination], strict=True)
    texts = [*plan.request.overrides, *(_override(axis, label) for axis, label in settings)]
    options = [part for text in texts for part in ("--set", text)]
    return join(["hostsim", "run", str(plan.request.file), *options, "--seed", str(run.seed)])


def _override(axis: Any, label: str) -> str:
    return str(axis.overrides[axis.labels.index(label)])
