"""A line of the verdict on the cost of auto-converge to the guest: how long its vCPUs slept, and how much work was left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hostsim.verdict.evidence import Evidence, Throttled
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import percent_words, seconds_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


CATCHES_UP = 0.1
"""A guest that does so much more of its work than its vCPUs were awake, as shares, catches up after sleeps (assumed)."""


def throttled_of(series: Mapping[str, NDArray[np.generic]]) -> Throttled | None:
    """From the columns of a simulated migration's ``series``; None if no vCPU was throttled before the stop."""
    # A sample closes the interval before it, and a throttle step comes right after a sample.
    spans = np.diff(series["t_ns"].astype(np.float64)) / 1e9
    percent = series["throttle_percent"].astype(np.float64)[1:] * (series["status"][1:] == "active")
    seconds = float(spans[percent > 0].sum())
    if seconds == 0:
        return None
    speed = series["guest_speed"].astype(np.float64)[1:]
    done = float((spans * speed)[percent > 0].sum())
    return Throttled(seconds, float((spans * percent).sum()) / 100, done / seconds)


def throttle_line(evidence: Evidence) -> str:
    """The line of a migration that has completed, or nothing without a throttle."""
    if not evidence.throttle_percent:
        return ""
    most = f"up to {evidence.throttle_percent:.0f} %"
    if evidence.throttled is None:
        return f"Cost: auto-converge throttled the guest's vCPUs by {most}."
    return f"Cost: {_slept(evidence.throttled, most)}; {_worked(evidence.throttled)}."


def with_throttle(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict``, of a simulated migration that has not completed, with the line, if the guest was throttled."""
    if evidence.throttled is None or evidence.status == "completed":
        return verdict
    most = f"up to {evidence.throttle_percent:.0f} %"
    line = f"Held back: {_slept(evidence.throttled, most)}; {_worked(evidence.throttled)}."
    return replace(verdict, findings=(*verdict.findings, line))


def _slept(throttled: Throttled, most: str) -> str:
    slept, of = seconds_words(throttled.slept_s), seconds_words(throttled.seconds)
    return f"auto-converge let each vCPU sleep for {slept} of the last {of}, {most} of the time"


def _worked(throttled: Throttled) -> str:
    share, awake = percent_words(throttled.speed), 1 - throttled.slept_s / throttled.seconds
    if throttled.speed - awake > CATCHES_UP:
        return f"the guest still did {share} of its work, for it catches up after each sleep"
    return f"the guest did {share} of its work meanwhile"
