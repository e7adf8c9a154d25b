"""A line of the verdict on what dirty-limit, or set-vcpu-dirty-limit, has cost the guest."""

from __future__ import annotations

from dataclasses import replace

from hostsim.core.constants import NS_PER_S
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import percent_words, seconds_words

TOLERANCE_MIB_PER_S = 25
"""system/dirtylimit.c DIRTYLIMIT_TOLERANCE_RANGE: QEMU leaves a rate within so much of the quota alone."""


def with_dirty_limit(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with the line, if a vCPU was held back."""
    line = _line(evidence)
    return replace(verdict, findings=(*verdict.findings, line)) if line else verdict


def _line(evidence: Evidence) -> str:
    held = [row for row in evidence.dirty_limit if row["held_back_ns"]]
    if not held:
        return ""
    most = max(held, key=lambda row: row["held_back_ns"])
    slept = f"{seconds_words(most['held_back_ns'] / NS_PER_S)} ({percent_words(most['held_back_share'])} of the run)"
    who = f"{len(held)} of {len(evidence.dirty_limit)} vCPUs, those that write"
    over = most["current_rate"] - most["limit_rate"]
    rates = f"{most['current_rate']} MiB/s, above its limit of {most['limit_rate']} MiB/s"
    missed = f"; vCPU {most['cpu_index']} still dirties {rates}" if over > TOLERANCE_MIB_PER_S else ""
    return f"Held back: dirty-limit let {who}, sleep at full dirty rings, at most {slept}{missed}."
