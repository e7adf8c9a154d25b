"""Forecasts from the evidence, as ranges: where remaining settles, and the values at which the migration would end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median

from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.floor import (
    bandwidth_needed_pages_per_s,
    floor_pages,
    settle_pages,
    speed_needed,
    time_to_converge_s,
)
from hostsim.verdict.dirty_curve import TOLERANCE, FittedCurves, fit_curves, worst_curve
from hostsim.verdict.evidence import Evidence, Round

STUCK_ROUNDS = 4
"""So many rounds after the first pass without a decline suffice to call a migration stuck (assumed)."""
DECLINE = 0.03
"""Remaining has to fall by this share from one half of the rounds to the other to decline (assumed)."""
BETTER_BY = 0.5
MARGIN = 1.1
"""Factor on every advised value: at the floor itself a migration never ends, and bandwidth wavers by a few percent
(assumed).
"""
SEEN_WITHIN = 1.08
"""A log shows the value at which remaining settles within this factor (assumed)."""
CREEPING_S = 0.5
"""Rounds shorter than this are not rounds but single passes of QEMU's loop (assumed)."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Forecast:
    """Ranges (least, greatest) over all dirty curves that agree with the evidence, in pages.

    curves: of the unthrottled guest; worst: a curve above all that agree, of any shape; fit: the fitted curves; worst and
    fit are None where the curve is known.
    speed: share of the guest's dirtying left under the last throttle.
    cpu_bound: whether the rounds show that throttling slows the dirtying; None: they do not show it.
    """

    curves: tuple[DirtyCurve, ...]
    worst: DirtyCurve | None
    fit: FittedCurves | None
    speed: float
    cpu_bound: bool | None
    settle: Range
    floor: Range
    stuck: bool

    def slowed(self, speed: float) -> tuple[DirtyCurve, ...]:
        """All curves with the guest at the share ``speed`` of its full speed."""
        return tuple(c.slowed(speed) for c in self.curves) if speed < 1 else self.curves

    def worst_too(self) -> tuple[DirtyCurve, ...]:
        """All curves under the last throttle, and the worst."""
        return self.slowed(self.speed) + ((self.worst,) if self.worst else ())


def forecast(evidence: Evidence) -> Forecast | None:
    """The forecast from ``evidence``; None without a bandwidth, and where neither a curve is known nor a round was seen."""
    if not evidence.bandwidth_bytes_per_s:
        return None
    fit, cpu_bound = (None, None) if evidence.curve else _fit(evidence)
    curves = (evidence.curve,) if evidence.curve else (fit.curves if fit else ())
    if not curves:
        return None
    stuck = is_stuck(evidence.rounds)
    curves = extremes(_not_refuted(curves, evidence, stuck), evidence) if fit else curves
    speed = speed_under(evidence, evidence.throttle_percent, cpu_bound)
    now = tuple(c.slowed(speed) for c in curves) if speed < 1 else curves
    sent = evidence.sent_pages_per_s
    return Forecast(
        curves=curves,
        worst=worst_curve(_alike(evidence), evidence.ram_pages or float("inf")) if fit else None,
        fit=fit,
        speed=speed,
        cpu_bound=cpu_bound,
        settle=(settles_seen(evidence) if fit else None) or span(now, lambda c: settle_pages(c, sent)),
        floor=_as_seen(span(now, lambda c: floor_pages(c, sent)), evidence if fit else None),
        stuck=stuck,
    )


def _as_seen(floor: Range, evidence: Evidence | None) -> Range:
    """``floor``, no higher than the pages that remained after a sync: curves that agree with short rounds may be far off.

    A range that lies above those pages altogether rests on short rounds alone, and does not bound the least.
    """
    seen = remaining_seen(evidence) if evidence else []
    least = SEEN_WITHIN * min(seen, default=float("inf"))
    if floor[0] > least and evidence and _creeps(evidence):
        return 0.0, least
    return min(floor[0], least), min(floor[1], least)


def speed_under(evidence: Evidence, percent: float, cpu_bound: bool | None = None) -> float:
    """Share of its dirtying that the guest of ``evidence`` keeps under a throttle of ``percent``.

    cpu_bound: the guest is bound to the CPU; used only where ``evidence`` has neither paces nor a share of such work.
    A vCPU runs 1 - percent of the time. Work bound to the CPU slows as much. Work that arrives by the clock catches up at
    catch_up times its speed, and slows only if catch_up x (1 - percent) < 1. Where no pace is known, work that is not
    bound to the CPU counts as not slowed.
    """
    if evidence.paces:
        runs = 1.0 - percent / 100
        return sum(share * min(1.0, catch_up * runs) for share, catch_up in evidence.paces)
    share = evidence.cpu_bound_share
    share = (1.0 if cpu_bound else 0.0) if share is None else share
    return 1.0 - share * percent / 100.0


def limit_needed_s(found: Forecast, evidence: Evidence) -> Range:
    """(least, greatest) downtime limit [s] that reaches the floor, before any margin.

    found: its curves under the last throttle, and the worst curve, span the range.
    evidence: the bandwidth; avail-switchover-bandwidth takes its place where it is set.
    """
    switchover = evidence.switchover_bandwidth_bytes_per_s or evidence.bandwidth_bytes_per_s or 1.0
    low, high = span(found.worst_too(), lambda c: floor_pages(c, evidence.sent_pages_per_s))
    return low * evidence.page_bytes / switchover, high * evidence.page_bytes / switchover


def bandwidth_needed_bytes_per_s(found: Forecast, evidence: Evidence) -> Range:
    """(least, greatest) bandwidth [bytes/s on the wire] at which the floor comes under the threshold, before any margin.

    found: its curves under the last throttle, and the worst curve, span the range.
    evidence: the downtime limit, or the threshold itself where avail-switchover-bandwidth fixes it. The threshold has wire
    bytes in it and remaining has whole pages, hence a limit longer by 4104/4096.
    """
    limit_s = evidence.limit_s * evidence.page_wire_bytes / evidence.page_bytes
    fixed = evidence.threshold_pages if evidence.switchover_bandwidth_bytes_per_s else None
    low, high = span(found.worst_too(), lambda c: bandwidth_needed_pages_per_s(c, limit_s, fixed))
    return low * evidence.page_wire_bytes, high * evidence.page_wire_bytes


def speed_allowed(found: Forecast, evidence: Evidence) -> Range:
    """(least, greatest) share of its own speed that the guest may keep for the migration to end.

    found: its curves, of the unthrottled guest, span the range. evidence: bandwidth and threshold.
    """
    sent = evidence.sent_pages_per_s
    limit_s = evidence.threshold_pages / sent
    return span(found.curves, lambda c: speed_needed(c, sent, limit_s))


def time_left_s(found: Forecast, evidence: Evidence) -> float | None:
    """Seconds until the migration converges by the slowest curve of ``found``; None if it never does by one of them.

    evidence: pages remaining now, bandwidth and threshold; see ``times_left_s``.
    """
    times = times_left_s(found, evidence)
    return None if None in times else max(t for t in times if t is not None)


def times_left_s(found: Forecast, evidence: Evidence) -> list[float | None]:
    """Seconds until the migration converges, by each curve of ``found`` under the last throttle; None where it never does.

    evidence: pages remaining now, bandwidth and threshold. The time counts from the last sync, since between two syncs
    ``remaining`` leaves out all pages dirtied meanwhile: at that moment a migration seems closer to its end than it is.
    """
    now = (evidence.remaining_bytes or 0.0) / evidence.page_bytes
    synced = max(evidence.rounds[-1].remaining_pages, now) if evidence.rounds else now
    since_s = (synced - now) / evidence.sent_pages_per_s
    times = [
        time_to_converge_s(curve, evidence.sent_pages_per_s, evidence.threshold_pages, synced)
        for curve in found.slowed(found.speed)
    ]
    return [None if t is None else max(0.0, t - since_s) for t in times]


def span(curves: Sequence[DirtyCurve], figure: Callable[[DirtyCurve], float]) -> Range:
    """Least and greatest ``figure`` over the curves."""
    figures = [figure(curve) for curve in curves]
    return min(figures), max(figures)


def extremes(curves: Sequence[DirtyCurve], evidence: Evidence) -> tuple[DirtyCurve, ...]:
    """The curves between which all others lie: least and greatest floor, fixed point, working set and slope."""
    sent = evidence.sent_pages_per_s
    figures: tuple[Callable[[DirtyCurve], float], ...] = (
        lambda c: floor_pages(c, sent),
        lambda c: settle_pages(c, sent),
        lambda c: c.ceiling_pages,
        lambda c: float(c.pages[1] / c.t_s[1]),
        lambda c: c(evidence.limit_s),
    )
    told = [[figure(c) for c in curves] for figure in figures]
    picked = {values.index(choose(values)) for values in told for choose in (min, max)}
    return tuple(curves[i] for i in sorted(picked))


def remaining_seen(evidence: Evidence) -> list[float]:
    """Pages remaining after each sync of the later half of a long log, or after each sync of a short one.

    Where a log begins late, the pages that the first round sent reveal the pages remaining before it.
    """
    later = [r.remaining_pages for r in evidence.rounds_now]
    if len(later) >= STUCK_ROUNDS:
        return later[len(later) // 2 :] if len(later) >= 2 * STUCK_ROUNDS else later
    return [*_remaining_before(evidence), *later]


def _remaining_before(evidence: Evidence) -> Iterator[float]:
    """Pages remaining after the first pass, or at the start of the first round that the log shows."""
    if any(r.is_past for r in evidence.rounds):
        return
    for first in evidence.rounds[:1]:
        if first.syncs == 1 and first.newly_dirty_pages >= 1:
            yield first.remaining_pages
            return
    for r in evidence.rounds[1:2]:
        if r.timing_off <= DECLINE and r.syncs == 1:
            yield r.pending_pages + evidence.sent_pages_per_s * r.duration_s


def is_falling(seen: Sequence[float]) -> bool:
    """Whether remaining fell from one half of the syncs to the other."""
    return _later_over_earlier(seen) <= 1 - DECLINE


def is_growing(seen: Sequence[float]) -> bool:
    """Whether remaining grew from one half of the syncs to the other."""
    return _later_over_earlier(seen) >= 1 + DECLINE


def _later_over_earlier(seen: Sequence[float]) -> float:
    half = len(seen) // 2
    return mean(seen[half:]) / mean(seen[:half])


def is_stuck(rounds: Sequence[Round]) -> bool:
    """Whether the rounds after the first pass show no decline of remaining."""
    later = [r.remaining_pages for r in rounds[1:] if not r.is_past]
    if len(later) < STUCK_ROUNDS:
        return False
    return not is_falling(later[len(later) // 2 :] if len(later) >= 2 * STUCK_ROUNDS else later)


def _fit(evidence: Evidence) -> tuple[FittedCurves | None, bool | None]:
    """(fit, cpu_bound): fits with and without slowing by the throttle are compared; None if neither is far better."""
    rounds, ram = _alike(evidence), evidence.ram_pages or 0.0
    unmoved = fit_curves(rounds, ram)
    percents = [r.throttle_percent for r in rounds]
    if not any(percents) or unmoved is None:
        return unmoved, None
    slowed = fit_curves(rounds, ram, [1 - p / 100 for p in percents])
    if slowed is None or _far_better(unmoved, slowed):
        return unmoved, False
    return (slowed, True) if _far_better(slowed, unmoved) else (unmoved, None)


def _far_better(this: FittedCurves, that: FittedCurves) -> bool:
    return that.misfit > TOLERANCE and this.misfit <= BETTER_BY * that.misfit


def settles_seen(evidence: Evidence) -> Range | None:
    """(least, greatest) pages at which the log shows remaining to settle; None if it falls, grows, or creeps along the
    threshold.
    """
    seen = remaining_seen(evidence)
    if not _is_steady(seen) or _creeps(evidence):
        return None
    return min(seen) / SEEN_WITHIN, max(seen) * SEEN_WITHIN


def _is_steady(seen: Sequence[float]) -> bool:
    return len(seen) > 1 and not is_falling(seen) and not is_growing(seen)


def _creeps(evidence: Evidence) -> bool:
    return median(r.duration_s for r in evidence.rounds_now or evidence.rounds) < CREEPING_S


def _alike(evidence: Evidence) -> Sequence[Round]:
    """The rounds; in a steady state a round that is the mean of several counts as one: they are taken as alike."""
    steady = _is_steady(remaining_seen(evidence))
    return tuple(replace(r, syncs=1) for r in evidence.rounds) if steady else evidence.rounds


def _not_refuted(curves: tuple[DirtyCurve, ...], evidence: Evidence, stuck: bool) -> tuple[DirtyCurve, ...]:
    """Curves under which remaining would do as it was seen to do; all of them if none is left.

    The more remains after a sync, the longer the round and the more the next sync finds: once it has not grown from one
    sync to the next it never will, and once it has not fallen it stays. Long rounds show the fixed point D(P) = B P.
    Rounds of a window or two show remaining creep along the threshold: the floor itself.
    """
    seen = remaining_seen(evidence)
    if len(seen) < 2:
        return curves
    figure = floor_pages if _creeps(evidence) else settle_pages
    lowest = 0.0 if is_falling(seen) else min(seen) / SEEN_WITHIN
    highest = float("inf") if is_growing(seen) else max(seen) * SEEN_WITHIN
    least, sent = evidence.threshold_pages if stuck else 0.0, evidence.sent_pages_per_s
    left = tuple(c for c in curves if floor_pages(c, sent) >= least and lowest <= figure(c, sent) <= highest)
    return left or curves
