"""Reader of KubeVirt: virt-launcher's migration lines, and a VMI's status.migrationState as YAML or JSON.

Forms: pkg/virt-launcher/virtwrap/live-migration-source.go::logMigrationInfo and its monitor;
staging/src/kubevirt.io/api/core/v1/types.go::VirtualMachineInstanceMigrationState.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.logs.figures import quantity
from hostsim.logs.items import Item
from hostsim.logs.model import Sample
from hostsim.logs.reader import Reader, keep
from hostsim.logs.stamps import stamp_s
from hostsim.logs.virsh import with_whole

INFO = re.compile(r"Migration info for ([\w-]*)\s*:(.*)")
PAIR = re.compile(r"\b([A-Z][A-Za-z]+):\s*(-?[\d.]+)\s?(ms|MiB|Mbps|%)?")
NAMES = {
    "TimeElapsed": ("total_time_ms", "ms"),
    "DataProcessed": ("data_processed", "bytes"),
    "DataRemaining": ("data_remaining", "bytes"),
    "DataTotal": ("data_total", "bytes"),
    "MemoryProcessed": ("transferred_bytes", "bytes"),
    "MemoryRemaining": ("remaining_bytes", "bytes"),
    "MemoryTotal": ("total_bytes", "bytes"),
    "MemoryBandwidth": ("mbps", "mbps"),
    "DirtyRate": ("dirty_mbps", "mbps"),
    "Iteration": ("dirty_sync_count", "plain"),
    "PostcopyRequests": ("postcopy_requests", "plain"),
    "ConstantPages": ("zero_pages", "plain"),
    "NormalPages": ("normal_pages", "plain"),
    "NormalData": ("normal_bytes", "bytes"),
    "ExpectedDowntime": ("expected_downtime_ms", "ms"),
    "Downtime": ("downtime_ms", "ms"),
}
WRONG_BY = 64
"""Releases before 1.2 printed bytes / 8 as Mbps where bits, bytes x 8, were meant (logMigrationInfo::bToMbps)."""
AGREES = 1.5
"""Counters and a printed rate that differ by less than this factor agree (assumed)."""
STUCK = re.compile(r"live migration stuck for (\d+) sec(?:ond)?s?(?P<aborted> and has been aborted)?", re.IGNORECASE)
TIMEOUT = re.compile(
    r"live migration is not completed after (\d+) (?:sec(?:ond)?s?|ms)(?: and has been aborted)?", re.IGNORECASE
)
ABORTED = re.compile(r"Live migration abort detected with reason: (.+)|Live migration failed:? (.+)|"
                     r"Migration aborted: (.+)|aborting migration:? (.+)|(Live migration aborted because .+)",
                     re.IGNORECASE)  # fmt: skip
ENDS = (
    (re.compile(r"Migration has been completed|Live migration succeeded", re.IGNORECASE), "completed"),
    (re.compile(r"Migration job failed", re.IGNORECASE), "failed"),
    (re.compile(r"Migration (?:job )?was cancell?ed", re.IGNORECASE), "cancelled"),
    (re.compile(r"starting post[- ]?copy mode for migration|started post[- ]?copy", re.IGNORECASE), "postcopy-active"),
)
PAUSED = re.compile(r"Pausing the guest to allow migration to complete", re.IGNORECASE)
"""After the time-out, where post-copy is not allowed and the workload may be disrupted."""
LIMIT = re.compile(r"Set(?:ting)? max downtime to (?:configured budget )?(\d{1,9}) ?(ms|s)\b", re.IGNORECASE)
STATE = re.compile(
    r"\s*(?:- )?\"?(start ?Timestamp|end ?Timestamp|completed|failed|failure ?Reason|abort ?Status|mode|migration ?Uid|"
    r"phase|phaseTransitionTimestamp|completionTimeoutPerGiB|progressTimeout|allowPostCopy|allowAutoConverge)\"?:\s*\"?([^\",]*)\"?,?\s*",
    re.IGNORECASE,
)
"""A field of migrationState as YAML, or as kubectl describe prints it."""
KEYS = {key.lower(): key for key in ("startTimestamp", "endTimestamp", "failureReason", "abortStatus", "migrationUid")}
OPENS = re.compile(r"\s*(?:migration ?State:|kind:\s*VirtualMachineInstanceMigration)\s*", re.IGNORECASE)
PHASES = {"succeeded": "completed", "failed": "failed", "running": "active"}
"""VirtualMachineInstanceMigrationPhase; before Running nothing is sent."""
OTHERS = ("[instance:", "MigrateCommandWrapper")
"""Nova and CloudStack have some sentences in common; each line of theirs names the instance or the class."""
NANOSECONDS = 1e8
"""Some releases print nanoseconds and write "sec"; as seconds, this would be three years."""


@dataclass
class KubeVirt(Reader):
    """Reader of KubeVirt's logs.

    state: fields of the migrationState that is being read, None outside of one.
    limit_ms: downtime limit that virt-launcher has set; paused_s: when it paused the guest [s].
    uids: of the migration of each guest whose name the logger puts beside its lines.
    """

    state: dict[str, str] | None = None
    state_at: Item | None = None
    uid: str = ""
    states: int = 0
    limit_ms: float | None = None
    paused_s: float | None = None
    uids: dict[str, str] = field(default_factory=dict)

    def take(self, item: Item) -> None:
        """A line of virt-launcher's log, or of a VMI's status; a VMI as an object."""
        if isinstance(item.value, dict):
            self._object(item, item.value)
        elif item.value is None and (self.state is not None or self._may_follow(item) or "igrat" in item.text):
            self._yaml(item) or self._info(item) or self._acts(item) or self._ended(item)

    def finish(self) -> None:
        """Close a status; lines that could be any program's count only beside one of KubeVirt's own."""
        self._close()
        own = bool(self.states)
        for sample in self.samples:
            with_whole(sample.figures)
        for uid in {sample.tag for sample in self.samples}:
            _scale([sample for sample in self.samples if sample.tag == uid])
        if not own and not any(s.figures.keys() - {"stamp_s"} or s.tag or s.error_desc for s in self.samples):
            self.samples = []

    def _info(self, item: Item) -> bool:
        found = INFO.search(item.text)
        if not found and not self._may_follow(item):
            return False
        pairs = PAIR.findall(found.group(2) if found else item.text)
        if found:
            self.uid = self.uids[item.domain] = found.group(1)
            self.add(item, "active", self.uid)
        elif not any(key in NAMES for key, _, _ in pairs):
            return False
        sample = self.samples[-1]
        sample.line = item.line
        for key, digits, unit in pairs:
            if key in NAMES:
                name, kind = NAMES[key]
                keep(sample, name, f"{digits} {unit}", kind, key)
        if "downtime_ms" in sample.figures:
            sample.status = "completed"
        self._with_acts(sample)
        return True

    def _acts(self, item: Item) -> bool:
        """An act of virt-launcher so that the migration ends: another downtime limit, a pause of the guest."""
        limit = LIMIT.search(item.text)
        if limit:
            self.limit_ms = quantity(f"{limit.group(1)} {limit.group(2)}", "ms")
        elif PAUSED.search(item.text):
            self.paused_s = item.stamp_s
        else:
            return False
        if self.samples:
            self._with_acts(self.samples[-1])
        return True

    def _with_acts(self, sample: Sample) -> None:
        if self.limit_ms is not None:
            sample.figures["limit_ms"] = self.limit_ms
        if self.paused_s is not None:
            sample.figures["stopped_s"] = max(0.0, sample.figures.get("stamp_s", self.paused_s) - self.paused_s)

    def _may_follow(self, item: Item) -> bool:
        """Whether ``item`` may continue the figures of the line before."""
        return bool(self.samples) and self.samples[-1].line == item.line - 1

    def _ended(self, item: Item) -> bool:
        if any(other in item.text for other in OTHERS):
            return False
        stuck, timeout, aborted = (pattern.search(item.text) for pattern in (STUCK, TIMEOUT, ABORTED))
        if stuck or timeout:
            name, text = ("stuck_s", stuck.group(1)) if stuck else ("timeout_s", timeout.group(1) if timeout else "0")
            sample = self._end(item, "cancelled" if "abort" in item.text.lower() else "active")
            value = quantity(text, "plain")
            sample.figures[name] = value / 1e9 if value > NANOSECONDS else value
        elif aborted:
            sample = self._end(item, "cancelled" if "abort" in item.text.lower() else "failed")
            sample.error_desc = next(text for text in aborted.groups() if text).strip()[:300]
        else:
            status = next((end for pattern, end in ENDS if pattern.search(item.text)), None)
            if status is None or not self.samples:
                return False
            self._end(item, status)
        return True

    def _end(self, item: Item, status: str) -> Sample:
        sample = self.add(item, status, self.uids.get(item.domain, self.uid))
        self._with_acts(sample)
        return sample

    def _yaml(self, item: Item) -> bool:
        if OPENS.fullmatch(item.text):
            self._close()
            self.state, self.state_at = {}, item
            return True
        found = STATE.fullmatch(item.text) if self.state is not None else None
        if found and self.state is not None:
            key = found.group(1).replace(" ", "").lower()
            self.state[KEYS.get(key, key)] = found.group(2).strip()
            self._phase(key, found.group(2).strip())
        return found is not None

    def _phase(self, key: str, text: str) -> None:
        """A migration runs from the time of its phase Running to that of its last phase."""
        name = {"running": "startTimestamp", "succeeded": "endTimestamp", "failed": "endTimestamp"}
        phase = self.state.get("phase", "").lower() if self.state else ""
        if self.state is not None and key == "phasetransitiontimestamp" and phase in name:
            self.state.setdefault(name[phase], text)

    def _object(self, item: Item, record: dict[str, Any]) -> None:
        for name, state in _states(record, 0):
            self._close()
            self.uid = name or self.uid
            limits = state.get("migrationConfiguration")
            whole = {**state, **(limits if isinstance(limits, dict) else {})}
            self.state = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in whole.items()}
            self.state_at = item
            self._close()

    def _close(self) -> None:
        state, item, self.state = self.state, self.state_at, None
        if not state or item is None or not {"startTimestamp", "completed", "failed", "phase"} & state.keys():
            return
        self.states += 1
        sample = self.add(item, _status_of(state), self.uid or state.get("migrationUid", ""))
        sample.error_desc = state.get("failureReason", "")
        sample.remark = _limits(state)
        started, ended = stamp_s(state.get("startTimestamp", "")), stamp_s(state.get("endTimestamp", ""))
        if started is not None and ended is not None and ended >= started:
            sample.figures["total_time_ms"] = (ended - started) * 1000
            sample.figures["stamp_s"] = ended


def _scale(samples: list[Sample]) -> None:
    """Convert bandwidth and dirty rate to Mbit/s: releases printed other units, which the counters reveal. In place."""
    for sample in samples:
        if not sample.figures.get("mbps"):
            sample.figures.pop("mbps", None)
    printed = [s.figures["mbps"] for s in samples if "mbps" in s.figures]
    counted = _counted_mbps(samples)
    factor = _factor(counted / median(printed)) if printed and counted else 1.0
    for sample in samples:
        figures = sample.figures
        dirty = figures.pop("dirty_mbps", None)
        if "mbps" in figures:
            figures["mbps"] *= factor
        if dirty is not None:
            figures["dirty_pages_rate_per_s"] = dirty * factor * 1e6 / 8 / PAGE_BYTES


def _counted_mbps(samples: list[Sample]) -> float:
    """Median speed [Mbit/s] of the bytes processed from answer to answer, for one answer since the start; 0 if unknown."""
    told = [(s.figures["total_time_ms"] / 1000, s.figures["transferred_bytes"]) for s in samples
            if {"total_time_ms", "transferred_bytes"} <= s.figures.keys()]  # fmt: skip
    steps = [(b - a, sent - before) for (a, before), (b, sent) in pairwise(told)]
    speeds = [sent / seconds for seconds, sent in steps if seconds > 0 and sent > 0]
    speeds = speeds or [sent / seconds for seconds, sent in told[:1] if seconds > 0]
    return median(speeds) * 8 / 1e6 if speeds else 0.0


def _factor(ratio: float) -> float:
    """The factor by which to multiply a printed rate that is ``ratio`` times too small by the counters."""
    near = next((one for one in (1.0, float(WRONG_BY)) if one / AGREES <= ratio <= one * AGREES), None)
    return near or (ratio if ratio > WRONG_BY / 8 else 1.0)


def _limits(state: dict[str, str]) -> str:
    """The sentence on KubeVirt's limits in the status of a migration (migrationConfiguration); "" if it has none."""
    told = {key.lower(): value for key, value in state.items()}
    per_gib, progress = told.get("completiontimeoutpergib"), told.get("progresstimeout")
    said = [
        f"{per_gib} s a GiB of memory for the whole migration (completionTimeoutPerGiB)" if per_gib else "",
        f"{progress} s without progress (progressTimeout)" if progress else "",
        "no post-copy (allowPostCopy is false)" if told.get("allowpostcopy") == "false" else "",
        "no auto-converge (allowAutoConverge is false)" if told.get("allowautoconverge") == "false" else "",
    ]
    limits = ", ".join(filter(None, said))
    return f"KubeVirt's limits for this migration: {limits}" if limits else ""


def _status_of(state: dict[str, str]) -> str:
    if state.get("failed") == "true":
        return "cancelled" if state.get("abortStatus", "").lower() == "succeeded" else "failed"
    if state.get("completed") == "true":
        return "completed"
    if state.get("mode") == "PostCopy":
        return "postcopy-active"
    return PHASES.get(state.get("phase", "running").lower(), "setup")


def _states(record: Any, depth: int, name: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every ``migrationState`` in a VMI, or in a list of them, with the name of its VMI."""
    if depth > 6 or not isinstance(record, dict):
        return []
    metadata = record.get("metadata")
    name = str(metadata.get("name", "")) if isinstance(metadata, dict) else name
    own = [(name, record["migrationState"])] if isinstance(record.get("migrationState"), dict) else []
    inner = [value for value in record.values() if isinstance(value, dict)]
    inner += [value for value in record.get("items", []) if isinstance(value, dict)] if depth == 0 else []
    return own or [state for value in inner for state in _states(value, depth + 1, name)]
