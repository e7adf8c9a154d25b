"""Texts that are known to be no log of a migration by QEMU, so that the refusal can say what they are."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Foreign:
    """One kind of such texts. pattern: a line of it; what: completes "this is ..."; wanted: what to give instead."""

    pattern: re.Pattern[str]
    what: str
    wanted: str


QEMU_ONLY = "a log of a migration by QEMU: hostsim models QEMU's migration thread, and no other"
MEMORY = "the log of the migration of the memory, as virsh domjobinfo or query-migrate prints it"
KINDS = (
    Foreign(re.compile(r"xenguest|libempserver|emu-manager|xc: (?:progress|Saving)|xenopsd|libxl-save-helper|"
                       r"migration (?:sender|target): "), "a log of Xen", QEMU_ONLY),
    Foreign(re.compile(r"\bvmx\[|VMotion|MigrateSetState|vmotion", re.IGNORECASE), "a log of VMware's vMotion", QEMU_ONLY),
    Foreign(re.compile(r"org\.ovirt\.engine"), "a log of oVirt's engine, which has no progress of a migration",
            "vdsm.log of the host from which it is migrated"),
    Foreign(re.compile(r"memory_transmission_info|memory_bytes_remaining_iteration|"
                       r"cloud-hypervisor|cloud_hypervisor|Dirty memory migration|\bvmm/src/|Precopy: iteration"),
            "a log of Cloud Hypervisor", QEMU_ONLY),
    Foreign(re.compile(r"Hyper-V-VMMS|Microsoft-Windows-Hyper-V|Move-VM"), "a log of Hyper-V", QEMU_ONLY),
    Foreign(re.compile(r"firecracker", re.IGNORECASE), "a log of Firecracker, which has no live migration", QEMU_ONLY),
    Foreign(re.compile(r"\(\d+\.\d+\) (?:Warn|Error|pie|mem)?.*\b(?:cr-dump|page-xfer|pagemap|criu)", re.IGNORECASE),
            "a log of CRIU, which migrates processes", QEMU_ONLY),
    Foreign(re.compile(r"(?:Block (?:Copy|Commit|Pull|Job)|Active Block Commit|Backup): \[\s*[\d.,]+ ?%"),
            "the progress of a copy of a disk (virsh blockjob)", MEMORY),
    Foreign(re.compile(r'"type": ?"snapshot-(?:save|load|delete)"'), "an answer about a snapshot (query-jobs)", MEMORY),
    Foreign(re.compile(r"INFO: .*(?:vzdump|starting new backup|creating .*archive|transferred [\d.]+ \w+ in)|"
                       r"INFO: +\d+% \([\d.]+ \w+ of"), "a log of a backup (vzdump)", MEMORY),
    Foreign(re.compile(r"copying local disk images|full send of |successfully imported '"),
            "the task log of a migration of disks, of a guest that does not run or before its memory is sent", MEMORY),
    Foreign(re.compile(r"(?:Mbits|Gbits)/sec\b.*\d|iperf"), "a measurement of a link (iperf)",
            "hostsim predict --bandwidth RATE for the link, or a log of a migration"),
    Foreign(re.compile(r"^\s*error: (?:Failed to get job info|Requested operation is not valid|failed to get domain|"
                       r"Timed out during operation|Failed to connect|failed to connect|Cannot recv data)", re.MULTILINE),
            "an error of virsh, and no answer",
            "virsh domjobinfo DOMAIN on the host from which it is migrated, as root, while the migration runs"),
)  # fmt: skip


def foreign(text: str) -> Foreign | None:
    """The kind of ``text``; None if it is of no known kind."""
    return next((kind for kind in KINDS if kind.pattern.search(text)), None)


def first_line(kind: Foreign, text: str) -> int:
    """The line of ``text`` by which ``kind`` was known."""
    found = kind.pattern.search(text)
    return 1 + text.count("\n", 0, found.start()) if found else 1
