"""Without the JIT the same source gives the same integers, drawn touches included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.twins.digest import digests

SEEDS = (0, 30)


def test_compiled_equals_plain_python(root: Path) -> None:
    command = [sys.executable, "-m", "tests.twins.digest", *map(str, SEEDS)]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    plain = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert plain.stdout.splitlines() == digests(*SEEDS)
