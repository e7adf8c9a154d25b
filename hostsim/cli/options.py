"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Format = Annotated[Literal["text", "markdown"], typer.Option("--format", help="How the verdict is written.")]
