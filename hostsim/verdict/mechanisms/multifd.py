"""Multifd in verdicts: a line on its channels, and channels as a remedy."""

from __future__ import annotations

from collections.abc import Sequence

from hostsim.qemu.mechanisms.multifd import NAME
from hostsim.verdict.channels import TRIED_MOST, multifd, with_channels
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.forecast import MARGIN, Forecast, bandwidth_needed_bytes_per_s
from hostsim.verdict.mechanism import Changes, Mechanism, Tried
from hostsim.verdict.model import Remedy


def _more_channels(evidence: Evidence, found: Forecast, value: float | None = None) -> Remedy:
    """The remedy with ``value`` channels, or with as many as the bandwidth needs."""
    remedy = multifd(evidence, bandwidth_needed_bytes_per_s(found, evidence)[1] * MARGIN, value)
    assert remedy is not None, "only a remedy that was advised gets another value"
    return remedy


def _changes(value: float, _evidence: Evidence) -> Changes:
    return {"migration.multifd": True, "migration.multifd_channels": round(value)}


def _counts(remedy: Remedy, _evidence: Evidence) -> Sequence[float]:
    first = remedy.value or 0.0
    return [count for count in (first, 2 * first, 4 * first) if count <= TRIED_MOST]


TRIED = Tried("multifd", _changes, lambda value: f"{value:.0f} channels", _counts, _more_channels)
PART = Mechanism(NAME, 40, line=with_channels, advice=multifd, tried={"multifd": TRIED})
