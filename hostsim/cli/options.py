"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

LOOK: dict[str, Any] = {
    "add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}  # fmt: skip
"""Settings of every application: plain help, no traceback in a frame."""

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
WideFlag = Annotated[bool, typer.Option("--wide", help="All columns of each table, side by side, however wide.")]
Format = Annotated[Literal["text", "markdown"], typer.Option("--format", help="How the verdict is written.")]
CiOption = Annotated[
    str, typer.Option("--until-ci", metavar="SHARE", show_default=False,
                      help="Add runs until half of the interval of the total time is within this share: 5%."),
]  # fmt: skip
