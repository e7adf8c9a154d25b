"""Worker processes: every task once, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from hostsim.study.compare import workers
from hostsim.study.compare.workers import Died, run_tasks

Tell = Callable[[int], None]


def square(number: int, how_far: Tell) -> tuple[int, int]:
    how_far(number)
    return number * number, os.getpid()


def pid_of(number: int, how_far: Tell) -> int:
    return os.getpid()


def killed_at_three(number: int, how_far: Tell) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wrong_at_three(number: int, how_far: Tell) -> int:
    if number == 3:
        raise LookupError("no three")
    return number


def left_at_three(number: int, how_far: Tell) -> int:
    if number == 3:
        os._exit(7)
    return number


def waits(folder: Path, number: int, how_far: Tell) -> int:
    (folder / str(os.getpid())).touch()
    time.sleep(60)
    return number


@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_every_task_is_done_once(n_workers: int) -> None:
    found = dict(run_tasks(square, range(11), n_workers))
    assert {number: answer for number, (answer, _) in found.items()} == {i: i * i for i in range(11)}
    others = {pid for _, pid in found.values()} - {os.getpid()}
    assert len(others) <= n_workers
    assert bool(others) == (n_workers > 1)


def test_there_are_no_more_workers_than_tasks() -> None:
    assert len({pid for _, pid in run_tasks(pid_of, range(2), 8)}) <= 2


def test_nothing_to_do_starts_nothing() -> None:
    assert list(run_tasks(square, (), 4)) == []


@pytest.mark.parametrize(("job", "code"), [(killed_at_three, -signal.SIGKILL), (left_at_three, 7)])
def test_a_worker_that_dies_costs_its_own_task(job: workers.Job, code: int) -> None:
    found = dict(run_tasks(job, range(8), 2))
    assert found == {i: i for i in range(8)} | {3: Died(code)}


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_mistake_in_the_program_is_raised_here(n_workers: int) -> None:
    with pytest.raises(LookupError, match="no three") as caught:
        list(run_tasks(wrong_at_three, range(8), n_workers))
    assert n_workers == 1 or any("wrong_at_three" in note for note in caught.value.__notes__)


def test_how_far_they_are_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "TELL_EVERY_S", 0.0)
    heard: list[tuple[int, int]] = []
    list(run_tasks(square, range(5), 2, lambda number, how_far: heard.append((number, how_far))))
    assert sorted(heard) == [(i, i) for i in range(5)]


def test_workers_are_gone_when_nobody_waits_any_more(tmp_path: Path) -> None:
    def interrupted() -> None:
        with closing(run_tasks(partial(waits, tmp_path), range(4), 2)) as answers:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            next(answers)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.signal(signal.SIGALRM, before)
    started = [int(path.name) for path in tmp_path.iterdir()]
    assert len(started) == 2
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []


def test_interrupts_are_the_parents_business(tmp_path: Path) -> None:
    assert dict(run_tasks(interrupts_itself, range(3), 2)) == {0: 0, 1: 1, 2: 2}


def interrupts_itself(number: int, how_far: Tell) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return number


def test_processes_that_are_not_forked_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.sys, "platform", "darwin")
    assert dict(run_tasks(abs_of, range(-3, 0), 2)) == {-3: 3, -2: 2, -1: 1}


def abs_of(number: int, how_far: Tell) -> int:
    return abs(number)
