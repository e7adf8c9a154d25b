"""The comparison of guests under KVM has teeth: each broken engine or host thread is caught within few drawn cases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.twins.kvm_mutate import MUTATIONS

SEEDS = 300


def first_seed_that_shows(name: str, n_seeds: int, root: Path) -> int:
    command = [sys.executable, "-m", "tests.twins.kvm_mutate", name, str(n_seeds)]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return int(run.stdout)


@pytest.mark.parametrize("name", [name for name in MUTATIONS if name != "none"])
def test_a_broken_engine_is_caught(name: str, root: Path) -> None:
    assert first_seed_that_shows(name, SEEDS, root) >= 0


def test_the_right_engine_passes_in_plain_python(root: Path) -> None:
    assert first_seed_that_shows("none", 60, root) == -1
