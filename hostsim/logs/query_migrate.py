"""Reader of QMP: answers of ``query-migrate`` and ``query-block-jobs``, events, and errors, in any wrapping."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from hostsim.logs.figures import sane
from hostsim.logs.items import Item
from hostsim.logs.model import Sample
from hostsim.logs.reader import Reader

STATUSES = (
    "none", "setup", "cancelling", "cancelled", "active", "postcopy-active", "postcopy-paused", "postcopy-recover",
    "postcopy-recover-setup", "postcopy-device", "completed", "failed", "failing", "colo", "pre-switchover", "device",
    "wait-unplug",
)  # fmt: skip
"""MigrationStatus of qapi/migration.json, QEMU 10.2."""
TOP = {
    "total-time": "total_time_ms",
    "setup-time": "setup_time_ms",
    "downtime": "downtime_ms",
    "expected-downtime": "expected_downtime_ms",
    "cpu-throttle-percentage": "throttle_percent",
}
RAM = {
    "total": "total_bytes",
    "remaining": "remaining_bytes",
    "transferred": "transferred_bytes",
    "precopy-bytes": "precopy_bytes",
    "postcopy-bytes": "postcopy_bytes",
    "downtime-bytes": "downtime_bytes",
    "multifd-bytes": "multifd_bytes",
    "normal": "normal_pages",
    "normal-bytes": "normal_bytes",
    "duplicate": "zero_pages",
    "page-size": "page_size_bytes",
    "dirty-sync-count": "dirty_sync_count",
    "dirty-pages-rate": "dirty_pages_rate_per_s",
    "mbps": "mbps",
    "pages-per-second": "pages_per_second",
    "postcopy-requests": "postcopy_requests",
}
XBZRLE = {
    "cache-size": "xbzrle_cache_bytes",
    "bytes": "xbzrle_bytes",
    "pages": "xbzrle_pages",
    "cache-miss": "xbzrle_cache_misses",
    "overflow": "xbzrle_overflows",
    "encoding-rate": "xbzrle_encoding_rate",
}
DISK = {"total": "disk_total_bytes", "remaining": "disk_remaining_bytes", "transferred": "disk_transferred_bytes"}
SECTIONS = (("ram", RAM), ("xbzrle-cache", XBZRLE), ("disk", DISK), ("vfio", {"transferred": "vfio_bytes"}))
MONITOR = re.compile(r"\bmon=(0x[0-9a-f]+)")
WRAPPERS = ("info", "return", "reply", "result", "response")


@dataclass
class QueryMigrate(Reader):
    """``disks``: of block jobs that no answer about a migration has followed yet; empty_at: line of an empty answer."""

    disks: dict[str, float] = field(default_factory=dict)
    empty_at: int = 0

    def take(self, item: Item) -> None:
        """An answer, an event, an error, or an array of them."""
        if isinstance(item.value, dict):
            self._take_record(item, item.value)

    def finish(self) -> None:
        """Block jobs alone: the disks are copied, the memory has not begun."""
        if self.disks and not self.samples:
            sample = Sample(1, "active")
            sample.figures.update(self.disks)
            self.samples.append(sample)
        if self.empty_at and not self.samples and not self.refusals:
            text = "an empty answer: so query-migrate answers where no migration has been started"
            self.refusals.append(f"Line {self.empty_at} is {text}")

    def _take_record(self, item: Item, record: dict[str, Any]) -> None:
        if isinstance(record.get("event"), str):
            self._event(item, record)
        elif isinstance(record.get("error"), dict) and "desc" in record["error"]:
            error = record["error"]
            self.refusals.append(
                f"Line {item.line} is an error of QMP, {error.get('class', 'GenericError')}: {error['desc']}"
            )
        else:
            answer = next((record[key] for key in WRAPPERS if key in record), record)
            if isinstance(answer, list):
                self._block_jobs(answer)
            if answer == {} and "return" in record:
                self.empty_at = self.empty_at or item.line
            if _is_about_a_migration(answer):
                self._answer(item, record, answer)

    def _answer(self, item: Item, record: dict[str, Any], answer: dict[str, Any]) -> None:
        sample = self.add(item, str(answer.get("status") or "active"), _text(record, "tag") or _monitor(item))
        sample.error_desc = _text(answer, "error-desc")
        _figures(sample, record if answer is not record else {}, {"t": "t_s"}, "")
        _figures(sample, answer, TOP, "")
        for section, names in SECTIONS:
            if isinstance(answer.get(section), dict):
                _figures(sample, answer[section], names, f"{section}.")
        for name, value in self.disks.items():
            sample.figures.setdefault(name, value)
        self.disks = {}

    def _event(self, item: Item, record: dict[str, Any]) -> None:
        data, at = record.get("data"), record.get("timestamp")
        status = data.get("status") if isinstance(data, dict) and record["event"] == "MIGRATION" else None
        if status not in STATUSES:
            return
        sample = self.add(item, str(status), _monitor(item))
        if isinstance(at, dict) and "stamp_s" not in sample.figures:
            seconds = sane(at.get("seconds")) + sane(at.get("microseconds", 0)) / 1e6
            sample.take("stamp_s", seconds, "timestamp", str(at))

    def _block_jobs(self, jobs: list[Any]) -> None:
        """Lengths of all jobs that copy a disk, together (qapi/block-core.json::BlockJobInfo)."""
        told = [job for job in jobs if isinstance(job, dict) and {"len", "offset", "type"} <= job.keys()]
        if told:
            total, done = (sum(sane(job[key]) for job in told) for key in ("len", "offset"))
            figures = {"disk_total_bytes": total, "disk_transferred_bytes": done, "disk_remaining_bytes": total - done}
            self.disks = {name: value for name, value in figures.items() if value >= 0}
            if self.samples:
                self.samples[-1].figures.update(self.disks)


def _is_about_a_migration(answer: Any) -> bool:
    if not isinstance(answer, dict):
        return False
    ram = answer.get("ram")
    has_ram = isinstance(ram, dict) and bool(RAM.keys() & ram.keys())
    return answer.get("status") in STATUSES or (has_ram and isinstance(answer.get("status", ""), str))


def _monitor(item: Item) -> str:
    found = MONITOR.search(item.text)
    return f"mon {found.group(1)}" if found else ""


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key, "")
    return value if isinstance(value, str) else ""


def _figures(sample: Sample, part: dict[str, Any], names: dict[str, str], prefix: str) -> None:
    for key, name in names.items():
        if part.get(key) is not None:
            sample.take(name, sane(part[key]), prefix + key, str(part[key]))
