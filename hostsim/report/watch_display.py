"""Showing a state that changes: a live screen on a terminal, a plain line now and then elsewhere, or a line of JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hostsim.report.console import out_console, say, say_raw

if TYPE_CHECKING:
    from rich.live import Live

REFRESH_S = 0.1


@dataclass(frozen=True)
class View:
    """One state of a watched migration or study, in each form in which it may be shown.

    screen: called with (width, height); line, data: called where a line, or JSON, is printed.
    mark: shown at once where it has changed, as at the end of an iteration.
    is_last: nothing comes after it.
    """

    screen: Callable[[int, int], list[str]]
    line: Callable[[], str]
    data: Callable[[], dict[str, Any]]
    mark: Any = None
    is_last: bool = False


Show = Callable[[View], None]


@contextmanager
def watch_display(*, as_json: bool, every_s: float) -> Iterator[Show]:
    """Yields a function that shows views; every_s: between two lines where standard output is no terminal."""
    console = out_console()
    if as_json:
        yield _Lines(every_s, lambda view: json.dumps(view.data()), lambda text: say_raw(f"{text}\n"))
    elif not console.is_terminal:
        yield _Lines(every_s, lambda view: view.line(), lambda text: say([text]))
    else:
        from rich.live import Live

        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            yield _Screen(live)


class _Lines:
    """Prints a line each ``every_s``, and where the mark has changed; the last line is not printed twice."""

    def __init__(self, every_s: float, text_of: Callable[[View], str], put: Callable[[str], None]) -> None:
        self._every_s, self._text_of, self._put = every_s, text_of, put
        self._due_s, self._mark, self._text = 0.0, object(), ""

    def __call__(self, view: View) -> None:
        now_s = time.monotonic()
        if now_s < self._due_s and view.mark == self._mark and not view.is_last:
            return
        self._due_s, self._mark = now_s + self._every_s, view.mark
        text = self._text_of(view)
        if not view.is_last or text != self._text:
            self._put(text)
        self._text = text


class _Screen:
    """Draws at most ten times a second, and at once where the mark has changed."""

    def __init__(self, live: Live) -> None:
        self._live, self._due_s, self._mark = live, 0.0, object()

    def __call__(self, view: View) -> None:
        now_s = time.monotonic()
        if now_s < self._due_s and view.mark == self._mark and not view.is_last:
            return
        self._due_s, self._mark = now_s + REFRESH_S, view.mark
        size = self._live.console.size
        self._live.update(_drawn(view.screen(size.width, size.height - 1)), refresh=True)


def _drawn(lines: list[str]) -> Any:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop")
    for number, line in enumerate(lines):
        bold = number == 0 or line.startswith("Forecast: ")
        text.append(line + "\n" * (number < len(lines) - 1), style="bold" if bold else "")
    return text
