"""Studies from Python: what ``hostsim compare`` and ``hostsim sweep`` run and write, as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostsim.core.errors import InputError, Problem
from hostsim.report.compare_report import as_content, combinations_table, runs_table, write_comparison
from hostsim.results.store import prepare_folder
from hostsim.results.tables import HasTables, Table
from hostsim.scenario import Scenario
from hostsim.scenario.catalogue import found_file
from hostsim.simulation import kinds_of
from hostsim.study.compare.axes import key_problems
from hostsim.study.compare.figures import Figures
from hostsim.study.compare.grown import grown
from hostsim.study.compare.modes import modes_plan
from hostsim.study.compare.plan import RUNS_MAX, Plan, Request, make_plan
from hostsim.study.compare.plan_file import write_plan
from hostsim.study.compare.runner import Outcome, Progress, failed_error, finished_runs, run_plan, runs_to_do
from hostsim.study.compare.study_file import load_study, overrides_of, read_vary
from hostsim.study.compare.summary import Summary, summarise
from hostsim.study.compare.together import check_where, choose_workers

SOURCE = "hostsim.compare"


@dataclass(frozen=True, repr=False)
class Study(HasTables):
    """A finished study.

    plan: its combinations and runs.
    outcome: figures of each run.
    summary: figures of each combination over its seeds.
    content: what compare.json holds.
    paths: files that were written.
    """

    plan: Plan
    outcome: Outcome
    summary: Summary
    content: dict[str, Any]
    paths: tuple[Path, ...]

    @property
    def verdict(self) -> str:
        """The lines above the table of ``hostsim compare``."""
        return "\n".join(self.content["verdict"])

    @property
    def tables(self) -> dict[str, Table]:
        """compare: a row a combination, with means, intervals and ratios; runs: a row a run."""
        return {"compare": combinations_table(self.summary), "runs": runs_table(self.plan, self.outcome)}

    def to_dict(self) -> dict[str, Any]:
        """The content of compare.json."""
        return self.content

    def __repr__(self) -> str:
        """The verdict; the fields of a study fill pages."""
        return self.verdict

    def _repr_html_(self) -> str:
        from hostsim.report.notebook import study_html

        return study_html(self.plan.name, self.verdict, self.summary)


@dataclass(frozen=True)
class Where:
    """Where a study runs and writes; see ``compare``."""

    workers: int | None
    cluster: str
    out: Path | None
    force: bool
    progress: Callable[[Progress], None] | None


def compare(
    scenario: Scenario | str | Path,
    vary: Mapping[str, Sequence[Any]] | None = None,
    *,
    modes: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    seeds: int | None = None,
    workers: int | None = None,
    cluster: str = "",
    out: str | Path | None = None,
    force: bool = False,
    max_runs: int = RUNS_MAX,
    progress: Callable[[Progress], None] | None = None,
) -> Study:
    """Run a scenario for every combination of some values, and compare each with the first, as ``hostsim compare`` does.

    scenario: a scenario, the path of its file, or a name that ``hostsim scenarios`` lists.
    vary: dotted keys, each with its values, as {"link.bandwidth": ["10Gbit/s", "25Gbit/s"]}.
    modes: mechanisms of migration, in place of ``vary``: "all", or some of them, separated by commas.
    overrides: dotted keys and values that all combinations have.
    seed: the first seed; None: the scenario's.
    seeds: seeds of each combination; None: 5, fewer if their runs are much work.
    workers: processes of this machine; None: one a core.
    cluster: address of a Dask scheduler, as "tcp://scheduler:8786", whose workers run the runs.
    out: folder of the files; finished runs there are not run again unless ``force``. None: no files.
    max_runs: more runs are refused.
    progress: called when a run has progressed.
    InputError, OutputError, ClusterError; RunsFailedError after the files are written if a run gave no result.
    """
    where = Where(workers, cluster, None if out is None else Path(out), force, progress)
    if (vary is None) == (modes is None):
        got = "neither vary nor modes" if vary is None else "both vary and modes"
        raise InputError([Problem(SOURCE, "", got, "one of the two", 'vary={"vm.vcpus": [1, 2]}')])
    axes, problems = read_vary(vary, SOURCE) if vary is not None else ((), [])
    texts, more = overrides_of(dict(overrides or {}), SOURCE)
    problems = [*problems, *more, *key_problems(axes, texts, SOURCE)]
    if problems:
        raise InputError(problems)
    file, table = _file_of(scenario)
    request = Request(
        file, axes, texts, seed, seeds or 1, max_runs, source=SOURCE, set_source=SOURCE, table=table, by_work=seeds is None,
    )  # fmt: skip
    return _finished(make_plan(request) if modes is None else modes_plan(request, modes).plan, where)


def sweep(
    study: str | Path,
    *,
    workers: int | None = None,
    cluster: str = "",
    out: str | Path | None = None,
    force: bool = False,
    max_runs: int = RUNS_MAX,
    progress: Callable[[Progress], None] | None = None,
) -> Study:
    """Run the study in the file ``study``, as ``hostsim sweep`` does.

    workers, cluster, out, force, max_runs, progress, and the errors: as in ``compare``.
    """
    where = Where(workers, cluster, None if out is None else Path(out), force, progress)
    return _finished(make_plan(load_study(Path(study), max_runs)), where)


def _file_of(scenario: Scenario | str | Path) -> tuple[Path, Mapping[str, Any] | None]:
    """(file, table): of a scenario made in Python the file is the one that its text would be written to."""
    if isinstance(scenario, Scenario):
        return scenario.folder / f"{scenario.name or 'scenario'}.toml", scenario.to_table()
    return found_file(Path(scenario)), None


def _finished(plan: Plan, where: Where) -> Study:
    plan, outcome = _all_seeds(plan, where)
    summary = summarise(plan, outcome.figures)
    content = as_content(plan, outcome, summary)
    paths = () if where.out is None else write_comparison(where.out, plan, outcome, summary, content)
    if (failed := failed_error(plan, outcome)) is not None:
        raise failed
    return Study(plan, outcome, summary, content, tuple(paths))


def _all_seeds(plan: Plan, where: Where) -> tuple[Plan, Outcome]:
    """The plan with as many seeds as ``hostsim compare`` gives it, and its outcome."""
    outcome = outcome_of(plan, where, failing=True)
    more = grown(plan, outcome, None)
    return (plan, outcome) if more is None else (more, outcome_of(more, where, outcome.figures, failing=True))


def outcome_of(
    plan: Plan, where: Where, known: Mapping[str, Figures | None] | None = None, *, failing: bool = False
) -> Outcome:  # fmt: skip
    """Run the runs of ``plan`` that are not finished in the folder.

    known: figures of runs that were run before.
    failing: hand back runs that failed, too; else RunsFailedError.
    """
    check_where(where.workers, where.cluster)
    if where.out is not None:
        prepare_folder(where.out)
        write_plan(where.out, plan)
    finished = {} if where.force else finished_runs(plan, where.out)
    finished |= {key: figures for key, figures in (known or {}).items() if figures is not None}
    to_do = runs_to_do(plan, finished)
    workers = 0 if where.cluster else choose_workers(to_do, where.workers)
    if workers > 1:
        _compile_once([kind for run in to_do for kind in kinds_of(run.scenario)])
    measure = plan.request.measure
    outcome = run_plan(to_do, finished, workers, where.out, where.progress, measure, where.cluster)
    if not failing and (failed := failed_error(plan, outcome)) is not None:
        raise failed
    return outcome


def _compile_once(kinds: Sequence[str]) -> None:
    """Compile here what is missing: workers are forked from this process and would each compile it."""
    from hostsim.warm_up import warm_up

    warm_up(list(dict.fromkeys(kinds)))
