"""Reader of nova-compute's log: progress lines, steps of the downtime limit, time-outs and the end.

Forms: nova/virt/libvirt/driver.py::_live_migration_monitor and migration.py, from Liberty on, and StarlingX's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hostsim.logs.figures import quantity
from hostsim.logs.items import Item
from hostsim.logs.model import Sample
from hostsim.logs.reader import Reader, keep

RUNNING = re.compile(
    r"Migration running for (?P<secs>\d+) secs?[,;] memory (?:progress )?(?P<left>-?\d+)%(?: remaining)?;?"
    r"(?: \((?:bytes )?processed=(?P<sent>-?\d+), remaining=(?P<rest>-?\d+), total=(?P<total>-?\d+)\))?"
    r"(?:[;,]? disk (?P<disk_left>-?\d+)% remaining "
    r"\((?:bytes )?processed=(?P<disk_sent>-?\d+), remaining=(?P<disk_rest>-?\d+), total=(?P<disk_total>-?\d+)\))?",
    re.IGNORECASE,
)
IN_MIB = re.compile(
    r"\((?P<sent>-?\d+ ?[kMGT]?i?B) processed, (?P<rest>-?\d+ ?[kMGT]?i?B) remaining, (?P<total>-?\d+ ?[kMGT]?i?B) total\)",
)
BANDWIDTH = re.compile(r"memory bandwidth (\d+(?:\.\d+)? ?[kMG]?i?B/s)", re.IGNORECASE)
LIMIT = re.compile(r"Increasing downtime to (\d+) ms after (\d+) sec", re.IGNORECASE)
WATERMARK = re.compile(r"Data remaining (-?\d+) bytes, low watermark (-?\d+) bytes (\d+) seconds ago", re.IGNORECASE)
TIMEOUT = re.compile(r"Live migration not completed after (\d+) sec", re.IGNORECASE)
STUCK = re.compile(r"Live migration stuck for (\d+) sec\b(?!.*aborted)", re.IGNORECASE)
FAILURE = re.compile(r"Live Migration failure: (.+)", re.IGNORECASE)
CANCELLED = re.compile(r"cancell?ed by client|operation aborted", re.IGNORECASE)
ENDS = (
    (re.compile(r"Migration operation has completed|Live migration of instance .* finished successfully", re.IGNORECASE),
     "completed"),
    (re.compile(r"Migration operation (?:has|was) aborted", re.IGNORECASE), "failed"),
    (re.compile(r"Migration operation was cancelled|Live migration (?:aborted|cancelled)", re.IGNORECASE), "cancelled"),
    (re.compile(r"(?:switch(?:ed|ing)|starting) .{0,30}post-?copy|post-?copy (?:mode )?(?:switch|started)", re.IGNORECASE),
     "postcopy-active"),
)  # fmt: skip
PAUSED = re.compile(r"VM Paused \(Lifecycle Event\)")
"""At each switchover; after a time-out Nova pauses the guest itself (live_migration_timeout_action = force_complete)."""
INSTANCE = re.compile(r"\[instance: ([^\]]+)\]")
HINTS = ("igration", "downtime", "Data", "Paused")
WHOLE = {"sent": "transferred_bytes", "rest": "remaining_bytes", "total": "total_bytes"}
DISK = {"disk_sent": "disk_transferred_bytes", "disk_rest": "disk_remaining_bytes", "disk_total": "disk_total_bytes"}


@dataclass
class Nova(Reader):
    """``limits``: the downtime limit that holds; ``paused``: when the guest was stopped [s]; an instance each."""

    limits: dict[str, float] = field(default_factory=dict)
    paused: dict[str, float] = field(default_factory=dict)

    def take(self, item: Item) -> None:
        """A line of the monitor of a live migration."""
        if item.value is not None or not any(hint in item.text for hint in HINTS):
            return
        found = INSTANCE.search(item.text)
        tag = found.group(1) if found else ""
        if PAUSED.search(item.text) and item.stamp_s is not None:
            self.paused[tag] = item.stamp_s
        self._progress(item, tag) or self._took_setting(item, tag) or self._ended(item, tag)

    def finish(self) -> None:
        """Lines that could be any program's are Nova's only beside progress or its own time-outs."""
        own = {"total_time_ms", "limit_ms", "timeout_s", "watermark_bytes"}
        if not any(s.tag or s.error_desc or own & s.figures.keys() for s in self.samples):
            self.samples = []

    def _progress(self, item: Item, tag: str) -> bool:
        running = RUNNING.search(item.text)
        if running is None:
            return False
        before = self.last(tag)
        sample = self.add(item, before.status if before and before.status.startswith("postcopy") else "active", tag)
        keep(sample, "total_time_ms", f"{running['secs']} s", "ms", "secs")
        if int(running["total"] or 1) != 0:
            self._figures(sample, running.groupdict(), WHOLE)
        if int(running["disk_total"] or 0) != 0:
            self._figures(sample, running.groupdict(), DISK)
        in_mib, bandwidth = IN_MIB.search(item.text), BANDWIDTH.search(item.text)
        if in_mib:
            self._figures(sample, in_mib.groupdict(), WHOLE)
        if bandwidth:
            keep(sample, "mbps", bandwidth.group(1), "mbps", "memory bandwidth")
        if "rest" not in running.groupdict() or (running["rest"] is None and in_mib is None):
            sample.figures["percent"] = 100.0 - max(0.0, float(running["left"]))
        if tag in self.limits:
            sample.figures["limit_ms"] = self.limits[tag]
        return True

    @staticmethod
    def _figures(sample: Sample, told: dict[str, str | None], names: dict[str, str]) -> None:
        for key, name in names.items():
            keep(sample, name, told.get(key), "bytes", key)

    def _took_setting(self, item: Item, tag: str) -> bool:
        for pattern, name, kind in (
            (LIMIT, "limit_ms", "plain"),
            (TIMEOUT, "timeout_s", "plain"),
            (STUCK, "stuck_s", "plain"),
        ):
            found = pattern.search(item.text)
            if found:
                self._keep(item, tag, name, quantity(found.group(1), kind))
                return True
        found = WATERMARK.search(item.text)
        if found:
            self._keep(item, tag, "watermark_bytes", quantity(found.group(2), "bytes"))
            last = self.last(tag)
            if last is not None and "remaining_bytes" not in last.figures:
                keep(last, "remaining_bytes", found.group(1), "bytes", "Data remaining")
        return found is not None

    def _keep(self, item: Item, tag: str, name: str, value: float) -> None:
        if name == "limit_ms":
            self.limits[tag] = value
        last = self.last(tag)
        if last is None or last.status in ("completed", "failed", "cancelled"):
            last = self.add(item, "setup", tag)
        last.figures[name] = value

    def _ended(self, item: Item, tag: str) -> bool:
        failure = FAILURE.search(item.text)
        status = "failed" if failure else next((end for pattern, end in ENDS if pattern.search(item.text)), None)
        if status is None:
            return False
        last = self.last(tag)
        if failure and last is not None and (last.status == "cancelled" or CANCELLED.search(failure.group(1))):
            status = "cancelled"  # the error that libvirt returns to a migration that Nova, or an operator, has cancelled
        sample = self.add(item, status, tag)
        sample.error_desc = failure.group(1).strip() if failure else ""
        if status == "completed" and last is not None and "timeout_s" in last.figures and tag in self.paused:
            sample.figures["stopped_s"] = (item.stamp_s or self.paused[tag]) - self.paused[tag]
        return True
