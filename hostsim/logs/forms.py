"""The forms of logs that are read: one list for the readers, the error message, the help and the documentation."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.logs.dirty_rate import MONITOR, DirtyRate
from hostsim.logs.guestperf import Guestperf
from hostsim.logs.info_migrate import LABELS as HMP
from hostsim.logs.info_migrate import InfoMigrate
from hostsim.logs.kubevirt import KubeVirt
from hostsim.logs.nova import Nova
from hostsim.logs.progress import VirshProgress
from hostsim.logs.proxmox import Proxmox
from hostsim.logs.query_migrate import QueryMigrate
from hostsim.logs.reader import Reader
from hostsim.logs.virsh import ALL_LABELS, FIELD_HINTS, Virsh


@dataclass(frozen=True)
class Form:
    """One form of log. known_by: a line that shows it; detail: what else is read; is_weak: read if nothing else is there."""

    name: str
    title: str
    known_by: str
    detail: str
    reader: type[Reader]
    is_weak: bool = False


FORMS = (
    Form("query-migrate", "QMP query-migrate", '{"return": {"status": "active", "ram": {...}}}',
         "one line or pretty-printed, as JSON or Python dict, in libvirtd's log; events, query-block-jobs", QueryMigrate),
    Form("info-migrate", "the monitor's info migrate", "remaining ram: 1048116 kbytes",
         "QEMU 1.x to 10.0, and the grouped lines since 10.1 (Transfers: transferred=1.41 GiB)", InfoMigrate),
    Form("domjobinfo", "virsh domjobinfo", "Memory remaining: 256.500 MiB",
         "--completed, --rawstats and --anystats; libvirt's fields (memory_remaining) in any log", Virsh),
    Form("nova", "the log of nova-compute", "Migration running for 60 secs, memory 52% remaining",
         "steps of the downtime, low watermark, time-outs, the end; an instance each", Nova),
    Form("proxmox", "the task log of Proxmox VE", "migration active, transferred 1.1 GiB of 12.6 GiB VM-state",
         "the bytes of releases up to 6, XBZRLE, drive mirrors, errors", Proxmox),
    Form("kubevirt", "virt-launcher's log, or a VMI's migrationState", "Migration info for UID: TimeElapsed:561972ms",
         "JSON lines, aborts; startTimestamp, endTimestamp, failed, abortStatus of the status", KubeVirt),
    Form("guestperf", "a report of QEMU's guestperf", '{"progress_history": [{"status": "active", "ram": {...}}]}',
         "every poll of it", Guestperf),
    Form("dirty-rate", "a measured dirty rate", "dirtyrate.megabytes_per_second=412",
         "virsh domstats --dirtyrate, QMP query-dirty-rate, info dirty_rate: no migration yet", DirtyRate, is_weak=True),
    Form("virsh-migrate", "virsh migrate --verbose", "Migration: [ 37 %]",
         "a percentage tells when it ended, not why it does not", VirshProgress, is_weak=True),
)  # fmt: skip
COMMON_WORDS = (
    "igrat", "dirty", "xbzrle", "drive-", "mirror-", "error", "post-copy", "postcopy", "data remaining", "downtime", "mib",
    "timestamp", "uid", "abortstatus", "failurereason", "completed", "failed", "mode", "stuck for", *FIELD_HINTS,
)  # fmt: skip
"""One of these, or the end of a label, is in every line that a reader takes."""
LABEL_ENDS = {f"{word}:" for labels in (HMP, ALL_LABELS, MONITOR) for word in labels.last_words}
WORDS = tuple(sorted({*COMMON_WORDS, *LABEL_ENDS}))


def is_worth_reading(text: str) -> bool:
    """Whether any reader could take the line ``text``: most lines of a daemon's log are of something else."""
    low = text.lower()
    return any(word in low for word in WORDS)


READ = "; ".join(f"{form.title} ({form.known_by})" for form in FORMS)
WANTED = f"a log in one of these forms: {READ}"
HELP = "A log of a migration: " + ", ".join(form.title for form in FORMS) + "; - is standard input."


def forms_table() -> list[str]:
    """The forms as lines of a Markdown table."""
    rows = [f"| {form.title} | `{form.known_by}` | {form.detail} |" for form in FORMS]
    return ["| Form | known by lines such as | what is read of it |", "|---|---|---|", *rows]
