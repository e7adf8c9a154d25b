"""The command: in this process where its answer matters, as a process of its own where the process matters.

A process takes 1.5 s of a processor to start, to import and to load machine code; in a process that has done so, a command
takes what it works. So ``hostsim`` is the rule, and ``installed`` is for what only a process has: an entry point, signals,
file descriptors, limits, hash seeds, the state of modules.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from resource import RLIMIT_FSIZE, setrlimit
from signal import SIGINT, SIGTERM, alarm, default_int_handler, getsignal, signal
from types import ModuleType
from typing import Any, TextIO
from unittest import mock

from tests.helpers.pictures import undrawn

HOSTSIM = str(Path(sys.executable).with_name("hostsim"))
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
PAGE_COLUMNS = "80"
"""Width of the outputs on the pages of the documentation."""

QUICK = """\
name = "quick"
question = "Does a small sweep converge?"

[vm]
memory = "64MiB"

[[vm.workload]]
pattern = "sequential"
size = "8MiB"
write_rate = "2000/s"

[migration]
bandwidth = "32MiB/s"
"""
"""Converges within a few simulated seconds."""

HOPELESS = """\
duration = "1000h"

[vm]
memory = "64MiB"

[[vm.workload]]
pattern = "uniform"
size = "48MiB"
write_rate = "1000000/s"

[migration]
bandwidth = "8MiB/s"
"""
"""Never converges; with its own duration it runs far longer than any test waits."""


def hostsim(
    *arguments: str | Path, cwd: Path, stdin: str = "", draws: bool = False, **also: str
) -> subprocess.CompletedProcess[str]:
    """Run ``hostsim arguments`` in ``cwd`` by calling the entry point.

    draws: pictures are drawn, else a line of text stands in each of their files; also: more of the environment.
    """
    out, err = _stream(), _stream()
    with nullcontext() if draws else undrawn():
        code = run_here([*map(str, arguments)], cwd, environment(**also), out, err, stdin)
    return subprocess.CompletedProcess(["hostsim", *map(str, arguments)], code, _text(out), _text(err))


def installed(*arguments: str | Path, cwd: Path, **also: str) -> subprocess.CompletedProcess[str]:
    """Run the installed script in a process of its own, in ``cwd``."""
    command = [HOSTSIM, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment(**also), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def started(*arguments: str | Path, cwd: Path, **more: Any) -> subprocess.Popen[str]:
    """Start the installed script in a process of its own that Ctrl-C ends, as in a shell, wherever the tests run.

    What runs in the background, as jobs of a CI do, ignores SIGINT and leaves that to its children.
    """
    command = [HOSTSIM, *map(str, arguments)]
    before = signal(SIGINT, default_int_handler)  # a child begins without handlers, and keeps what is ignored
    try:
        return subprocess.Popen(
            command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )
    finally:
        signal(SIGINT, before)


def limited(call: Callable[[], int], file_bytes: int | None, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Exit code and output of ``call`` in a fork of this process in which no file grows beyond ``file_bytes``, if given."""
    pipes = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os._exit(_limited_child(call, file_bytes, cwd, [writes for _, writes in pipes]))
    for _, writes in pipes:
        os.close(writes)
    out, err = (_all_of(reads) for reads, _ in pipes)
    _, status = os.waitpid(child, 0)
    return subprocess.CompletedProcess([], os.waitstatus_to_exitcode(status), out, err)


def _all_of(descriptor: int) -> str:
    with os.fdopen(descriptor, encoding="utf-8") as pipe:
        return pipe.read()


def forked_hostsim(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``hostsim arguments`` in a fork of this process, for commands that leave their mark on a process."""
    return limited(lambda: run_here([*arguments], cwd, environment(), sys.stdout, sys.stderr), None, cwd)


def limited_hostsim(*arguments: str, file_bytes: int, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``hostsim arguments`` where no file grows beyond ``file_bytes``."""
    return limited(lambda: run_here([*arguments], cwd, environment(), sys.stdout, sys.stderr), file_bytes, cwd)


def _limited_child(call: Callable[[], int], file_bytes: int | None, cwd: Path, writes: list[int]) -> int:
    """Runs in the child: the exit code, whatever happens."""
    alarm(PATIENCE_S)
    try:
        os.chdir(cwd)
        with os.fdopen(writes[0], "w") as sys.stdout, os.fdopen(writes[1], "w") as sys.stderr:
            if file_bytes is not None:
                setrlimit(RLIMIT_FSIZE, (file_bytes, file_bytes))
            return call()
    except BaseException:  # noqa: BLE001  nothing of the tests goes on in a child
        return 70


def environment(**also: str) -> dict[str, str]:
    """A terminal-free environment, 80 columns wide, in which the package and the helpers are found."""
    return os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)} | also


def tree(folder: Path) -> dict[str, bytes]:
    """Path below ``folder`` and content of every file, folders with a slash and no content."""
    return {
        str(path.relative_to(folder)) + "/" * path.is_dir(): b"" if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def merged(arguments: list[str], cwd: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Exit code, and standard output and error in one text, of the command called in this process; it draws no pictures."""
    both = _stream()
    with undrawn():
        code = run_here(arguments, cwd, env, both, both)
    return code, _text(both)


def run_here(
    arguments: list[str], cwd: Path, env: Mapping[str, str], out: TextIO, err: TextIO, stdin: str = ""
) -> int:  # fmt: skip
    """Call the entry point as the installed script does; the exit code, with everything else as it was before."""
    from hostsim.cli.main import main
    from tests.helpers.app_once import app_once

    keys = mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
    with _as_a_process(["hostsim", *arguments], cwd, env), redirect_stdout(out), redirect_stderr(err), keys, app_once():
        return _exit_code(main)


def _exit_code(main: object) -> int:
    """The exit code of the interpreter; a traceback goes where the interpreter would print it."""
    assert callable(main)
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    except Exception:  # noqa: BLE001  a process ends with 1 whatever it is
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def _as_a_process(argv: list[str], cwd: Path, env: Mapping[str, str]) -> Iterator[None]:
    """State that a process has for itself: set for the command, and put back whatever the command made of it."""
    modules, hook = set(sys.modules), sys.excepthook
    handlers = {number: getsignal(number) for number in (SIGINT, SIGTERM)}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, env, clear=True))
        stack.enter_context(mock.patch.object(sys, "argv", argv))
        stack.enter_context(mock.patch.object(sys, "path", list(sys.path)))
        stack.enter_context(chdir(cwd))
        stack.enter_context(_structlog())
        stack.enter_context(_main_module())
        try:
            yield
        finally:
            sys.excepthook = hook
            for number, handler in handlers.items():
                signal(number, handler)
            _forget(set(sys.modules) - modules, cwd)


@contextmanager
def _main_module() -> Iterator[None]:
    """A script is no package, and click asks for that when it says what is called."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


@contextmanager
def _structlog() -> Iterator[None]:
    """hostsim.core.trace configures structlog once a process, with the standard error it has then."""
    import structlog

    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    try:
        yield
    finally:
        structlog.reset_defaults()
        if before:
            structlog.configure(**before)


def _forget(names: set[str], folder: Path) -> None:
    """Modules of ``folder``, imported by a script in it, are other modules for the next script."""
    for name in names:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(folder):
            del sys.modules[name]


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()
