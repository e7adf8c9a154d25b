"""Reader of the log that libvirt keeps of each QEMU, and of the daemon's errors about a migration.

Forms: src/qemu/qemu_migration.c and qemu_process.c (libvirt), migration/migration.c and savevm.c (QEMU).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hostsim.logs.items import Item
from hostsim.logs.reader import Reader

BEGINS = re.compile(r"\binitiating migration\b", re.IGNORECASE)
SHUT_DOWN = re.compile(r"shutting down, reason=(\w+)", re.IGNORECASE)
LOAD = re.compile(r"(load of migration failed: .+|error while loading state for instance .+|"
                  r"Unknown (?:ramblock|savevm section) .+|Unable to (?:write to|read from) (?:socket|channel).*|"
                  r"Missing section footer .+|"
                  r"(?:postcopy|migration)[\w-]*: .*(?:fail|error).*)", re.IGNORECASE)  # fmt: skip
JOB = re.compile(r"operation (?:failed|aborted): (.*migrat.*)|migration (?:out |in )?job: (.+)", re.IGNORECASE)
REASONS = {"migrated": "completed", "crashed": "failed", "failed": "failed"}
"""virDomainShutoffReason; a guest that was shut down or destroyed has not been migrated by that."""


@dataclass
class QemuLog(Reader):
    """Reader of QEMU's log. ``errors``: reasons that QEMU or libvirt logged before the end of the migration."""

    errors: list[str] = field(default_factory=list)

    def take(self, item: Item) -> None:
        """A line of /var/log/libvirt/qemu/VM.log, or an error of the daemon."""
        if item.value is not None:
            return
        shut, load, job = SHUT_DOWN.search(item.text), LOAD.search(item.text), JOB.search(item.text)
        if BEGINS.search(item.text):
            self.add(item, "setup")
            self.errors = []
        elif job:
            self.errors.append(job.group(0).strip())
            self._end(item, "cancelled" if "cancel" in job.group(0).lower() else "failed")
        elif load:
            self.errors.append(load.group(1).strip())
            self._end(item, "failed")
        elif shut and shut.group(1).lower() in REASONS:
            self._shut(item, shut.group(1).lower())

    def _shut(self, item: Item, reason: str) -> None:
        if reason == "migrated":
            self.add(item, "completed")
        elif self.samples and self.samples[-1].status == "setup":
            self.errors.append(f"QEMU ended (reason={reason}) before the migration did")
            self._end(item, "failed")

    def _end(self, item: Item, status: str) -> None:
        """Record one end, with the first reason: later errors are its consequences."""
        if self.samples and self.samples[-1].status == status:
            return
        self.add(item, status).error_desc = self.errors[0][:300]
