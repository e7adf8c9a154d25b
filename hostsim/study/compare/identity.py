"""The key of a run: a hash of the resolved scenario, its traces, and the versions of everything that moves a result."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from hostsim import __version__
from hostsim.core.user_files import SHEET, read_bytes
from hostsim.costs.cost_file import is_path
from hostsim.results.encode import json_bytes
from hostsim.results.provenance import LIBRARIES, library_version
from hostsim.results.tables import plain
from hostsim.scenario.plugged import plugins_of
from hostsim.scenario.schema import Scenario

PACKAGE = Path(__file__).parents[2]
MOVES_NOTHING = ("cli", "report", "verdict", "validation", "logs", "measure")
"""Rooms of the package that no result depends on."""
KEY_DIGITS = 20


@cache
def code_sha256() -> str:
    """SHA-256 over the sources and data of the package, but for the parts that no result depends on."""
    digest = hashlib.sha256()
    for path in sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".toml"}):
        name = path.relative_to(PACKAGE)
        if name.parts[0] not in MOVES_NOTHING:
            digest.update(name.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@cache
def versions() -> dict[str, Any]:
    """Version of hostsim, its code, and the libraries that can move a result."""
    libraries = {name: library_version(name) for name in LIBRARIES}
    return {"hostsim": __version__, "code_sha256": code_sha256(), "libraries": libraries}


def run_key(scenario: Scenario) -> str:
    """The key of a run: runs with equal keys give equal bytes. InputError if a trace or a cost sheet cannot be read."""
    traces = {name: _columns_sha256(columns) for name, columns in scenario.traces().items()}
    content = {"versions": versions(), "scenario": plain(scenario.resolved()), "traces": traces}
    content |= _own_sheet(scenario.costs()) | plugin_versions(scenario)
    return hashlib.sha256(json_bytes(content)).hexdigest()[:KEY_DIGITS]


def plugin_versions(scenario: Scenario) -> dict[str, Any]:
    """The plug-ins that ``scenario`` uses, under "plugins"; {} without any."""
    found = [plugin.identity() for plugin in plugins_of(scenario)]
    return {"plugins": found} if found else {}


def _own_sheet(costs: str) -> dict[str, str]:
    """The hash of a cost sheet that is a file: its name says nothing about its numbers."""
    return {"sheet": hashlib.sha256(read_bytes(costs, SHEET)).hexdigest()} if is_path(costs) else {}


def _columns_sha256(columns: Any) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(f"{column.dtype.str} {column.shape}".encode() + column.tobytes())
    return digest.hexdigest()
