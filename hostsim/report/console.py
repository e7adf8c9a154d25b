"""Where text goes: results on standard output, everything about the run itself on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hostsim.errors import HostsimError

WIDE = 400
"""Columns of text that a pipe is assumed to take."""


def out_console() -> Console:
    """Standard output: results."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False)


def err_console() -> Console:
    """Standard error: progress, messages, errors."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False)


def say(lines: Iterable[str]) -> None:
    """Lines on standard output as they are: not wrapped, so that a command in them can be copied."""
    console = out_console()
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def show(table: Table, *, markdown: bool = False) -> None:
    """A table on standard output, as wide as it needs to be where nobody looks at it on a terminal."""
    from rich import box

    console = out_console()
    if markdown:
        table.box = box.MARKDOWN
    if not console.is_terminal:
        console.width = max(
            console.width, console.measure(table, options=console.options.update(max_width=WIDE)).maximum
        )
    console.print(table)


def say_raw(text: str) -> None:
    """Text for another program on standard output, byte by byte."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(line: str) -> None:
    """One line on standard error."""
    err_console().print(line, markup=False, soft_wrap=True)


def show_error(error: HostsimError) -> None:
    """An error on standard error: each problem on its own line if it has several."""
    from rich.text import Text

    console = err_console()
    for line in str(error).splitlines():
        console.print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)
