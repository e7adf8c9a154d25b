"""A progress bar on standard error: simulated time, round, remaining bytes, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hostsim.compiled.compiling import Standing
from hostsim.core.constants import NS_PER_S
from hostsim.report.compile_progress import compiling_words, described, shown_on
from hostsim.report.console import err_console
from hostsim.verdict.words import bytes_words, seconds_words

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

REFRESH_S = 0.1

Report = Callable[[int, Mapping[str, Any]], None]
"""Called with simulated time [ns] and a mapping of figures: see ``run_progress``."""


def ignore(sim_ns: int, info: Mapping[str, Any]) -> None:
    """A report that shows nothing."""
    del sim_ns, info


@contextmanager
def run_progress(cap_ns: int, *, quiet: bool = False, kinds: Iterable[str] = ()) -> Iterator[Report]:
    """Yields the callback of a run of at most ``cap_ns`` simulated; silent if ``quiet`` or not on a terminal.

    kinds: of hostsim.compiled.compiling; the bar names the loops that are compiled before and during the run.

    The callback reads, if present: ``round``, ``remaining_bytes``, ``bandwidth_bytes_per_s``, ``dirty_bytes_per_s``.
    """
    console = err_console()
    if quiet or not console.is_terminal:
        yield ignore
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        described(),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[eta]}"),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=1 / REFRESH_S) as bar:
        task = bar.add_task("starting", total=cap_ns, eta="")
        with shown_on(bar, task, kinds) as compiling:
            yield _RunBar(bar, task, cap_ns, compiling)


@contextmanager
def suite_progress(*, quiet: bool = False) -> Iterator[Callable[..., None] | None]:
    """Yields a callback (name of the step, number, total) for validations; None if ``quiet`` or not on a terminal."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield None
        return
    from hostsim.compiled.compiling import KINDS, compiling_watched, loops_to_compile

    with (
        console.status("validating") as status,
        compiling_watched(loops_to_compile(KINDS), lambda standing: status.update(compiling_words(standing))),
    ):
        yield lambda what, *counts: status.update(f"validated {what} {'/'.join(map(str, counts))}")


@contextmanager
def confirm_progress(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Yields a callback that takes the words of each confirming run; silent if ``quiet`` or not on a terminal."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda _what: None
        return
    with console.status("confirming the verdict") as status:
        yield lambda what: status.update(f"confirming the verdict by a run with {what}")


def end_ns_estimate(sim_ns: int, cap_ns: int, info: Mapping[str, Any]) -> tuple[int, bool]:
    """Simulated end [ns] and whether it is a guess (remaining over bandwidth minus dirty rate) or the cap."""
    if not {"remaining_bytes", "bandwidth_bytes_per_s", "dirty_bytes_per_s"} <= info.keys():
        return cap_ns, False
    remaining, net = info["remaining_bytes"], info["bandwidth_bytes_per_s"] - info["dirty_bytes_per_s"]
    if remaining <= 0 or net <= 0:
        return cap_ns, False
    guess = sim_ns + round(remaining / net * NS_PER_S)
    return (guess, True) if guess < cap_ns else (cap_ns, False)


def describe(sim_ns: int, cap_ns: int, info: Mapping[str, Any]) -> str:
    """The text before the bar: short enough for bar and ETA beside it in a line of 80 letters."""
    parts = [f"simulated {seconds_words(sim_ns / NS_PER_S)} of {seconds_words(cap_ns / NS_PER_S)}"]
    if "round" in info:
        parts.append(f"round {info['round']}")
    if "remaining_bytes" in info:
        parts.append(f"{bytes_words(float(info['remaining_bytes']))} left")
    return ", ".join(parts)


@dataclass
class _RunBar:
    bar: Bar
    task: TaskID
    cap_ns: int
    compiling: Standing = field(default_factory=Standing)
    started_s: float = field(default_factory=time.monotonic)
    shown_s: float = 0.0

    def __call__(self, sim_ns: int, info: Mapping[str, Any]) -> None:
        now_s = time.monotonic()
        if now_s - self.shown_s < REFRESH_S:
            return
        self.shown_s = now_s
        text = describe(sim_ns, self.cap_ns, info)
        self.bar.update(self.task, description=text, completed=sim_ns, total=self.cap_ns, eta=self._eta(sim_ns, info, now_s))

    def _eta(self, sim_ns: int, info: Mapping[str, Any], now_s: float) -> str:
        if sim_ns <= 0:
            return ""
        end_ns, is_guess = end_ns_estimate(sim_ns, self.cap_ns, info)
        ran_s = now_s - self.started_s - self.compiling.spent_s
        left_s = ran_s * (end_ns - sim_ns) / sim_ns
        return f"ETA {'about' if is_guess else 'at most'} {seconds_words(left_s)}"
