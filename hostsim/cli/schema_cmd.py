"""``hostsim schema``: every scenario key."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from hostsim.report.console import say_raw


class SchemaFormat(StrEnum):
    """The format of the list of keys."""

    JSON = "json"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("schema")(schema)


def schema(
    style: Annotated[
        SchemaFormat, typer.Option("--format", help="json: JSON schema; markdown: tables of keys, defaults and meanings.")
    ] = SchemaFormat.JSON,
) -> None:
    """Print every scenario key, with type, default and meaning."""
    from hostsim.scenario import reference

    if style is SchemaFormat.MARKDOWN:
        say_raw(reference.markdown())
    else:
        say_raw(json.dumps(reference.json_schema(), indent=2) + "\n")
