"""``hostsim.predict``: will this VM migrate, how long does it take, and how far is the answer from flipping?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hostsim.core.errors import InputError, Problem
from hostsim.scenario import load_scenario
from hostsim.scenario.schema import Scenario
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.forecast import computed_figures
from hostsim.study.predict.logged import logged_runs, unlogged_work
from hostsim.study.predict.margins import converging, margins_of
from hostsim.study.predict.prediction import Prediction, estimates_of, prediction_of
from hostsim.study.predict.replications import Drawn, Wanted, replicate, same_guest
from hostsim.study.statistics import require_intervals


def predict(
    scenario: Scenario | str | Path,
    *,
    reps: int | None = None,
    seed: int | None = None,
    until_ci: float | None = None,
    workers: int | None = None,
    out: Path | None = None,
    margins: bool = True,
) -> Prediction:
    """Run a migration with several seeds, and answer with intervals.

    scenario: or the file of one.
    reps: replications; None: 30, fewer where that is too much work.
    seed: the first, in place of the scenario's.
    until_ci: add replications until half of the interval of the total time is within this share of the mean.
    workers: processes; moves no result.
    out: folder of finished runs, which are not run again.
    margins: whether to look for the values at which the answer flips.

    InputError; MissingExtraError without scipy; RunsFailedError.
    """
    base = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    base = base if seed is None else base.model_copy(update={"seed": seed})
    require_migration(base)
    return predict_whole(base, Wanted(reps, until_ci), Bench(workers, out), margins=margins)


def predict_whole(base: Scenario, wanted: Wanted, bench: Bench, *, margins: bool = True) -> Prediction:
    """The prediction of ``base`` with the cost of KVM's dirty logging and, if wanted, with margins."""
    found = predict_drawn(same_guest(base), wanted, bench)
    found = replace(found, computed=computed_figures(base))
    found = replace(found, logged=estimates_of(logged_runs(base, bench)), unlogged_work=unlogged_work(base))
    if not margins:
        return found
    total_ms = found.mean("total_time_ms")
    goal = converging(total_ms / 1000 if total_ms else None)
    return replace(found, margins=margins_of(base, found.is_likely, goal, bench))


def predict_drawn(drawn: Drawn, wanted: Wanted | None = None, bench: Bench | None = None, name: str = "") -> Prediction:
    """As ``predict``, from the scenario of each replication, which may differ in more than its seed.

    drawn: a function of the number of the replication (0, 1, ...), or a sequence of scenarios. Where the guest is drawn anew
    for each replication, the uncertainty about the guest is in the intervals.
    wanted: number of replications, or the width of the interval to reach.
    bench: workers, and the folder of finished runs.
    name: of the prediction; "": the scenario's.
    """
    require_intervals()
    return prediction_of(replicate(drawn, wanted or Wanted(), bench or Bench()), name)


def require_migration(scenario: Scenario) -> None:
    """InputError for a scenario without a migration."""
    if scenario.migration is None:
        wanted = "a [migration] table, for a prediction"
        raise InputError([Problem(scenario.name or "scenario", "migration", "none", wanted)])
