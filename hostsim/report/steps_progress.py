"""A progress bar over steps that each take a while, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from hostsim.report.compile_progress import described, shown_on
from hostsim.report.console import err_console


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
    """A bar for work without steps: the loops that are compiled, then the time of simulating; else ``steps_progress``."""
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
