"""A progress bar over the runs of a comparison, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hostsim.report.console import err_console
from hostsim.study.compare.runner import Progress
from hostsim.verdict.words import seconds_words

SHOWN_MAX = 4


@contextmanager
def compare_progress(*, quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """Yields what to call with the progress; silent if ``quiet`` or not on a terminal."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    # Workers are forked below: no thread of the bar may hold a lock by then, so it draws when it is told something.
    with Bar(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("starting", total=None)

        def show(progress: Progress) -> None:
            bar.update(task, description=describe(progress), completed=progress.done, total=progress.total, refresh=True)

        yield show


def describe(progress: Progress) -> str:
    """``3 of 12 runs, at 4.2 s and 17 s simulated``."""
    at = [seconds_words(ns / 1e9) for ns in list(progress.simulated_ns.values())[:SHOWN_MAX]]
    return f"{progress.done} of {progress.total} runs" + (f", at {' and '.join(at)} simulated" if at else "")
