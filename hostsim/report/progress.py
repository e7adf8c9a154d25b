"""Progress on standard error: of a run, of loops that compile, of the runs of a comparison, of steps, of a recording."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hostsim.compiled.compiling import Loop, Standing, compiling_watched, loops_to_compile
from hostsim.core.constants import NS_PER_S
from hostsim.report.console import err_console
from hostsim.verdict.words import bytes_words, seconds_words

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from hostsim.study.compare.runner import Progress
    from hostsim.study.sizing import Size

def compiling_words(standing: Standing) -> str:
    """``compiling once, 3 of 11: send_pages, about 20 s left``."""
    at = len(standing.done) + bool(standing.name)
    name = standing.name or standing.done[-1]
    left = f"about {seconds_words(max(1.0, round(standing.seconds_left())))} left"
    return f"compiling once, {at} of {standing.total}: {name}, {left}"


def described() -> Any:
    """The column of a task's description; while a loop is compiled it says so, anew each time it is drawn."""
    from rich.progress import TextColumn
    from rich.text import Text

    class _Described(TextColumn):
        def render(self, task: Any) -> Text:
            standing = task.fields.get("compiling")
            return Text(compiling_words(standing)) if standing and standing.name else super().render(task)

    return _Described("{task.description}")


@contextmanager
def shown_on(bar: Bar, task: TaskID, kinds: Iterable[str]) -> Iterator[Standing]:
    """Inside this context ``task`` of ``bar`` names the loop that is compiled. ``kinds``: of hostsim.compiled.compiling.

    The bar needs the column ``described``; after compiling the task gets its own total again.
    """
    before = bar.tasks[0].total

    def tell(standing: Standing) -> None:
        if standing.name:
            done, total = standing.seconds_done(), standing.seconds_in_all()
            bar.update(task, completed=done, total=total, compiling=standing, refresh=True)
        else:
            bar.update(task, completed=0, total=before)

    with compiling_watched(loops_to_compile(kinds), tell) as standing:
        yield standing


@contextmanager
def compile_bar(expected: Mapping[str, Loop], *, quiet: bool = False) -> Iterator[None]:
    """A bar for the loops that are compiled inside this context; silent if ``quiet`` or not on a terminal."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield
        return
    from rich.progress import BarColumn, Progress, TimeElapsedColumn

    with Progress(described(), BarColumn(), TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("compiling", total=None)

        def tell(standing: Standing) -> None:
            done, total = standing.seconds_done(), standing.seconds_in_all()
            bar.update(task, completed=done, total=total, compiling=standing, refresh=True)

        with compiling_watched(expected, tell):
            yield


REFRESH_S = 0.1

Report = Callable[[int, Mapping[str, Any]], None]
"""Called with simulated time [ns] and a mapping of figures: see ``run_progress``."""


def ignore(sim_ns: int, info: Mapping[str, Any]) -> None:
    """A ``Report`` that shows nothing of ``sim_ns`` and ``info``."""
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
    """Simulated end [ns], and whether it is a guess (remaining over bandwidth minus dirty rate) or the cap.

    sim_ns: simulated by now. cap_ns: the latest end. info: figures of a migration, as in ``run_progress``.
    """
    if not {"remaining_bytes", "bandwidth_bytes_per_s", "dirty_bytes_per_s"} <= info.keys():
        return cap_ns, False
    remaining, net = info["remaining_bytes"], info["bandwidth_bytes_per_s"] - info["dirty_bytes_per_s"]
    if remaining <= 0 or net <= 0:
        return cap_ns, False
    guess = sim_ns + round(remaining / net * NS_PER_S)
    return (guess, True) if guess < cap_ns else (cap_ns, False)


def describe(sim_ns: int, cap_ns: int, info: Mapping[str, Any]) -> str:
    """The text before the bar, such as ``simulated 4.2 s of 60 s, round 3, 120 MB left``.

    It is short enough for bar and ETA beside it in a line of 80 letters. sim_ns, cap_ns, info: as in ``end_ns_estimate``.
    """
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


SHOWN_MAX = 4
LONG_S = 20.0
"""Runs that take longer are announced."""


@contextmanager
def compare_progress(*, quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """Yields a callback that takes the progress; silent if ``quiet`` or not on a terminal."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    # Workers are forked below: no thread of the bar may hold a lock by then, so it draws only at a call of the callback.
    with Bar(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task, began_s = bar.add_task("starting", total=None, left=""), time.monotonic()

        def show(progress: Progress) -> None:
            left, done = left_words(progress, time.monotonic() - began_s), progress.through
            words = describe_runs(progress)
            bar.update(task, description=words, left=left, completed=done, total=progress.total, refresh=True)

        yield show


def left_words(progress: Progress, spent_s: float) -> str:
    """``about 2 min left``, at the pace of ``progress`` in ``spent_s`` [s]; "" before any run got ahead, and at the end."""
    through = progress.through
    if through <= 0 or progress.done == progress.total:
        return ""
    return f"about {seconds_words(max(1.0, round(spent_s * (progress.total - through) / through)))} left"


def say_size(size: Size, *, quiet: bool) -> None:
    """Print time and memory of the runs of ``size`` before they begin, if they take LONG_S or longer.

    Nothing is printed if ``quiet``, or where standard error is no terminal.
    """
    console = err_console()
    if quiet or not console.is_terminal or size.seconds < LONG_S:
        return
    text = f"{size.n_runs} runs, {size.workers} at a time: about {seconds_words(float(f'{size.seconds:.1g}'))}"
    memory = bytes_words(float(size.run_bytes * size.workers))
    console.print(f"{text}, at most {memory} of memory", markup=False, soft_wrap=True)


def describe_runs(progress: Progress) -> str:
    """``3 of 12 runs, at 4.2 s and 17 s simulated``."""
    at = [seconds_words(ns / 1e9) for ns in list(progress.simulated_ns.values())[:SHOWN_MAX]]
    if progress.shares and not at:
        at_work = " and ".join(f"{share:.0%}" for share in list(progress.shares.values())[:SHOWN_MAX])
        return f"{progress.done} of {progress.total} runs, at {at_work}"
    return f"{progress.done} of {progress.total} runs" + (f", at {' and '.join(at)} simulated" if at else "")


@contextmanager
def steps_progress(total: int, *, quiet: bool = False, kinds: Iterable[str] = ()) -> Iterator[Callable[[str], None]]:
    """Yields a callback for each finished step, which takes its subject; silent if ``quiet`` or not on a terminal.

    kinds: of hostsim.compiled.compiling; the bar names the loops that are compiled between steps.
    """
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda _about: None
        return
    from rich.progress import BarColumn, Progress, TimeElapsedColumn

    columns = (described(), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task, done = bar.add_task("starting", total=total), 0

        def step(about: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done, total=total, description=f"{done}/{total} {about}")

        with shown_on(bar, task, kinds):
            yield step


@contextmanager
def work_progress(kinds: Iterable[str], *, quiet: bool = False) -> Iterator[None]:
    """A bar for work without steps: loops that are compiled, then the time of simulating. For steps: ``steps_progress``.

    kinds: of hostsim.compiled.compiling, as in ``steps_progress``. quiet: no bar; there is none without a terminal either.
    """
    console = err_console()
    if quiet or not console.is_terminal:
        yield
        return
    from rich.progress import BarColumn, Progress, TimeElapsedColumn

    columns = (described(), BarColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True) as bar,
        shown_on(bar, bar.add_task("simulating", total=None), kinds),
    ):
        yield


@contextmanager
def record_progress(*, quiet: bool = False) -> Iterator[Callable[[str, int, dict[str, Any]], None]]:
    """Yields a callback (status, answers, line); silent if ``quiet`` or not on a terminal."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda _status, _answers, _line: None
        return
    with console.status("recording") as shown:
        yield lambda status, answers, line: shown.update(standing(status, answers, line))


def standing(status: str, answers: int, line: dict[str, Any]) -> str:
    """``recording: active, iteration 3, 120 MB remaining; 34 answers; Ctrl-C ends it``.

    status: of query-migrate, "none" before a migration. answers: recorded so far. line: the last answer, as QMP sent it.
    """
    answer = line.get("return")
    ram = answer.get("ram") if isinstance(answer, dict) else None
    parts = [f"recording: {'no migration yet' if status == 'none' else status}"]
    if isinstance(ram, dict) and "remaining" in ram:
        parts.append(f"iteration {ram.get('dirty-sync-count', 0)}, {bytes_words(float(ram['remaining']))} remaining")
    return f"{', '.join(parts)}; {answers} answers; Ctrl-C ends it"
