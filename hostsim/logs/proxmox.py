"""Reader of Proxmox VE's task log of a migration, up to 6.x (bytes) and since 7 (rendered sizes).

Forms: PVE/QemuMigrate.pm::phase2, PVE/QemuServer.pm::qemu_drive_mirror_monitor, PVE/AbstractMigrate.pm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hostsim.logs.figures import quantity
from hostsim.logs.items import Item
from hostsim.logs.model import TERMINAL, Sample
from hostsim.logs.reader import Reader, keep

SIZE = r"\d[\d.,]* ?[KMGTP]?i?B"
STARTS = re.compile(r"start migrate command to|starting online/live migration on")
ACTIVE = re.compile(
    rf"migration (?P<status>[a-z-]+), transferred (?P<sent>{SIZE})(?: of (?P<total>{SIZE}))? VM-state"
    rf"(?:, (?P<speed>{SIZE})/s)?(?:, VM dirties lots of memory: (?P<dirty>{SIZE})/s)?"
)
OLD_ACTIVE = re.compile(
    r"migration status: (?P<status>[a-z-]+) \(transferred (?P<sent>\d+), remaining (?P<rest>\d+)\), total (?P<total>\d+)\)"
)
STATUS = re.compile(r"migration status(?: error)?: ([a-z-]+)(?: - (?P<why>\S.*))?\s*$")
SPEED = re.compile(rf"(?:average )?migration speed: (?P<speed>{SIZE})/s - downtime (?P<down>\d+) ms")
LIMIT_MS = re.compile(r"(?:migration downtime limit|auto-increased downtime to continue migration): ([\d.]+) ms")
LIMIT_S = re.compile(r"migrate_set_downtime: ([\d.]+)\s*$")
XBZRLE = re.compile(r"xbzrle: send updates to (?P<pages>\d+) pages in (?P<bytes>[\d.]+ ?[KMGTP]?i?B) encoded memory"
                    r"(?:, cache-miss [\d.]+%)?(?:, overflow (?P<overflow>\d+))?")  # fmt: skip
OLD_XBZRLE = re.compile(r"migration xbzrle cachesize: (?P<cache>\d+) transferred (?P<bytes>\d+) pages (?P<pages>\d+)"
                        r" cachemiss (?P<miss>\d+) overflow (?P<overflow>\d+)")  # fmt: skip
MIRROR = re.compile(
    rf"(?P<drive>(?:drive|mirror)-[\w-]+): transferred:? (?P<sent>{SIZE}) of (?P<total>{SIZE})"
    r"(?: \([\d.]+%\) in (?P<took>[\dhms ]+))?"
)
OLD_MIRROR = re.compile(
    r"(?P<drive>(?:drive|mirror)-[\w-]+): transferred: (?P<sent>\d+) bytes remaining: \d+ bytes total: (?P<total>\d+) bytes"
)
ABORTED = re.compile(r"(?:ERROR: migration aborted|migration aborted) \(duration [\d:]+\):? ?(?P<why>.*)|"
                     r"ERROR: online migrate failure - (?P<online>.*)|TASK ERROR: (?P<task>.+)")  # fmt: skip
CONSEQUENCES = ("aborting", "migration problems", "migration aborted")
"""Proxmox dies with these words after any status that is an error: they are no reason."""
HINTS = ("migrat", "xbzrle", "drive-", "mirror-", "TASK ERROR")
UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
XBZRLE_NAMES = {"pages": "xbzrle_pages", "bytes": "xbzrle_bytes", "cache": "xbzrle_cache_bytes",
                "miss": "xbzrle_cache_misses", "overflow": "xbzrle_overflows"}  # fmt: skip


@dataclass
class Proxmox(Reader):
    """``limit_ms``: the downtime limit that holds; ``started``: of the migrate command; ``drives``: bytes done, total."""

    limit_ms: float | None = None
    started: float | None = None
    drives: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, item: Item) -> None:
        """A line of the task log."""
        if item.value is not None or not any(hint in item.text for hint in HINTS):
            return
        for part in (self._starts, self._active, self._speed, self._limit, self._xbzrle, self._mirror, self._status):
            if part(item):
                return

    def _starts(self, item: Item) -> bool:
        found = STARTS.search(item.text)
        if found and (not self.samples or self.samples[-1].status != "setup"):
            self.started = item.stamp_s
            self._sample(item, "setup").figures["t_s"] = 0.0
        elif found:
            self.started = item.stamp_s
        return found is not None

    def _sample(self, item: Item, status: str) -> Sample:
        sample = self.add(item, status)
        if self.started is not None and item.stamp_s is not None and item.stamp_s >= self.started:
            sample.figures["t_s"] = item.stamp_s - self.started
        if self.limit_ms is not None:
            sample.figures["limit_ms"] = self.limit_ms
        self._with_disks(sample)
        return sample

    def _active(self, item: Item) -> bool:
        found = ACTIVE.search(item.text) or OLD_ACTIVE.search(item.text)
        if not found:
            return False
        told = found.groupdict()
        sample = self._sample(item, str(told["status"]))
        names = {"sent": "transferred_bytes", "rest": "remaining_bytes", "total": "total_bytes"}
        for key, name in names.items():
            keep(sample, name, told.get(key), "bytes", key)
        if told.get("speed"):
            keep(sample, "mbps", f"{told['speed']}/s", "mbps", "speed")
        if told.get("dirty"):
            sample.figures["dirty_pages_rate_per_s"] = quantity(str(told["dirty"]), "bytes") / 4096
        return True

    def _speed(self, item: Item) -> bool:
        """Proxmox divides all memory by whole seconds, so memory over speed is how long it took."""
        found = SPEED.search(item.text)
        if not found:
            return False
        total = next((s.figures["total_bytes"] for s in reversed(self.samples) if "total_bytes" in s.figures), None)
        sample = self._sample(item, "completed")
        keep(sample, "downtime_ms", found["down"], "plain", "downtime")
        keep(sample, "average_bytes_per_s", found["speed"], "bytes", "average migration speed")
        average = sample.figures.get("average_bytes_per_s", 0.0)
        seconds = sample.figures.get("t_s") or (round(total / average) if total and average else 0.0)
        if seconds:
            sample.figures["total_time_ms"] = seconds * 1000
        return True

    def _limit(self, item: Item) -> bool:
        found, old = LIMIT_MS.search(item.text), LIMIT_S.search(item.text)
        if found:
            self.limit_ms = quantity(found.group(1), "plain")
        elif old:
            self.limit_ms = 1000 * quantity(old.group(1), "plain")
        if (found or old) and self.samples and self.samples[-1].status not in TERMINAL and self.limit_ms is not None:
            self.samples[-1].figures["limit_ms"] = self.limit_ms
        return found is not None or old is not None

    def _xbzrle(self, item: Item) -> bool:
        found = XBZRLE.search(item.text) or OLD_XBZRLE.search(item.text)
        if found and self.samples:
            for key, text in found.groupdict().items():
                keep(self.samples[-1], XBZRLE_NAMES[key], text, "bytes" if key in ("bytes", "cache") else "plain", key)
        return found is not None

    def _mirror(self, item: Item) -> bool:
        found = MIRROR.search(item.text) or OLD_MIRROR.search(item.text)
        if found:
            self.drives[found["drive"]] = quantity(found["sent"], "bytes"), quantity(found["total"], "bytes")
            sample = self.add(item, "setup" if self.started is None else "active")
            self._with_disks(sample)
            if found.groupdict().get("took"):
                sample.figures["disk_s"] = _took_s(found["took"])
        return found is not None

    def _with_disks(self, sample: Sample) -> None:
        if self.drives:
            sent, total = (sum(values) for values in zip(*self.drives.values(), strict=True))
            names = ("disk_transferred_bytes", "disk_total_bytes", "disk_remaining_bytes")
            sample.figures.update(zip(names, (sent, total, max(0.0, total - sent)), strict=True))

    def _status(self, item: Item) -> bool:
        status, aborted = STATUS.search(item.text), ABORTED.search(item.text)
        if status and (not self.samples or self.samples[-1].status != status.group(1)):
            self._sample(item, status.group(1)).error_desc = (status["why"] or "").strip()
        if aborted and ((self.samples and self.samples[-1].status != "completed") or "migrat" in item.text):
            why = next((text for text in aborted.groups() if text and text not in CONSEQUENCES), "")
            sample = (
                self.samples[-1] if self.samples and self.samples[-1].status in TERMINAL else self._sample(item, "failed")
            )
            sample.status = "cancelled" if "interrupted by signal" in why else sample.status
            sample.error_desc = sample.error_desc or why
        return status is not None or aborted is not None


def _took_s(text: str) -> float:
    """Seconds of "1h 2m 5s" (PVE::Format::render_duration)."""
    return float(sum(int(count) * UNITS_S[unit] for count, unit in re.findall(r"(\d{1,9}) ?([dhms])", text)))
