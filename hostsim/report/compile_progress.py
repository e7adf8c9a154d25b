"""The part of a start that compiles, on standard error: which loop, how many of how many, how long it still takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hostsim.compiled.compiling import Loop, Standing, compiling_watched, loops_to_compile
from hostsim.report.console import err_console
from hostsim.verdict.words import seconds_words

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


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
