"""Options that studies of ageing and reclaim share, and how their results are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

SeedOption = Annotated[int, typer.Option(metavar="N", min=0, help="The first seed.")]
RepsOption = Annotated[int, typer.Option(metavar="K", help="Replications: seeds N, N + 1, ..., the same for all rows.")]
WorkersOption = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Processes; moves no result.", show_default="one a core")
]
FormatOption = Annotated[
    Literal["text", "markdown", "json", "csv"], typer.Option("--format", help="How results are printed.")
]
NoFilesOption = Annotated[bool, typer.Option("--no-files", help="Write no files.")]
MaxOption = Annotated[int, typer.Option(metavar="N", min=1, help="Refuse more runs than this.")]
SheetOption = Annotated[str, typer.Option("--sheet", help="Whose costs.")]


def tell(
    style: str, content: dict[str, Any], tables: Sequence[Any], caption: str, csv: bytes, paths: Sequence[Path], *,
    wide: bool = False,
) -> None:  # fmt: skip
    """JSON or CSV and nothing else; or verdict, tables, what is the same for all rows, and the files."""
    from hostsim.report import console, files
    from hostsim.results.encode import json_bytes

    if style in {"json", "csv"}:
        console.say_raw((json_bytes(content) if style == "json" else csv).decode())
        return
    console.say([*content["verdict"], ""])
    for table in tables:
        console.show(table, markdown=style == "markdown", wide=wide)
    console.say_wrapped(caption.split("\n"))
    if paths:
        console.say(["", "Files:", *(f"  {path}" for path in paths)])
        if left_out := files.missing_files():
            console.note(left_out)
