"""The end of a process without taking apart its modules and objects: 0.05 s of each run (mypy ends like this, too).

Threads are joined, functions of ``atexit`` run and output is flushed as at any end; the memory goes back to the system in
one piece. Where code of a user has run, the interpreter ends the process: it writes a file that such code has left open.
"""

from __future__ import annotations

import atexit
import os
import sys

_codes: list[int] = []
_guests: list[str] = []


def end_quickly() -> None:
    """Let this process end as soon as it has run the functions that were registered with ``atexit`` after this call."""
    atexit.register(_end)


def note_code(code: int) -> None:
    """The exit code of the process, when its work is done; without it the interpreter ends the process."""
    _codes.append(code)


def note_guest(name: str) -> None:
    """Code of a user, a script or a plug-in, runs in this process."""
    _guests.append(name)


def _end() -> None:
    if not _codes or _guests or _is_measured():
        return
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):  # a full disk, a closed stream: the interpreter has words for it
        return
    os._exit(_codes[-1])


def _is_measured() -> bool:
    """Whether a debugger or coverage follows the process; coverage writes its files later than this."""
    coverage = getattr(sys.modules.get("coverage"), "Coverage", None)  # numba loads it, too
    return bool(sys.gettrace() or (coverage is not None and coverage.current()))
