"""Runs on a Dask cluster: each is a task, the scheduler gives it to a worker, and its record comes back.

A task whose worker dies is given to another worker. Records are written by the client alone.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hostsim.core.errors import HostsimError, InputError, MissingExtraError, Problem
from hostsim.core.units import shown
from hostsim.costs.cost_file import is_path
from hostsim.study.compare.identity import plugin_versions, versions
from hostsim.study.compare.on_worker import Inputs, Refused, kept, own_versions, run_task
from hostsim.study.compare.runner import NO_MEMORY, Failure

if TYPE_CHECKING:
    from hostsim.study.compare.plan import Run
    from hostsim.study.compare.record import Measure
    from hostsim.study.compare.workers import Answers, Heard

EXAMPLE = "--cluster tcp://scheduler:8786"
PATIENCE_S = 10.0
"""Time for the scheduler to answer, and for a first worker to be there."""
ALONE_S = 60.0
"""Time for which a study waits while the cluster has no worker."""
LOOK_S = 1.0
WITH_EACH_BYTES = 1 << 20
"""Files beside a scenario of at most this size are part of every task."""
_ADDRESS = re.compile(r"(?:(?:tcp|tls|ws|wss|ucx)://)?(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}")
_CODE_DIGITS = 12


class ClusterError(HostsimError):
    """The cluster cannot run the study: no scheduler, no worker, or a worker with another hostsim."""


def check_address(address: str) -> None:
    """InputError if ``address`` is not that of a scheduler, MissingExtraError without Dask's scheduler."""
    if not _ADDRESS.fullmatch(address):
        raise InputError([Problem("--cluster", "", shown(address), "the address of a Dask scheduler", EXAMPLE)])
    if find_spec("distributed") is None:
        raise MissingExtraError("distributed", "cluster")


def run_on_cluster(address: str, runs: Sequence[Run], measure: Measure, heard: Heard) -> Answers:
    """Yields (number, answer) as runs are done, as ``workers.run_tasks`` does. ClusterError.

    address: of the scheduler, as tcp://host:8786.
    Close the iterator to cancel the tasks that are not done.
    """
    if not runs:
        return
    with _connected(address) as client:
        check_workers(client, address)
        tasks = _Tasks(client, address, runs, measure)
        try:
            yield from tasks.answers(heard)
        finally:
            tasks.cancel()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """A client of the scheduler, quiet: its errors leave as ClusterError."""
    check_address(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions, which are compared here, and of large tasks
        client = _client(address)
        try:
            yield client
        finally:
            with suppress(Exception):
                client.close(timeout=PATIENCE_S)


def _client(address: str) -> Any:
    """A client, or ClusterError in time: Dask waits for ever for a peer that accepts the connection and says nothing."""
    from distributed import Client

    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # each has a level of its own once Dask is loaded
    make: Any = Client  # of no type
    answer: SimpleQueue[Any] = SimpleQueue()

    def connect() -> None:
        try:
            answer.put(make(address, timeout=PATIENCE_S, set_as_default=False))
        except (OSError, TimeoutError, ValueError) as error:
            answer.put(error)

    Thread(target=connect, daemon=True).start()
    try:
        found = answer.get(timeout=PATIENCE_S + LOOK_S)
    except Empty:
        found = TimeoutError("something accepts connections and answers nothing")
    if isinstance(found, Exception):
        raise ClusterError(_unreachable(address, found))
    return found


def _unreachable(address: str, error: Exception) -> str:
    told = f"no Dask scheduler answers at {address} within {PATIENCE_S:g} s ({_reason(error)})"
    return f"--cluster: {told}; `dask scheduler` starts one"


def _reason(error: BaseException) -> str:
    """The words of the error at the root of ``error``, as far as it has any."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    texts = [text for one in causes if (text := str(one).partition("\n")[0])]
    return texts[-1].rpartition(">: ")[2] if texts else "it did not answer in time"


def check_workers(client: Any, address: str) -> None:
    """Check that ``client``, of the scheduler at ``address``, has a worker. ClusterError.

    Every worker must have this hostsim, its libraries and this Python.
    """
    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
    except (OSError, TimeoutError):
        told = f"the scheduler at {address} has no worker after {PATIENCE_S:g} s"
        raise ClusterError(f"--cluster: {told}; `dask worker {address} --nthreads 1` starts one") from None
    problems = [*_python_problems(client)] or [*_version_problems(client)]
    if problems:
        raise ClusterError("\n".join(f"--cluster: {problem}" for problem in problems))


def _python_problems(client: Any) -> Iterator[str]:
    """Workers with another minor version of Python, whose pickles this one may not read."""
    told = client.get_versions(check=False)
    own = told["client"]["packages"]["python"]
    for worker, found in sorted(told["workers"].items()):
        python = found["packages"]["python"] if found else own
        if _minor(python) != _minor(own):
            yield f"worker {worker} runs Python {_minor(python)}, this is Python {_minor(own)}"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _version_problems(client: Any) -> Iterator[str]:
    for worker, found in sorted(client.run(own_versions, on_error="return").items()):
        if isinstance(found, BaseException):
            yield f"worker {worker} cannot load hostsim: {found}; install hostsim {versions()['hostsim']} there"
        elif found != versions():
            yield other_versions(worker, found)


def other_versions(worker: str, found: Mapping[str, Any]) -> str:
    """A sentence that names the worker, and each thing of which it has another version than this process."""
    if "hostsim" not in found:
        return f"worker {worker} has other plug-ins than this machine ({_plugins_words(found)}): its results could differ"
    own = versions()
    differ = [f"hostsim {found['hostsim']}, this is {own['hostsim']}"] if found["hostsim"] != own["hostsim"] else []
    libraries = own["libraries"]
    differ += [
        f"{name} {found['libraries'].get(name)}, this is {libraries[name]}"
        for name in libraries
        if found["libraries"].get(name) != libraries[name]
    ]
    if found["code_sha256"] != own["code_sha256"]:
        theirs, ours = (one["code_sha256"][:_CODE_DIGITS] for one in (found, own))
        differ.append(f"sources of hostsim {found['hostsim']} with hash {theirs}, here hostsim {own['hostsim']} with {ours}")
    return f"worker {worker} has {'; '.join(differ)}: its results could differ"


def _plugins_words(found: Mapping[str, Any]) -> str:
    each = [f"{one['name']} of {one['distribution']} {one['version']}" for one in found.get("plugins", ())]
    return ", ".join(each) or "none"


class _Tasks:
    """The tasks of a study on the cluster, and the messages about them."""

    def __init__(self, client: Any, address: str, runs: Sequence[Run], measure: Measure) -> None:
        self._client, self._address = client, address
        self._news: SimpleQueue[tuple[str, int, Any]] = SimpleQueue()
        self._topic = f"hostsim-{uuid4().hex}"
        self._inputs: dict[str, Any] = {}
        self._alone_since_s: float | None = None
        self._killed = _killed_error()
        client.subscribe_topic(self._topic, self._hear)
        self._left = {number: self._submitted(number, run, measure) for number, run in enumerate(runs)}
        for number, future in self._left.items():
            future.add_done_callback(partial(self._done, number))

    def _hear(self, event: tuple[Any, Any]) -> None:
        """Called by a thread of the client."""
        told = event[1]
        self._news.put(("far", told["number"], told["how_far"]))

    def _done(self, number: int, future: Any) -> None:
        """Called by a thread of the client."""
        del future
        self._news.put(("done", number, None))

    def _submitted(self, number: int, run: Run, measure: Measure) -> Any:
        from cloudpickle import dumps

        work, inputs = dumps((run, measure)), self._shared(pickle.dumps(_inputs_of(run)))
        arguments = (work, inputs, versions(), plugin_versions(run.scenario), self._topic, number)
        return self._client.submit(run_task, *arguments, key=f"{self._topic}-{number}", pure=False)

    def _shared(self, inputs: bytes) -> Any:
        """``inputs``; large ones as the result of a task, one for all runs that have equal ones.

        A worker waits long for a result that another worker had when it died: small inputs go with each run.
        """
        if len(inputs) <= WITH_EACH_BYTES:
            return inputs
        key = f"{self._topic}-inputs-{hashlib.sha256(inputs).hexdigest()}"
        if key not in self._inputs:
            self._inputs[key] = self._client.submit(kept, inputs, key=key, pure=False)
        return self._inputs[key]

    def answers(self, heard: Heard) -> Answers:
        """Yields (number, answer) as tasks are done. ClusterError."""
        while self._left:
            try:
                kind, number, how_far = self._news.get(timeout=LOOK_S)
            except Empty:
                self._look()
                continue
            if number not in self._left:
                continue
            if kind == "far":
                heard(number, how_far)
            elif (answer := self._answer(number)) is not None:
                del self._left[number]
                yield number, answer

    def _answer(self, number: int) -> bytes | Failure | None:
        """The answer of a task; None: its result was lost with a worker, and the task runs again."""
        future = self._left[number]
        try:
            answer = future.result(timeout=PATIENCE_S)
        except TimeoutError:
            self._look()
            self._news.put(("done", number, None))
            return None
        except self._killed as error:
            return Failure(f"it killed its workers: if memory ran out, {_ROOM} ({error})", NO_MEMORY)
        except ImportError:
            check_workers(self._client, self._address)  # names the worker
            raise
        except OSError as error:
            raise self._gone() from error
        except Exception as error:
            if future.status == "cancelled":
                raise self._gone() from error
            raise
        if isinstance(answer, Refused):
            raise ClusterError(f"--cluster: {other_versions(answer.worker, answer.found)}")
        kept_answer: bytes | Failure = answer
        return kept_answer

    def _look(self) -> None:
        """ClusterError if the scheduler is gone, or if the cluster has been without a worker for ALONE_S."""
        try:
            n_workers = len(self._client.nthreads()) if self._client.status == "running" else None
        except Exception as error:
            raise self._gone() from error
        if n_workers is None:
            raise self._gone()
        if n_workers:
            self._alone_since_s = None
            return
        self._alone_since_s = self._alone_since_s or time.monotonic()
        if time.monotonic() - self._alone_since_s > ALONE_S:
            told = f"the scheduler at {self._address} has had no worker for {ALONE_S:g} s"
            raise ClusterError(f"--cluster: {told}; {GOES_ON}")

    def _gone(self) -> ClusterError:
        return ClusterError(f"--cluster: the scheduler at {self._address} is gone; {GOES_ON}")

    def cancel(self) -> None:
        """Cancel the tasks that are not done; workers end such runs at their next progress."""
        with suppress(Exception):
            if self._client.status == "running":
                self._client.cancel([*self._left.values()], force=True)


GOES_ON = "finished runs are kept, and the command goes on from there"
_ROOM = "give each worker more of it"


def _killed_error() -> type[Exception]:
    from distributed.scheduler import KilledWorker

    found: type[Exception] = KilledWorker
    return found


def _inputs_of(run: Run) -> Inputs:
    """Content of the files beside a run's scenario."""
    scenario = run.scenario.in_folder(run.scenario.folder)  # the plan keeps no traces
    path = scenario.costs()
    return Inputs(scenario.traces(), Path(path).read_bytes() if is_path(path) else None)


