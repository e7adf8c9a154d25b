"""Pre-copy as a map: each pass sends the pages that were dirtied during the pass before.

``page_s`` is the time one page takes on the wire [s], ``limit_s`` the downtime limit [s]. The last pass is sent with the
VM stopped; it is counted in passes, time and pages, and its duration is the downtime. Forecasts come from a dirty curve,
pass by pass, without an engine, or, without a curve, from one measured rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hostsim.core.constants import PAGE_HEADER_BYTES, PAGE_WIRE_BYTES, ZERO_PAGE_BYTES
from hostsim.theory.dirty_curve import DirtyCurve

SETUP_BYTES_APPROX = 8 * 1024
"""Block list and end marks: two completed QEMU migrations sent 7.2 and 8.9 KiB beyond their pages."""


def transferred_bytes(normal_pages: int, duplicate_pages: int, skipped_pages: int = 0) -> int:
    """RAM bytes of a migration, to within a few KiB: normal x 4104 + (duplicate - skipped) x 9 + 8 KiB.

    normal_pages, duplicate_pages, skipped_pages: as query-migrate counts them.
    QEMU 1.6 counts a zero page that it leaves out in both ``duplicate`` and ``skipped``.
    """
    zero_bytes = (duplicate_pages - skipped_pages) * ZERO_PAGE_BYTES
    return normal_pages * PAGE_WIRE_BYTES + zero_bytes + SETUP_BYTES_APPROX


def throughput_mbps(sent_bytes: int, total_time_ms: int, setup_time_ms: int) -> float:
    """Throughput [Mbit/s] as reported: bytes x 8 / (total - setup).

    sent_bytes: of RAM, on the wire. total_time_ms, setup_time_ms: as query-migrate has them; the first has to be longer.
    Source: QEMU 7.2, migration/migration.c::migration_calculate_complete.
    """
    return sent_bytes * 8.0 / (total_time_ms - setup_time_ms) / 1000.0


def page_seconds(bandwidth_bytes_per_s: float, page_bytes: float = PAGE_WIRE_BYTES) -> float:
    """Seconds one page takes at ``bandwidth_bytes_per_s``."""
    return page_bytes / bandwidth_bytes_per_s


STALLED = 1.0 - 1e-12
"""A pass that is not shorter than this share of the one before has met a fixed point."""


@dataclass(frozen=True)
class PrecopyOutcome:
    """End of the map.

    converged: a pass fitted into the downtime limit. If the VM was never stopped, the figures are those at the last pass.
    passes: number of passes, the stopped one included.
    total_s: time of all passes.
    last_pass_s: time of the stopped pass, or of the last live pass if the VM was never stopped.
    pages_sent: pages of all passes.
    capped: a cap stopped the VM, and not the limit.
    """

    converged: bool
    passes: int
    total_s: float
    last_pass_s: float
    pages_sent: float
    capped: bool = False


@dataclass(frozen=True)
class Caps:
    """Caps that stop the VM with any number of dirty pages: ``live_passes``, or ``sent_ratio`` x memory sent.

    Defaults: 29 passes and 3 x, as in Xen up to 4.5 (tools/libxc/xc_domain_save.c; Clark et al., "Live
    Migration of Virtual Machines", NSDI 2005).
    """

    live_passes: int = 29
    sent_ratio: float = 3.0

    def reached(self, passes: int, pages_sent: float, pages: float) -> bool:
        """Whether ``passes`` live passes with ``pages_sent`` of a VM of ``pages`` pages reach a cap."""
        return passes >= self.live_passes or pages_sent > self.sent_ratio * pages

    def time_bound_s(self, pages: float, page_s: float) -> float:
        """Upper bound [s] of the total time: all passes within the ratio, then one live pass, then the stopped pass.

        pages: of the VM. page_s: seconds to send a page.
        """
        return (self.sent_ratio + 2.0) * pages * page_s

    def downtime_bound_s(self, pages: float, page_s: float) -> float:
        """Upper bound [s] of the downtime: all ``pages`` of the VM once, at ``page_s`` seconds a page."""
        return pages * page_s


def iterate_precopy(
    curve: Callable[[float], float],
    pages: float,
    page_s: float,
    limit_s: float,
    *,
    first_pass_s: float | None = None,
    give_up_s: float = math.inf,
    max_passes: int | None = None,
    caps: Caps | None = None,
) -> PrecopyOutcome:
    """p_0 = ``pages``, p_(n+1) = D(time of pass n), until a pass takes at most ``limit_s``.

    ``curve``: seconds to pages, never falling. ``first_pass_s``: time of pass 0 where it is not pages x
    page_s. Ends unconverged after ``give_up_s`` or ``max_passes``, or as soon as a pass is no shorter than
    the one before: D never falls, so no later pass is shorter either.
    """
    pass_s = pages * page_s if first_pass_s is None else first_pass_s
    passes, total_s, sent = 1, pass_s, float(pages)
    while pass_s > limit_s:
        if total_s > give_up_s or passes == max_passes:
            return PrecopyOutcome(False, passes, total_s, pass_s, sent)
        capped = caps is not None and caps.reached(passes, sent, pages)
        next_pages = curve(pass_s)
        next_s = next_pages * page_s
        if caps is None and next_s > limit_s and next_s >= pass_s * STALLED:
            return PrecopyOutcome(False, passes, total_s, pass_s, sent)
        passes, total_s, sent, pass_s = passes + 1, total_s + next_s, sent + next_pages, next_s
        if capped:
            return PrecopyOutcome(pass_s <= limit_s, passes, total_s, pass_s, sent, pass_s > limit_s)
    return PrecopyOutcome(True, passes, total_s, pass_s, sent)


def geometric_precopy(pages: float, rate_pages_per_s: float, page_s: float, limit_s: float) -> PrecopyOutcome:
    """Closed form where every write meets a clean page: p_n = V lambda^n, lambda = rate x page_s.

    pages: V, of the VM. rate_pages_per_s: writes a second. page_s: seconds to send a page. limit_s: downtime limit.
    n = ceil(log_lambda(limit / (V page_s))) live passes; total V page_s (1 - lambda^(n+1)) / (1 - lambda);
    converges iff lambda < 1, else the figures are infinite. Source: Akoush et al., "Predicting the
    Performance of Virtual Machine Migration", MASCOTS 2010; Clark et al., NSDI 2005.
    """
    ratio = rate_pages_per_s * page_s
    n = geometric_live_passes(pages * page_s, ratio, limit_s)
    if n is None:
        return PrecopyOutcome(False, 0, math.inf, math.inf, math.inf)
    factor = (1.0 - ratio ** (n + 1)) / (1.0 - ratio) if n else 1.0
    last_s = pages * page_s * ratio**n
    return PrecopyOutcome(True, n + 1, pages * page_s * factor, last_s, pages * factor)


def geometric_live_passes(first_pass_s: float, ratio: float, limit_s: float) -> int | None:
    """Live passes when each takes ``ratio`` of the one before; None: none ever fits into ``limit_s``."""
    if first_pass_s <= limit_s:
        return 0
    if ratio >= 1.0 or limit_s <= 0.0 < ratio:
        return None
    if ratio <= 0.0:
        return 1
    return math.ceil(math.log(limit_s / first_pass_s) / math.log(ratio))


def saturating_curve(pages: float, writes_per_s: float) -> Callable[[float], float]:
    """D(t) = V (1 - e^(-r t / V)): uniform random writes to all ``pages`` pages."""
    return lambda seconds: -pages * math.expm1(-writes_per_s * seconds / pages)


def saturating_fixed_point(rho: float) -> float:
    """Share of memory that every pass re-sends: largest root of x = 1 - e^(-rho x), rho = writes/s x page_s.

    0 for rho <= 1, else 1 + W0(-rho e^(-rho)) / rho (Corless et al., "On the Lambert W function", 1996),
    here by Newton's method from x = 1, where it falls towards the root without passing it.
    """
    if rho <= 1.0:
        return 0.0
    x, step = 1.0, 1.0
    while step > 1e-15 * x:
        overshoot = x + math.expm1(-rho * x)
        steepness = 1.0 - rho * math.exp(-rho * x)
        step = overshoot / steepness if steepness > 0.0 else 0.0
        x -= step
    return x


def never_completes_above_pages(rate_pages_per_s: float, page_s: float, limit_s: float) -> float:
    """Working set [pages] above which uniform writes at this rate never let a pass fit into ``limit_s``.

    Passes shrink to x* W, x* the fixed point at rho = rate x page_s, so W = limit / (page_s x*); inf for
    rho <= 1. A ratio above 1 alone decides nothing: a smaller working set completes.
    """
    share = saturating_fixed_point(rate_pages_per_s * page_s)
    return limit_s / (page_s * share) if share else math.inf


def predict_precopy(
    curve: DirtyCurve,
    normal_pages: int,
    zero_pages: int,
    bandwidth_bytes_per_s: float,
    downtime_limit_s: float = math.inf,
    give_up_s: float = 3600.0,
    page_bytes: int = PAGE_WIRE_BYTES,
    zero_page_bytes: int = PAGE_HEADER_BYTES,
) -> PrecopyOutcome:
    """Passes until the next would take at most ``downtime_limit_s``; the next pass runs with the VM stopped.

    Zero pages cost ``zero_page_bytes`` on the first pass only; ``give_up_s`` bounds the total. ``curve``
    should be cut off at ``normal_pages``. Source: QEMU patch series "Migration time prediction using
    calc-dirty-rate", scripts/predict_migration.py (qemu-devel, 2023).
    """
    first_bytes = normal_pages * page_bytes + zero_pages * zero_page_bytes
    return iterate_precopy(
        curve,
        normal_pages,
        page_bytes / bandwidth_bytes_per_s,
        downtime_limit_s,
        first_pass_s=first_bytes / bandwidth_bytes_per_s,
        give_up_s=give_up_s,
    )


def uniform_guest(rate_pages_per_s: float, window_s: float, pages: int) -> Callable[[float], float]:
    """D(t) of the guest that writes all its ``pages`` evenly and of which ``rate`` was measured over ``window_s``.

    It has written rate x window distinct pages by then: V (1 - e^(-w window / V)) = rate x window gives its writes a second
    w. A rate that finds all pages written leaves w unknown: each page is dirty again at once.
    """
    found = rate_pages_per_s * window_s
    if found >= pages:
        return lambda seconds: float(pages) if seconds > 0 else 0.0
    return saturating_curve(pages, -pages / window_s * math.log1p(-found / pages))


def forecast(
    rate_pages_per_s: float, window_s: float, pages: int, page_s: float, limit_s: float, first_pass_s: float
) -> PrecopyOutcome:
    """The migration of that guest; page_s, limit_s, first_pass_s: see ``iterate_precopy``."""
    curve = uniform_guest(rate_pages_per_s, window_s, pages)
    return iterate_precopy(curve, pages, page_s, limit_s, first_pass_s=first_pass_s)
