"""Readers of real migration logs: query-migrate answers, virsh domjobinfo, info migrate."""

from __future__ import annotations

from hostsim.logs.model import MigrationLog
from hostsim.logs.sniff import parse_logs, read_logs

__all__ = ["MigrationLog", "parse_logs", "read_logs"]
