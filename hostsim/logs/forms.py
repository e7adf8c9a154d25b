"""The forms of logs that are read: one list for the readers, the error message, the help and the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hostsim.logs.reader import Reader


@dataclass(frozen=True)
class Form:
    """One form of log.

    known_by: a line typical of the form; detail: further contents that its reader reads.
    read_by: module of hostsim.logs and class in it, as text: help lists the forms without loading a reader.
    words: words in small letters of which each line of the form has one, beside COMMON_WORDS: other lines reach no reader.
    is_weak: its answers count only if the log has none of another form.
    profile: the management layer that writes it: its commands, and its default downtime limit.
    """

    name: str
    title: str
    known_by: str
    detail: str
    read_by: str
    words: tuple[str, ...] = ()
    is_weak: bool = False
    profile: str = "qemu"

    def reader(self) -> Reader:
        """A reader of this form, which has read nothing yet."""
        module, name = self.read_by.split(":")
        made: Reader = getattr(import_module(f"hostsim.logs.{module}"), name)()
        return made


FORMS = (
    Form("query-migrate", "QMP query-migrate", '{"return": {"status": "active", "ram": {...}}}',
         "one line or pretty-printed, as JSON or Python dict, in libvirtd's log; events, query-block-jobs",
         "query_migrate:QueryMigrate"),
    Form("info-migrate", "the monitor's info migrate", "remaining ram: 1048116 kbytes",
         "QEMU 1.x to 10.0, and the grouped lines since 10.1 (Transfers: transferred=1.41 GiB)", "info_migrate:InfoMigrate"),
    Form("domjobinfo", "virsh domjobinfo", "Memory remaining: 256.500 MiB",
         "--completed, --rawstats and --anystats; libvirt's fields (memory_remaining) in any log",
         "virsh:Virsh", profile="libvirt"),
    Form("nova", "the log of nova-compute", "Migration running for 60 secs, memory 52% remaining",
         "steps of the downtime, low watermark, time-outs, the end; an instance each",
         "nova:Nova", profile="nova"),
    Form("nova-api", "openstack server migration show", '"memory_remaining_bytes": 1024184264',
         "as a table or JSON, several of them, and nova server-migration-list",
         "nova_api:NovaApi", profile="nova"),
    Form("proxmox", "the task log of Proxmox VE", "migration active, transferred 1.1 GiB of 12.6 GiB VM-state",
         "the bytes of releases up to 6, XBZRLE, drive mirrors, errors",
         "proxmox:Proxmox", profile="proxmox"),
    Form("kubevirt", "virt-launcher's log, or a VMI's migrationState", "Migration info for UID: TimeElapsed:561972ms",
         "JSON lines, aborts; startTimestamp, endTimestamp, failed, abortStatus of the status",
         "kubevirt:KubeVirt", profile="kubevirt"),
    Form("vdsm", "vdsm's log (oVirt, RHV)", "Migration Progress: 10 seconds elapsed, 15% of data processed",
         "all figures of it, steps of the downtime, stalls, time-outs, aborts; a guest each",
         "vdsm:Vdsm", profile="libvirt"),
    Form("cloudstack", "the log of CloudStack's agent", "Waiting for migration of i-2-25-VM to complete, waited 1000ms",
         "the share that is processed, time-outs with their bytes, pauses, failures; a guest each",
         "cloudstack:CloudStack", profile="libvirt"),
    Form("guestperf", "a report of QEMU's guestperf", '{"progress_history": [{"status": "active", "ram": {...}}]}',
         "every poll of it", "guestperf:Guestperf"),
    Form("kubevirt-metrics", "KubeVirt's metrics", 'kubevirt_vmi_migration_data_remaining_bytes{name="vm"} 1.07e9',
         "text of an exporter, and JSON of Prometheus' query and query_range; a guest each",
         "metrics:KubevirtMetrics", profile="kubevirt"),
    Form("libvirt-metrics", "metrics of an exporter of libvirt",
         'libvirt_domain_job_info_memory_remaining_bytes{domain="vm"} 1.07e9', "as KubeVirt's",
         "metrics:LibvirtMetrics", profile="libvirt"),
    Form("trace", "QEMU's trace events", "migrate_transferred transferred 3352576 time_spent 100 bandwidth 33525",
         "-trace 'migrat*' of any version, simpletrace.py; with times also the downtime", "trace_events:TraceEvents"),
    Form("figures", "figures by their names", "remaining=1024184264 transferred=5368709120 total=8594989056",
         "CSV (Grafana's too), logfmt, InfluxDB's lines, YAML, JSON, sentences, the tuple of libvirt's jobInfo",
         "pairs:Pairs", is_weak=True),
    Form("dirty-rate", "a measured dirty rate", "dirtyrate.megabytes_per_second=412",
         "virsh domstats --dirtyrate, QMP query-dirty-rate, info dirty_rate: no migration yet", "dirty_rate:DirtyRate",
         is_weak=True),
    Form("virsh-migrate", "virsh migrate --verbose", "Migration: [ 37 %]",
         "a percentage, Ganeti's too, shows when it ended, not why it does not converge",
         "progress:VirshProgress", is_weak=True, profile="libvirt"),
    Form("qemu-log", "libvirt's log of a QEMU", "initiating migration",
         "begin, end and error: shutting down, reason=migrated; load of migration failed", "qemu_log:QemuLog", is_weak=True),
)  # fmt: skip
PROFILES = {form.name: form.profile for form in FORMS}
COMMON_WORDS = (
    "igrat", "dirty", "xbzrle", "drive-", "mirror-", "error", "post-copy", "postcopy", "data remaining", "downtime", "mib",
    "timestamp", "uid", "abortstatus", "failurereason", "completed", "failed", "mode", "stuck for",
    "shutting down", "load", "unable to", "errmsg", "phase", "blocked", "miss_rate", "socket address", "vfio", " state",
    "_bytes", "memory bytes", "created_at", "updated_at", "server_uuid", "| running |", "| preparing |", "cpu_throttle_set",
    "paus", "memory transfer", "remaining", "transferred", "total", "duplicate", "normal", "mbps", "ram:", "event stop",
    "event resume", " left", "to go", "timeout", "autoconverge",
    "iterations", "[2, ", "[3, ", "(2, ", "(3, ", "memremaining",
)  # fmt: skip
"""Every line that a reader takes has one of these words, one of its form's, a field of libvirt, or the end of a label."""


@cache
def _words() -> tuple[str, ...]:
    from hostsim.logs.dirty_rate import MONITOR
    from hostsim.logs.info_migrate import LABELS
    from hostsim.logs.virsh import ALL_LABELS, FIELD_HINTS

    ends = {f"{word}:" for labels in (LABELS, ALL_LABELS, MONITOR) for word in labels.last_words}
    of_forms = {word for form in FORMS for word in form.words}
    return tuple(sorted({*COMMON_WORDS, *of_forms, *FIELD_HINTS, *ends}))


def is_worth_reading(text: str) -> bool:
    """Whether any reader could take the line ``text``: most lines of a daemon's log are not about a migration."""
    low = text.lower()
    return any(word in low for word in _words())


READ = "; ".join(f"{form.title} ({form.known_by})" for form in FORMS)
WANTED = f"a log in one of these forms: {READ}"
HELP = "A log of a migration: " + ", ".join(form.title for form in FORMS) + "; - is standard input."


def forms_table() -> list[str]:
    """The forms as lines of a Markdown table."""
    rows = [f"| {form.title} | `{form.known_by}` | {form.detail} |" for form in FORMS]
    return ["| form of log | recognized by lines such as | contents that are read |", "|---|---|---|", *rows]
