"""Commands of the management layer in use: the one that applies a change, its default downtime limit, and how to wait.

To wait is a remedy: do not cancel, raise the time-out, with a command that neither cancels nor suspends.
"""

from __future__ import annotations

import math

from hostsim.core.units import parse_duration
from hostsim.scenario.profiles import GIB, PROFILES
from hostsim.verdict.evidence import DOWNTIME_LIMIT_MS, Evidence
from hostsim.verdict.model import Remedy
from hostsim.verdict.words import seconds_words

POLLS = {
    "qemu": "query-migrate",
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


def more_time_for(evidence: Evidence, until_s: float) -> Remedy:
    """The remedy to let the migration of ``evidence`` run until ``until_s`` seconds after its start."""
    had = f" (it ran for {seconds_words(evidence.elapsed_s)})" if evidence.elapsed_s else ""
    text = f"time: do not cancel it before {seconds_words(until_s)} after its start{had}; raise or remove any time-out"
    return Remedy("timeout", text, until_s, "s", wait_command(evidence, until_s))


def wait_command(evidence: Evidence, until_s: float) -> str:
    """The profile's command that lets the migration of ``evidence`` run until ``until_s`` seconds after its start.

    Where the profile's time-out is a number of seconds for each GiB of RAM, the command has that number.
    "" for a profile without such a command.
    """
    profile = PROFILES.get(evidence.profile)
    command = command_for(evidence.profile, "timeout", until_s)
    if profile is None or not profile.timeout_per_gib_s or not evidence.ram_bytes:
        return command
    gib = max(profile.timeout_gib_min, math.ceil(evidence.ram_bytes / GIB))
    seconds = math.ceil(until_s / gib)
    places = (f"$(({math.ceil(until_s - 1e-6)} / GIB + 1))", f"{math.ceil(until_s - 1e-6)} divided by GIB, rounded up")
    for place in places:
        command = command.replace(place, str(seconds))
    return command
