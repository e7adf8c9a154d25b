"""Reader of the log of CloudStack's agent on a KVM host: how long it waits, the share processed, and its time-out.

Forms: plugins/hypervisors/kvm/.../wrapper/LibvirtMigrateCommandWrapper.java, CloudStack 4.4 to 4.23.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hostsim.logs.figures import quantity
from hostsim.logs.items import Item
from hostsim.logs.model import Sample
from hostsim.logs.reader import Reader, keep

WAITS = re.compile(
    r"Waiting for migration of (?P<vm>\S+) to complete, waited (?P<ms>\d+) ?ms(?:, progress: (?P<percent>\d+)%)?"
)
ABORTS = re.compile(
    r"Aborting migration of VM \[?(?P<vm>[^\s\]]+)\]?.* due to time ?-?out after (?P<secs>\d+) seconds"
    r"(?:\. Job stats: data processed=(?P<sent>\d+) bytes, data remaining=(?P<rest>\d+) bytes)?"
)
CANCELLED = re.compile(
    r"Migration of VM \[?(?P<vm>[^\s\]]+)\]? was cancell?ed by CloudStack due to time out after (?P<secs>\d+)"
)
PAUSES = re.compile(r"Pausing VM \[?(?P<vm>[^\s\]]+)\]? due to property vm\.migrate\.pauseafter")
FINISHED = re.compile(r"Migration thread (?:of VM \[?|for )(?P<vm>[^\s\]]+)\]?\s+(?:is done|finished)")
FAILED = re.compile(
    r"(?:Can'?t migrate domain \[?|Migration of VM )(?P<vm>[^\s\]]+)\]?(?: due to: \[?| failed with result: )(?P<why>.+)"
)
LIMIT = re.compile(r"Set max downtime for migration of (?P<vm>\S+) to (?P<ms>\d+) ?ms")
HINTS = ("igrat", "Pausing VM")


@dataclass
class CloudStack(Reader):
    """``paused``: when the agent paused the guest [s]; ``limits``: the downtime limit that it set [ms]; a guest each."""

    paused: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)

    def take(self, item: Item) -> None:
        """A line of the agent about one migration."""
        is_told = item.value is None and any(hint in item.text for hint in HINTS)
        if is_told and not self._waits(item) and not self._acts(item):
            self._ended(item)

    def finish(self) -> None:
        """Ends count only of a migration that the agent waited for."""
        if not any({"total_time_ms", "timeout_s"} & sample.figures.keys() for sample in self.samples):
            self.samples = []

    def _waits(self, item: Item) -> bool:
        found = WAITS.search(item.text)
        if found:
            sample = self._sample(item, "active", found["vm"])
            keep(sample, "total_time_ms", f"{found['ms']} ms", "ms", "waited")
            keep(sample, "percent", found["percent"], "plain", "progress")
        return found is not None

    def _acts(self, item: Item) -> bool:
        limit, pauses = LIMIT.search(item.text), PAUSES.search(item.text)
        if limit:
            self.limits[limit["vm"]] = quantity(limit["ms"], "plain")
        elif pauses and item.stamp_s is not None:
            self.paused[pauses["vm"]] = item.stamp_s
        return bool(limit or pauses)

    def _ended(self, item: Item) -> None:
        aborts, cancelled = ABORTS.search(item.text), CANCELLED.search(item.text)
        finished, failed = FINISHED.search(item.text), FAILED.search(item.text)
        if aborts:
            self._aborts(item, aborts)
        elif cancelled:
            self._end(item, "cancelled", cancelled["vm"]).figures["timeout_s"] = quantity(cancelled["secs"], "plain")
        elif failed:
            self._end(item, "failed", failed["vm"]).error_desc = failed["why"].strip().rstrip("].")[:200]
        elif finished:
            self._end(item, "completed", finished["vm"])

    def _aborts(self, item: Item, found: re.Match[str]) -> None:
        """The agent reads the job once more before it aborts: that answer, and the end."""
        if found["sent"]:
            sample = self._sample(item, "active", found["vm"])
            keep(sample, "total_time_ms", f"{found['secs']} s", "ms", "seconds")
            keep(sample, "transferred_bytes", found["sent"], "bytes")
            keep(sample, "remaining_bytes", found["rest"], "bytes")
        keep(self._sample(item, "cancelled", found["vm"]), "timeout_s", found["secs"], "plain")

    def _sample(self, item: Item, status: str, vm: str) -> Sample:
        sample = self.add(item, status, vm)
        if vm in self.limits:
            sample.figures["limit_ms"] = self.limits[vm]
        if vm in self.paused and item.stamp_s is not None:
            sample.figures["stopped_s"] = max(0.0, item.stamp_s - self.paused[vm])
        return sample

    def _end(self, item: Item, status: str, vm: str) -> Sample:
        """The end of the migration of ``vm``; of several lines about it the first one."""
        last = self.last(vm)
        if last is not None and last.status in ("cancelled", "failed"):
            return last
        if last is not None and last.status == "completed" and status == "failed":
            last.status = status  # the thread ends with an error, too
            return last
        return self._sample(item, status, vm)
