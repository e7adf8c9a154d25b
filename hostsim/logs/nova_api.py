"""Reader of Nova's API: a live migration as ``openstack server migration show`` prints it, or as JSON, and their list.

Source: nova/api/openstack/compute/server_migrations.py::output; python-novaclient v2/shell.py::_print_server_migrations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from hostsim.logs.figures import quantity, sane
from hostsim.logs.items import Item
from hostsim.logs.model import Sample
from hostsim.logs.reader import Reader
from hostsim.logs.stamps import stamp_s

SIZES = {
    "memory_total_bytes": "total_bytes", "memory_remaining_bytes": "remaining_bytes",
    "memory_processed_bytes": "transferred_bytes", "disk_total_bytes": "disk_total_bytes",
    "disk_remaining_bytes": "disk_remaining_bytes", "disk_processed_bytes": "disk_transferred_bytes",
}  # fmt: skip
OTHERS = ("status", "created_at", "updated_at", "server_uuid")
ROW = re.compile(
    rf"\W*\b({'|'.join((*SIZES, *OTHERS))})\b[\"']?\s*[|:=\u2502]\s*[\"']?([^|\"',\u2502]*?)[\"']?\s*[|,\u2502]?\s*"
)
HEADINGS = {
    "total memory bytes": "memory_total_bytes", "processed memory bytes": "memory_processed_bytes",
    "remaining memory bytes": "memory_remaining_bytes", "total disk bytes": "disk_total_bytes",
    "processed disk bytes": "disk_processed_bytes", "remaining disk bytes": "disk_remaining_bytes",
    "status": "status", "server uuid": "server_uuid", "created at": "created_at", "updated at": "updated_at",
}  # fmt: skip
CELLS = re.compile(r"[|\u2502]")
STATUS = {
    "queued": "setup", "accepted": "setup", "preparing": "setup", "running": "active", "post-migrating": "completed",
    "completed": "completed", "done": "completed", "failed": "failed", "error": "failed", "cancelled": "cancelled",
}  # fmt: skip
"""Status of a migration's record (nova/objects/migration.py) to that of QEMU."""


@dataclass
class NovaApi(Reader):
    """``told``: fields of the record that is being read; ``columns``: those of the list that is being read."""

    told: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    at: Item | None = None

    def take(self, item: Item) -> None:
        """A row of a table, a line of a field, or an object with the fields."""
        if isinstance(item.value, dict):
            self._object(item, item.value, 0)
        elif item.value is None and not self._row(item):
            self._field(item)

    def finish(self) -> None:
        """Close the last record."""
        self._close()

    def _object(self, item: Item, record: dict[str, Any], level: int) -> None:
        if "memory_remaining_bytes" in record:
            self._close()
            self.told, self.at = {key: str(value) for key, value in record.items() if value is not None}, item
            self._close()
        elif level < 2:
            inner = [one for value in record.values() for one in (value if isinstance(value, list) else [value])]
            for one in (one for one in inner if isinstance(one, dict)):
                self._object(item, one, level + 1)

    def _row(self, item: Item) -> bool:
        """A heading of a list, or a migration in it."""
        cells = [cell.strip() for cell in CELLS.split(item.text.strip().strip("|\u2502"))]
        named = tuple(HEADINGS.get(cell.lower(), "") for cell in cells)
        if "memory_remaining_bytes" in named:
            self.columns = named
            return True
        if not self.columns or len(cells) != len(self.columns):
            return False
        self._close()
        self.told, self.at = dict(zip(self.columns, cells, strict=True)), item
        self._close()
        return True

    def _field(self, item: Item) -> None:
        found = ROW.fullmatch(item.text)
        if not found:
            return
        if found.group(1) in self.told:
            self._close()
        self.told[found.group(1)], self.at = found.group(2), item

    def _close(self) -> None:
        told, item, self.told = self.told, self.at, {}
        if item is None or "memory_remaining_bytes" not in told:
            return
        sample = self.add(item, STATUS.get(told.get("status", ""), "active"), told.get("server_uuid", ""))
        for key, name in SIZES.items():
            value = quantity(told[key], "plain") if told.get(key, "").lstrip("-").isdigit() else sane(None)
            if value > 0 or (value == 0 and key.startswith("memory_")):
                sample.figures[name] = value
        _date(sample, told)


def _date(sample: Sample, told: dict[str, str]) -> None:
    """Nova writes the record when it is made, and with each progress."""
    created, updated = (stamp_s(told.get(key, "")) for key in ("created_at", "updated_at"))
    if updated is not None:
        sample.figures["stamp_s"] = updated
    if created is not None and updated is not None and updated >= created:
        sample.figures["t_s"] = updated - created
