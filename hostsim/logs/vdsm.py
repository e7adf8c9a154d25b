"""Reader of the log of vdsm, the host agent of oVirt and Red Hat Virtualization.

Forms: lib/vdsm/virt/migration.py::Progress and MonitorThread.monitor_migration, vdsm 4.10 to 4.50.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hostsim.logs.figures import quantity, sane
from hostsim.logs.items import Item
from hostsim.logs.reader import Reader, keep

PROGRESS = re.compile(r"Migration Progress: (?P<secs>[\d.]+) seconds elapsed, (?P<percent>\d+)% of data processed"
                      r"(?P<rest>.*)")  # fmt: skip
MB = 1 << 20
"""vdsm divides by 2^20 and prints "MB"."""
FIGURES = (
    (re.compile(r"total data: (-?\d+)MB"), "total_bytes", MB),
    (re.compile(r"processed data: (-?\d+)MB"), "transferred_bytes", MB),
    (re.compile(r"remaining data: (-?\d+)MB"), "remaining_bytes", MB),
    (re.compile(r"transfer speed (-?\d+)MBps"), "mbps", MB * 8 / 1e6),
    (re.compile(r"transfer speed (-?\d+)Mbps"), "mbps", MB / 1e6),
    (re.compile(r"zero pages: (-?\d+)MB"), "zero_pages", 1.0),
    (re.compile(r"compressed: (-?\d+)MB"), "xbzrle_bytes", MB),
    (re.compile(r"dirty rate: (-?\d+)"), "dirty_pages_rate_per_s", 1.0),
    (re.compile(r"memory iteration: (-?\d+)"), "dirty_sync_count", 1.0),
)
"""vdsm prints the count of zero pages with a unit of MB; a rate or an iteration of -1 is unknown to that libvirt."""
LIMIT = re.compile(r"setting (?:migration )?downtime to (\d+)", re.IGNORECASE)
STALLING = re.compile(r"Migration stalling: remaining \((\d+)MiB\) > lowmark \((\d+)MiB\)")
TIMEOUT = re.compile(r"The migration took (\d+) seconds which is exceeding the configured maximum time for migrations "
                     r"of (\d+)")  # fmt: skip
STUCK = re.compile(r"Migration is stuck: Hasn'?t progressed in ([\d.]+) seconds")
ENDS = (
    (re.compile(r"migration took (\d+) seconds to complete", re.IGNORECASE), "completed"),
    (re.compile(r"\[virt\.vm\].*\bAborting migration", re.IGNORECASE), "cancelled"),
    (re.compile(r"Switch(?:ed|ing) to post-copy|Post-copy migration still in progress|Migration entered post-copy",
                re.IGNORECASE), "postcopy-active"),
)  # fmt: skip
ERROR = re.compile(r"(?:operation (?:failed|aborted)|internal error|Failed to migrate)\b.*", re.IGNORECASE)
VM = re.compile(r"vmId=['\"`]+([\w-]+)")


@dataclass
class Vdsm(Reader):
    """``limits``: the downtime limit that holds, a guest each."""

    limits: dict[str, float] = field(default_factory=dict)

    def take(self, item: Item) -> None:
        """A line of the migration monitor of one guest."""
        if item.value is not None or ("igrat" not in item.text and "downtime" not in item.text):
            return
        found = VM.search(item.text)
        tag = found.group(1) if found else ""
        if not self._progress(item, tag) and not self._took_setting(item, tag):
            self._ended(item, tag)

    def finish(self) -> None:
        """Lines that could be any program's are vdsm's only beside progress or an end of its own."""
        own = {"total_time_ms", "timeout_s", "stuck_s"}
        if not any(own & s.figures.keys() for s in self.samples):
            self.samples = []

    def _progress(self, item: Item, tag: str) -> bool:
        found = PROGRESS.search(item.text)
        if not found:
            return False
        before = self.last(tag)
        sample = self.add(item, before.status if before and before.status.startswith("postcopy") else "active", tag)
        keep(sample, "total_time_ms", f"{found['secs']} s", "ms", "seconds elapsed")
        for pattern, name, factor in FIGURES:
            told = pattern.search(found["rest"])
            if told and not told.group(1).startswith("-"):
                sample.figures[name] = sane(int(told.group(1)) * factor)
        if "remaining_bytes" not in sample.figures:
            keep(sample, "percent", found["percent"], "plain", "data processed")
        if not sample.figures.get("mbps"):
            sample.figures.pop("mbps", None)
        if tag in self.limits:
            sample.figures["limit_ms"] = self.limits[tag]
        return True

    def _took_setting(self, item: Item, tag: str) -> bool:
        limit, stalling = LIMIT.search(item.text), STALLING.search(item.text)
        last = self.last(tag)
        if limit:
            self.limits[tag] = quantity(limit.group(1), "plain")
            if last is not None:
                last.figures["limit_ms"] = self.limits[tag]
        elif stalling and last is not None:
            last.figures["watermark_bytes"] = int(stalling.group(2)) * MB
        return bool(limit or stalling)

    def _ended(self, item: Item, tag: str) -> None:
        timeout, stuck = TIMEOUT.search(item.text), STUCK.search(item.text)
        if timeout:
            self.add(item, "cancelled", tag).figures["timeout_s"] = quantity(timeout.group(2), "plain")
        elif stuck:
            self.add(item, "cancelled", tag).figures["stuck_s"] = quantity(stuck.group(1), "plain")
        elif self.last(tag) is not None:
            self._end(item, tag)

    def _end(self, item: Item, tag: str) -> None:
        for pattern, status in ENDS:
            found = pattern.search(item.text)
            if found:
                sample = self.add(item, status, tag)
                if status == "completed":
                    keep(sample, "total_time_ms", f"{found.group(1)} s", "ms", "migration took")
                return
        error, last = ERROR.search(item.text), self.last(tag)
        if error and last is not None and last.status == "active":
            cancelled = "cancel" in error.group(0).lower()
            self.add(item, "cancelled" if cancelled else "failed", tag).error_desc = error.group(0).strip()[:200]
        elif error and last is not None and last.status == "cancelled":
            last.error_desc = last.error_desc or error.group(0).strip()[:200]
