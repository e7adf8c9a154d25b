"""Options that several commands share."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

LOOK: dict[str, Any] = {
    "add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}  # fmt: skip
"""Settings of every application: plain help, no traceback in a frame."""

_LISTED = json.loads((files("hostsim") / "data" / "modes.json").read_text(encoding="utf-8"))
"""``make docs`` writes the file: loading the records of mechanisms takes longer than a help may."""
EVERY_MODE = f"{', '.join(_LISTED['modes'])}; {_LISTED['at'][0]}@2 switches after two rounds"
"""Modes of ``compare --modes``, as helps list them."""

AsRootFlag = Annotated[
    bool,
    typer.Option(
        "--as-root", help="Also measure ageing, through a file that only root can write; host settings are restored."
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")]
WideFlag = Annotated[bool, typer.Option("--wide", help="Print all columns of each table, even wider than the terminal.")]
Format = Annotated[Literal["text", "markdown"], typer.Option("--format", help="Form of the verdict.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="A report as one HTML file that needs no network.")
]
PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="The charts as pictures (.png, .svg, .pdf) with their data as CSV."),
]
WidthOption = Annotated[
    Literal["column", "page"], typer.Option("--width", help="Width of a picture on paper: column is 89 mm, page is 183 mm.")
]
ChartOption = Annotated[str | None, typer.Option("--chart", metavar="NAME", help="With --plot: write this chart alone.")]
CiOption = Annotated[
    str, typer.Option("--until-ci", metavar="SHARE", show_default=False,
                      help="Add runs until the half width of the interval of the total time is at most this share: 5%."),
]  # fmt: skip
