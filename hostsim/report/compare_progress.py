"""A progress bar over the runs of a comparison, on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hostsim.report.console import err_console
from hostsim.study.compare.runner import Progress
from hostsim.study.sizing import Size
from hostsim.verdict.words import bytes_words, seconds_words

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
            bar.update(task, description=describe(progress), left=left, completed=done, total=progress.total, refresh=True)

        yield show


def left_words(progress: Progress, spent_s: float) -> str:
    """``about 2 min left``, at the pace so far; "" before anything is known."""
    through = progress.through
    if through <= 0 or progress.done == progress.total:
        return ""
    return f"about {seconds_words(max(1.0, round(spent_s * (progress.total - through) / through)))} left"


def say_size(size: Size, *, quiet: bool) -> None:
    """Print time and memory of the runs before they begin, if they take long; silent where the bar is."""
    console = err_console()
    if quiet or not console.is_terminal or size.seconds < LONG_S:
        return
    text = f"{size.n_runs} runs, {size.workers} at a time: about {seconds_words(float(f'{size.seconds:.1g}'))}"
    memory = bytes_words(float(size.run_bytes * size.workers))
    console.print(f"{text}, at most {memory} of memory", markup=False, soft_wrap=True)


def describe(progress: Progress) -> str:
    """``3 of 12 runs, at 4.2 s and 17 s simulated``."""
    at = [seconds_words(ns / 1e9) for ns in list(progress.simulated_ns.values())[:SHOWN_MAX]]
    if progress.shares and not at:
        at_work = " and ".join(f"{share:.0%}" for share in list(progress.shares.values())[:SHOWN_MAX])
        return f"{progress.done} of {progress.total} runs, at {at_work}"
    return f"{progress.done} of {progress.total} runs" + (f", at {' and '.join(at)} simulated" if at else "")
