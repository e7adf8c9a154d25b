"""A run as a task of a Dask worker: it checks that the worker has the client's hostsim, then simulates."""

from __future__ import annotations

import pickle
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostsim.plugins.registry import PluginError
from hostsim.study.compare.identity import plugin_versions, versions
from hostsim.study.compare.runner import Failure, simulate

if TYPE_CHECKING:
    from hostsim.study.compare.plan import Run
    from hostsim.study.compare.record import Measure

_ONE_AT_A_TIME = threading.Lock()
"""Threads of one worker take turns: compiled loops hold the interpreter's lock, so a second simulation would only wait."""
_CANCELLED = "cancelled"


@dataclass(frozen=True)
class Refused:
    """Stands for the answer of a worker that has another hostsim than the client; found: its versions."""

    worker: str
    found: Mapping[str, Any]


@dataclass(frozen=True)
class Inputs:
    """Files beside a scenario, read by the client: the worker may see other folders.

    traces: columns of each trace, by the key of ``Scenario.traces``.
    sheet: content of the cost sheet that is a file; None: the sheet comes with hostsim.
    """

    traces: Mapping[str, Any]
    sheet: bytes | None


class TaskCancelledError(Exception):
    """The client does not want the run any more."""


def own_versions() -> dict[str, Any]:
    """Versions of everything on this worker that moves a result."""
    return dict(versions())


def kept(inputs: bytes) -> bytes:
    """The pickled Inputs as the result of a task: runs of equal inputs share them, and a lost copy is made again."""
    return inputs


def run_task(
    work: bytes, inputs: bytes, wanted: Mapping[str, Any], plugins: Mapping[str, Any], topic: str, number: int
) -> bytes | Failure | Refused:  # fmt: skip
    """The record of a run, or why there is none.

    work: the pickled (Run, Measure), read after the versions are compared.
    inputs: the pickled Inputs.
    wanted: versions of the client.
    plugins: versions of the plug-ins of the run at the client.
    topic: under which the worker reports how far run ``number`` is.
    """
    from distributed import get_worker

    worker = get_worker()
    if own_versions() != dict(wanted):
        return Refused(str(worker.name), own_versions())
    run, measure = _unpacked(work)
    if (found := _own_plugins(run)) != plugins:
        return Refused(str(worker.name), found)
    tell = _progress_of(worker, topic, number)
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="hostsim-") as folder:
        return simulate([_with_inputs(run, pickle.loads(inputs), Path(folder))], measure, 0, tell)  # noqa: S301  the client's


def _own_plugins(run: Run) -> dict[str, Any]:
    """The plug-ins of the run as this worker has them; none if one is not installed."""
    try:
        return plugin_versions(run.scenario)
    except PluginError:
        return {}


def _unpacked(work: bytes) -> tuple[Run, Measure]:
    run, measure = pickle.loads(work)  # noqa: S301  the client's
    return run, measure


def _with_inputs(run: Run, inputs: Inputs, folder: Path) -> Run:
    from dataclasses import replace

    sheet = folder / "sheet.toml"
    if inputs.sheet is not None:
        sheet.write_bytes(inputs.sheet)
    return replace(run, scenario=run.scenario.with_inputs(inputs.traces, str(sheet) if inputs.sheet is not None else ""))


def _progress_of(worker: Any, topic: str, number: int) -> Callable[[int], None]:
    """Reports to the client how far a run is, as local workers do, and ends a run that was cancelled."""
    from hostsim.study.compare.workers import seldom

    key = worker.get_current_task()
    told = seldom(lambda how_far: worker.log_event(topic, {"number": number, "how_far": int(how_far)}))

    def tell(how_far: int) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == _CANCELLED:
            raise TaskCancelledError
        told(how_far)

    return tell
