"""Disks that are migrated along: while one is copied, the memory waits for it."""

from __future__ import annotations

import math

import numpy as np

from hostsim.logs.model import MigrationLog
from hostsim.verdict.commands import more_time_for
from hostsim.verdict.course import last, rate, running
from hostsim.verdict.evidence import Evidence
from hostsim.verdict.forecast import MARGIN
from hostsim.verdict.mechanism import sure_ends
from hostsim.verdict.model import Confidence, Remedy, Verdict
from hostsim.verdict.words import bandwidth_words, bytes_words, rounded_up, seconds_words

LEFT_SHARE = 0.002
"""A mirror has up to this share of the disk pending while the guest writes (assumed)."""


def waits_for_disks(log: MigrationLog, evidence: Evidence) -> Verdict | None:
    """The verdict while at least LEFT_SHARE of the disks that are migrated with the memory is left.

    evidence: of ``log``. None for a migration that ended or runs at the destination, and for a log without disks.
    """
    left, total = last(log.disk_remaining_bytes[running(log)]), last(log.disk_total_bytes)
    ended = evidence.status in ("completed", "failed") or evidence.guest_moved
    if ended or not left or not total or left < LEFT_SHARE * total:
        return None
    per_s, over = _speed(log, left, total)
    left_s = left / per_s if per_s else math.inf
    how = (
        f"at {bytes_words(per_s)}/s ({bandwidth_words(per_s)}, {over}) about {seconds_words(left_s)} more"
        if per_s
        else _no_speed_words(log)
    )
    return Verdict(
        outcome="would converge" if per_s else "undecided",
        headline=f"disks are migrated with the memory: {bytes_words(left)} of {bytes_words(total)} of disk are left, {how}",
        findings=tuple(line for line in (_ram(log),) if line),
        remedies=_remedies(evidence, left_s, last(log.disk_s) or float(log.t_s[-1])),
        confidence=Confidence("medium" if over != "on average" and per_s else "low", f"the speed of the copy, {over}"),
        measure_next=("query-block-jobs, or File remaining of virsh domjobinfo, every 10 s",),
        numbers={
            "disk_remaining_bytes": left, "disk_total_bytes": total, "disk_bytes_per_s": per_s,
            **({"disk_left_s": left_s} if per_s else {}),
        },
    )  # fmt: skip


def _no_speed_words(log: MigrationLog) -> str:
    told = log.disk_transferred_bytes[~np.isnan(log.disk_transferred_bytes)]
    if len(told) and told[-1] > told[0]:
        return "and the log has no times, so the speed of the copy is unknown"
    return "and no bytes were copied between the answers"


def _speed(log: MigrationLog, left: float, total: float) -> tuple[float, str]:
    """Bytes a second, and over which time: the last answers, else the mean since the start."""
    clock = None if np.isnan(log.disk_s).all() else log.disk_s
    by = rate(log, log.disk_remaining_bytes, falls=True, clock=clock) or rate(log, log.disk_transferred_bytes, clock=clock)
    if by:
        return by.per_s, f"over the last {seconds_words(by.seconds)}"
    several = (log.disk_remaining_bytes == log.disk_remaining_bytes).sum() > 1
    elapsed = last(log.disk_s) or float(log.t_s[-1])
    mean = (total - left) / elapsed if elapsed > 0 and not several else 0.0
    return mean, "on average"


def _ram(log: MigrationLog) -> str:
    left = last(log.remaining_bytes)
    if left is None:
        return "RAM: the migration does not wait for it; the copy of RAM has not begun, or the log does not report it."
    return (
        f"RAM: the migration does not wait for it; {bytes_words(left)} are left, and are sent again while disks are copied."
    )


def _remedies(evidence: Evidence, left_s: float, elapsed_s: float) -> tuple[Remedy, ...]:
    time = (more_time_for(evidence, rounded_up((elapsed_s + left_s) * MARGIN)),) if math.isfinite(left_s) else ()
    names = " and ".join(sure_ends())
    return (
        *time,
        Remedy("storage", "a faster copy: raise the speed limit of the disk job or the migration, or use storage that both "
               "hosts share, then no disk is copied"),
        Remedy("auto_converge", f"throttling, a longer limit and {names} do not help: they act on RAM", helps=False),
    )  # fmt: skip
