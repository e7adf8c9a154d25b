"""Runs that several tests and pages look at, simulated once: equal keys give equal results (tests/golden, law 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from tests.helpers.shared import once

if TYPE_CHECKING:
    from hostsim.results.tables import RunResult
    from hostsim.scenario import Scenario
    from hostsim.verdict.trial import Trial


def run(scenario: Scenario, progress: Any = None, knobs: Any = None) -> RunResult:
    """``hostsim.run``; a run with the key of an earlier one is not simulated again and reports no progress."""
    from hostsim import simulation
    from hostsim.study.compare.identity import run_key

    assert knobs is None
    return once(f"run {run_key(scenario)}", lambda: _simulate(simulation)(scenario, progress))


def try_out(
    scenario: Scenario, changes: Mapping[str, Any], seed: int, work_most: float, sent_most: float = float("inf")
) -> Trial:  # fmt: skip
    """``hostsim.verdict.trial.try_out`` likewise."""
    from hostsim.study.compare.identity import run_key
    from hostsim.verdict import trial

    key = run_key(trial.changed(scenario, changes, seed))
    most = f"{work_most:.6g} {sent_most:.6g}"
    return once(f"trial {key} {most}", lambda: trial.try_out(scenario, changes, seed, work_most, sent_most))


@contextmanager
def remembered() -> Iterator[None]:
    """Within it commands of this process run and try scenarios by the functions above."""
    from hostsim import simulation
    from hostsim.verdict import trial_budget

    runs = mock.patch.object(simulation, "run", _Remembering(simulation.run))
    with runs, mock.patch.object(trial_budget, "try_out", try_out):
        yield


class _Remembering:
    """Stands for ``hostsim.simulation.run``, which it calls for runs that are new, and for those that are recorded."""

    def __init__(self, simulate: Any) -> None:
        self.simulate = simulate

    def __call__(
        self, scenario: Scenario, progress: Any = None, knobs: Any = None, recording: Any = None, look: Any = None
    ) -> RunResult:
        if recording is not None or look is not None:
            return self.simulate(scenario, progress, knobs, recording, look)
        return run(scenario, progress, knobs)


def _simulate(simulation: Any) -> Any:
    found = simulation.run
    return found.simulate if isinstance(found, _Remembering) else found
