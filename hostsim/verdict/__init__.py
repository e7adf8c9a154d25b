"""The verdict on a migration, simulated or real: did it converge, why not, and which single change would help.

The judges of logs are loaded when first asked for: a run has no log.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hostsim.verdict.diagnose import diagnose
from hostsim.verdict.evidence import Evidence, Round
from hostsim.verdict.from_result import evidence_from_result
from hostsim.verdict.model import Confidence, Remedy, Verdict
from hostsim.verdict.render import render

if TYPE_CHECKING:
    from hostsim.verdict.explained import explain_log
    from hostsim.verdict.from_log import evidence_from_log

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
_OF_LOGS = {"evidence_from_log": "hostsim.verdict.from_log", "explain_log": "hostsim.verdict.explained"}


def __getattr__(name: str) -> Any:
    if name in _OF_LOGS:
        return getattr(import_module(_OF_LOGS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
