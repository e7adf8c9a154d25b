"""The installed command, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HOSTSIM = str(Path(sys.executable).with_name("hostsim"))
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120

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


def hostsim(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``hostsim arguments`` in ``cwd``."""
    command = [HOSTSIM, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def environment(**also: str) -> dict[str, str]:
    """A terminal-free environment, 80 columns wide, in which the package and the helpers are found."""
    return os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)} | also


def tree(folder: Path) -> dict[str, bytes]:
    """Path below ``folder`` and content of every file, folders with a slash and no content."""
    return {
        str(path.relative_to(folder)) + "/" * path.is_dir(): b"" if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }
