"""The file of a finished run: read again if it is whole, and only then; runs are kept one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostsim.core.errors import InvariantError, OutputError
from hostsim.study.compare import runner
from hostsim.study.compare.figures import figures_of
from hostsim.study.compare.plan import Run
from hostsim.study.compare.record import WHOLE_RUN, content_of, read_record, record_bytes, record_name, write_record
from hostsim.study.compare.runner import Failure, Progress, run_plan, simulate
from hostsim.study.compare.workers import Died
from tests.helpers.synthetic import migration, run_result

RESULT = run_result(migration())
WHOLE = record_bytes("abc", content_of(RESULT))


def runs(*keys: str) -> list[Run]:
    return [Run(0, 1, None, key) for key in keys]  # type: ignore[arg-type]


def simulated(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> None:
    """Runs give ``answers`` by their key; an exception is raised."""

    def instead(some: list[Run], measure: object, number: int, how_far: Callable[[int], None]) -> Any:
        assert measure is WHOLE_RUN
        answer = answers[some[number].key]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(runner, "simulate", instead)


def test_a_whole_record_is_read_back(tmp_path: Path) -> None:
    write_record(tmp_path, "abc", WHOLE)
    assert (tmp_path / record_name("abc")).read_bytes() == WHOLE == record_bytes("abc", content_of(RESULT))
    assert read_record(tmp_path, "abc") == figures_of(RESULT)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[1]", b"\xff\xfe", b'"x"', WHOLE[:-10], WHOLE.replace(b"abc", b"abd"),
        WHOLE.replace(b"compare-run/1", b"compare-run/9"), WHOLE.replace(b'"status": "completed"', b'"status": 3'),
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_anything_else_is_run_again(tmp_path: Path, content: bytes) -> None:
    write_record(tmp_path, "abc", content)
    assert read_record(tmp_path, "abc") is None
    assert read_record(tmp_path, "there is none") is None


def test_what_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = Failure("no room", 2)
    simulated(monkeypatch, {"a": WHOLE, "b": failure, "c": Died(-9), "d": WHOLE})
    before, found = {"z": {"status": "ran"}}, figures_of(RESULT)
    outcome = run_plan(runs("a", "b", "c", "d"), before, 1, tmp_path)  # type: ignore[arg-type]
    assert outcome.figures == before | {"a": found, "b": None, "c": None, "d": found}
    assert outcome.failures["b"] == failure
    assert "killed by signal 9: if memory ran out" in outcome.failures["c"].text
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"a.json", "d.json"}


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OutputError("full")])
def test_what_ends_all_leaves_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException) -> None:
    simulated(monkeypatch, {"a": WHOLE, "b": end, "c": WHOLE})
    with pytest.raises(type(end)):
        run_plan(runs("a", "b", "c"), {}, 1, tmp_path)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"a.json"}


def test_progress_counts_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    simulated(monkeypatch, {"a": WHOLE, "b": Failure("no room", 2)})
    told: list[tuple[int, int]] = []
    run_plan(runs("a", "b"), {}, 1, show=lambda progress: told.append((progress.done, progress.total)))
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert Progress(3).done == 0


@pytest.mark.parametrize(("error", "code"), [(InvariantError("law 3"), 3), (MemoryError(), 2), (MemoryError("17 TiB"), 2)])
def test_errors_of_a_run_become_failures(monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    def raising(scenario: object, progress: object) -> None:
        raise error

    monkeypatch.setattr("hostsim.simulation.run", raising)
    failure = simulate(runs("a"), WHOLE_RUN, 0, lambda _: None)
    assert isinstance(failure, Failure)
    assert failure.exit_code == code
    assert str(error) in failure.text
