"""Where a result comes from: versions, scenario, seed. No wall time: a second run gives equal bytes."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from hostsim.results.encode import json_bytes
from hostsim.results.tables import RunResult, plain

LIBRARIES = ("numba", "numpy", "simpy")
"""Libraries whose version can move a result."""
PATIENCE_S = 5.0


def provenance(result: RunResult) -> dict[str, Any]:
    """All that is needed to run ``result`` again; ``config_sha256`` is over the resolved scenario."""
    return {
        "hostsim": result.version,
        "git": own_revision(),
        "python": platform.python_version(),
        "libraries": {name: library_version(name) for name in LIBRARIES},
        "seed": result.seed,
        "scenario": plain(result.scenario),
        "config_sha256": config_sha256(result.scenario),
    } | ({"plugins": list(result.plugins)} if result.plugins else {})


def config_sha256(scenario: dict[str, Any]) -> str:
    """SHA-256 of a resolved scenario; the order of its keys does not matter."""
    return hashlib.sha256(json_bytes(plain(scenario))).hexdigest()


def library_version(name: str) -> str | None:
    """Version of an installed distribution, None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@cache
def own_revision() -> str | None:
    """``git_revision`` of hostsim itself, asked of git once a process: a run writes it twice."""
    return git_revision(Path(__file__).parents[1])


def git_revision(package: Path) -> str | None:
    """Commit of the checkout ``package`` is part of, ``-dirty`` if changed; None outside of one."""
    top = _git(package, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() / package.name != package.resolve():
        return None  # installed below the checkout of another project
    return _git(package, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        # S603: the arguments are this module's own, and no shell reads them.
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
