"""Tiers follow folders; every failure of a drawn test prints what replays it."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.helpers import collect_once, compile_once, plain, shared
from tests.helpers.command import hostsim

ROOT = Path(__file__).resolve().parents[1]

TIER_OF_FOLDER = {
    "unit": "quick",
    "properties": "quick",
    "tidy": "quick",
    "twins": "twin",
    "golden": "golden",
    "validation": "validation",
    "e2e": "e2e",
    "outside": "long",
    "timing": "timing",
    "docs": "docs",
    "swarm": "swarm",
}

# derandomize: the default run is the same everywhere; `make swarm` is the tier that looks for new cases.
settings.register_profile("hostsim", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("hostsim")

# Plots are drawn without a display, text without a terminal, whatever the machine that runs the tests has.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.pop("FORCE_COLOR", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tier = tier_of(item.path)
        if tier is not None:
            item.add_marker(tier)


@cache
def tier_of(path: Path) -> str | None:
    return TIER_OF_FOLDER.get(path.relative_to(ROOT / "tests").parts[0])


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep modules and tests, which live as long as the process, out of what the garbage collector walks.

    Measured: the collector took 28 of 500 CPU-s; numba makes many small objects as it compiles, all of which it keeps.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Where the workers of pytest-xdist meet: they all get the same folder."""
    if not hasattr(node.config, "hostsim_locks"):
        node.config.hostsim_locks = tempfile.TemporaryDirectory(prefix="hostsim-tests-")
    node.workerinput["hostsim_locks"] = node.config.hostsim_locks.name


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        folder = Path(config.workerinput["hostsim_locks"])
        compile_once.install(folder)
        shared.install(folder)
        config.pluginmanager.register(collect_once.FirstAlone(folder))


def pytest_sessionfinish() -> None:
    plain.stop()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """``hostsim ...`` in an empty folder outside the checkout: its exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        done = hostsim(*arguments, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return run
