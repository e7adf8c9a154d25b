"""Forms in which a command prints its answer: ``--format`` and ``--json``, once for all commands that answer a question."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from hostsim.results.tables import Table

Form = Literal["text", "table", "markdown", "json", "csv", "parquet"]
FormOption = Annotated[
    Form, typer.Option("--format", help="Form of the answer: table is text, csv and parquet are its main table alone.")
]
DATA = ("json", "csv", "parquet")
"""Forms for another program: the command prints nothing else, and no progress."""


def form_of(style: str, *, as_json: bool) -> str:
    """The form of the answer: text, markdown, json, csv or parquet.

    style: of --format, where "table" is text. as_json: --json was given, which comes first.
    InputError or MissingExtraError where Parquet cannot be written.
    """
    if style == "parquet" and not as_json:
        _check_parquet()
    return "json" if as_json else "text" if style == "table" else style


def _check_parquet() -> None:
    from hostsim.core.errors import InputError, MissingExtraError, Problem
    from hostsim.report.console import out_console
    from hostsim.results.encode import has_parquet

    if not has_parquet():
        raise MissingExtraError("pyarrow", "report")
    if out_console().is_terminal:
        wanted = "a file or a pipe: Parquet is no text"
        raise InputError([Problem("--format", "", "parquet on a terminal", wanted, "--format parquet > answer.parquet")])


def say_data(form: str, content: Any, table: Callable[[], Table]) -> bool:
    """Print the answer and nothing else if ``form`` is one of DATA; whether it is.

    content: printed as json; table: makes the table that is printed as csv or parquet.
    """
    if form not in DATA:
        return False
    from hostsim.report.console import say_bytes
    from hostsim.results.encode import csv_bytes, json_bytes, parquet_bytes
    from hostsim.results.tables import plain

    say_bytes(json_bytes(plain(content)) if form == "json" else (csv_bytes if form == "csv" else parquet_bytes)(table()))
    return True
