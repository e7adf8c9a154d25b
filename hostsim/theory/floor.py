"""Remaining by a dirty curve and a bandwidth: where it settles, and the floor below which QEMU's test never finds it.

Pages are sent in one cyclic sweep. In the steady state a sweep takes P seconds with D(P) = B P: it sends as many pages as
the guest dirties meanwhile. The bitmap synced at any instant shows, of pages cleaned u seconds ago, those dirtied since; u
is spread evenly over 0 .. P, so remaining at that instant is the mean of D over 0 .. P. The threshold has to reach that
mean, not D(P), because QEMU syncs as soon as the pages left over from the last sync are fewer than the threshold
(migration/migration.c::migration_iteration_run), after however short a round. For uniform writes the mean is W (1 - B/r).
Of a writer that sweeps its pages in order, a sync may find fewer pages, never more.

The floor of the downtime, and the single changes that get below a limit, are exact for piecewise-linear curves: every
extreme lies at a corner. ``page_s`` is seconds per page on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from hostsim.core.constants import PAGE_WIRE_BYTES
from hostsim.theory.cyclic_sweep import time_by_stretches_s
from hostsim.theory.dirty_curve import DirtyCurve

ROUNDING = 1e-9
"""Share by which a corner may miss the link's line and still counts as on it."""
BISECTIONS = 45
WINDOW_S = 0.1
"""A pass of QEMU's loop under a rate limit (migration/migration.c::BUFFER_DELAY)."""


def sweep_s(curve: DirtyCurve, sent_pages_per_s: float) -> float:
    """Longest P [s] with D(P) >= B P: the steady sweep. 0 where the guest is always slower than the link.

    The curve is straight between two corners, so the line of the last corner at which the guest is ahead of the link meets
    the link's line at P.
    """
    longest = curve.ceiling_pages / sent_pages_per_s
    if not np.isfinite(longest) or longest >= curve.saturation_s:
        return longest
    t_s, pages = curve.corners
    ahead = np.flatnonzero(pages >= sent_pages_per_s * t_s * (1 - ROUNDING))
    if not len(ahead):  # a curve without its first moments: slower than the link at each time that is known
        return 0.0
    last = int(ahead[-1])
    if last == len(t_s) - 1:
        return longest
    slope = (pages[last + 1] - pages[last]) / (t_s[last + 1] - t_s[last])
    return float((pages[last] - slope * t_s[last]) / (sent_pages_per_s - slope))


def settle_pages(curve: DirtyCurve, sent_pages_per_s: float) -> float:
    """Pages sent by each sweep of the steady state: the largest fixed point x = D(x / B).

    curve: D, distinct pages dirtied within a time. sent_pages_per_s: B, above 0. 0 where the link is always ahead.
    """
    return sweep_s(curve, sent_pages_per_s) * sent_pages_per_s


def floor_pages(curve: DirtyCurve, sent_pages_per_s: float) -> float:
    """Mean of D over the steady sweep [pages]: the least remaining that a sync finds.

    curve: D, distinct pages dirtied within a time. sent_pages_per_s: B, above 0. 0 where the link is always ahead.
    """
    return mean_pages(curve, sweep_s(curve, sent_pages_per_s))


def mean_pages(curve: DirtyCurve, seconds: float) -> float:
    """Mean of D over 0 .. ``seconds``, exact for the piecewise linear curve."""
    if seconds <= 0:
        return 0.0
    corners_s, pages_at_corners = curve.corners
    within = int(np.searchsorted(corners_s, seconds))
    t_s = np.append(corners_s[:within], seconds)
    pages = np.append(pages_at_corners[:within], curve(seconds))
    return float(np.dot(pages[1:] + pages[:-1], np.diff(t_s)) / (2 * seconds))


def limit_needed_s(curve: DirtyCurve, sent_pages_per_s: float) -> float:
    """Least downtime limit [s] under which the migration of ``curve`` ends: its floor over ``sent_pages_per_s``."""
    return floor_pages(curve, sent_pages_per_s) / sent_pages_per_s


def bandwidth_needed_pages_per_s(curve: DirtyCurve, limit_s: float, threshold_pages: float | None = None) -> float:
    """Least B [pages/s] whose floor is within B x ``limit_s``; for uniform writes W / (limit + W/r).

    threshold_pages: the threshold where it does not depend on B (avail-switchover-bandwidth).
    """
    fastest = float(np.max(np.diff(curve.pages) / np.diff(curve.t_s)))
    high = min(fastest, curve.ceiling_pages / limit_s) if limit_s > 0 and threshold_pages is None else fastest
    if high <= 0:
        return 0.0
    allowed = (lambda b: b * limit_s) if threshold_pages is None else (lambda _b: threshold_pages)
    return _first_true(lambda b: floor_pages(curve, b) <= allowed(b), high * 1e-6, high)


def speed_needed(curve: DirtyCurve, sent_pages_per_s: float, limit_s: float) -> float:
    """Greatest share of its speed (0 .. 1) that the guest may keep for the migration to end within ``limit_s``.

    curve: of the guest at full speed. sent_pages_per_s: above 0.
    1 where the guest need not slow down; found by bisection, from a share of 1e-4 on.
    """
    allowed = sent_pages_per_s * limit_s
    if floor_pages(curve, sent_pages_per_s) <= allowed:
        return 1.0
    return _last_true(lambda f: floor_pages(curve.slowed(f), sent_pages_per_s) <= allowed, 1e-4, 1.0)


def time_to_converge_s(
    curve: DirtyCurve, sent_pages_per_s: float, threshold_pages: float, remaining_pages: float
) -> float | None:
    """Seconds from ``remaining_pages`` until a sync finds less than ``threshold_pages``; None if none ever does.

    curve: distinct pages that the guest dirties within a time. sent_pages_per_s: above 0.
    A round lasts until the threshold is reached and at least a window, unless all is sent before the window ends:
    then the loop does not sleep. Pages beyond those that the guest ever writes wait for their first turn, and go once.
    """
    if floor_pages(curve, sent_pages_per_s) >= threshold_pages:
        return None
    once = max(0.0, remaining_pages - curve.ceiling_pages)
    left_s = time_by_stretches_s(curve, sent_pages_per_s, threshold_pages, remaining_pages - once, WINDOW_S)
    return None if left_s is None else once / sent_pages_per_s + left_s


def _last_true(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Greatest value between ``low``, where ``holds`` is true, and ``high``, where it is not."""
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _first_true(holds: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def longest_standing_pass_s(curve: DirtyCurve, page_s: float) -> float:
    """Largest fixed point [s] of t -> D(t) page_s: passes shrink to it and no further; 0 without one.

    inf if the curve climbs for ever at the pace of the link or faster.
    """
    t, pages = curve.corners
    if curve.slope_beyond_pages_per_s(float(t[-1])) * page_s >= 1.0:
        return math.inf
    excess = pages * page_s - t
    standing = np.flatnonzero(excess >= 0)
    if not len(standing):
        return 0.0
    last = int(standing[-1])
    if last == len(t) - 1:
        slope = curve.slope_beyond_pages_per_s(float(t[-1])) * page_s
        return float(t[-1] + excess[-1] / (1.0 - slope))
    share = excess[last] / (excess[last] - excess[last + 1])
    return float(t[last] + share * (t[last + 1] - t[last]))


def converges(curve: DirtyCurve, page_s: float, limit_s: float) -> bool:
    """Whether some pass fits into ``limit_s``: the largest fixed point is no longer than that.

    curve: D, pages that a pass finds dirty after its length in time. page_s: seconds to send a page.
    """
    return longest_standing_pass_s(curve, page_s) <= limit_s


def fastest_dirtying_pages_per_s(curve: DirtyCurve, limit_s: float) -> float:
    """Largest D(t) / t over t >= ``limit_s`` (> 0): the page rate a link has to exceed."""
    t, _ = curve.corners
    t = np.concatenate([[limit_s], t[t > limit_s]])
    slope = curve.slope_beyond_pages_per_s(float(t[-1]))
    return max(float(np.max(curve.at(t) / t)), slope)


def bandwidth_needed_bytes_per_s(
    curve: DirtyCurve, limit_s: float, page_bytes: float = PAGE_WIRE_BYTES
) -> float:
    """Bandwidth above which passes shrink to ``limit_s`` (> 0), nothing else changed: the largest D(t) / t from there on.

    curve: D, pages that a pass finds dirty after its length in time. page_bytes: bytes on the wire for a page.
    """
    return page_bytes * fastest_dirtying_pages_per_s(curve, limit_s)
