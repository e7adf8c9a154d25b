"""A fitted guest as the table of a scenario."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.units import format_bandwidth
from hostsim.fitting.bottleneck import Bottleneck
from hostsim.fitting.layout import Region, filled_ranges, regions_of
from hostsim.fitting.mixture import Classes
from hostsim.fitting.observed import Observed
from hostsim.fitting.pacing import Pace
from hostsim.fitting.which import leading

UNKNOWN_BANDWIDTH = 1_250_000_000
PATIENCE, PATIENCE_MIN_S = 2, 60
"""A migration is given up after this many times the longest of the logs, and at least so long (assumed)."""
RATE_DIGITS = 1000


@dataclass(frozen=True)
class Setting:
    """Everything of a scenario but the guest's writes: taken from the log with the most facts."""

    ram_pages: int
    filled: tuple[tuple[int, int], ...]
    bottleneck: Bottleneck | None
    limit_ms: float
    auto_converge: tuple[int, int] | None
    """(first throttle, step) [percent] of a throttled log."""
    xbzrle: bool
    multifd: bool
    by_chunks: bool
    patience_s: int
    host: tuple[tuple[str, int], ...] = ()


def setting_of(
    some: Sequence[Observed], by_chunks: bool, host: tuple[tuple[str, int], ...], bottleneck: Bottleneck | None
) -> Setting:
    """The setting of the first migration that shows its first pass, or of the first.

    by_chunks: whether KVM's log is cleared by chunks.
    host: (key, value) of [host] that the throttled rounds show.
    bottleneck: the bottleneck; None: unknown.
    """
    one = leading(some)
    ram = max(1, round(one.ram_pages))
    longest = max(o.evidence.elapsed_s for o in some)
    return Setting(
        ram_pages=ram,
        filled=filled_ranges(one.stretches, ram, round(one.filled_pages)),
        bottleneck=bottleneck,
        limit_ms=1000 * one.evidence.limit_s,
        auto_converge=_steps(one),
        xbzrle=bool((one.log.xbzrle_pages > 0).any()),
        multifd=bool((one.log.multifd_bytes > 0).any()),
        by_chunks=by_chunks,
        patience_s=max(PATIENCE_MIN_S, int(-(-PATIENCE * longest // 10) * 10)),
        host=host,
    )


def _steps(one: Observed) -> tuple[int, int] | None:
    seen = sorted({int(p) for p in one.log.throttle_percent[one.log.throttle_percent > 0]})
    if not seen:
        return None
    return seen[0], seen[1] - seen[0] if len(seen) > 1 else 10


def scenario_table(classes: Classes, pace: Pace, setting: Setting, name: str) -> dict[str, Any]:
    """The table of a scenario file.

    classes: pages of the guest with their write rates.
    pace: pacing of the writes.
    setting: memory and migration as in the log.
    name: of the scenario.
    """
    vm: dict[str, Any] = {"memory": f"{setting.ram_pages * PAGE_BYTES // 1024}KiB", "vcpus": 1, "filled": "list"}
    if setting.by_chunks:
        vm["dirty_tracking"] = "initially-all-set"
    vm["fill"] = [{"at": _kib(first), "size": _kib(pages)} for first, pages in setting.filled]
    loads = list(_workloads(classes, pace, setting))
    if loads:
        vm["workload"] = loads
    return {
        "name": name,
        "duration": f"{setting.patience_s + 10}s",
        "vm": vm,
        "migration": _migration(setting),
        "link": _link(setting.bottleneck),
        "host": {"lateness": "drawn", **_late(setting.bottleneck), **dict(setting.host)},
    }


def _workloads(classes: Classes, pace: Pace, setting: Setting) -> Iterator[dict[str, Any]]:
    for i, region in enumerate(regions_of(classes, setting.filled)):
        yield {**_pattern(classes, region, i), **_pacing(pace)}


def _pattern(classes: Classes, region: Region, i: int) -> dict[str, Any]:
    at = {"at": _kib(region.first_page), "size": _kib(region.pages)}
    if region.number < 0 and classes.sweep is not None:
        rate = classes.sweep.sweeps_per_s * region.pages
        return {"name": f"sweep-{i}", "pattern": "sequential", **at, "write_rate": _rate(rate)}
    rate = classes.pages[region.number][1] * region.pages
    return {
        "name": f"class-{region.number + 1}-{i}",
        "pattern": "uniform",
        **at,
        "write_rate": _rate(rate),
        "arrivals": "poisson",
    }


def _pacing(pace: Pace) -> dict[str, Any]:
    return {} if pace.catch_up == 1.0 else {"pacing": "open", "catch_up": pace.catch_up}


def _migration(setting: Setting) -> dict[str, Any]:
    bottleneck = setting.bottleneck
    limit = format_bandwidth(bottleneck.bytes_per_s) if bottleneck and bottleneck.kind == "max-bandwidth" else "unlimited"
    found: dict[str, Any] = {
        "qemu": bottleneck.qemu if bottleneck else "10.0",
        "bandwidth": limit,
        "downtime_limit": f"{round(setting.limit_ms)}ms",
        "timeout": f"{setting.patience_s}s",
    }
    if setting.auto_converge:
        found["auto_converge"] = True
        found["cpu_throttle_initial"], found["cpu_throttle_increment"] = (min(99, max(1, p)) for p in setting.auto_converge)
    if setting.xbzrle:
        found["xbzrle"] = True
    if setting.multifd:
        found["multifd"] = True
    return found


def _link(bottleneck: Bottleneck | None) -> dict[str, Any]:
    if bottleneck is None:
        return {"bandwidth": format_bandwidth(UNKNOWN_BANDWIDTH), "latency": "0s"}
    carried = format_bandwidth(bottleneck.bytes_per_s) if bottleneck.kind == "link" else "unlimited"
    return {"bandwidth": carried, "latency": "0s"}


def _late(bottleneck: Bottleneck | None) -> dict[str, int]:
    """The lateness of the migration thread's sleeps, where windows of the log ended late."""
    return {"sleep_overshoot_ns": bottleneck.late_ns} if bottleneck and bottleneck.late_ns else {}


def _kib(pages: int) -> str:
    return f"{pages * PAGE_BYTES // 1024}KiB"


def _rate(per_s: float) -> str:
    exact = Fraction(max(1, round(per_s * RATE_DIGITS)), RATE_DIGITS)
    return f"{float(exact):.3f}".rstrip("0").rstrip(".") + "/s"
