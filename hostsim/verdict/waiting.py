"""The remedy that waits: do not cancel, raise the time-out, with a command that neither cancels nor suspends."""

from __future__ import annotations

import math

from hostsim.scenario.profiles import GIB, PROFILES
from hostsim.verdict.commands import command_for
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.model import Remedy
from hostsim.verdict.words import seconds_words


def more_time_for(evidence: Evidence, until_s: float) -> Remedy:
    """Let it run until ``until_s`` seconds after its start."""
    had = f" (it ran for {seconds_words(evidence.elapsed_s)})" if evidence.elapsed_s else ""
    text = f"time: do not cancel it before {seconds_words(until_s)} after its start{had}; raise or remove any time-out"
    return Remedy("timeout", text, until_s, "s", wait_command(evidence, until_s))


def wait_command(evidence: Evidence, until_s: float) -> str:
    """The profile's command; where its time-out is a number of seconds for each GiB, that number."""
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
