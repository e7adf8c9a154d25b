"""Whether an answer hangs on 1 % of the guest's writes.

Pre-copy whose dirty curve runs close to the line of the link needs many rounds, and each round takes nearly as long as the
round before. A dirty rate is not measured so exactly that a forecast there is a number; it is a range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hostsim.scenario.schema import Scenario
from hostsim.study.predict.forecast import Forecast, forecast
from hostsim.study.predict.knobs import KNOBS

NUDGE = 0.01
HANGS = 0.05
"""A total time that moves by more than this share for NUDGE more or fewer writes is a close call (assumed)."""


@dataclass(frozen=True)
class CloseCall:
    """Computed total times [s] with NUDGE fewer writes, with the guest's own, and with NUDGE more; None: no end."""

    fewer_s: float | None
    own_s: float | None
    more_s: float | None


def close_call(scenario: Scenario) -> CloseCall | None:
    """The computed times of ``scenario`` where they hang on NUDGE of its writes; None where they do not, or are unknown."""
    (rate,) = (knob for knob in KNOBS if knob.name == "dirty_rate_pages_per_s")
    now = rate.read(scenario) if scenario.migration is not None else None
    if now is None:
        return None
    turned = (scenario if not by else rate.turned(scenario, now * (1 + by)) for by in (-NUDGE, 0.0, NUDGE))
    found = [forecast(one) for one in turned]
    times = [_total_s(one) for one in found]
    return CloseCall(*times) if None not in found and _parts(times) else None


def _total_s(found: Forecast | None) -> float | None:
    return found.total_s if found is not None and found.completes else None


def _parts(times: Sequence[float | None]) -> bool:
    """Whether ``times`` lie more than HANGS from the middle one, or part in whether there is one."""
    known = [one for one in times if one is not None]
    own_s = times[1]
    if own_s is None or len(known) < len(times):
        return bool(known)
    return any(abs(one / own_s - 1) > HANGS for one in known)
