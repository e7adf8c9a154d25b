"""The verdict on a migration, simulated or real: did it converge, why not, and which single change would help."""

from __future__ import annotations

from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.evidence import Evidence, Round
from hostsim.verdict.explained import explain_log
from hostsim.verdict.from_log import evidence_from_log
from hostsim.verdict.from_result import evidence_from_result
from hostsim.verdict.model import Confidence, Remedy, Verdict
from hostsim.verdict.render import render

__all__ = [
    "Confidence",
    "Evidence",
    "Remedy",
    "Round",
    "Verdict",
    "diagnose",
    "evidence_from_log",
    "evidence_from_result",
    "explain_log",
    "render",
]
