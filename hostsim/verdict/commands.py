"""Data of the management layer in use: the command that applies a change, its default downtime limit."""

from __future__ import annotations

from hostsim.core.units import parse_duration
from hostsim.scenario.profiles import PROFILES
from hostsim.verdict.evidence import DOWNTIME_LIMIT_MS

POLLS = {
    "proxmox": "qm monitor VMID, info migrate", "kubevirt": "kubectl exec POD -c compute -- virsh domjobinfo DOMAIN",
}  # fmt: skip
"""How to ask for the progress of a migration, where it is not virsh on the host."""


def poll_for(profile: str) -> str:
    """The command that reports the progress of a migration, bitmap syncs included."""
    return POLLS.get(profile, "virsh domjobinfo DOMAIN")


def command_for(profile: str, kind: str, value: float | None = None) -> str:
    """The profile's command for a remedy with ``value`` filled in; "" where the profile has none.

    value: milliseconds for "downtime_limit", bytes/s for "bandwidth", percent for "auto_converge", bytes for
    "xbzrle_cache", seconds for "timeout".
    """
    return PROFILES[profile].command(kind, value) if profile in PROFILES else ""


def default_limit_ms(profile: str) -> float:
    """The default downtime limit [ms] of management layer ``profile``, QEMU's if the profile is unknown."""
    if profile not in PROFILES:
        return DOWNTIME_LIMIT_MS
    return parse_duration(str(PROFILES[profile].defaults["downtime_limit"].value)) / 1e6
