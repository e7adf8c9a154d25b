"""A migration computed without a run: rounds by the guest's dirty curve, the bandwidth, and QEMU's threshold.

The search looks here; runs confirm. The computation knows pre-copy, auto-converge at its greatest throttle, and post-copy;
it does not know exits of KVM, XBZRLE, dirty-limit, outages, or memory that is short.
"""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.qemu.compression import ASSUMED_RATIO, Content
from hostsim.qemu.ram_stream import connections_of, counted_page_bytes, host_bytes_per_s
from hostsim.qemu.tcp_row import PS_PER_S
from hostsim.scenario.build import workloads_of
from hostsim.scenario.mechanism import always_ends, on_in
from hostsim.scenario.schema import Scenario
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.floor import floor_pages, time_to_converge_s
from hostsim.theory.guest_curve import guest_curve

NEVER_S = float("inf")


@dataclass(frozen=True)
class Forecast:
    """completes: within the scenario's duration and time-out; total_s: inf if it never would.

    bandwidth_bytes_per_s: the least of link, window, max-bandwidth and migration thread.
    floor_bytes: below this remaining never falls; threshold_bytes: remaining below which QEMU stops the guest.
    """

    completes: bool
    total_s: float
    first_pass_s: float
    bandwidth_bytes_per_s: float
    floor_bytes: float
    threshold_bytes: float


def forecast(scenario: Scenario) -> Forecast | None:
    """The computed migration of ``scenario``; None for a mechanism, or a host, that the computation does not know."""
    migration = scenario.migration
    if migration is None or scenario.vm.dirty_limit or not all(one.is_forecast for one in on_in(migration)):
        return None
    bandwidth = bandwidth_bytes_per_s(scenario)
    if not bandwidth:
        return None
    page_bytes = counted_page_bytes(migration.parameters(), _content(scenario))
    sent_pages_per_s = bandwidth / page_bytes
    curve = slowed_curve(scenario)
    limit_s = migration.downtime_limit / NS_PER_S
    threshold = (migration.avail_switchover_bandwidth or bandwidth) * limit_s / PAGE_BYTES
    filled = sum(pages for _, pages in scenario.vm.filled_gfns())
    first_s = filled / sent_pages_per_s
    left_s = time_to_converge_s(curve, sent_pages_per_s, threshold, curve(first_s))
    total_s = NEVER_S if left_s is None else first_s + _again_s(curve, sent_pages_per_s, threshold, filled, left_s)
    if always_ends(migration):
        total_s = min(total_s, 3 * first_s)
    return Forecast(
        total_s <= limit_of_s(scenario), total_s, first_s, bandwidth, floor_pages(curve, sent_pages_per_s) * PAGE_BYTES,
        threshold * PAGE_BYTES,
    )  # fmt: skip


def _again_s(curve: DirtyCurve, sent_pages_per_s: float, threshold: float, filled: int, left_s: float) -> float:
    """Time [s] in which pages are sent that were sent before. left_s: of whole rounds.

    A threshold above the pages that a whole pass dirties ends the first pass early: the pages that the threshold allows are
    sent once, in the downtime, and only pages that were dirtied until then are sent again.
    """
    if curve(filled / sent_pages_per_s) >= threshold:
        return left_s + min(threshold, filled) / sent_pages_per_s
    return curve(max(0.0, filled - threshold) / sent_pages_per_s) / sent_pages_per_s


def computed_figures(scenario: Scenario) -> dict[str, float] | None:
    """Bandwidth, floor of remaining, and threshold of ``scenario``, by name; None where it cannot be computed.

    Where a window of the stream is the bottleneck, that window and its round trip as well.
    """
    found = forecast(scenario)
    if found is None or scenario.migration is None or always_ends(scenario.migration):
        return None
    names = ("bandwidth_bytes_per_s", "floor_bytes", "threshold_bytes")
    return {name: getattr(found, name) for name in names} | _window(scenario, found.bandwidth_bytes_per_s)


def _window(scenario: Scenario, bandwidth: float) -> dict[str, float]:
    """Window [bytes] of all connections and round trip [s], if they let no more than ``bandwidth`` through; else {}."""
    assert scenario.migration is not None, "asked before"
    link, streams = scenario.link.spec(scenario.seed), connections_of(scenario.migration.parameters())
    if link.stream_limit in (None, "link") or link.stream_bytes_per_s * streams > bandwidth:
        return {}
    return {"window_bytes": float(link.window_bytes * streams), "round_trip_s": link.rtt_ps / PS_PER_S}


def first_pass_s(scenario: Scenario) -> float:
    """Time [s] in which all memory is sent once, about."""
    found = forecast(scenario)
    if found is not None:
        return found.first_pass_s
    bandwidth = bandwidth_bytes_per_s(scenario) if scenario.migration is not None else scenario.link.bandwidth
    return scenario.vm.memory / max(1, bandwidth)


def limit_of_s(scenario: Scenario) -> float:
    """Time [s] after which a migration counts as one that does not converge: the run's end, or a time-out."""
    assert scenario.migration is not None, "a migration is asked about"
    ends = [scenario.duration - scenario.migration.start, scenario.migration.timeout]
    return min(end for end in ends if end > 0) / NS_PER_S


def bandwidth_bytes_per_s(scenario: Scenario) -> float:
    """The bandwidth as QEMU measures it: the least of link, windows of the stream, max-bandwidth, and migration thread."""
    migration = scenario.migration
    assert migration is not None, "a migration is asked about"
    parameters, link = migration.parameters(), scenario.link.spec(scenario.seed)
    streams = connections_of(parameters)
    carried = min(link.stream_bytes_per_s * streams, link.bandwidth_bytes_per_s or link.stream_bytes_per_s * streams)
    host = host_bytes_per_s(scenario.host.sheet(), parameters, _content(scenario))
    return float(min((one for one in (carried, migration.bandwidth, host) if one), default=0))


def slowed_curve(scenario: Scenario) -> DirtyCurve:
    """The guest's dirty curve, under the greatest throttle where auto-converge is on."""
    curve = guest_curve(workloads_of(scenario), scenario.seed)
    migration = scenario.migration
    if migration is None or not migration.auto_converge:
        return curve
    speed = speed_under(scenario, migration.max_cpu_throttle)
    return curve.slowed(speed) if 0 < speed < 1 else curve


def speed_under(scenario: Scenario, percent: float) -> float:
    """Share of its writes that the guest of ``scenario`` keeps under a throttle of ``percent``.

    Work that follows the clock catches up.
    """
    runs, loads = 1 - percent / 100, scenario.vm.workload
    total = float(sum(load.write_rate for load in loads))
    kept = sum(float(load.write_rate) * _kept(load.pacing, load.catch_up, runs) for load in loads)
    return kept / total if total else 1.0


def _kept(pacing: str, catch_up: float, runs: float) -> float:
    return min(1.0, catch_up * runs) if pacing == "open" else runs


def _content(scenario: Scenario) -> Content:
    return Content(scenario.vm.compression_ratio or ASSUMED_RATIO)
