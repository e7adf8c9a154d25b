"""``hostsim.predict``: will this VM migrate, how long does it take, and how far is the answer from flipping?"""

from __future__ import annotations

from pathlib import Path

from hostsim.core.errors import InputError, Problem
from hostsim.scenario import load_scenario
from hostsim.scenario.schema import Scenario
from hostsim.study.predict.bench import Bench
from hostsim.study.predict.prediction import Prediction, prediction_of
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
) -> Prediction:
    """Run a migration with several seeds, and answer with intervals.

    scenario: or the file of one.
    reps: replications; None: 30, fewer where that is too much work.
    seed: the first, in place of the scenario's.
    until_ci: add replications until half of the interval of the total time is within this share of the mean.
    workers: processes; moves no result.
    out: folder of finished runs, which are not run again.

    InputError; MissingExtraError without scipy; RunsFailedError.
    """
    base = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
    base = base if seed is None else base.model_copy(update={"seed": seed})
    require_migration(base)
    return predict_drawn(same_guest(base), Wanted(reps, until_ci), Bench(workers, out))


def predict_drawn(drawn: Drawn, wanted: Wanted | None = None, bench: Bench | None = None, name: str = "") -> Prediction:
    """As ``predict``, from the scenario of each replication, which may differ in more than its seed.

    drawn: a function of the number of the replication (0, 1, ...), or a sequence of scenarios. Where the guest is drawn anew
    for each replication, the uncertainty about the guest is in the intervals.
    """
    require_intervals()
    return prediction_of(replicate(drawn, wanted or Wanted(), bench or Bench()), name)


def require_migration(scenario: Scenario) -> None:
    """InputError for a scenario without a migration."""
    if scenario.migration is None:
        wanted = "a [migration] table, for a prediction"
        raise InputError([Problem(scenario.name or "scenario", "migration", "none", wanted)])
