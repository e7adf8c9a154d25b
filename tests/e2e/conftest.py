"""The command as end-to-end tests call it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.command import hostsim


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """``hostsim ...`` in an empty folder outside the checkout: its exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        done = hostsim(*arguments, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return run
