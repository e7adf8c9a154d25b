"""Reader of the reports of QEMU's guestperf (scripts/migration/guestperf or tests/migration-stress/guestperf)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hostsim.logs.figures import sane
from hostsim.logs.items import Item
from hostsim.logs.reader import Reader

PROGRESS = {
    "duration": "total_time_ms", "downtime": "downtime_ms", "downtime_expected": "expected_downtime_ms",
    "setup_time": "setup_time_ms", "throttle_pcent": "throttle_percent",
}  # fmt: skip
RAM = {
    "transferred_bytes": "transferred_bytes", "remaining_bytes": "remaining_bytes", "total_bytes": "total_bytes",
    "duplicate_pages": "zero_pages", "normal_pages": "normal_pages", "normal_bytes": "normal_bytes",
    "dirty_rate_pps": "dirty_pages_rate_per_s", "transfer_rate_mbs": "mbps", "iterations": "dirty_sync_count",
}  # fmt: skip
"""guestperf/progress.py::ProgressStats; transfer_rate_mbs is query-migrate's mbps."""


@dataclass
class Guestperf(Reader):
    """A report is one object; its progress_history has an entry each poll."""

    def take(self, item: Item) -> None:
        """A report, or its history alone."""
        history = item.value.get("progress_history") if isinstance(item.value, dict) else None
        name = _name(item.value) if history else ""
        for entry in history if isinstance(history, list) else [item.value]:
            if _is_entry(entry):
                self._entry(item, entry, name)
                self.samples[-1].figures.update(_limit(item.value))

    def _entry(self, item: Item, entry: dict[str, Any], name: str) -> None:
        sample = self.add(item, str(entry.get("status", "active")), name)
        for part, names in ((entry, PROGRESS), (entry["ram"], RAM)):
            for key, column in names.items():
                if part.get(key) is not None:
                    sample.take(column, sane(part[key]), key, str(part[key]))
        if sample.status != "completed":
            sample.figures.pop("downtime_ms", None)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("ram"), dict) and "transferred_bytes" in entry["ram"]


def _limit(report: dict[str, Any]) -> dict[str, float]:
    """The downtime-limit of the scenario [ms]."""
    scenario = report.get("scenario")
    limit = sane(scenario.get("downtime")) if isinstance(scenario, dict) else math.nan
    return {} if math.isnan(limit) else {"limit_ms": limit}


def _name(report: dict[str, Any]) -> str:
    scenario = report.get("scenario")
    return str(scenario.get("name", "")) if isinstance(scenario, dict) else ""
