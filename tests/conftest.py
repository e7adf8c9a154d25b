"""Tiers follow folders; every failure of a drawn test prints what replays it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers import plain

ROOT = Path(__file__).resolve().parents[1]

TIER_OF_FOLDER = {
    "unit": "quick",
    "properties": "quick",
    "tidy": "quick",
    "twins": "twin",
    "golden": "golden",
    "validation": "validation",
    "e2e": "e2e",
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
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        if folder in TIER_OF_FOLDER:
            item.add_marker(TIER_OF_FOLDER[folder])
        if item.path.stem == "test_help_speed":
            item.add_marker("timing")


def pytest_sessionfinish() -> None:
    plain.stop()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
