"""Printing: results on standard output, everything about the run itself on standard error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from hostsim.core.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from hostsim.core.errors import HostsimError
    from hostsim.report.columns import Grid
    from hostsim.report.layout import Part

PLAIN_WIDTH = 80
"""Letters of a line where standard output is no terminal and COLUMNS does not say otherwise."""
WITHOUT_LIMIT = 100_000
FAILED = "FAILED"
"""A cell that stands out."""
NOBODY_READS = 2
"""Exit code where the reader of standard output has left: nowhere to write."""


def out_console() -> Console:
    """Standard output: results. Print to it within ``_written``."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _columns()
    return console


def _columns() -> int:
    """COLUMNS, or PLAIN_WIDTH: a file or a pipe has no width of its own, and the terminal beside it is not asked."""
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else PLAIN_WIDTH


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
    """Send the rest of the buffer to /dev/null, else the interpreter would fail to flush it at its exit."""
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


def say_wrapped(lines: Iterable[str], indent: str = "  ") -> None:
    """Lines on standard output, wrapped at words, numbers kept with their units; ``indent``: added to a line's own."""
    from hostsim.report.layout import wrapped

    width = out_console().width
    for line in lines:
        say(wrapped(line, width, line[: len(line) - len(line.lstrip())] + indent))


def say_verdict(lines: Iterable[str], *, markdown: bool = False) -> None:
    """Sentences on standard output: wrapped at words on a terminal; one a line for grep elsewhere, and in ``markdown``."""
    (say_wrapped if out_console().is_terminal and not markdown else say)(lines)


def show(grid: Grid, *, markdown: bool = False, wide: bool = False) -> None:
    """Print ``grid`` on standard output, in parts that fit the lines of the terminal; columns left out are named below.

    markdown: print one Markdown table, however wide. wide: print all columns in one part.
    """
    from hostsim.report.layout import laid_out, wrapped

    console = out_console()
    width = console.width
    layout = laid_out(grid, None if wide else WITHOUT_LIMIT if markdown else width)
    console.width = max(width, *(part.width for part in layout.parts))
    with _written():
        for line in wrapped(grid.title, width) if grid.title else ():
            console.print(line, style="bold", markup=False, soft_wrap=True)
        for part in layout.parts:
            console.print(_drawn(part, grid.dim, markdown=markdown))
            console.print()
        if layout.left_out:
            for line in wrapped(f"--wide also shows: {', '.join(layout.left_out)}", width):
                console.print(line, markup=False, soft_wrap=True)
            console.print()


def lines_of(grid: Grid, width: int) -> list[str]:
    """A table as lines of text, for lines of at most ``width`` letters."""
    import io

    from rich.console import Console

    from hostsim.report.layout import laid_out

    text = io.StringIO()
    layout = laid_out(grid, width)
    console = Console(file=text, width=max(width, *(part.width for part in layout.parts)), color_system=None)
    for part in layout.parts:
        console.print(_drawn(part, grid.dim, markdown=False))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def _drawn(part: Part, dim: frozenset[int], *, markdown: bool) -> Table:
    """``part`` by rich, which has nothing left to wrap or to cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.MARKDOWN if markdown else box.SIMPLE_HEAD, pad_edge=markdown, collapse_padding=True)
    table.show_edge = markdown
    for width, heading, right in zip(part.widths, part.headings, part.right, strict=True):
        justify: Literal["right", "left"] = "right" if right else "left"
        table.add_column(Text("\n".join(heading)), justify=justify, no_wrap=True, min_width=width, overflow="fold")
    for number, row in enumerate(part.rows):
        cells = [Text("\n".join(lines), style="red" if lines == (FAILED,) else "") for lines in row]
        table.add_row(*cells, style="dim" if number in dim else None)
    return table


def say_raw(text: str) -> None:
    """Text for another program on standard output, byte by byte."""
    with _written():
        sys.stdout.write(text)


def say_bytes(content: bytes) -> None:
    """Bytes for another program on standard output: a file in all but its name."""
    with _written():
        sys.stdout.flush()
        sys.stdout.buffer.write(content)


def note(line: str) -> None:
    """Print one line on standard error."""
    err_console().print(line, markup=False, soft_wrap=True)


def show_error(error: HostsimError) -> None:
    """An error on standard error: each problem on its own line if it has several."""
    from rich.text import Text

    from hostsim.report.layout import wrapped

    console = err_console()
    for line in str(error).splitlines():
        parts = list(wrapped(f"error: {line}", console.width, "  ")) if console.is_terminal else [f"error: {line}"]
        for part in parts:
            head = "error: " if part is parts[0] else ""
            console.print(Text.assemble((head, "bold red"), part[len(head) :]), soft_wrap=True)
