"""The command that applies a change, as the management layer in use has it."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def command_for(profile: str, kind: str, value: float | None = None) -> str:
    """The profile's command for a remedy with ``value`` filled in; "" where the profile has none.

    value: milliseconds for "downtime_limit", bytes/s for "bandwidth", percent for "auto_converge", seconds
    for "timeout".
    """
    template = commands_of(profile).get(kind, "")
    return template.replace("{value}", f"{value:.0f}") if value is not None else template


def commands_of(profile: str) -> dict[str, str]:
    """Remedy to command template of ``profile``; empty for a profile that is not known."""
    known: dict[str, Any] = import_module("hostsim.scenario.profiles").PROFILES
    return dict(known[profile].commands) if profile in known else {}
