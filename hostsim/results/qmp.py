"""Answers to QMP ``query-migrate``, by QEMU's names (qapi/migration.json::MigrationInfo, MigrationStats)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hostsim.qemu.mechanism import moved_statuses
from hostsim.results.mechanism import mechanisms, number

WITHOUT_FIGURES = frozenset({"setup", "cancelled", "failed", "wait-unplug"})
"""States in which QEMU answers with the status alone (migration/migration.c::fill_source_migration_info)."""


@dataclass(frozen=True)
class QmpCounters:
    """The fields of an answer; names are QEMU's, ``mbps`` is in 10^6 bit/s.

    Bytes: transferred, remaining, total, page_size and names that end in ``_bytes``; pages: duplicate (zero pages), normal;
    pages a second: dirty_pages_rate, pages_per_second; percent: cpu_throttle_percentage.
    ram: members of ``ram`` that mechanisms count, by QEMU's names.
    mechanisms: figures by the name of the mechanism (hostsim.qemu.mechanism::figures_of).
    """

    status: str
    qemu: str = "10.2"
    total_time_ms: int = 0
    setup_time_ms: int = 0
    downtime_ms: int = 0
    expected_downtime_ms: int = 0
    cpu_throttle_percentage: int = 0
    transferred: int = 0
    remaining: int = 0
    total: int = 0
    duplicate: int = 0
    normal: int = 0
    dirty_pages_rate: int = 0
    mbps: float = 0.0
    dirty_sync_count: int = 0
    pages_per_second: int = 0
    precopy_bytes: int = 0
    downtime_bytes: int = 0
    dirty_sync_missed_zero_copy: int = 0
    page_size: int = 4096
    error_desc: str = ""
    ram: Mapping[str, int] = field(default_factory=dict)
    mechanisms: Mapping[str, Any] = field(default_factory=dict)


def query_migrate(counters: QmpCounters) -> dict[str, Any]:
    """The answer in the state ``counters.status``: exactly the fields that this QEMU gives in it.

    downtime once completed (10.x: and in post-copy, migrate_show_downtime), expected-downtime before, never both;
    cpu-throttle-percentage only above 0;
    remaining and dirty-pages-rate 0 on completion (migration/migration.c::populate_time_info,
    populate_ram_info).
    """
    if counters.status == "none":
        return {}
    answer: dict[str, Any] = {"status": counters.status}
    if counters.status not in WITHOUT_FIGURES:
        answer |= _times(counters) | {"ram": _ram(counters)} | _throttle(counters)
        answer |= _of_mechanisms(counters.mechanisms)
    if counters.status == "failed" and counters.error_desc:
        answer["error-desc"] = counters.error_desc
    return answer


def query_at_cancel(counters: QmpCounters, status: str = "cancelled") -> dict[str, Any]:
    """The last active answer, with the status at the end; QEMU itself then shows the status and the error-desc alone."""
    error = query_migrate(replace(counters, status=status))
    return {**query_migrate(replace(counters, status="active")), **error}


def _times(counters: QmpCounters) -> dict[str, int]:
    times = {"total-time": counters.total_time_ms, "setup-time": counters.setup_time_ms}
    shows_downtime = counters.status in moved_statuses() and counters.qemu != "7.2"
    if counters.status == "completed" or shows_downtime:
        return times | {"downtime": counters.downtime_ms}
    return times | {"expected-downtime": counters.expected_downtime_ms}


def _of_mechanisms(figures: Mapping[str, Any]) -> dict[str, Any]:
    answers = (one.answer(figures[one.name]) for one in mechanisms() if one.answer is not None and one.name in figures)
    return {name: value for answer in answers for name, value in answer.items()}


def _throttle(counters: QmpCounters) -> dict[str, int]:
    percent = counters.cpu_throttle_percentage
    return {"cpu-throttle-percentage": percent} if percent > 0 else {}


def _ram(counters: QmpCounters) -> dict[str, Any]:
    ended = counters.status == "completed"
    ram = {
        "transferred": counters.transferred,
        "remaining": 0 if ended else counters.remaining,
        "total": counters.total,
        "duplicate": counters.duplicate,
        "normal": counters.normal,
        "normal-bytes": counters.normal * counters.page_size,
        "dirty-pages-rate": 0 if ended else counters.dirty_pages_rate,
        "mbps": number(counters.mbps),
        "dirty-sync-count": counters.dirty_sync_count,
        "page-size": counters.page_size,
        "pages-per-second": counters.pages_per_second,
        "precopy-bytes": counters.precopy_bytes,
        "downtime-bytes": counters.downtime_bytes,
        "dirty-sync-missed-zero-copy": counters.dirty_sync_missed_zero_copy,
    }
    own = dict.fromkeys((name for one in mechanisms() for name in one.ram), 0)
    return ram | own | dict(counters.ram) | _skipped(counters.qemu)


def _skipped(qemu: str) -> dict[str, int]:
    """``skipped``, always 0, was removed in QEMU 9.1."""
    return {"skipped": 0} if tuple(int(part) for part in qemu.split(".")) < (9, 1) else {}
