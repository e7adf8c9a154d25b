"""Reader of QMP: answers of ``query-migrate`` and ``query-block-jobs``, events, and errors, in any wrapping."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from hostsim.logs.figures import sane
from hostsim.logs.items import SHELLS_MAX, Item
from hostsim.logs.model import TERMINAL, UNTOLD, Sample, Setup
from hostsim.logs.reader import Reader
from hostsim.logs.setup import command_of, with_answer

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
    "dirty-limit-throttle-time-per-round": "dirty_limit_sleep_us",
    "dirty-limit-ring-full-time": "dirty_limit_full_us",
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
VIRSH_EVENT = re.compile(
    r"\bevent (?P<event>MIGRATION(?:_PASS)?|STOP|RESUME)(?: at (?P<at>\d{1,12}\.\d{1,9}))? for domain '?[^':]+'?:"
)
"""Of virsh qemu-monitor-event, before the data of the event."""
MONITOR = re.compile(r"\bmon=(0x[0-9a-f]+)")
DESTINATION = {"socket-address", "postcopy-blocktime", "postcopy-vcpu-blocktime"}
"""Keys that only the receiving QEMU reports (migration.c::fill_destination_migration_info)."""
DIGITS = re.compile(r"\s*\d{1,19}(\.\d+)?\s*")
REFUSED = re.compile(r"migrat", re.IGNORECASE)
"""QEMU's error has this word when it refuses to start a migration."""
EXECUTE = ("execute", "exec-oob")
FLAT_MIN = 3
"""An object with so many figures of RAM, remaining among them, is the "ram" of an answer."""
WRAPPERS = ("info", "return", "reply", "result", "response")
NAMES = ("tag", "vm", "domain", "guest")
"""Keys of a record around an answer that name the guest."""


@dataclass
class QueryMigrate(Reader):
    """Reader of query-migrate.

    disks: figures of block jobs, kept for the next answer about a migration; empty: answers without a figure.
    stop: (instant [s], monitor) at which the guest stopped; blackout_ms: from the stop until the guest ran on the other
    host.
    limit_ms: downtime-limit that was set; asked: the command whose answer comes next.
    setup: facts from records of a command with its answer, so far.
    shells: (answer, time of the poller [s]) of answers in a record of another key: used where QEMU's own clock is missing.
    own: (sample, time [s]) by events that have a time.
    """

    disks: dict[str, float] = field(default_factory=dict)
    empty: list[Item] = field(default_factory=list)
    stop: tuple[float, str] | None = None
    blackout_ms: float | None = None
    limit_ms: float | None = None
    asked: str = ""
    setup: Setup = UNTOLD
    shells: list[tuple[Sample, float]] = field(default_factory=list)
    own: list[tuple[Sample, float]] = field(default_factory=list)

    def take(self, item: Item) -> None:
        """An answer, an event, an error, or an array of them."""
        shown = VIRSH_EVENT.search(item.text) if " for domain " in item.text else None
        if shown:
            self._event(item, _record_of(shown, item))
        elif isinstance(item.value, dict):
            self._take_record(item, item.value)

    def finish(self) -> None:
        """Block jobs alone: the disks are copied, the memory has not begun. Empty answers alone: no migration yet."""
        if self.disks and not self.samples:
            sample = Sample(1, "active")
            sample.figures.update(self.disks)
            self.samples.append(sample)
        if self.empty and not self.samples and not self.refusals:
            self.add(self.empty[-1], "none")
        if not any("total_time_ms" in sample.figures for sample in self.samples):
            for sample, seconds in self.shells:
                sample.figures.setdefault("t_s", seconds)
        if len(self.own) == len(self.samples):
            for sample, seconds in self.own:
                sample.figures["stamp_s"] = seconds
        for sample in self.samples:
            if sample.status == "completed" and self.blackout_ms is not None and len(_ends(self.samples)) == 1:
                sample.figures.setdefault("downtime_ms", self.blackout_ms)

    def _take_record(self, item: Item, record: dict[str, Any], depth: int = 0, shell: dict[str, Any] | None = None) -> None:
        self.asked = next((str(record[key]) for key in EXECUTE if key in record), self.asked)
        command = command_of(record)
        if command:
            self.setup = with_answer(self.setup, command, record["return"])
            self._parameters(record["return"])
        elif isinstance(record.get("event"), str):
            self._event(item, record)
        elif isinstance(record.get("error"), dict) and "desc" in record["error"]:
            error = record["error"]
            named = f"an error of QMP, {error.get('class', 'GenericError')}: {error['desc']}"
            if REFUSED.search(str(error["desc"])) and not self.samples:
                self.add(item, "failed").error_desc = f"it did not start, line {item.line} is {named}"
            else:
                self.refusals.append(f"Line {item.line} is {named}")
        else:
            answer = next((record[key] for key in WRAPPERS if key in record), record)
            if isinstance(answer, list):
                self._block_jobs(answer)
            self._parameters(record.get("arguments"))
            self._parameters(answer)
            if _is_about_a_migration(answer):
                self._answer(item, record, _whole(answer), shell or {})
            elif isinstance(answer, dict):
                self._other(item, record, answer, depth)

    def _other(self, item: Item, record: dict[str, Any], answer: dict[str, Any], depth: int) -> None:
        """An answer without status and figures: reasons that block a migration, an empty answer, or a nested answer."""
        if isinstance(answer.get("blocked-reasons"), list):
            reasons = "; ".join(map(str, answer["blocked-reasons"]))
            self.add(item, "failed").error_desc = f"QEMU blocks a migration of this guest: {reasons}"
        elif answer == {} and "return" in record:
            self.empty += [item] if self.asked in ("", "query-migrate") else []
            self.asked = ""
        elif depth < SHELLS_MAX:
            for value in answer.values():
                if isinstance(value, dict):
                    self._take_record(item, value, depth + 1, record)

    def _answer(self, item: Item, record: dict[str, Any], answer: dict[str, Any], shell: dict[str, Any]) -> None:
        named = next((text for told in (record, shell) for key in NAMES if (text := _text(told, key))), "")
        sample = self.add(item, str(answer.get("status") or "active"), named or _monitor(item))
        if not math.isnan(sane(shell.get("t"))):
            self.shells.append((sample, sane(shell["t"])))
        sample.error_desc, sample.setup = _text(answer, "error-desc"), self.setup
        if "ram" not in answer and DESTINATION & answer.keys():
            sample.operation = "incoming migration"
        _figures(sample, record if answer is not record else {}, {"t": "t_s"}, "")
        _figures(sample, answer, TOP, "")
        parts = _hyphenated(answer)
        for section, names in SECTIONS:
            if isinstance(parts.get(section), dict):
                _figures(sample, parts[section], names, f"{section}.")
        for name, value in self.disks.items():
            sample.figures.setdefault(name, value)
        if self.limit_ms is not None:
            sample.figures.setdefault("limit_ms", self.limit_ms)
        self.disks = {}

    def _parameters(self, told: Any) -> None:
        """Parameters that were set or queried: their downtime limit holds from here on."""
        value = told.get("downtime-limit") if isinstance(told, dict) else None
        if value is not None and not math.isnan(sane(value)):
            self.limit_ms = sane(value)
            if self.samples and self.samples[-1].status not in TERMINAL:
                self.samples[-1].figures["limit_ms"] = self.limit_ms

    def _event(self, item: Item, record: dict[str, Any]) -> None:
        data, at = record.get("data"), record.get("timestamp")
        told, name = data if isinstance(data, dict) else {}, record["event"]
        seconds = sane(at.get("seconds")) + sane(at.get("microseconds", 0)) / 1e6 if isinstance(at, dict) else math.nan
        if name in ("STOP", "RESUME"):
            self._moves(name, seconds, _monitor(item))
        elif name == "MIGRATION" and told.get("status") in STATUSES:
            self._event_sample(item, str(told["status"]), seconds)
        elif name == "MIGRATION_PASS" and isinstance(told.get("pass"), int):
            last = next((s for s in reversed(self.samples) if s.tag == _monitor(item)), None)
            is_on = last is not None and last.status not in (*TERMINAL, "setup", "none")
            sample = self._event_sample(item, last.status if last is not None and is_on else "active", seconds)
            sample.take("dirty_sync_count", sane(told["pass"]), "pass", str(told["pass"]))

    def _event_sample(self, item: Item, status: str, seconds: float) -> Sample:
        """An event's sample; where all samples are events, their own times are better than those of lines between them."""
        sample = self.add(item, status, _monitor(item))
        self.own += [(sample, seconds)] if not math.isnan(seconds) else []
        if "stamp_s" not in sample.figures and not math.isnan(seconds):
            sample.figures["stamp_s"] = seconds
        return sample

    def _moves(self, name: str, seconds: float, monitor: str) -> None:
        """STOP on the source and RESUME on the destination: between them no guest ran."""
        is_on = bool(self.samples) and self.samples[-1].status not in ("none", "failed", "cancelled")
        if name == "STOP" and is_on:
            self.stop = (seconds, monitor)
        elif name == "RESUME" and is_on and self.stop is not None:
            stopped, there = self.stop
            if (monitor != there or not monitor) and seconds >= stopped:
                self.blackout_ms = 1000 * (seconds - stopped)
            self.stop = None

    def _block_jobs(self, jobs: list[Any]) -> None:
        """Lengths of all jobs that copy a disk, together (qapi/block-core.json::BlockJobInfo)."""
        told = [job for job in jobs if isinstance(job, dict) and {"len", "offset", "type"} <= job.keys()]
        if told:
            total, done = (sum(sane(job[key]) for job in told) for key in ("len", "offset"))
            figures = {"disk_total_bytes": total, "disk_transferred_bytes": done, "disk_remaining_bytes": total - done}
            self.disks = {name: value for name, value in figures.items() if value >= 0}
            if self.samples:
                self.samples[-1].figures.update(self.disks)


def _record_of(shown: re.Match[str], item: Item) -> dict[str, Any]:
    """An event that virsh shows, as QMP has it; its time is that of QEMU, or that of its line."""
    at = float(shown["at"]) if shown["at"] else item.stamp_s
    when = {} if at is None else {"timestamp": {"seconds": at}}
    return {"event": shown["event"], "data": item.value if isinstance(item.value, dict) else {}, **when}


def _ends(samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.status == "completed"]


def _is_about_a_migration(answer: Any) -> bool:
    if not isinstance(answer, dict):
        return False
    ram = _whole(answer).get("ram")
    has_ram = isinstance(ram, dict) and bool(RAM.keys() & ram.keys())
    return answer.get("status") in STATUSES or (has_ram and isinstance(answer.get("status", ""), str))


def _whole(answer: dict[str, Any]) -> dict[str, Any]:
    """``answer`` with its figures of RAM in "ram", where jq has taken them out of it."""
    own = RAM.keys() & {key.replace("_", "-") for key in answer}
    is_flat = "ram" not in answer and "remaining" in own and len(own) >= FLAT_MIN
    return {**answer, "ram": {key: value for key, value in answer.items() if key not in TOP}} if is_flat else answer


def _monitor(item: Item) -> str:
    found = MONITOR.search(item.text)
    return f"mon {found.group(1)}" if found else ""


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key, "")
    return value if isinstance(value, str) else ""


def _figures(sample: Sample, part: dict[str, Any], names: dict[str, str], prefix: str) -> None:
    told = _hyphenated(part)
    for key, name in names.items():
        if told.get(key) is not None:
            sample.take(name, _figure(told[key]), prefix + key, str(told[key]))


def _hyphenated(part: dict[str, Any]) -> dict[str, Any]:
    """``part`` by QMP's names: a poller in Python may have kept them as keywords, with underscores."""
    return {key.replace("_", "-"): value for key, value in part.items()}


def _figure(value: Any) -> float:
    """A figure, which a shell or Ansible may have quoted; NaN if it is none."""
    if isinstance(value, str):
        return sane(float(value)) if DIGITS.fullmatch(value) else math.nan
    return sane(value)
