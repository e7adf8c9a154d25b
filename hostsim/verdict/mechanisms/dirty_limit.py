"""dirty-limit in verdicts: a line on its cost to the guest, or that of set-vcpu-dirty-limit; it excludes auto-converge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.qemu.mechanisms.dirty_limit import NAME
from hostsim.verdict.course import last
from hostsim.verdict.evidence import Evidence, Seen
from hostsim.verdict.mechanism import Mechanism
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import percent_words, seconds_words

if TYPE_CHECKING:
    from hostsim.logs.model import MigrationLog
    from hostsim.results.tables import MigrationResult, RunResult

LIMITS = "vcpu_dirty_limit"
TOLERANCE_MIB_PER_S = 25
"""system/dirtylimit.c DIRTYLIMIT_TOLERANCE_RANGE: QEMU leaves a rate within so much of the quota alone."""


@dataclass(frozen=True)
class SeenLimits(Seen):
    """rows: one a vCPU, by the names of ``vcpu_dirty_limit`` in run.json; none from a log.

    sleep_us: of a vCPU each time its dirty ring is full, by a log; full_us: in which the ring fills; None: not in the log.
    """

    rows: tuple[Mapping[str, Any], ...] = ()
    sleep_us: float | None = None
    full_us: float | None = None

    @property
    def no_throttle(self) -> str:
        """The reason why auto-converge cannot be on; "": no limit is set."""
        if not any(row["limit_rate"] for row in self.rows) and self.sleep_us is None:
            return ""
        return "dirty-limit holds the guest back already, and QEMU refuses both capabilities together"


def _of_run(result: RunResult, _migration: MigrationResult) -> SeenLimits | None:
    table = result.of_mechanisms.get(LIMITS)
    return None if table is None else SeenLimits(tuple(table.rows()))


def _of_log(log: MigrationLog, _at: NDArray[np.int64]) -> SeenLimits | None:
    """QEMU reports both times only while a limit is in service (migration/migration.c::populate_time_info)."""
    sleep, full = last(log.dirty_limit_sleep_us), last(log.dirty_limit_full_us)
    return None if sleep is None else SeenLimits(sleep_us=sleep, full_us=full)


def _with_line(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with the line, if a vCPU was held back."""
    seen = evidence.mechanisms.get(NAME)
    line = (_line(seen.rows) or _line_of_log(seen)) if isinstance(seen, SeenLimits) else ""
    return replace(verdict, findings=(*verdict.findings, line)) if line else verdict


def _line(rows: tuple[Mapping[str, Any], ...]) -> str:
    held = [row for row in rows if row["held_back_ns"]]
    if not held:
        return ""
    most = max(held, key=lambda row: row["held_back_ns"])
    slept = f"{seconds_words(most['held_back_ns'] / NS_PER_S)} ({percent_words(most['held_back_share'])} of the run)"
    who = f"{len(held)} of {len(rows)} vCPUs, those that write"
    over = most["current_rate"] - most["limit_rate"]
    rates = f"{most['current_rate']} MiB/s, above its limit of {most['limit_rate']} MiB/s"
    missed = f"; vCPU {most['cpu_index']} still dirties {rates}" if over > TOLERANCE_MIB_PER_S else ""
    return f"Held back: dirty-limit let {who}, sleep at full dirty rings, each for at most {slept}{missed}."


def _line_of_log(seen: SeenLimits) -> str:
    if seen.sleep_us is None:
        return ""
    slept = f"dirty-limit lets a vCPU sleep for up to {seconds_words(seen.sleep_us / 1e6)} each time its dirty ring is full"
    if not seen.full_us:
        return f"Held back: {slept}."
    share = percent_words(seen.sleep_us / (seen.sleep_us + seen.full_us))
    return f"Held back: {slept}, which takes {seconds_words(seen.full_us / 1e6)}: up to {share} of its time."


PART = Mechanism(NAME, 30, _of_run, _of_log, line=_with_line)
