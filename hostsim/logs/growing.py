"""A log that grows record by record, while the migration runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hostsim.logs.items import Item, record_stamp_s
from hostsim.logs.model import MigrationLog, Sample, Setup, build_log
from hostsim.logs.query_migrate import QueryMigrate
from hostsim.logs.split import migrations

DENSE_MS = 1000
"""Between two syncs one answer a second is kept: more answers add no knowledge, and a long migration has to fit."""
SYNCS, CLOCK = "dirty_sync_count", "total_time_ms"


class GrowingLog:
    """Records as ``hostsim record`` writes them, read as they come; the log of the migration that runs."""

    def __init__(self, source: str) -> None:
        self._source, self._reader, self._lines = source, QueryMigrate(), 0

    def take(self, record: Mapping[str, Any]) -> bool:
        """Read one record. Returns whether it is an answer about a migration."""
        before = len(self._reader.samples)
        self._lines += 1
        self._reader.take(Item(self._lines, record_stamp_s(record), "", dict(record)))
        is_news = len(self._reader.samples) > before
        if is_news:
            self._forget()
        return is_news

    @property
    def setup(self) -> Setup:
        """Facts about the QEMU in the records so far."""
        return self._reader.setup

    @property
    def mark(self) -> tuple[str, float]:
        """Status and iteration by the last answer."""
        samples = self._reader.samples
        return (samples[-1].status, samples[-1].figures.get(SYNCS, 0.0)) if samples else ("none", 0.0)

    def log(self) -> MigrationLog | None:
        """The last migration as far as it is known; None before the first answer about one."""
        samples = self._reader.samples
        return build_log(samples, self._source, "query-migrate") if samples else None

    def _forget(self) -> None:
        """Drop the migrations before the last one, and answers that stand too close to each other. In place."""
        samples = self._reader.samples
        samples[:] = migrations(samples[-3:])[-1] if self._begins_anew() else samples
        if len(samples) > 3 and _is_between(*samples[-4:-1]):
            del samples[-3]

    def _begins_anew(self) -> bool:
        return len(migrations(self._reader.samples[-2:])) > 1


def _is_between(first: Sample, middle: Sample, last: Sample) -> bool:
    """Whether ``middle`` is of the same second and the same iteration as ``first`` and ``last``."""
    alike = first.status == middle.status == last.status and all(SYNCS in one.figures for one in (first, middle, last))
    if not alike or not first.figures[SYNCS] == middle.figures[SYNCS] == last.figures[SYNCS]:
        return False
    return bool(last.figures.get(CLOCK, 0.0) - first.figures.get(CLOCK, 0.0) < DENSE_MS)
