"""Where text goes: results on standard output, everything about the run itself on standard error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hostsim.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hostsim.errors import HostsimError

WIDE = 400
"""Columns of text that a pipe is assumed to take."""
NOBODY_READS = 2
"""Exit code where the reader of standard output has left: nowhere to write."""


def out_console() -> Console:
    """Standard output: results. Print to it within ``_written``."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, emoji=False)


@contextmanager
def _written() -> Iterator[None]:
    """OutputError if standard output takes no more; if its reader has left, the command ends without a word."""
    if sys.stdout is None:
        raise SystemExit(NOBODY_READS)
    try:
        yield
        sys.stdout.flush()
    except SystemExit:  # rich ends so when the reader has left
        raise SystemExit(NOBODY_READS) from None
    except OSError as error:
        _drop_output()
        if error.errno == errno.EPIPE:
            raise SystemExit(NOBODY_READS) from None
        raise OutputError(f"standard output: cannot write: {error.strerror or error}") from error


def _drop_output() -> None:
    """What the buffer still holds goes nowhere, else the interpreter would fail on it when it ends."""
    with suppress(OSError):  # not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def err_console() -> Console:
    """Standard error: progress, messages, errors."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, emoji=False)


def say(lines: Iterable[str]) -> None:
    """Lines on standard output as they are: not wrapped, so that a command in them can be copied."""
    console = out_console()
    with _written():
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
    with _written():
        console.print(table)


def say_raw(text: str) -> None:
    """Text for another program on standard output, byte by byte."""
    with _written():
        sys.stdout.write(text)


def note(line: str) -> None:
    """One line on standard error."""
    err_console().print(line, markup=False, soft_wrap=True)


def show_error(error: HostsimError) -> None:
    """An error on standard error: each problem on its own line if it has several."""
    from rich.text import Text

    console = err_console()
    for line in str(error).splitlines():
        console.print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)
