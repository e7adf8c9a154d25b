"""From errors to exit codes: a message on standard error, no traceback for an error that the user can correct."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hostsim.compiled.code_store import trouble
from hostsim.core.errors import HostsimError
from hostsim.report.console import note, show_error

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
NO_MEMORY = 2


def exit_code_of(command: Callable[[], Any]) -> int:
    """Run ``command`` and say how it ended. Errors of HostsimError become messages, Ctrl-C becomes 130."""
    try:
        return _exit_code(command)
    finally:
        if trouble():
            note(f"note: machine code is not kept, so each start compiles again: {trouble()}")


def _exit_code(command: Callable[[], Any]) -> int:
    try:
        command()
    except HostsimError as error:
        show_error(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return _interrupted()
    except MemoryError as error:
        note(f"error: not enough memory on this machine: {error or 'the guest is too large'}")
        return NO_MEMORY
    except SystemExit as end:
        return _interrupted() if end.code == INTERRUPTED else _code(end)
    return 0


def _interrupted() -> int:
    note("interrupted: files that were finished are whole, no other was begun")
    return INTERRUPTED


def _code(end: SystemExit) -> int:
    """The exit code of ``end``, as in the interpreter: None is 0; a text is printed, and the code is 1."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    note(str(end.code))
    return 1
