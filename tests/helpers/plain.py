"""Modules of tests run as ``NUMBA_DISABLE_JIT=1 python -m MODULE ARGUMENTS``, without a start of Python for each.

One process has imported everything in plain Python and waits; it forks for each module that is asked for. A child breaks
whatever it likes of hostsim and ends. Run as a module, this is that process: a line of JSON in, a line of JSON out.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.helpers.command import PATIENCE_S, ROOT, environment

IMPORTED = (
    "hostsim.cli.main", "hostsim.cli.run_scenario", "hostsim.cli.compare_cmd", "hostsim.report.files", "hostsim.verdict",
    "hostsim.simulation", "tests.twins.compare", "tests.twins.configs", "tests.twins.kvm_walks", "tests.twins.drawn",
)  # fmt: skip
"""Modules that children need and would each import by themselves."""


def run_plain(module: str, *arguments: str, cwd: Path = ROOT, **also: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module arguments`` in ``cwd``, in plain Python; ``also``: more of the environment."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        asked = {"argv": [module, *arguments], "cwd": str(cwd), "env": environment(**also), "out": str(out), "err": str(err)}
        code = _ask(asked)
        return subprocess.CompletedProcess([module, *arguments], code, out.read_text(), err.read_text())


def plain_output(module: str, *arguments: str) -> str:
    """The output of ``module``, once it has ended with 0."""
    done = run_plain(module, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


def _ask(asked: dict[str, Any]) -> int:
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps(asked) + "\n")
    server.stdin.flush()
    return int(json.loads(server.stdout.readline()))


@cache
def _server() -> subprocess.Popen[str]:
    """The waiting process."""
    command = [sys.executable, "-m", "tests.helpers.plain"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(NUMBA_DISABLE_JIT="1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def stop() -> None:
    """End the waiting process, if there is one, and wait for its end."""
    if _server.cache_info().currsize:
        _server().communicate(timeout=PATIENCE_S)
        _server.cache_clear()


def serve() -> None:
    """Answer each line with the exit code of its child; negative: the signal that ended it."""
    for name in IMPORTED:
        import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _child(asked: dict[str, Any]) -> None:
    """Become the process that was asked for. Does not return."""
    signal.alarm(PATIENCE_S)
    for descriptor, path in ((1, asked["out"]), (2, asked["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"], NUMBA_DISABLE_JIT="1")
    sys.argv = asked["argv"]
    os._exit(_run(asked["argv"][0]))


def _run(module: str) -> int:
    code: int | str | None = 0
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  as the interpreter: a traceback, and 1
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 1


if __name__ == "__main__":
    serve()
