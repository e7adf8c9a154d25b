"""``hostsim warm-up``: compile before the first run, and say where machine code is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated

import typer

from hostsim.cli.options import JsonFlag, QuietFlag
from hostsim.compiled.compiling import KINDS

HELP = """Compile the loops of simulations now, so that the first run starts without compiling.

hostsim keeps the machine code of each version on disk. The command prints the folder and its size."""
ALL = ",".join(KINDS)
WhatOption = Annotated[str, typer.Option(metavar="KIND,...", help="Kinds of simulations to compile for.")]


def register(app: typer.Typer) -> None:
    """Add the command ``warm-up``."""
    app.command("warm-up", help=HELP, short_help="Compile before the first run.")(warm_up_command)


def prepare(kinds: Iterable[str], *, quiet: bool) -> list[str]:
    """Compile the missing loops of ``kinds`` in this process, with a bar: workers forked from it inherit them.

    Returns the loops that were missing.
    """
    from hostsim.compiled.compiling import loops_to_compile
    from hostsim.report.progress import compile_bar

    wanted = list(dict.fromkeys(kinds))
    expected = loops_to_compile(wanted)
    if not expected:
        return []
    with compile_bar(expected, quiet=quiet):
        from hostsim.warm_up import warm_up

        return warm_up(wanted)


def _prepare_late(*, quiet: bool) -> list[str]:
    from hostsim.report.progress import compile_bar

    with compile_bar({}, quiet=quiet):
        from hostsim.warm_up import warm_up_late

        return warm_up_late()


def warm_up_command(*, what: WhatOption = ALL, as_json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Compile the loops of ``what``; print their number, and folder and size of the machine code."""
    from hostsim.compiled.code_store import cache_folder, folder_bytes, trouble
    from hostsim.core.units import format_bytes
    from hostsim.report.console import say, say_raw

    compiled = prepare(_checked(what), quiet=quiet or as_json) + _prepare_late(quiet=quiet or as_json)
    folder = str(cache_folder() or "")
    if as_json:
        told = {"compiled": compiled, "folder": folder, "bytes": folder_bytes(), "trouble": trouble()}
        say_raw(json.dumps(told, indent=2) + "\n")
        return
    say([f"compiled {len(compiled)} loops" if compiled else "nothing to compile: all loops are on disk"])
    if folder and not trouble():
        say([f"machine code: {format_bytes(folder_bytes(), 3)} in {folder}; a folder that you remove is made again"])


def _checked(what: str) -> list[str]:
    from hostsim.core.errors import InputError
    from hostsim.study.option_text import listed, names

    if problems := list(names("--what", what, KINDS)):
        raise InputError(problems)
    return listed(what)
