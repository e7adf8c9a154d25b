"""Worker processes: numbers of tasks in, answers out as they come; a worker that dies costs its own task alone.

``concurrent.futures`` breaks as a whole when the kernel kills a worker, and its workers cannot be stopped at Ctrl-C.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

Heard = Callable[[int, int], None]
"""Called with (number of the task, how far it is)."""
Job = Callable[[int, Callable[[int], None]], Any]
"""Does the task with the given number; may call its second argument with its progress."""
Answers = Generator[tuple[int, Any], None, None]
TELL_EVERY_S = 0.2
STOP_S = 5.0


@dataclass(frozen=True)
class Died:
    """Stands for the answer of a worker that ended without one; ``code``: its exit code, negative for a signal."""

    code: int


def ignore(number: int, how_far: int) -> None:
    """A listener that takes the number of a task and its progress, ``how_far`` [ns], and does nothing."""
    del number, how_far


def run_tasks(job: Job, numbers: Sequence[int], n_workers: int, heard: Heard = ignore) -> Answers:
    """Yield (number, answer) for each of ``numbers`` in the order in which tasks end.

    job: takes a number and a listener. Where processes are not forked it has to be picklable.
    n_workers: processes; with one worker the tasks run in this process.
    heard: called with (number, progress [ns]) while a task runs.
    An exception of ``job`` is raised here. Close the iterator to stop the workers.
    """
    if n_workers <= 1:
        for number in numbers:
            yield number, job(number, seldom(partial(heard, number)))
        return
    pool = _Pool(job)
    try:
        yield from _deal(pool, deque(numbers), n_workers, heard)
    finally:
        pool.stop()


def _deal(pool: _Pool, waiting: deque[int], n_workers: int, heard: Heard) -> Answers:
    while waiting or pool.busy():
        while waiting and len(pool.busy()) < n_workers:
            pool.idle_or_new().give(waiting.popleft())
        for worker in pool.with_news():
            number = worker.number
            assert number is not None
            kind, answer = worker.news()
            if kind == "far":
                heard(number, answer)
                continue
            if kind == "raised":
                raise answer
            if kind == "died":
                pool.workers.remove(worker)
            yield number, answer


class _Pool:
    """The worker processes, idle and busy."""

    def __init__(self, job: Job) -> None:
        self.workers: list[_Worker] = []
        self._job = job
        self._context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")

    def busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.number is not None]

    def idle_or_new(self) -> _Worker:
        idle = [worker for worker in self.workers if worker.number is None]
        if not idle:
            forked = self._context.get_start_method() == "fork"
            others = [worker.link for worker in self.workers] if forked else []
            idle = [_Worker(self._context, self._job, others)]
            self.workers += idle
        return idle[0]

    def with_news(self) -> list[_Worker]:
        ready = wait([worker.link for worker in self.busy()])
        return [worker for worker in self.busy() if worker.link in ready]

    def stop(self) -> None:
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(STOP_S)
            worker.link.close()


class _Worker:
    """One process and the link to it; ``number``: its current task, None if idle."""

    def __init__(self, context: Any, job: Job, others: Sequence[Connection]) -> None:
        self.number: int | None = None
        self.link, theirs = context.Pipe()
        forked = [*others, self.link] if context.get_start_method() == "fork" else []
        self.process = context.Process(target=_serve, args=(theirs, job, forked), daemon=True)
        with _without_interrupts():
            self.process.start()
        theirs.close()

    def give(self, number: int) -> None:
        self.number = number
        with suppress(OSError):  # it died while it waited: its news will say so
            self.link.send(number)

    def news(self) -> tuple[str, Any]:
        try:
            kind, answer = self.link.recv()
        except (EOFError, OSError):
            self.process.join(STOP_S)
            self.link.close()
            kind, answer = "died", Died(self.process.exitcode or 0)
        if kind != "far":
            self.number = None
        return kind, answer


def _serve(link: Connection, job: Job, inherited: Sequence[Connection]) -> None:
    """The loop of a worker. It ends when the parent has closed the link; the parent alone handles Ctrl-C."""
    for other in inherited:
        other.close()  # else the parent's death would go unnoticed
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    with suppress(EOFError, OSError):
        while True:
            number = link.recv()
            link.send(_answer(job, number, seldom(lambda how_far: link.send(("far", how_far)))))


def _answer(job: Job, number: int, how_far: Callable[[int], None]) -> tuple[str, Any]:
    try:
        return "done", job(number, how_far)
    except OSError:  # the parent has closed the link
        raise
    except Exception as error:  # noqa: BLE001  a mistake in the program: the parent raises it once, for all workers
        error.add_note(f"in a worker process:\n{traceback.format_exc()}")
        return "raised", error


def seldom(tell: Callable[[int], None]) -> Callable[[int], None]:
    """``tell``, called once in TELL_EVERY_S at most; calls in between are dropped."""
    told_s = time.monotonic()

    def limited(how_far: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= TELL_EVERY_S:
            told_s = time.monotonic()
            tell(how_far)

    return limited


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is started in here gets no SIGINT before it ignores them; one to this process comes later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
