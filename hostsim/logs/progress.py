"""Reader of the output of ``virsh migrate --verbose``, and of ``gnt-instance migrate``: a percentage, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hostsim.logs.figures import quantity
from hostsim.logs.items import Item
from hostsim.logs.reader import Reader

PERCENT = re.compile(r"(?:Migration:\s*\[|memory transfer progress:)\s*([\d.,]+)\s*%")
"""Of virsh, and of Ganeti (lib/backend.py::GetMigrationStatus, lib/cmdlib/instance_migration.py)."""
COMPLETE = re.compile(r"\* memory transfer complete")
CANCELLED = re.compile(r"cancell?ed by client|operation aborted", re.IGNORECASE)
ERROR = re.compile(r"(?:^|[\s\]])error: (.+)")


@dataclass
class VirshProgress(Reader):
    """One line, rewritten in place: the terminal's carriage returns may still be in it."""

    def take(self, item: Item) -> None:
        """A line of progress, or virsh's error after it."""
        if item.value is not None:
            return
        for digits in PERCENT.findall(item.text):
            sample = self.add(item, "active")
            sample.figures["percent"] = quantity(digits, "plain")
        if self.samples and COMPLETE.search(item.text):
            self.add(item, "completed")
        error = ERROR.search(item.text) if self.samples else None
        if error:
            status = "cancelled" if CANCELLED.search(error.group(1)) else "failed"
            self.add(item, status).error_desc = error.group(1)

    def finish(self) -> None:
        """100 % is printed when virsh's call has returned without an error (tools/virsh-domain.c::virshWatchJob)."""
        if self.samples and self.samples[-1].figures.get("percent", 0.0) >= 100:
            self.samples[-1].status = "completed"
