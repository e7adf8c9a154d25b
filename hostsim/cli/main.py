"""The entry point: commands, and the exit codes of errors.

Commands import their modules when they run: ``hostsim --help`` loads neither numba nor SimPy. ``hostsim run`` registers no
other command.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from hostsim.cli.errors_cli import exit_code_of
from hostsim.cli.options import LOOK, StrictApp
from hostsim.core import ending

COMMANDS = (
    "run_cmd", "watch_cmd", "predict_cmd", "solve_cmd", "compare_cmd", "sweep_cmd", "explain_cmd", "fit_cmd", "whatif_cmd",
    "record_cmd", "report_cmd", "validate_cmd", "kvm_selftest_cmd", "calibrate_cmd",
    "scenarios_cmd", "schema_cmd", "age_cmd", "reclaim_cmd", "measure_dirty_cmd", "debate_cmd", "warm_up_cmd",
)  # fmt: skip
"""Modules of hostsim.cli; each has ``register(app)``. The order is that of the help."""

GARBAGE_THRESHOLDS = 50_000, 20, 20
"""Of ``gc.set_threshold``. Imports and the compiler make objects by the million, which stay: looking through them for
cycles 70 times as often, as Python does, takes 6 % of the CPU of a run.
"""
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Variables that a command sets unless the user has. NumPy's OpenBLAS starts a thread for each further core, and each spins:
80 ms of CPU on two cores (measured). No command multiplies matrices. pydantic reads the metadata of all installed packages
to look for plug-ins of its own: 12 ms (measured). A script that imports hostsim keeps both.
"""


def build_app(asked: str = "") -> typer.Typer:
    """The application with the command ``asked`` alone; with all commands if no command has that name."""
    app = StrictApp(
        name="hostsim",
        help="Simulate a virtualized host: guests dirty memory, QEMU migrates them, a verdict says why.",
        no_args_is_help=True,
        **LOOK | {"add_completion": True},
    )
    app.callback()(_options)
    module = f"{asked.replace('-', '_')}_cmd"
    for name in [module] if module in COMMANDS else COMMANDS:
        import_module(f"hostsim.cli.{name}").register(app)
    return app


def main() -> None:
    """Run the command line and exit: 0, 1 if asked for, 2 bad input or output, 3 a broken invariant, 130."""
    if sys._getframe(1).f_globals["__name__"] == "__main__":  # noqa: SLF001  # the process ends with the command
        ending.end_quickly()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    os.environ.update(ENVIRONMENT | os.environ)
    code = exit_code_of(build_app(*sys.argv[1:2]))  # the others take 0.03 s to load and to register
    gc.freeze()  # the interpreter would look through all that it has imported before it ends: a tenth of a warm run
    ending.note_code(code)
    raise SystemExit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        from hostsim import __version__
        from hostsim.report.console import say

        say([f"hostsim {__version__}"])
        raise typer.Exit


VersionFlag = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
]


def _options(*, version: VersionFlag = False) -> None:
    del version
