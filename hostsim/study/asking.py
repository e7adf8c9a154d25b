"""Options of a study, each said once: the name and default of a field, the help beside it.

Commands are made of these fields. Nothing heavy is imported here: ``--help`` reads the options.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any


def asked(default: Any, text: str, metavar: str | None = None, **more: Any) -> Any:
    """A field of an options object. text: its help; more: further arguments of the option (min, show_default, flag)."""
    return field(default=default, metadata={"text": text, "metavar": metavar, **more})


def argument(default: Any, text: str, show_default: str) -> Any:
    """A field that is typed without the name of an option.

    default: its value if it is left out. text: its help. show_default: the default as the help prints it.
    """
    return asked(default, text, argument=True, show_default=show_default)


def first_seed() -> Any:
    """The option --seed."""
    return asked(1, "The first seed.", "N", min=0)


def replications() -> Any:
    """The option --reps."""
    return asked(1, "Replications with seeds N, N + 1, ...; all rows run the same seeds.", "K")


def most_runs() -> Any:
    """The option --max-runs."""
    return asked(1000, "Refuse to start more runs than this.", "N", min=1)


def cost_sheet() -> Any:
    """The option --sheet."""
    return asked("cascade-lake", "Cost sheet: a file, or the name of a sheet of hostsim.")


def has_a_bits() -> Any:
    """The option --a-bits."""
    return asked(True, "Page tables with accessed bits, or without.", flag="--a-bits/--no-a-bits")
