"""Reader of QEMU's trace events of a migration, as ``-trace 'migrat*'`` logs them and simpletrace.py prints them.

Events: migration/trace-events, QEMU 2.5 to 10.2. ``migrate_transferred`` has the bytes of a window of the rate limit, about
100 ms; ``migrate_pending`` (since 8.0 ``migrate_pending_exact`` and ``migrate_pending_estimate``) has the bytes left.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from hostsim.core.constants import PAGE_BYTES, PAGE_HEADER_BYTES
from hostsim.logs.figures import sane
from hostsim.logs.items import Item
from hostsim.logs.model import TERMINAL, Sample
from hostsim.logs.query_migrate import STATUSES
from hostsim.logs.reader import Reader

EVENT = re.compile(
    r"\b(migrate_set_state|migrate_transferred|migrate_pending(?:_exact|_estimate)?|migration_bitmap_sync_start|"
    r"migration_thread_low_pending|migrate_error|vmstate_downtime_checkpoint|cpu_throttle_set)\b(.*)"
)
FIGURE = re.compile(
    r"\b(pending size|size|transferred|time_spent|bandwidth|max_size|throttled by)[ =](0x[0-9a-f]+|[\d.e+]+)"
)
STOPS, ENDS = ("src-downtime-start", "src-vm-stopped"), "src-downtime-end"
BYTES_A_MS = 8e3 / 1e6
"""``bandwidth`` is in bytes a millisecond; Mbit/s."""


@dataclass
class TraceEvents(Reader):
    """State of the migration that is being traced, by all events so far.

    sent: bytes; ms: of all windows; left: bytes at the last look, none within a sync; whole: bytes at the first look.
    passed: bytes of pages sent, those of zeros too: by how much less is left at each look; zero: pages of these.
    syncs: of the dirty bitmap.
    max_size: bytes, below which QEMU syncs or stops.
    is_new: a window, a sync or a status since the last answer; stopped_s: when the guest was stopped; at: the last event.
    begun: whether the trace has the begin, so that its first look is at all memory.
    """

    status: str = ""
    sent: float = 0.0
    ms: float = 0.0
    left: float | None = None
    whole: float = 0.0
    passed: float = 0.0
    zero: float = 0.0
    max_size: float = 0.0
    syncs: int = 0
    throttle: float | None = None
    mbps: float | None = None
    limit_ms: float | None = None
    is_new: bool = False
    stopped_s: float | None = None
    at: Item | None = None
    begun: bool = False

    def take(self, item: Item) -> None:
        """A line of one event."""
        found = EVENT.search(item.text) if item.value is None and "_" in item.text else None
        if not found:
            return
        self.at = item
        name, rest = found.groups()
        figures = ((key, _number(digits)) for key, digits in FIGURE.findall(rest))
        told = {key: value for key, value in figures if not math.isnan(value)}
        if name == "migrate_set_state":
            self._state(item, rest)
        elif name == "migrate_transferred" and {"transferred", "time_spent"} <= told.keys():
            self._window(told)
        elif name.startswith("migrate_pending"):
            self._pending(item, told.get("pending size", told.get("size")))
        elif name == "migrate_error" and self.samples:
            self.samples[-1].error_desc = rest.strip().removeprefix("error=")
        else:
            self._mark(item, name, rest, told)

    def finish(self) -> None:
        """A trace that was ended while the guest ran: its last window counts."""
        if self.at and self.is_new and (not self.samples or self.samples[-1].status not in TERMINAL):
            self.status = self.status or "active"
            self._answer(self.at)

    def _state(self, item: Item, rest: str) -> None:
        words = rest.replace("=", " ").split()
        status = words[-1].strip('"') if words else ""
        if status in STATUSES and status != "none":
            if status == "setup":
                self._anew()
            self.begun = self.begun or status in ("setup", "active")
            self.status = status
            self._answer(item)

    def _anew(self) -> None:
        fresh = TraceEvents()
        fresh.samples = self.samples
        self.__dict__.update(fresh.__dict__)

    def _window(self, told: dict[str, float]) -> None:
        self.sent += told["transferred"]
        self.ms += told["time_spent"]
        self.is_new = True
        self.max_size = told.get("max_size", 0.0)
        bandwidth = told.get("bandwidth", 0.0)
        if bandwidth > 0:
            self.mbps = bandwidth * BYTES_A_MS
            self.limit_ms = round(told["max_size"] / bandwidth) if told.get("max_size") else self.limit_ms

    def _pending(self, item: Item, left: float | None) -> None:
        if left is None:
            return
        self.passed += max(0.0, (self.left or left) - left)
        self.left, self.whole = left, self.whole or (left if self.begun else 0.0)
        if self.is_new:
            self.status = self.status or "active"
            self._answer(item)

    def _mark(self, item: Item, name: str, rest: str, told: dict[str, float]) -> None:
        if name == "migration_bitmap_sync_start":
            self._sync()
        elif name == "cpu_throttle_set":
            self.throttle = told.get("throttled by")
        elif name == "migration_thread_low_pending" or any(stop in rest for stop in STOPS):
            self.stopped_s = self.stopped_s or item.stamp_s
        elif ENDS in rest and self.samples and self.stopped_s is not None and item.stamp_s is not None:
            self.samples[-1].figures["downtime_ms"] = 1000 * (item.stamp_s - self.stopped_s)

    def _sync(self) -> None:
        """QEMU syncs when less than max_size is left: pages of zeros may have left since the last look."""
        self.passed += max(0.0, (self.left or 0.0) - self.max_size) if self.syncs else 0.0
        self.left, self.syncs, self.is_new = None, self.syncs + 1, True

    def _answer(self, item: Item) -> None:
        sample = self.add(item, self.status)
        self._fill(sample)
        if self.status == "completed" and self.stopped_s is not None and item.stamp_s is not None:
            sample.figures["downtime_ms"] = 1000 * (item.stamp_s - self.stopped_s)

    def _fill(self, sample: Sample) -> None:
        self.is_new = False
        normal = self.sent / (PAGE_BYTES + PAGE_HEADER_BYTES)
        self.zero = max(self.zero, self.passed / PAGE_BYTES - normal)
        told = {
            "normal_pages": normal or None, "zero_pages": self.zero or None,
            "total_time_ms": self.ms or None, "transferred_bytes": self.sent or None, "remaining_bytes": self.left,
            "total_bytes": self.whole or None, "dirty_sync_count": float(self.syncs) or None, "mbps": self.mbps,
            "limit_ms": self.limit_ms, "throttle_percent": self.throttle,
        }  # fmt: skip
        sample.figures.update({name: value for name, value in told.items() if value is not None})


def _number(digits: str) -> float:
    try:
        return sane(float(int(digits, 16)) if digits.startswith("0x") else float(digits))
    except ValueError:
        return sane(None)
