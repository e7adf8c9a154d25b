"""Readers of real migration logs, of every layer from QEMU to the task log: the forms are listed in forms.py."""

from __future__ import annotations

from hostsim.logs.model import DirtyReading, MigrationLog
from hostsim.logs.sniff import parse_logs, read_logs

__all__ = ["DirtyReading", "MigrationLog", "parse_logs", "read_logs"]
