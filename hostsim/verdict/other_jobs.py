"""Jobs of libvirt that are no migration: backups, snapshots, saves and dumps show the labels of a migration."""

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
    if set(log.status) <= {"none"} and not log.readings:
        return _not_started(log)
    if log.status[-1] == "colo":
        return _replicates()
    if log.operation == "incoming migration" and last(log.remaining_bytes) is None:
        return Verdict(
            outcome="cannot tell",
            headline="cannot tell: this is the destination's side of a migration, for which libvirt shows no figures",
            measure_next=("virsh domjobinfo DOMAIN on the source, each second",),
        )
    is_file_job = log.format == "domjobinfo" and log.operation == "" and _is_disks_only(log)
    what = OTHERS.get(log.operation, "a job on disks, such as a backup" if is_file_job else "")
    if not what:
        return None
    named = f' (libvirt: "Operation: {log.operation.capitalize()}")' if log.operation else ""
    return Verdict(
        outcome="not a migration",
        headline=f"not a migration: this job is {what}{named}, so it neither converges nor stops the guest for a switchover",
        findings=tuple(line for line in (_left(log),) if line),
        measure_next=("virsh domjobinfo DOMAIN while virsh migrate runs: it then says Operation: Outgoing migration",),
    )


def _not_started(log: MigrationLog) -> Verdict:
    if log.format == "domjobinfo":
        return _no_job()
    return Verdict(
        outcome="no migration yet",
        headline="no migration yet: the answer is empty, as QEMU answers before any migration is started",
        findings=("The destination, too, answers like this until data arrive: ask the QEMU of the source.",),
        measure_next=("query-migrate each second on the source, from the start of the migration",),
    )


def _no_job() -> Verdict:
    return Verdict(
        outcome="no migration yet",
        headline="no migration runs: libvirt reports Job type None, as before a job and after its end",
        measure_next=("virsh domjobinfo DOMAIN --completed once it has ended, each second while it runs",),
    )


def _replicates() -> Verdict:
    return Verdict(
        outcome="not a migration",
        headline="not a migration that ends: COLO keeps a replica of the guest and sends each checkpoint to it",
        findings=("Status colo follows the first copy of all memory; downtime limit and bandwidth do not end it.",),
        measure_next=("query-colo-status on both hosts",),
    )


def _is_disks_only(log: MigrationLog) -> bool:
    return bool(np.isnan(log.total_bytes).all() and np.isnan(log.remaining_bytes).all() and last(log.disk_total_bytes))


def _left(log: MigrationLog) -> str:
    disk = (last(log.disk_remaining_bytes), last(log.disk_total_bytes))
    left, total = disk if disk[1] else (last(log.remaining_bytes), last(log.total_bytes))
    if left is None or not total:
        return ""
    return f"Left: {bytes_words(left)} of {bytes_words(total)} after {seconds_words(float(log.t_s[-1]))}."
