"""The progress bar."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hostsim.report import progress

S = 1_000_000_000
INFO = {"round": 3, "remaining_bytes": 1e9, "bandwidth_bytes_per_s": 3e8, "dirty_bytes_per_s": 1e8}


def test_the_end_is_guessed_from_what_remains() -> None:
    assert progress.end_ns_estimate(10 * S, 600 * S, INFO) == (15 * S, True)


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"remaining_bytes": 1e9, "bandwidth_bytes_per_s": 3e8},
        {**INFO, "dirty_bytes_per_s": 4e8},
        {**INFO, "remaining_bytes": 1e15},
        {**INFO, "remaining_bytes": 0},
    ],
)
def test_without_a_guess_the_cap_is_the_end(info: dict[str, float]) -> None:
    assert progress.end_ns_estimate(10 * S, 600 * S, info) == (600 * S, False)


def test_the_text_names_time_round_and_remaining() -> None:
    assert progress.describe(12 * S, 600 * S, INFO) == "simulated 12 s of 10 min, round 3, 1 GB left"
    assert progress.describe(12 * S, 600 * S, {}) == "simulated 12 s of 10 min"


def terminal(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, width: int = 160) -> io.StringIO:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=width)
    monkeypatch.setattr(progress, "err_console", lambda: console)
    return screen


def test_a_terminal_sees_the_bar_and_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, is_terminal=True)
    monkeypatch.setattr(progress, "REFRESH_S", 1e-9)
    with progress.run_progress(600 * S) as report:
        report(12 * S, INFO)
        report(13 * S, {})
    assert "round 3" in screen.getvalue() or "simulated 13 s" in screen.getvalue()
    assert "ETA" in screen.getvalue()


def test_a_line_of_80_letters_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, is_terminal=True, width=80)
    monkeypatch.setattr(progress, "REFRESH_S", 1e-9)
    with progress.run_progress(600 * S) as report:
        report(567 * S // 10, INFO | {"round": 4471, "remaining_bytes": 34.6e6})
    assert "simulated 56.7 s of 10 min, round 4471, 34.6 MB left" in screen.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in screen.getvalue()


@pytest.mark.parametrize(("is_terminal", "quiet"), [(False, False), (True, True)])
def test_elsewhere_it_is_silent(monkeypatch: pytest.MonkeyPatch, is_terminal: bool, quiet: bool) -> None:
    screen = terminal(monkeypatch, is_terminal=is_terminal)
    with progress.run_progress(600 * S, quiet=quiet) as report:
        report(12 * S, INFO)
    with progress.suite_progress(quiet=quiet) as told:
        assert told is None
    assert screen.getvalue() == ""


def test_suites_tell_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch, is_terminal=True)
    with progress.suite_progress() as told:
        assert told is not None
        told("qemu idle", 1, 55)
    assert "validat" in screen.getvalue()


def test_updates_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch, is_terminal=True)
    now_s = iter([1.0, 1.05, 1.2, 1.25])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now_s))
    seen = []

    class Bar:
        def update(self, *_: int, **fields: object) -> None:
            seen.append(fields["completed"])

    bar = progress._RunBar(Bar(), 0, 600 * S, started_s=0.0)  # type: ignore[arg-type]
    for t_s in (1, 2, 3, 4):
        bar(t_s * S, {})
    assert seen == [1 * S, 3 * S]


@pytest.mark.parametrize(
    ("is_terminal", "quiet", "shown"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_steps_are_counted_with_what_they_were_about(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, quiet: bool, shown: bool
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=100)
    monkeypatch.setattr(progress, "err_console", lambda: console)
    with progress.steps_progress(12, quiet=quiet) as step:
        step("flushing")
        step("mapping")
    assert all((text in screen.getvalue()) == shown for text in ("mapping", "2/12"))
