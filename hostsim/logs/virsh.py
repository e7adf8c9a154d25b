"""Reader of libvirt's jobs: ``virsh domjobinfo`` as printed or with --rawstats, and the fields of its API anywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from hostsim.logs.figures import sane
from hostsim.logs.items import Item
from hostsim.logs.model import Sample
from hostsim.logs.reader import Labels, Reader, all_labelled, keep

STATUS = {
    "unbounded": "active", "bounded": "active", "completed": "completed", "failed": "failed",
    "cancelled": "cancelled", "none": "none",
    "0": "none", "1": "active", "2": "active", "3": "completed", "4": "failed", "5": "cancelled",
}  # fmt: skip
"""virDomainJobType, as word and number, to status of QEMU; a running migration is "Unbounded"."""
OPERATIONS = (
    "unknown", "start", "save", "restore", "incoming migration", "outgoing migration", "snapshot", "snapshot revert",
    "dump", "backup", "snapshot delete",
)  # fmt: skip
"""virDomainJobOperation, in the order of its numbers."""
LABELS = {
    "time elapsed": ("total_time_ms", "ms"),
    "memory total": ("total_bytes", "bytes"),
    "memory remaining": ("remaining_bytes", "bytes"),
    "memory processed": ("transferred_bytes", "bytes"),
    "memory bandwidth": ("mbps", "mbps"),
    "dirty rate": ("dirty_pages_rate_per_s", "plain"),
    "page size": ("page_size_bytes", "bytes"),
    "iteration": ("dirty_sync_count", "plain"),
    "postcopy requests": ("postcopy_requests", "plain"),
    "constant pages": ("zero_pages", "plain"),
    "normal pages": ("normal_pages", "plain"),
    "normal data": ("normal_bytes", "bytes"),
    "expected downtime": ("expected_downtime_ms", "ms"),
    "total downtime": ("downtime_ms", "ms"),
    "setup time": ("setup_time_ms", "ms"),
    "auto converge throttle": ("throttle_percent", "plain"),
    "compression cache": ("xbzrle_cache_bytes", "bytes"),
    "compressed data": ("xbzrle_bytes", "bytes"),
    "compressed pages": ("xbzrle_pages", "plain"),
    "compression cache misses": ("xbzrle_cache_misses", "plain"),
    "compression overflows": ("xbzrle_overflows", "plain"),
    "file processed": ("disk_transferred_bytes", "bytes"),
    "file remaining": ("disk_remaining_bytes", "bytes"),
    "file total": ("disk_total_bytes", "bytes"),
    "data total": ("data_total", "bytes"),
    "data remaining": ("data_remaining", "bytes"),
    "data processed": ("data_processed", "bytes"),
}
FIELDS = {
    "time_elapsed": "total_time_ms", "memory_total": "total_bytes", "memory_remaining": "remaining_bytes",
    "memory_processed": "transferred_bytes", "memory_bps": "memory_bps", "memory_dirty_rate": "dirty_pages_rate_per_s",
    "memory_page_size": "page_size_bytes", "memory_iteration": "dirty_sync_count", "memory_constant": "zero_pages",
    "memory_postcopy_requests": "postcopy_requests", "memory_normal": "normal_pages", "memory_normal_bytes": "normal_bytes",
    "downtime": "downtime_ms", "setup_time": "setup_time_ms", "auto_converge_throttle": "throttle_percent",
    "compression_cache": "xbzrle_cache_bytes", "compression_bytes": "xbzrle_bytes", "compression_pages": "xbzrle_pages",
    "compression_cache_misses": "xbzrle_cache_misses", "compression_overflow": "xbzrle_overflows",
    "disk_total": "disk_total_bytes", "disk_processed": "disk_transferred_bytes", "disk_remaining": "disk_remaining_bytes",
    "data_total": "data_total", "data_processed": "data_processed", "data_remaining": "data_remaining",
}  # fmt: skip
"""VIR_DOMAIN_JOB_* of libvirt-domain.h."""
OTHERWISE = (
    ("data_total", "total_bytes"), ("data_remaining", "remaining_bytes"), ("data_processed", "transferred_bytes"),
)  # fmt: skip
"""Whole-job figures: they stand in where a job has no lines of memory or files."""
JOB_COMPLETED = "event 'job-completed'"
"""virsh event opens the fields of a job that has ended so."""
BARE_LABEL = re.compile(
    rf"(?<![\w:])({'|'.join(label.replace(' ', ' +') for label in ('job type', 'operation', *LABELS))})"
    r"(?= +(?:\d|Unbounded|Completed|Failed|Cancelled|Outgoing|Incoming))", re.IGNORECASE,
)  # fmt: skip
BARE_LABELS_MIN = 3
BARE_HINT = re.compile(r"(?:[Tt]ime elapsed|(?:[Dd]ata|[Mm]emory) remaining) +\d")
OWN = ("memory_", "data_", "disk_", "compression_", "time_elapsed", "auto_converge_throttle")
OWN_LABELS = ("time elapsed", "memory", "data", "file", "normal data", "total downtime")
ALL_LABELS = Labels({"job type", "operation", *LABELS})
FIELD_HINTS = (
    "memory_", "data_", "disk_", "compression_", "time_", "operation", "downtime", "setup_time", "throttle", "success",
)  # fmt: skip
ERROR = re.compile(r"^\s*(?:Error message|errmsg)\s*[:=]\s*(.+)")
GONE = re.compile(r"error: .*(?:domain is not running|failed to get domain|Domain not found)", re.IGNORECASE)
"""Virsh's answer on the source once the guest has left it."""
END = re.compile(
    r"\berror: (?P<why>operation (?:aborted|failed): .*|.*\bmigrat.*(?:fail|abort|cancel|unexpected).*|"
    r"internal error: .*(?:closed the monitor|migrat).*|Cannot recv data: .*)", re.IGNORECASE,
)  # fmt: skip
"""Of the command virsh migrate, whose output stands in the same terminal as the polls."""
ITERATION = re.compile(r"event 'migration-iteration'.*iteration: '?(\d{1,9})")
SUCCESS = re.compile(r"\bsuccess\s*[:=]\s*(\w+)")
NAMES = "|".join(sorted({"operation", *FIELDS}, key=len, reverse=True))
FIELD = re.compile(rf"\b({NAMES})['\"]?\s*[:=]\s*['\"]?(\d{{1,3}}(?:[,.']\d{{3}})+(?!\d)|[-\d]+)")


@dataclass
class Virsh(Reader):
    """Reader of domjobinfo. A job begins at "Job type" or where a label repeats. ``told``: labels of the open job."""

    told: set[str] = field(default_factory=set)
    own: list[Sample] = field(default_factory=list)

    def take(self, item: Item) -> None:
        """A labelled line, a line with fields of the API, or an object of them."""
        if isinstance(item.value, dict):
            self._take_fields(item, item.value)
        elif item.value is None:
            iteration = ITERATION.search(item.text)
            if iteration:
                sample = self._open(item)
                sample.take("dirty_sync_count", float(iteration.group(1)), "iteration", iteration.group(1))
                self._keep(sample)
                return
            if JOB_COMPLETED in item.text:
                self._open(item).status = "completed"
                return
            found = [one for one in all_labelled(item.text, ALL_LABELS) if one[1] and not _is_raw(*one)]
            for label, told in found:
                self._label(item, label, told)
            if not found:
                self._unlabelled(item)

    def _unlabelled(self, item: Item) -> None:
        """An error of virsh, or fields of the API."""
        if GONE.search(item.text) and self.own and self.own[-1].status == "active":
            self._gone(item)
        elif (end := END.search(item.text)) and self.own and self.own[-1].status in ("active", "none"):
            self._end(item, end["why"].strip())
        elif ERROR.search(item.text) and self.samples:
            self.samples[-1].error_desc = ERROR.findall(item.text)[0].strip()
        elif any(hint in item.text for hint in FIELD_HINTS):
            self._success(item.text)
            for key, digits in FIELD.findall(item.text):
                self._field(item, key, digits)

    def _gone(self, item: Item) -> None:
        sample = self._open(item)
        sample.status, sample.error_desc = "none", item.text.strip()
        self._keep(sample)

    def _end(self, item: Item, why: str) -> None:
        sample = self._open(item)
        sample.status, sample.error_desc = "cancelled" if "cancel" in why.lower() else "failed", why[:200]
        self._keep(sample)

    def finish(self) -> None:
        """Drop jobs with the name of a field alone, which libvirt did not print; give the others their whole figures."""
        self.samples = self.own
        for sample in self.samples:
            _complete(sample)

    def _take_fields(self, item: Item, record: dict[str, Any]) -> None:
        known = {key: value for key, value in record.items() if key in FIELDS}
        if any(key.startswith(OWN) for key in known):
            sample = self._open(item)
            self._keep(sample)
            sample.status = STATUS.get(str(record.get("type", 2)), "active")
            _operate(sample, str(record.get("operation", "")))
            for key, value in known.items():
                sample.take(FIELDS[key], sane(value), key, str(value))
            self.told = {"job type", *known}

    def _open(self, item: Item) -> Sample:
        self.told = set()
        return self.add(item, "active")

    def _in_block(self, item: Item, key: str) -> Sample:
        if not self.samples or key == "job type" or key in self.told:
            self._open(item)
        self.told.add(key)
        return self.samples[-1]

    def _label(self, item: Item, key: str, text: str) -> None:
        if key == "operation" and "job type" not in self.told:
            return
        sample = self._in_block(item, key)
        if key == "job type":
            self._keep(sample)
            sample.status = STATUS.get(text.split("(", maxsplit=1)[0].strip().lower(), "active")
        elif key == "operation":
            _operate(sample, text.lower())
        else:
            if key.startswith(OWN_LABELS):
                self._keep(sample)
            keep(sample, LABELS[key][0], text, LABELS[key][1], key)

    def _field(self, item: Item, key: str, digits: str) -> None:
        sample = self._in_block(item, key)
        if key == "operation":
            _operate(sample, digits)
            return
        if key.startswith(OWN):
            self._keep(sample)
        sample.take(FIELDS[key], _signed(digits), key, digits)

    def _success(self, text: str) -> None:
        """Libvirt prints success only for a job that has ended."""
        found = SUCCESS.search(text)
        if found and self.samples:
            self.samples[-1].status = "completed" if found.group(1) in ("1", "yes", "true") else "failed"

    def _keep(self, sample: Sample) -> None:
        if not self.own or self.own[-1] is not sample:
            self.own.append(sample)


def with_colons(text: str) -> str:
    """``text`` with the colons behind virsh's labels that a web page or a manual has dropped."""
    if not BARE_HINT.search(text):
        return text
    labels = {" ".join(found.group(1).lower().split()) for found in BARE_LABEL.finditer(text)}
    return BARE_LABEL.sub(lambda found: f"{found.group(1)}:", text) if len(labels) >= BARE_LABELS_MIN else text


def _is_raw(label: str, text: str) -> bool:
    """``operation: 5`` is a field of the API, ``Operation: Outgoing migration`` a label of virsh."""
    return label == "operation" and text.isdigit()


def _signed(digits: str) -> float:
    whole = re.sub(r"[,.']", "", digits)
    return sane(float(whole)) if re.fullmatch(r"-?\d{1,25}", whole) else float("nan")


def _operate(sample: Sample, text: str) -> None:
    number = int(text) if text.isdigit() and int(text) < len(OPERATIONS) else None
    sample.operation = OPERATIONS[number] if number is not None else text


def with_whole(figures: dict[str, float]) -> None:
    """Let the figures of the whole job stand in where ``figures`` has none of memory or disks. In place."""
    whole = {name: figures.pop(data) for data, name in OTHERWISE if data in figures}
    if "disk_total_bytes" not in figures and "total_bytes" not in figures:
        figures.update(whole)


def _complete(sample: Sample) -> None:
    figures = sample.figures
    with_whole(figures)
    if "memory_bps" in figures:
        figures["mbps"] = figures.pop("memory_bps") * 8 / 1e6
    if sample.status == "active" and "downtime_ms" in figures:
        figures.setdefault("expected_downtime_ms", figures.pop("downtime_ms"))
