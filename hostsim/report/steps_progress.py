"""A progress bar over steps that each take a while, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hostsim.report.console import err_console


@contextmanager
def steps_progress(total: int, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Yields what to call after each step with what it was about; silent if ``quiet`` or not on a terminal."""
    console = err_console()
    if quiet or not console.is_terminal:
        yield lambda _about: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=total)

        def step(about: str) -> None:
            bar.update(task, advance=1, description=about)

        yield step
