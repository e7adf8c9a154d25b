"""Logs as operators have them, of every layer: what each verdict has to say, and what it must not."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.logs.figures import quantity
from hostsim.logs.model import MigrationLog
from hostsim.logs.sniff import parse_logs, read_logs
from hostsim.scenario import load_scenario
from hostsim.verdict import Verdict, explain_log, render
from hostsim.verdict.dirty_rate import scenario_lines

CASES = Path(__file__).parents[1] / "data" / "logs" / "cases"
MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Facts:
    """Of one migration: its outcome, numbers (within 2 %), words that must and must not stand in the text."""

    outcome: str
    numbers: dict[str, float] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    form: str = ""
    helps: tuple[str, ...] = ()
    is_sure: bool = True


END = {"elapsed_s": 24.8, "downtime_ms": 79, "sent_bytes": 9.1e9}
FLUID = {"elapsed_s": 150, "remaining_bytes": 356e6, "bandwidth_bytes_per_s": 117e6, "sent_bytes": 17.53e9}
"""One guest, 25 answers 5 s apart."""
SHOWN = {"elapsed_s": 295, "remaining_bytes": 537e6, "bandwidth_bytes_per_s": 117e6, "ram_bytes": 8 * GIB}
UNSURE = ("cannot tell", "too early")
FACTS: dict[str, tuple[Facts, ...]] = {
    "hmp-2-completed.txt": (
        Facts("completed", {"elapsed_s": 11.834, "downtime_ms": 18, "sent_bytes": 398.5e6, "ram_bytes": 1.628e9}),
    ),
    "dates-between-json.txt": (Facts("completed", END, form="query-migrate"),),
    "shell-before-json.txt": (Facts("completed", END),),
    "python-dicts.txt": (Facts("completed", END),),
    "hmp-without-status.txt": (
        Facts("not converging", {"remaining_bytes": 1.065e9, "threshold_bytes": 743e6, "bandwidth_bytes_per_s": 2.477e9},
              ("17x", "Floor"), ("no figures of RAM",), "info-migrate", ("downtime_limit", "bandwidth", "post_copy")),
    ),
    "two-migrations.jsonl": (
        Facts("completed", {"elapsed_s": 22.004, "downtime_ms": 30}),
        Facts("completed", {"elapsed_s": 23.166, "downtime_ms": 507}),
    ),
    "nova-timed-out.txt": (
        Facts("not converging", {"sent_bytes": 1.4639e12, "ram_bytes": 17.185e9, "bandwidth_bytes_per_s": 961e6 / 8,
                                 "timeout_s": 12800, "remaining_bytes": 831.1e6, "threshold_bytes": 6.01e6,
                                 "downtime_limit_ms": 50}, ("85x", "800 s"), UNSURE, "nova", ("downtime_limit",)),
    ),
    "proxmox-8-completed.txt": (
        Facts("completed", {"elapsed_s": 16, "downtime_ms": 59, "downtime_limit_ms": 100,
                            "average_bytes_per_s": 806.6 * MIB}, form="proxmox"),
    ),
    "one-domjobinfo.txt": (
        Facts("not converging", {"remaining_bytes": 26.287 * GIB, "dirty_bytes_per_s": 31340 * 4096, "stop_now_s": 264,
                                 "bandwidth_factor": 1.2}, ("first pass is over",), ("cannot tell",), helps=("bandwidth",),
              is_sure=False),
    ),
    "one-postcopy.txt": (
        Facts("would converge", {"remaining_bytes": 2.64e9, "left_s": 15.7}, ("no page is dirtied any more",), UNSURE),
    ),
    "nan.jsonl": (Facts("completed", {"elapsed_s": 33, "downtime_ms": 40}),),
    "rawstats.txt": (
        Facts("not converging", {"bandwidth_bytes_per_s": 796917760}, ("Floor",), UNSURE, "domjobinfo", ("downtime_limit",)),
    ),
    "backup-job.txt": (Facts("not a migration", {}, ("backup",), ("no progress", "post-copy", "no figures of RAM")),),
    "no-page-counts.jsonl": (
        Facts("not converging", {"bandwidth_bytes_per_s": 8e8, "sent_bytes": 21e9}, ("Floor",), ("no dirty rate", *UNSURE)),
    ),
    "zero-pages.jsonl": (
        Facts("too early to tell", {"first_pass_left_s": 8.6, "pages_per_s": 2488, "remaining_bytes": 87.65e6},
              ("zero",), ("64.4 min", "35.5 min", " min ")),
    ),
    "more-time.jsonl": (
        Facts("would converge", {"elapsed_s": 69.217}, ("do not cancel",), ("migrate_cancel", "suspend"), "", ("timeout",)),
    ),
    "domstats-dirtyrate.txt": (
        Facts("no migration yet", {"dirty_bytes_per_s": 412 * MIB, "dirty_bits_per_s": 3.456e9, "period_s": 1},
              ("dirty rate", "same pages"), ("cannot tell",), "dirty-rate"),
    ),
    "block-migration.jsonl": (
        Facts("would converge", {"disk_remaining_bytes": 191.9e9, "disk_total_bytes": 429.5e9, "disk_bytes_per_s": 1e8,
                                 "disk_left_s": 1919},
              ("disk", "RAM: the migration does not wait"), ("100 ms more",), "", ("timeout",)),
    ),
    "device-state.jsonl": (
        Facts("stopped in device state", {"stopped_s": 52, "remaining_bytes": 0}, ("stopped", "vfio"), UNSURE),
    ),
    "pre-switchover.txt": (Facts("stopped in device state", {"stopped_s": 12}, ("migrate-continue",)),),
    "nova-two-instances.txt": (
        Facts("completed", {"elapsed_s": 39.4, "ram_bytes": 4.3e9}, never=("3.5 GB sent",)),
        Facts("too early to tell", {"remaining_bytes": 2e9}),
    ),
    "proxmox-5-completed.txt": (Facts("completed", {"elapsed_s": 4, "downtime_ms": 7, "downtime_limit_ms": 100}),),
    "proxmox-8-stuck.txt": (
        Facts("not converging", {"sent_over_ram": 3.15, "downtime_limit_ms": 200}, ("1.47 Gbit/s",), UNSURE, "proxmox"),
    ),
    "proxmox-8-mirror.txt": (
        Facts("would converge", {"disk_remaining_bytes": 29.6 * GIB, "disk_bytes_per_s": 0.12 * GIB, "disk_left_s": 247}),
    ),
    "proxmox-8-failed.txt": (Facts("failed", {"elapsed_s": 11}, ("too many query migrate failures",)),),
    "virt-launcher-aborted.txt": (
        Facts("not converging", {"sent_bytes": 167181 * MIB, "ram_bytes": 24596 * MIB, "bandwidth_bytes_per_s": 314e6},
              ("6.8", "181 s"), UNSURE, "kubevirt", ("post_copy",)),
    ),
    "dict-over-prefixed-lines.txt": (Facts("completed", {"elapsed_s": 9.756, "downtime_ms": 8}, form="query-migrate"),),
    "json-over-dated-lines.txt": (Facts("completed", END, form="query-migrate"),),
    "hmp-10-seldom-asked.txt": (
        Facts("not converging", {"bandwidth_bytes_per_s": 33.55e6, "remaining_bytes": 298 * MIB}, (), UNSURE,
              "info-migrate", ("post_copy",)),
    ),
    "virt-launcher-other-unit.txt": (
        Facts("not converging", {"bandwidth_bytes_per_s": 128 * MIB, "remaining_bytes": 5004 * MIB}, ("151 s",),
              ("8.19 Gbit/s", *UNSURE), "kubevirt", ("downtime_limit", "post_copy")),
    ),
    "proxmox-7-mirror-running.txt": (
        Facts("would converge", {"disk_remaining_bytes": 89 * GIB, "disk_bytes_per_s": 11 * GIB / 102}, ("disks",),
              ("0 ms",)),
    ),
    "vmi-status.yaml": (Facts("cannot tell", {"elapsed_s": 1200}, ("cancelled", "20 min"), form="kubevirt"),),
    "libvirtd-debug.txt": (Facts("completed", {"elapsed_s": 20.6}, never=("4 GB sent",), form="query-migrate"),),
    "hmp-broken-counters.txt": (Facts("too early to tell", {"ram_bytes": 1049096 * 1024}, ("were not used",)),),
    "guestperf.json": (Facts("completed", {"elapsed_s": 9.1, "downtime_ms": 31, "sent_bytes": 1.1e9}, form="guestperf"),),
    "two-after-a-cancel.txt": (
        Facts("not converging", {"elapsed_s": 61, "remaining_bytes": 910000 * 1024}, ("cancelled",)),
        Facts("completed", {"elapsed_s": 36.2, "downtime_ms": 210}),
    ),
    "virsh-event.txt": (Facts("completed", {"elapsed_s": 20.1, "downtime_ms": 45}),),
    "incoming.txt": (Facts("cannot tell", said=("destination",)),),
    "nova-stuck.txt": (Facts("cannot tell", said=("150 s", "cancelled"), form="nova"),),
    "virt-launcher-wrapped.txt": (
        Facts("not converging", {"dirty_bytes_per_s": 328e6, "bandwidth_bytes_per_s": 304e6, "stop_now_s": 8.1},
              form="kubevirt", is_sure=False),
    ),
    "postcopy-paused.json": (Facts("undecided", said=("recover",), never=("no bytes were sent",)),),
    "failed.json": (Facts("failed", said=("Broken pipe",), never=("0 ms",)),),
    "nova-starlingx.txt": (Facts("too early to tell", {"remaining_bytes": 2446 * MIB, "ram_bytes": 4 * GIB}),),
    "backup-rawstats.txt": (Facts("not a migration", said=("backup",)),),
    "virsh-migrate-verbose.txt": (Facts("completed", form="virsh-migrate"),),
    "hmp-dirty-rate.txt": (Facts("no migration yet", {"dirty_bytes_per_s": 412 * MIB, "period_s": 1}),),
    "query-dirty-rate.json": (Facts("no migration yet", {"dirty_bytes_per_s": 108 * MIB, "period_s": 10}),),
    "domjobinfo-storage.txt": (Facts("would converge", {"disk_left_s": 340, "disk_remaining_bytes": 34 * GIB}),),
    "python-dicts-in-a-tree.txt": (Facts("completed", {"elapsed_s": 9.76, "downtime_ms": 8}, form="query-migrate"),),
    "pretty-behind-dates.txt": (Facts("completed", END),),
    "virt-launcher-wrong-unit.txt": (
        Facts("not converging", {"bandwidth_bytes_per_s": 128 * MIB, "remaining_bytes": 5004 * MIB}, ("floor", "151 s"),
              ("430 Gbit/s", "8.19"), "kubevirt", ("downtime_limit", "bandwidth"), is_sure=False),
    ),
    "hmp-10-two-answers.txt": (
        Facts("not converging", {"remaining_bytes": 298 * MIB, "dirty_bytes_per_s": 9022 * 4096},
              ("3 bitmap syncs", "floor"), ("no bitmap sync",), "info-migrate", ("bandwidth", "post_copy")),
    ),
    "virsh-migrate-cancelled.txt": (
        Facts("cannot tell", {"percent": 97}, ("cancelled", "98 %"), ("0 ms", "failed"), "virsh-migrate"),
    ),
    "vdsm.txt": (
        Facts("not converging", {"bandwidth_bytes_per_s": 262e6, "remaining_bytes": 991 * MIB, "ram_bytes": 16456 * MIB},
              ("floor", "16 bitmap syncs"), UNSURE, "vdsm", ("downtime_limit", "bandwidth", "post_copy")),
    ),
    "vdsm-aborted.txt": (Facts("not converging", {"downtime_limit_ms": 500}, ("cancelled", "client"), UNSURE, "vdsm"),),
    "vdsm-old.txt": (Facts("cannot tell", {"percent": 94}, ("cancelled", "150 s"), form="vdsm"),),
    "qmp-refused.txt": (Facts("failed", said=("did not start", "VirtFS", "GenericError")),),
    "empty-answer.json": (Facts("no migration yet", never=UNSURE),),
    "proxmox-mirror-untimed.txt": (Facts("would converge", {"disk_remaining_bytes": 89 * GIB}, never=("0 ms",)),),
    "docker-json.txt": (Facts("not converging", {"bandwidth_bytes_per_s": 125e6}, form="query-migrate"),),
    "wrapped-at-80.txt": (Facts("not converging", {"elapsed_s": 230, "bandwidth_bytes_per_s": 125e6}),),
    "colours-and-returns.txt": (Facts("not converging", {"elapsed_s": 230}),),
    "ansible.txt": (Facts("not converging", {"elapsed_s": 230}),),
    "head-cut-off.txt": (Facts("undecided", {"dirty_bytes_per_s": 30000 * 4096}, never=("after 0 ms",), is_sure=False),),
    "events-completed.txt": (Facts("completed", {"elapsed_s": 34.2, "downtime_ms": 100}),),
    "events-running.txt": (Facts("not converging", {"passes": 13, "iteration_s": 20}, ("20 s",), is_sure=False),),
    "qemu-log-migrated.txt": (Facts("completed", {"elapsed_s": 100.1}, form="qemu-log"),),
    "qemu-log-destination.txt": (Facts("failed", said=("virtio-net",), form="qemu-log"),),
    "libvirtd-error.txt": (Facts("failed", said=("unexpectedly failed",), never=("0 ms",)),),
    "destination.json": (Facts("cannot tell", said=("destination",)),),
    "colo.json": (Facts("not a migration", said=("COLO",), never=("post-copy",)),),
    "two-guests.txt": (
        Facts("not converging", {"bandwidth_bytes_per_s": 125e6}),
        Facts("not converging", {"bandwidth_bytes_per_s": 62.5e6}),
    ),
    "domjobinfo-each-minute.txt": (
        Facts("not converging", {"remaining_bytes": 2.6 * GIB, "bandwidth_bytes_per_s": 6.575 * GIB / 60},
              ("8 bitmap syncs",)),
    ),
    "domjobinfo-two-guests.txt": (
        Facts("too early to tell", {"elapsed_s": 41}), Facts("too early to tell", {"elapsed_s": 46}),
    ),
    "rawstats-completed.txt": (Facts("completed", {"elapsed_s": 97.3, "downtime_ms": 214}),),
    "domjobinfo-failed.txt": (Facts("failed", {"elapsed_s": 97.3}, ("Broken pipe",)),),
    "domjobinfo-postcopy.txt": (Facts("would converge", {"left_s": 17.3}, ("post-copy under way", "5521"), UNSURE),),
    "nothing-sent.txt": (Facts("too early to tell", said=("nothing has been sent",), never=("100 %", "0 ms")),),
    "hmp-1.1-no-times.txt": (Facts("cannot tell", said=("no times", "2.1 GB"), never=("no bytes were sent",)),),
    "hmp-blocked.txt": (Facts("failed", said=("VFIO migration is not supported",)),),
    "hmp-10-postcopy.txt": (Facts("would converge", {"remaining_bytes": 1.2 * GIB}, ("2211",), UNSURE),),
    "nova-postcopy.txt": (Facts("completed by post-copy", {"elapsed_s": 246}, never=(" 0 requested",)),),
    "proxmox-7-interrupted.txt": (Facts("too early to tell", said=("cancelled", "interrupted by signal")),),
    "proxmox-4-stuck.txt": (Facts("not converging", {"ram_bytes": 8594989056, "downtime_limit_ms": 100}, form="proxmox"),),
    "virt-launcher-timed-out.txt": (Facts("not converging", {"timeout_s": 180}, ("180 s",), UNSURE, is_sure=False),),
    "vmi-list.json": (Facts("completed", {"elapsed_s": 42}), Facts("cannot tell", said=("active",))),
    "vmim-phases.yaml": (Facts("cannot tell", said=("active",)),),
    "vmi-described.txt": (Facts("completed", {"elapsed_s": 102}),),
    "parameters-beside.txt": (Facts("not converging", {"threshold_bytes": 67.1e6}, ("500 ms",), is_sure=False),),
    "hmp-in-qmp.jsonl": (Facts("not converging", FLUID, ("1.1 GB",), UNSURE, "info-migrate"),),
    "loki-virt-launcher.json": (Facts("not converging", FLUID, ("1.1 GB",), UNSURE, "kubevirt"),),
    "job-stats-dicts.txt": (Facts("not converging", FLUID, ("1.1 GB",), UNSURE, "domjobinfo"),),
    "elastic-nova.json": (
        Facts("not converging", {"elapsed_s": 275, "sent_bytes": 32.2e9, "bandwidth_bytes_per_s": 117e6}, form="nova"),
    ),
    "proxmox-api.json": (Facts("completed", {"elapsed_s": 36, "downtime_ms": 87}, form="proxmox"),),
    "nova-migration-show.txt": (Facts("not converging", SHOWN, form="nova-api"),),
    "nova-migration-show.json": (Facts("not converging", SHOWN, form="nova-api"),),
    "nova-migration-list.txt": (
        Facts("not converging", {"elapsed_s": 280, "sent_bytes": 32.7e9, "remaining_bytes": 148.5e6}, form="nova-api"),
    ),
    "trace-cancelled.txt": (
        Facts("not converging", {"elapsed_s": 16, "sent_bytes": 537e6, "ram_bytes": 209.7e6, "downtime_limit_ms": 300,
                                 "bandwidth_bytes_per_s": 33.55e6}, ("49.2 MB",), UNSURE, "trace"),
    ),
    "trace-simpletrace.txt": (Facts("completed", {"elapsed_s": 4.4, "sent_bytes": 553.6e6}, ("41 MB",), form="trace"),),
    "proxmox-8-cancelled.txt": (
        Facts("not converging", {"downtime_limit_ms": 200, "sent_over_ram": 4.05}, ("cancelled", "up to", "qm monitor"),
              ("Reason", "migrate_set_capability", "virsh"), "proxmox"),
    ),
    "proxmox-8-reason.txt": (Facts("failed", {"elapsed_s": 20}, ("Broken pipe",)),),
    "proxmox-limit-at-the-end.txt": (Facts("not converging", {"downtime_limit_ms": 3200}, ("3.2 s",), ("300 ms",)),),
    "nova-forced.txt": (
        Facts("completed", {"elapsed_s": 311, "stopped_s": 9.9, "timeout_s": 300}, ("forced", "300 s", "not converged"),
              ("completed (converged)",), "nova"),
    ),
    "nova-failure-alone.txt": (Facts("failed", said=("No route to host",), form="nova"),),
    "virt-launcher-paused.txt": (
        Facts("would converge", {"remaining_bytes": 500 * MIB, "stopped_s": 5, "left_s": 4.48}, ("paused", "downtime")),
    ),
    "virt-launcher-forced.txt": (
        Facts("completed", {"elapsed_s": 309.8, "stopped_s": 9.8}, ("forced",), ("downtime 33 ms",), "kubevirt"),
    ),
    "virt-launcher-budget.txt": (
        Facts("not converging", {"downtime_limit_ms": 5000, "threshold_bytes": 585e6}, ("9000ms exceeds", "cancelled")),
    ),
    "virt-launcher-reason.txt": (Facts("failed", said=("guest CPU",), form="kubevirt"),),
    "throttled-in-vain.json": (
        Facts("not converging", {"remaining_bytes": 931e6}, ("99 %", "in vain"), ("migrate_set_capability auto-converge",)),
    ),
    "wait-unplug.jsonl": (Facts("too early to tell", {"waited_s": 30}, ("failover", "nothing has been sent")),),
    "postcopy-failed.jsonl": (
        Facts("lost in post-copy", {"elapsed_s": 65}, ("Connection reset", "neither host"), ("not a matter",)),
    ),
    "remaining-alone.txt": (
        Facts("not converging", {"elapsed_s": 295, "remaining_bytes": 1.024e9, "bandwidth_bytes_per_s": 117e6},
              ("shows only the remaining memory", "1.07 GB"), UNSURE, "info-migrate"),
    ),
    "remaining-without-times.txt": (Facts("cannot tell", said=("no times", "356 MB"), never=("no figures",)),),
    "curved-quotes.txt": (Facts("not converging", FLUID, form="query-migrate"),),
    "html-entities.txt": (Facts("not converging", FLUID, form="query-migrate"),),
    "hmp-thousands.txt": (Facts("not converging", FLUID, form="info-migrate"),),
    "hmp-on-one-line.txt": (Facts("not converging", FLUID, form="info-migrate"),),
    "domjobinfo-on-one-line.txt": (Facts("not converging", FLUID, form="domjobinfo"),),
    "jq-ram.txt": (Facts("not converging", FLUID | {"elapsed_s": 100}, form="query-migrate"),),
    "jq-flat.txt": (Facts("not converging", FLUID | {"elapsed_s": 100}, form="query-migrate"),),
    "ganeti.txt": (Facts("completed", {"elapsed_s": 17}, form="virsh-migrate"),),
    "two-guests-under-headings.txt": (
        Facts("not converging", FLUID, form="info-migrate"),
        Facts("completed", {"elapsed_s": 85.8, "downtime_ms": 281}, form="info-migrate"),
    ),
    "dirty-limit.txt": (
        Facts("not converging", FLUID, ("sleep for up to 123 ms", "66.8 %", "refuses both"), ("max-cpu-throttle",)),
    ),
    "dirty-limit.json": (Facts("not converging", {"remaining_bytes": 931e6}, ("refuses both",), ("slows a guest",)),),
    "domjobinfo-then-none.txt": (
        Facts("cannot tell", {"elapsed_s": 85}, ("how it ended", "cancelled or failed", "--completed"), ("do not cancel",)),
    ),
    "domjobinfo-then-gone.txt": (
        Facts("not converging", FLUID, ("ended unseen", "runs on the source no more"), ("still active",), "domjobinfo"),
    ),
    "hmp-markdown-table.txt": (Facts("not converging", FLUID, form="info-migrate"),),
    "hmp-with-commas.txt": (Facts("not converging", FLUID, form="info-migrate"),),
}  # fmt: skip


@cache
def judged(name: str) -> list[tuple[MigrationLog, Verdict]]:
    return [(log, explain_log(log)) for log in read_logs(str(CASES / name))]


def test_every_log_has_its_facts() -> None:
    assert sorted(FACTS) == sorted(path.name for path in CASES.iterdir())


@pytest.mark.parametrize("name", FACTS)
def test_the_outcome_and_the_numbers(name: str) -> None:
    found = judged(name)
    assert [verdict.outcome for _, verdict in found] == [facts.outcome for facts in FACTS[name]]
    for (log, verdict), facts in zip(found, FACTS[name], strict=True):
        assert {key: verdict.numbers.get(key) for key in facts.numbers} == pytest.approx(facts.numbers, rel=0.02)
        assert log.format == (facts.form or log.format)
        assert all(verdict.remedy(kind) and verdict.remedy(kind).helps for kind in facts.helps)
        assert facts.is_sure or verdict.confidence.level == "low"


@pytest.mark.parametrize("name", FACTS)
def test_what_is_said_and_what_is_not(name: str) -> None:
    for (_, verdict), facts in zip(judged(name), FACTS[name], strict=True):
        text = render(verdict)
        assert len(text.splitlines()) <= 8
        assert [word for word in facts.said if word.lower() not in text.lower()] == []
        assert [word for word in facts.never if word in text] == []


@pytest.mark.parametrize("name", FACTS)
def test_values_are_said_to_be_unconfirmed(name: str) -> None:
    for _, verdict in judged(name):
        advises = any(remedy.helps and remedy.value is not None for remedy in verdict.remedies)
        assert ("no run has confirmed" in render(verdict)) == (advises and verdict.outcome != "no migration yet")


@pytest.mark.parametrize("profile", ["qemu", "libvirt", "nova", "kubevirt", "proxmox"])
def test_no_profile_waits_with_a_command_that_ends(profile: str) -> None:
    (log,) = read_logs(str(CASES / "more-time.jsonl"))
    command = explain_log(log, profile=profile).remedy("timeout").command
    assert not {"cancel", "suspend", "abort", "GIB"} & set(command.replace("--", " ").replace("_", " ").split())


def test_the_scenario_of_a_dirty_rate_is_one(tmp_path: Path) -> None:
    (log,) = read_logs(str(CASES / "domstats-dirtyrate.txt"))
    path = tmp_path / "measured.toml"
    path.write_text("\n".join(scenario_lines(log, 1.25e9)))
    (workload,) = load_scenario(path).vm.workload
    assert workload.size == 412 * MIB


REFUSED = {
    "xc: progress: Saving memory: iter 0 (last sent 0 skipped 0): 52736/1048832    5%": "a log of Xen",
    "cloud-hypervisor: 12.4s: <vmm> INFO:vmm/src/lib.rs:931 -- Dirty memory migration 0 of 5": "Cloud Hypervisor",
    "2024-03-05T10:00:01Z info vmx[1001] MigrateSetState: Transitioning from state 0 to 1.": "vMotion",
    "Block Copy: [ 37.52 %]": "copy of a disk",
    '{"return": [{"status": "running", "type": "snapshot-save", "id": "snap0"}]}': "a snapshot",
    "2024-03-05 10:00:00 copying local disk images": "migration of disks",
    "error: Requested operation is not valid: domain is not running": "an error of virsh",
    "[  5]   0.00-1.00   sec   112 MBytes   941 Mbits/sec    0": "iperf",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_no_log_of_qemu_is_refused_by_its_name(line: str) -> None:
    with pytest.raises(InputError, match=REFUSED[line]):
        parse_logs(f"some line\n{line}\n")


def test_commands_are_those_of_the_layer_that_wrote_the_log() -> None:
    (log,) = read_logs(str(CASES / "nova-timed-out.txt"))
    assert "nova.conf" in explain_log(log).remedy("downtime_limit").command
    assert "migrate_set_parameter" in explain_log(log, profile="qemu").remedy("downtime_limit").command


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [("1,234.5", "plain", 1234.5), ("1.234,5 KiB", "bytes", 1234.5 * 1024), ("1,234 GiB", "bytes", 1.234 * GIB),
     ("755,868 kbytes", "bytes", 755868 * 1024), ("1,048,576", "plain", 1048576), ("480,01 mbps", "mbps", 480.01)],
)
def test_figures_with_signs_between_thousands(text: str, kind: str, value: float) -> None:
    assert quantity(text, kind) == pytest.approx(value)


def test_a_link_that_is_told_is_compared() -> None:
    (log,) = read_logs(str(CASES / "domstats-dirtyrate.txt"))
    assert "1 Gbit/s, is slower" in render(explain_log(log, link_bandwidth_bytes_per_s=1.25e8))
    assert "10 Gbit/s, is faster" in render(explain_log(log, link_bandwidth_bytes_per_s=1.25e9))
