"""dirty-limit in verdicts: a line on its cost to the guest, or that of set-vcpu-dirty-limit; it excludes auto-converge.

A lower limit is a remedy: below the link's bandwidth remaining shrinks from sync to sync.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S
from hostsim.kvm.spec import MmuSpec
from hostsim.qemu.mechanisms.dirty_limit import NAME
from hostsim.verdict.commands import command_for
from hostsim.verdict.course import last
from hostsim.verdict.evidence import Evidence, Seen
from hostsim.verdict.forecast import MARGIN, Forecast
from hostsim.verdict.mechanism import Changes, Mechanism, Tried
from hostsim.verdict.model import Remedy, Verdict
from hostsim.verdict.words import bytes_words, percent_words, seconds_words

if TYPE_CHECKING:
    from hostsim.logs.model import MigrationLog
    from hostsim.results.tables import MigrationResult, RunResult

LIMITS = KIND = "vcpu_dirty_limit"
MIB = 1 << 20
TOLERANCE_MIB_PER_S = 25
"""system/dirtylimit.c DIRTYLIMIT_TOLERANCE_RANGE: QEMU leaves a rate within so much of the quota alone."""


@dataclass(frozen=True)
class SeenLimits(Seen):
    """rows: one a vCPU, by the names of ``vcpu_dirty_limit`` in run.json; none from a log.

    quota: that the migration sets for each vCPU, by its capability, once it dirties too much [MiB/s]; 0: capability off.
    is_set: whether it was set; migrate_cancel lifts it, so that the rows have none.
    ring_entries: of a vCPU's dirty ring; 0 from a log.
    sleep_us: of a vCPU each time its dirty ring is full, by a log; full_us: in which the ring fills; None: not in the log.
    """

    rows: tuple[Mapping[str, Any], ...] = ()
    quota: int = 0
    is_set: bool = False
    ring_entries: int = 0
    sleep_us: float | None = None
    full_us: float | None = None

    @property
    def no_throttle(self) -> str:
        """The reason why auto-converge cannot be on; "": no limit is set."""
        if self.quota and not self.is_set:
            return "dirty-limit is on, and QEMU refuses both capabilities together"
        if not self.quota and not any(row["limit_rate"] for row in self.rows) and self.sleep_us is None:
            return ""
        return "dirty-limit holds the guest back already, and QEMU refuses both capabilities together"

    @property
    def writers(self) -> int:
        """VCPUs that dirty memory."""
        return sum(row["current_rate"] > 0 for row in self.rows) or len(self.rows)

    @property
    def ring_pages(self) -> int:
        """Pages in full rings of all writers. A sync that waits for a vCPU that sleeps finds the ring that it filled before.

        Linux virt/kvm/dirty_ring.c; QEMU accel/kvm/kvm-all.c::kvm_cpu_exec reaps the ring, then lets the vCPU sleep.
        """
        return self.writers * self.ring_entries

    def limit_of(self, row: Mapping[str, Any]) -> int:
        """Limit of the vCPU of ``row`` while the migration ran [MiB/s]; 0: none."""
        return int(row["limit_rate"]) or (self.quota if self.is_set else 0)


def _of_run(result: RunResult, migration: MigrationResult) -> SeenLimits | None:
    table = result.of_mechanisms.get(LIMITS)
    if table is None:
        return None
    keys = result.scenario.get("migration") or {}
    quota = int(keys["vcpu_dirty_limit"]) if keys.get("dirty_limit") else 0
    is_set = "migration_dirty_limit_guest" in migration.events.columns["event"].tolist()
    mmu = (result.scenario.get("vm") or {}).get("mmu") or {}
    return SeenLimits(tuple(table.rows()), quota, is_set, int(mmu.get("ring_entries", MmuSpec().ring_entries)))


def _of_log(log: MigrationLog, _at: NDArray[np.int64]) -> SeenLimits | None:
    """QEMU reports both times only while a limit is in service (migration/migration.c::populate_time_info)."""
    sleep, full = last(log.dirty_limit_sleep_us), last(log.dirty_limit_full_us)
    return None if sleep is None else SeenLimits(sleep_us=sleep, full_us=full)


def _with_line(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with the line, if a vCPU was held back."""
    seen = evidence.mechanisms.get(NAME)
    if not isinstance(seen, SeenLimits):
        return verdict
    line = _line(seen) or _line_of_log(seen)
    if line and not verdict.converged:
        line += _of_rings(seen, evidence)
    return replace(verdict, findings=(*verdict.findings, line)) if line else verdict


def _line(seen: SeenLimits) -> str:
    held = [row for row in seen.rows if row["held_back_ns"]]
    if not held:
        return _too_high(seen)
    most = max(held, key=lambda row: row["held_back_ns"])
    slept = f"{seconds_words(most['held_back_ns'] / NS_PER_S)} ({percent_words(most['held_back_share'])} of the run)"
    who = f"{len(held)} of {len(seen.rows)} vCPUs, those that write"
    limit = seen.limit_of(most)
    over = most["current_rate"] - limit if limit else 0
    rates = f"{most['current_rate']} MiB/s, above its limit of {limit} MiB/s"
    missed = f"; vCPU {most['cpu_index']} still dirties {rates}" if over > TOLERANCE_MIB_PER_S else ""
    return f"Held back: dirty-limit let {who}, sleep at full dirty rings, each for at most {slept}{missed}."


def _of_rings(seen: SeenLimits, evidence: Evidence) -> str:
    """A sentence where full rings alone are more than QEMU may leave to the switchover."""
    if not _rings_are_too_much(seen, evidence):
        return ""
    return (
        f" A sync waits for a vCPU that sleeps, so each finds about a full ring of every vCPU that writes, "
        f"{bytes_words(seen.ring_pages * evidence.page_bytes)} together: a lower limit leaves hardly less."
    )


def _rings_are_too_much(seen: SeenLimits, evidence: Evidence) -> bool:
    return any(row["held_back_ns"] for row in seen.rows) and seen.ring_pages > evidence.threshold_pages


def _too_high(seen: SeenLimits) -> str:
    """A sentence where the migration set a limit that no vCPU reaches."""
    most = max((row["current_rate"] for row in seen.rows), default=0)
    if not seen.is_set or most > seen.quota + TOLERANCE_MIB_PER_S:
        return ""
    return (
        f"Held back: nothing. dirty-limit allows each vCPU {seen.quota} MiB/s (QEMU lets up to {TOLERANCE_MIB_PER_S} MiB/s "
        f"more pass), and the one that dirties most dirties {most} MiB/s."
    )


def _line_of_log(seen: SeenLimits) -> str:
    if seen.sleep_us is None:
        return ""
    slept = f"dirty-limit lets a vCPU sleep for up to {seconds_words(seen.sleep_us / 1e6)} each time its dirty ring is full"
    if not seen.full_us:
        return f"Held back: {slept}."
    share = percent_words(seen.sleep_us / (seen.sleep_us + seen.full_us))
    return f"Held back: {slept}, which takes {seconds_words(seen.full_us / 1e6)}: up to {share} of its time."


def lower_limit(evidence: Evidence, _needed_bytes_per_s: float) -> Remedy | None:
    """A limit with which all vCPUs that write together dirty less than the stream sends.

    None if the limit is as low already, or if full rings alone are more than QEMU may leave to the switchover.

    # Model limit: a lower limit may be needed where the working set is larger than the link sends within the downtime limit.
    """
    seen = evidence.mechanisms.get(NAME)
    if not isinstance(seen, SeenLimits) or not seen.is_set or evidence.source != "run":
        return None
    if _rings_are_too_much(seen, evidence):
        return None
    sent = evidence.sent_pages_per_s * evidence.page_bytes / MARGIN / MIB
    value = max(1.0, sent // seen.writers - TOLERANCE_MIB_PER_S)
    return _lower(evidence, seen, min(value, seen.quota - 1)) if seen.quota > 1 else None


def _lower(evidence: Evidence, seen: SeenLimits, value: float) -> Remedy:
    text = f"dirty-limit of at most {value:.0f} MiB/s for each vCPU (vcpu-dirty-limit, now {seen.quota} MiB/s)"
    return Remedy(KIND, text, value, "MiB/s", command_for(evidence.profile, KIND, value), certain=False)


def _again(evidence: Evidence, _found: Forecast, value: float | None) -> Remedy:
    seen = evidence.mechanisms[NAME]
    assert isinstance(seen, SeenLimits), "only a limit that is set is lowered"
    assert value is not None, "a limit that was tried has a value"
    return _lower(evidence, seen, value)


def _falling(remedy: Remedy, _evidence: Evidence) -> list[float]:
    """Limits to try, from the computed one down."""
    first = remedy.value or 1.0
    return list(dict.fromkeys(max(1.0, first // by) for by in (1, 2, 4, first)))


def _changes(value: float, _evidence: Evidence) -> Changes:
    """Without a time-out, as the sleeps of the vCPUs settle over periods of a second; the remedy's text names the time."""
    return {"migration.vcpu_dirty_limit": int(value), "migration.timeout": 0}


TRIED = Tried(
    "dirty-limit", _changes, lambda value: f"{value:.0f} MiB/s", _falling, _again, up_to="as little as"
)  # fmt: skip
PART = Mechanism(NAME, 30, _of_run, _of_log, line=_with_line, advice=lower_limit, tried={KIND: TRIED})
