"""Jobs of libvirt that are no migration: backups, snapshots, saves and dumps show the same labels."""

from __future__ import annotations

import numpy as np

from hostsim.logs.model import MigrationLog
from hostsim.verdict.course import last
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import bytes_words, seconds_words

OTHERS = {
    "start": "the start of a guest",
    "save": "a save of the guest to a file",
    "restore": "a restore of the guest from a file",
    "snapshot": "a snapshot",
    "snapshot revert": "a return to a snapshot",
    "snapshot delete": "the deletion of a snapshot",
    "dump": "a dump of the guest's memory",
    "backup": "a backup of disks",
}


def not_a_migration(log: MigrationLog) -> Verdict | None:
    """The answer where libvirt names another job, or copies files and no memory."""
    if log.operation == "incoming migration" and last(log.remaining_bytes) is None:
        return Verdict(
            outcome="cannot tell",
            headline="cannot tell: this is the destination's side of a migration, which libvirt shows without figures",
            measure_next=("virsh domjobinfo DOMAIN on the source, each second",),
        )
    is_file_job = log.format == "domjobinfo" and log.operation == "" and _is_disks_only(log)
    what = OTHERS.get(log.operation, "a job on disks, as a backup is" if is_file_job else "")
    if not what:
        return None
    named = f' (libvirt: "Operation: {log.operation.capitalize()}")' if log.operation else ""
    return Verdict(
        outcome="not a migration",
        headline=f"not a migration: this job is {what}{named}, so it neither converges nor stops the guest for a switchover",
        findings=tuple(line for line in (_left(log),) if line),
        measure_next=("virsh domjobinfo DOMAIN while virsh migrate runs: it then says Operation: Outgoing migration",),
    )


def _is_disks_only(log: MigrationLog) -> bool:
    return bool(np.isnan(log.total_bytes).all() and np.isnan(log.remaining_bytes).all() and last(log.disk_total_bytes))


def _left(log: MigrationLog) -> str:
    disk = (last(log.disk_remaining_bytes), last(log.disk_total_bytes))
    left, total = disk if disk[1] else (last(log.remaining_bytes), last(log.total_bytes))
    if left is None or not total:
        return ""
    return f"Left: {bytes_words(left)} of {bytes_words(total)} after {seconds_words(float(log.t_s[-1]))}."
