"""Commands as users start them: CPU seconds of a whole process, interpreter and imports included."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measure import REPEATS

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
COMMANDS = {
    "kvm_write_protect.toml, empty cache": ("run", SCENARIOS / "kvm_write_protect.toml", "--no-files"),
    "kvm_write_protect.toml": ("run", SCENARIOS / "kvm_write_protect.toml", "--no-files"),
    "precopy_convergence.toml": ("run", SCENARIOS / "precopy_convergence.toml", "--out", "run"),
    "--help": ("--help",),
}
"""Those without a word about the cache run with the machine code of a run before."""
EMPTY = ", empty cache"


@dataclass(frozen=True)
class Spent:
    """CPU seconds of REPEATS processes: the median, the least, the most."""

    median: float
    least: float
    most: float


def all_commands() -> dict[str, Spent]:
    """Each of COMMANDS."""
    with tempfile.TemporaryDirectory() as cache:
        return {name: _spent(name, arguments, cache) for name, arguments in COMMANDS.items()}


def _spent(name: str, arguments: Sequence[str | Path], cache: str) -> Spent:
    if EMPTY not in name:
        cpu_s(arguments, cache)
    found = [_cold_cpu_s(arguments) if EMPTY in name else cpu_s(arguments, cache) for _ in range(REPEATS)]
    return Spent(float(np.median(found)), min(found), max(found))


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
