"""Evidence from a polled log: bandwidth, rounds, and the limits that the answers reveal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import PAGE_BYTES
from hostsim.logs.figures import sane
from hostsim.logs.forms import PROFILES
from hostsim.logs.model import MigrationLog, Setup
from hostsim.qemu.mechanism import moved_statuses
from hostsim.verdict.commands import default_limit_ms
from hostsim.verdict.course import last
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.log_rounds import rounds_of
from hostsim.verdict.mechanism import seen_in_log
from hostsim.verdict.speeds import speeds_of

Array = NDArray[np.float64]
PARAMETERS = {
    "max-bandwidth": "max_bandwidth_bytes_per_s", "avail-switchover-bandwidth": "switchover_bandwidth_bytes_per_s",
    "max-cpu-throttle": "max_cpu_throttle",
}  # fmt: skip
STEADY = 0.02
"""Half of the bandwidth figures within this of their median: something constant holds it (assumed)."""
RATES_LEAST = 4
WINDOW_MS, MS_EXACT = 100, 0.02
WHOLE_SHARE, PROMPT_SHARE = 0.9, 0.1
"""Least shares of rates that are whole windows, and of those that ended on time. Of the rates of real logs over a link at
most a third are either; in six logs under max-bandwidth on a busy host all were whole, and 32 to 50 % on time. A host that
is busier still ends fewer on time (assumed: a tenth).
"""
AGREES = 1.5
"""Printed and counted bandwidth that differ by less than this factor agree (assumed)."""
COUNTED_S = 1.0
"""Over shorter times counters move in bursts: QEMU sends for 100 ms and then waits (migration.c::BUFFER_DELAY)."""


def evidence_from_log(log: MigrationLog, **known: Any) -> Evidence:
    """Evidence from ``log``; ``known``: fields of Evidence that the caller knows better (None is ignored)."""
    told = {name: value for name, value in known.items() if value is not None}
    told = {"profile": PROFILES.get(log.format, "qemu")} | _of_setup(log.setup) | told
    limit_ms = last(log.limit_ms)
    if limit_ms is not None:
        told.setdefault("downtime_limit_ms", limit_ms)
    if told.get("downtime_limit_ms") is not None:
        told.setdefault("downtime_limit_from", "given")
    progress = np.flatnonzero(~np.isnan(log.remaining_bytes) & ~np.isnan(log.transferred_bytes))
    evidence = Evidence(source="log", status=log.status[-1], error_desc=log.error_desc, elapsed_s=float(log.t_s[-1]))
    if len(progress):
        evidence = replace(evidence, **_progress(log, progress))
    else:
        speeds = speeds_of(*_bandwidth_between_polls(log, np.flatnonzero(~np.isnan(log.transferred_bytes))))
        sent, ram = last(log.transferred_bytes), last(log.total_bytes)
        evidence = replace(evidence, speeds=speeds, sent_bytes=sent, ram_bytes=ram)
    if log.status[-1] == "completed" and last(log.transferred_bytes[_ended(log)]) is None:
        evidence = replace(evidence, sent_bytes=None)  # bytes were sent after the last poll before the end
    evidence = replace(evidence, **_ends(log), **told, mechanisms=seen_in_log(log, live_answers(log, progress)))
    return replace(evidence, **_with_limit(log, progress, evidence)) if len(progress) else evidence


def _of_setup(setup: Setup) -> dict[str, Any]:
    """Facts that a recording has asked QEMU for."""
    parameters = {name: value for name, value in setup.parameters.items() if not math.isnan(sane(value))}
    told = {name: parameters.get(key) for key, name in PARAMETERS.items()}
    told["switchover_bandwidth_bytes_per_s"] = told["switchover_bandwidth_bytes_per_s"] or None  # 0: QEMU measures it
    told["auto_converge"] = setup.capabilities.get("auto-converge")
    told["qemu"] = ".".join(map(str, setup.version[:2])) or None
    return {name: value for name, value in told.items() if value is not None}


def _progress(log: MigrationLog, at: NDArray[np.int64]) -> dict[str, Any]:
    page = int(last(log.page_size_bytes) or PAGE_BYTES)
    live = at[np.array([log.status[i] != "completed" for i in at], bool)]
    return {
        "samples": len(at),
        "page_bytes": page,
        "page_wire_bytes": page + 8,
        "ram_bytes": last(log.total_bytes),
        "sent_bytes": last(log.transferred_bytes),
        "remaining_bytes": last(log.remaining_bytes[live]) if len(live) else last(log.remaining_bytes),
        "sync_count": last(log.dirty_sync_count),
        "throttle_percent": last(log.throttle_percent) or 0.0,
        "auto_converge": True if np.any(log.throttle_percent > 0) else None,
        **_bandwidth(log, live),
    }


def _bandwidth(log: MigrationLog, live: NDArray[np.int64]) -> dict[str, Any]:
    told = live[log.mbps[live] > 0]
    at_s, rates = log.t_s[told], log.mbps[told] * 1e6 / 8
    counted_s, counted = _bandwidth_between_polls(log, live)
    is_counted = not len(rates) or _disagree(rates, counted)
    if is_counted:
        at_s, rates = counted_s, counted
    if not len(rates):
        return {}
    speeds = speeds_of(at_s, rates)
    rates = rates[at_s >= speeds[-1].since_s] if speeds else rates
    middle = float(np.median(rates))
    quarter, rest = np.percentile(rates, [25, 75])
    whole = None if is_counted else whole_window(rates)
    steady = len(rates) >= RATES_LEAST and float(rest - quarter) <= STEADY * middle
    return {
        "window_bytes_per_s": whole,
        "window_late_s": WINDOW_MS / 1000 * (whole * float(np.mean(1.0 / rates)) - 1.0) if whole else 0.0,
        "bandwidth_bytes_per_s": middle,
        "bandwidth_peak_bytes_per_s": float(np.percentile(rates, 95)),
        "bandwidth_is_steady": steady,
        "speeds": speeds,
    }


def whole_window(rates: Array) -> float | None:
    """The speed of a window of 100 ms, where all rates are those of equal windows that ended late; None where they are not.

    QEMU 7.2 sends the quota of a window and then sleeps; the next window begins when the thread runs again, a
    whole number of milliseconds later. So each rate is the largest one times 100 ms over 100, 101, 102, ... ms.
    """
    if len(rates) < RATES_LEAST:
        return None
    peak = float(rates.max())
    took_ms = WINDOW_MS * peak / rates
    is_whole = np.abs(took_ms - np.round(took_ms)) < MS_EXACT
    is_prompt = rates > peak * (1 - MS_EXACT / WINDOW_MS)
    return peak if is_whole.mean() >= WHOLE_SHARE and is_prompt.mean() >= PROMPT_SHARE else None


def _disagree(rates: Array, counted: Array) -> bool:
    """Whether printed and counted rates disagree: then the counters are right, as QEMU itself adds them up."""
    if not len(rates) or not len(counted):
        return False
    ratio = float(np.median(counted)) / float(np.median(rates))
    return not 1 / AGREES <= ratio <= AGREES


def _bandwidth_between_polls(log: MigrationLog, live: NDArray[np.int64]) -> tuple[Array, Array]:
    """(time of the later answer, bytes/s since the one before), some time apart."""
    far = live[_seconds_apart(log.t_s[live])]
    seconds, sent = np.diff(log.t_s[far]), np.diff(log.transferred_bytes[far])
    moved = (seconds > 0) & (sent > 0)
    return log.t_s[far][1:][moved], np.asarray(sent[moved] / seconds[moved], np.float64)


def _seconds_apart(t_s: Array) -> list[int]:
    """Numbers of answers each COUNTED_S or more after the one before; of the first and the last, where all are nearer."""
    found: list[int] = []
    for i, t in enumerate(t_s.tolist()):
        if not found or t - t_s[found[-1]] >= COUNTED_S:
            found.append(i)
    return found if len(found) > 1 or not len(t_s) else [0, len(t_s) - 1]


def _ended(log: MigrationLog) -> NDArray[np.bool_]:
    return np.array([status == "completed" for status in log.status], bool)


def _ends(log: MigrationLog) -> dict[str, Any]:
    """Totals and times of the last answer that has them; QEMU has not computed them in "completed" with total-time 0."""
    ends = _ended(log)
    total, downtime = (last(column[ends]) or 0.0 for column in (log.total_time_ms, log.downtime_ms))
    told = last(log.downtime_ms[ends]) is not None
    computed = log.status[-1] == "completed" and total > 0
    return {
        "total_time_ms": total if computed else None,
        "downtime_ms": downtime if told and (computed or downtime > 0) else None,
    }


def _with_limit(log: MigrationLog, at: NDArray[np.int64], evidence: Evidence) -> dict[str, Any]:
    """Fields that depend on the downtime limit: as many pages are pending at a sync as the threshold allows."""
    live = live_answers(log, at)
    now = live[log.t_s[live] >= evidence.speeds[-1].since_s] if evidence.speeds else live
    steady = evidence.bandwidth_bytes_per_s if evidence.bandwidth_is_steady else None
    bounds = limit_bounds_ms(log, now, steady or 0.0)
    found: dict[str, Any] = {"limit_bounds_ms": bounds}
    if evidence.downtime_limit_ms is None:
        found["downtime_limit_ms"], found["downtime_limit_from"] = _limit(log, bounds, evidence.profile)
    evidence = replace(evidence, **found)
    found["first_pass_s"], found["rounds"] = rounds_of(log, live, evidence)
    return found


def live_answers(log: MigrationLog, at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the answers ``at`` that were taken before the guest moved."""
    return np.asarray(at[np.array([log.status[i] not in ("completed", *moved_statuses()) for i in at], bool)], np.int64)


def _limit(log: MigrationLog, bounds: tuple[float, float] | None, profile: str) -> tuple[float, str]:
    revealed, default = revealed_limit_ms(log), default_limit_ms(profile)
    if revealed is not None:
        return revealed, "log"
    if bounds is None or bounds[0] <= default <= bounds[1]:
        return default, "assumed"
    return (bounds[0] + bounds[1]) / 2, "behaviour"


PASS_S = 0.11
"""Between answers this far apart QEMU's loop has tested at least once (a window of 100 ms and some delay)."""
SLACK = 1.05
"""Bandwidth, and with it the threshold, wavers by this much from window to window (assumed)."""


def revealed_limit_ms(log: MigrationLog) -> float | None:
    """The downtime limit, from answers before the first estimate.

    QEMU sets expected-downtime to downtime-limit at the start (migration/migration.c::migrate_fd_connect, 10.x
    migration_start_outgoing) and replaces it only once a dirty rate is known.
    """
    before = (log.dirty_pages_rate_per_s == 0) & (log.dirty_sync_count <= 1) & (log.expected_downtime_ms > 0)
    told = np.unique(log.expected_downtime_ms[before])
    return float(told[0]) if len(told) == 1 else None


def limit_bounds_ms(log: MigrationLog, at: NDArray[np.int64], bandwidth_bytes_per_s: float) -> tuple[float, float] | None:
    """(least, greatest) downtime limit [ms] of ``log``, by the instants at which QEMU synced and did not.

    at: int64[k], the answers with figures, while the guest runs.
    bandwidth_bytes_per_s: at which QEMU's loop turns bytes remaining into a time.
    A sync needs remaining below bandwidth x limit, so remaining at a sync is a lower bound; a pass of the loop without
    a sync had at least that much remaining. None without a sync after the first pass, or if the two bounds exclude each
    other: then QEMU did not send whole pages at this bandwidth.
    """
    remaining, sent = log.remaining_bytes[at], log.transferred_bytes[at]
    synced = (np.diff(log.dirty_sync_count[at]) > 0) & (log.dirty_sync_count[at][:-1] >= 2)
    tested = (np.diff(log.dirty_sync_count[at]) == 0) & (np.diff(log.t_s[at]) >= PASS_S)
    if not synced.any() or not tested.any() or not bandwidth_bytes_per_s:
        return None
    lowest = float(np.max(remaining[:-1][synced] - np.diff(sent)[synced]))
    highest = float(np.min(remaining[:-1][tested]))
    ms = 1000.0 / bandwidth_bytes_per_s
    low, high = max(0.0, lowest * ms / SLACK), highest * ms * SLACK
    return (low, high) if low <= high else None
