"""dirty-limit in verdicts: a line on its cost to the guest, or that of set-vcpu-dirty-limit; it excludes auto-converge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hostsim.core.constants import NS_PER_S
from hostsim.qemu.mechanisms.dirty_limit import NAME
from hostsim.verdict.evidence import Evidence, Seen
from hostsim.verdict.mechanism import Mechanism
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import percent_words, seconds_words

if TYPE_CHECKING:
    from hostsim.results.tables import MigrationResult, RunResult

LIMITS = "vcpu_dirty_limit"
TOLERANCE_MIB_PER_S = 25
"""system/dirtylimit.c DIRTYLIMIT_TOLERANCE_RANGE: QEMU leaves a rate within so much of the quota alone."""


@dataclass(frozen=True)
class SeenLimits(Seen):
    """rows: one a vCPU, by the names of ``vcpu_dirty_limit`` in run.json."""

    rows: tuple[Mapping[str, Any], ...] = ()

    @property
    def no_throttle(self) -> str:
        """The reason while a limit is set."""
        if not any(row["limit_rate"] for row in self.rows):
            return ""
        return "dirty-limit holds the guest back already, and QEMU refuses both capabilities together"


def _of_run(result: RunResult, _migration: MigrationResult) -> SeenLimits | None:
    table = result.of_mechanisms.get(LIMITS)
    return None if table is None else SeenLimits(tuple(table.rows()))


def _with_line(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with the line, if a vCPU was held back."""
    seen = evidence.mechanisms.get(NAME)
    line = _line(seen.rows) if isinstance(seen, SeenLimits) else ""
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


PART = Mechanism(NAME, 30, _of_run, line=_with_line)
