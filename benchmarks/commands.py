"""Commands as users start them: CPU seconds of a whole process, interpreter and imports included."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Spread, spread

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
COMMANDS = {
    "kvm_write_protect.toml, empty cache": ("run", SCENARIOS / "kvm_write_protect.toml", "--no-files"),
    "kvm_write_protect.toml": ("run", SCENARIOS / "kvm_write_protect.toml", "--no-files"),
    "precopy_convergence.toml": ("run", SCENARIOS / "precopy_convergence.toml", "--out", "run"),
    "--help": ("--help",),
}
"""Those without a word about the cache run with the machine code of a run before."""
EMPTY = ", empty cache"


def all_commands() -> dict[str, Spread]:
    """CPU seconds of the processes of each of COMMANDS."""
    with tempfile.TemporaryDirectory() as cache:
        return {name: _spent(name, arguments, cache) for name, arguments in COMMANDS.items()}


def _spent(name: str, arguments: Sequence[str | Path], cache: str) -> Spread:
    if EMPTY in name:
        return spread(lambda: _cold_cpu_s(arguments))
    cpu_s(arguments, cache)
    return spread(lambda: cpu_s(arguments, cache))


def _cold_cpu_s(arguments: Sequence[str | Path]) -> float:
    with tempfile.TemporaryDirectory() as cache:
        return cpu_s(arguments, cache)


def cpu_s(arguments: Sequence[str | Path], cache: str) -> float:
    """CPU seconds of ``hostsim`` with ``arguments``, its machine code kept in the folder ``cache``."""
    before = _of_children_s()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hostsim", *map(str, arguments)]
        kept = os.environ | {"XDG_CACHE_HOME": cache}
        subprocess.run(command, cwd=folder, env=kept, stdout=subprocess.DEVNULL, check=True)
    return _of_children_s() - before


def _of_children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
