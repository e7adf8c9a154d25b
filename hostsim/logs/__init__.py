"""Readers of real migration logs, of every layer from QEMU to the task log: the forms are listed in forms.py."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_LAZY = {
    "DirtyReading": "hostsim.logs.model",
    "MigrationLog": "hostsim.logs.model",
    "parse_logs": "hostsim.logs.sniff",
    "read_logs": "hostsim.logs.sniff",
}
__all__ = ["DirtyReading", "MigrationLog", "parse_logs", "read_logs"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that help lists the forms without loading NumPy."""
    if name not in _LAZY:
        raise AttributeError(f"module 'hostsim.logs' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
