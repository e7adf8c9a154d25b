"""Reader of measured dirty rates: virsh domstats --dirtyrate, QMP query-dirty-rate, the monitor's info dirty_rate."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hostsim.logs.figures import quantity, sane
from hostsim.logs.items import Item
from hostsim.logs.model import DirtyReading
from hostsim.logs.reader import Labels, Reader, labelled

MIB = 1 << 20
STATS = re.compile(r"\bdirtyrate\.(calc_status|calc_period|calc_start_time|megabytes_per_second|calc_mode)\s*[=:]\s*(\S+)")
STATUSES = {"0": "unstarted", "1": "measuring", "2": "measured"}
"""virDomainDirtyRateStatus."""
MONITOR = Labels({"status", "period", "mode", "dirty rate"})
STARTED = re.compile(r"Start to calculate domain's memory dirty rate successfully")
SECONDS = {"second": 1.0, "millisecond": 0.001}


@dataclass
class DirtyRate(Reader):
    """Reader of measured dirty rates. ``told``: fields of the measurement that is being read."""

    told: dict[str, str] = field(default_factory=dict)
    line: int = 0

    def take(self, item: Item) -> None:
        """A line of domstats or of the monitor, or an answer of query-dirty-rate."""
        if item.value is not None:
            self._answer(item)
            return
        stats = STATS.search(item.text) if "dirtyrate." in item.text else None
        monitor = labelled(item.text, MONITOR)
        if stats:
            self._field(item.line, stats.group(1), stats.group(2))
        elif monitor:
            self._field(item.line, *_of_monitor(*monitor))
        elif STARTED.search(item.text):
            self._close()
            self.readings.append(DirtyReading(item.line, "measuring"))

    def finish(self) -> None:
        """Close the last measurement; of several states of one measurement the last counts."""
        self._close()
        measured = [reading for reading in self.readings if reading.bytes_per_s is not None]
        self.readings = measured or self.readings[-1:]

    def _field(self, line: int, key: str, text: str) -> None:
        if not key:
            return
        if key in self.told:
            self._close()
        self.told[key], self.line = text, line

    def _close(self) -> None:
        told, self.told = self.told, {}
        if "calc_status" not in told and "megabytes_per_second" not in told:
            return
        rate = quantity(told.get("megabytes_per_second", ""), "plain")
        period = quantity(told.get("calc_period", ""), "plain")
        status = STATUSES.get(told.get("calc_status", ""), told.get("calc_status", "measured"))
        self.readings.append(_reading(self.line, status, rate, period, told.get("calc_mode", "")))

    def _answer(self, item: Item) -> None:
        record = item.value if isinstance(item.value, dict) else {}
        answer = record.get("return", record)
        if isinstance(answer, dict) and {"calc-time", "start-time"} <= answer.keys():
            seconds = sane(answer["calc-time"]) * SECONDS.get(str(answer.get("calc-time-unit", "second")), 1.0)
            rate, mode = sane(answer.get("dirty-rate")), str(answer.get("mode", ""))
            self.readings.append(_reading(item.line, str(answer.get("status", "")), rate, seconds, mode))


def _of_monitor(key: str, text: str) -> tuple[str, str]:
    """migration/dirtyrate.c::hmp_info_dirty_rate; other programs write a status, too."""
    if key == "status":
        return ("calc_status", text) if text in STATUSES.values() else ("", "")
    number = text.split("(", maxsplit=1)[0].strip()
    if key == "dirty rate":
        return ("megabytes_per_second", number) if "(MB/s)" in text else ("", "")
    return {"period": "calc_period", "mode": "calc_mode"}[key], number


def _reading(line: int, status: str, mib_per_s: float, period_s: float, mode: str) -> DirtyReading:
    is_measured = mib_per_s >= 0 and status not in ("unstarted", "measuring")
    return DirtyReading(line, status, mib_per_s * MIB if is_measured else None, period_s if period_s > 0 else None, mode)
