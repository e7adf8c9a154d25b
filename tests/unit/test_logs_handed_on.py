"""Logs in forms that scripts, dashboards and managers of their own make of a migration, and several guests in one log."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hostsim.logs.model import MigrationLog
from hostsim.logs.sniff import parse_logs
from hostsim.verdict import explain_log, render

MIB, GIB = 1 << 20, 1 << 30
SPEED_MIB = 250
PASS_S = 8
"""A guest of 2000 MiB; each later pass finds 500 MiB dirty again and takes 2 s."""
ANSWERS = 21


def left_mib(second: int) -> int:
    return 2000 - SPEED_MIB * second if second < PASS_S else 500 - SPEED_MIB * (second % 2)


def sent_mib(second: int) -> int:
    return SPEED_MIB * second


def at(second: int) -> str:
    return f"14:02:{second:02d}"


def lines(form: str) -> str:
    """A line each second. form: with the fields at, left, sent (MiB) and percent."""
    return "\n".join(
        form.format(at=at(n), left=left_mib(n), sent=sent_mib(n), gib=sent_mib(n) / 1024, percent=100 - left_mib(n) / 20,
                    bytes_left=left_mib(n) * MIB, bytes_sent=sent_mib(n) * MIB, ms=1000 * n, syncs=max(1, (n - 4) // 2))
        for n in range(1, ANSWERS)
    )  # fmt: skip


def one(text: str) -> MigrationLog:
    (log,) = parse_logs(text)
    return log


SENTENCES = (
    "[{at}] {left} MiB remaining, {gib:.4f} GiB transferred of 1.953125 GiB",
    "{at} transferred {gib:.4f} GiB, remaining {left} MiB, total 1.953125 GiB",
    "{at} copied {sent} MiB left {left} MiB",
    "{at} web01: {left} MiB left (250 MiB/s, 20% CPU throttled)",
)
OBJECTS = (
    '{{"time": "{at}", "remaining_mb": {left}, "transferred_mb": {sent}, "total_mb": 2000}}',
    '{{"Type": 2, "TimeElapsed": {ms}, "MemTotal": 2097152000, "MemProcessed": {bytes_sent}, "MemRemaining": {bytes_left}}}',
    '{{"ts": "2025-03-11T{at}Z", "status": "active", "ram_remaining": {bytes_left}, "ram_transferred": {bytes_sent}}}',
    '{{"time": "{at}", "job": {{"memory": {{"remaining": {bytes_left}, "processed": {bytes_sent}}}}}}}',
)


@pytest.mark.parametrize("form", [*SENTENCES, *OBJECTS])
def test_what_remains_and_the_speed_are_read(form: str) -> None:
    log = one(lines(form))
    verdict = explain_log(log)
    assert log.remaining_bytes[-1] == left_mib(ANSWERS - 1) * MIB
    assert verdict.numbers["bandwidth_bytes_per_s"] == pytest.approx(SPEED_MIB * MIB, rel=0.03)


def test_a_throttle_in_a_sentence() -> None:
    assert one(lines(SENTENCES[3])).throttle_percent[-1] == 20


JOB = (
    "Job type Unbounded Operation Outgoing migration Time elapsed {ms} ms Data processed {sent}.000 MiB "
    "Data remaining {left}.000 MiB Data total 1.953 GiB Iteration {syncs}"
)


def test_labels_of_virsh_without_colons_as_web_pages_show_them() -> None:
    log = one(lines(JOB))
    assert log.format == "domjobinfo"
    assert log.remaining_bytes[0] == left_mib(1) * MIB
    assert log.t_s[-1] == ANSWERS - 1


def test_a_column_for_each_guest_of_a_dashboard() -> None:
    head = 'Time,"web01 remaining","web01 processed","remaining db02"'
    text = "\n".join([head, *(f"{at(n)},{left_mib(n) * MIB},{sent_mib(n) * MIB},{(n % 3) * MIB}" for n in range(1, 9))])
    web, db = parse_logs(text)
    assert (web.tag, db.tag) == ("web01", "db02")
    assert web.transferred_bytes[-1] == sent_mib(8) * MIB
    np.testing.assert_array_equal(db.remaining_bytes, [n % 3 * MIB or np.nan for n in range(1, 9)])


def test_labels_of_a_series_name_its_guest() -> None:
    names = [f'kubevirt_vmi_migration_data_remaining_bytes{{name=""{guest}""}}' for guest in ("a", "b")]
    rows = [f"{at(n)},{left_mib(n) * MIB},{2 * left_mib(n) * MIB}" for n in range(1, 9)]
    first, second = parse_logs("\n".join([f'Time,"{names[0]}","{names[1]}"', *rows]))
    assert (first.tag, second.tag) == ("a", "b")
    np.testing.assert_array_equal(2 * first.remaining_bytes, second.remaining_bytes)


def test_a_table_of_a_web_page() -> None:
    rows = "\n".join(
        f"<tr><td>{at(n)}</td><td>{left_mib(n) * MIB}</td><td>{sent_mib(n) * MIB}</td></tr>" for n in range(1, 9)
    )
    log = one(f"<table><tr><th>time</th><th>remaining</th><th>transferred</th></tr>\n{rows}\n</table>")
    assert log.remaining_bytes[-1] == left_mib(8) * MIB


AGENT = "2025-03-11 {at},123 INFO  [resource.wrapper.LibvirtMigrateCommandWrapper] (AgentRequest-Handler-2:[]) (logid:ab) "
WAITS = AGENT + "Waiting for migration of i-2-25-VM to complete, waited {ms}ms"


def agent(message: str, second: int = ANSWERS) -> str:
    return AGENT.format(at=at(second)) + message


def test_the_time_out_of_cloudstack_and_its_bytes() -> None:
    end = agent(
        "Aborting migration of VM i-2-25-VM with domain job [org.libvirt.DomainJobInfo@1] due to timeout after 20 seconds. "
        f"Job stats: data processed={5000 * MIB} bytes, data remaining={500 * MIB} bytes"
    )
    cancelled = agent("Migration of VM [i-2-25-VM] was cancelled by CloudStack due to time out after 20 seconds.")
    text = "\n".join([lines(WAITS + ", progress: {percent:.0f}%"), end, cancelled])
    verdict = explain_log(one(text))
    said = render(verdict)
    assert verdict.numbers["sent_bytes"] == 5000 * MIB
    assert "timed out after 20 s" in said
    assert "the last time to 75 %" in said
    assert "2.1 Gbit/s on average" in said
    assert "524 MB left then take 2 s" in said


def test_a_migration_that_cloudstack_ends_by_a_pause() -> None:
    pauses = agent("Pausing VM i-2-25-VM due to property vm.migrate.pauseafter setting to 20000ms to complete migration", 20)
    done = agent("Migration thread of VM [i-2-25-VM] finished.", 23)
    verdict = explain_log(one("\n".join([lines(WAITS), pauses, done])))
    assert verdict.outcome == "completed"
    assert "the guest stood still for about 3 s" in verdict.headline


def test_a_failure_that_cloudstack_logs_after_its_thread_has_ended() -> None:
    text = "\n".join([
        lines(WAITS), agent("Migration thread of VM [i-2-25-VM] finished."),
        agent("Can't migrate domain [i-2-25-VM] due to: [unable to connect to server at '10.0.0.2:49152': refused]."),
    ])  # fmt: skip
    log = one(text)
    assert log.status[-1] == "failed"
    assert "unable to connect" in log.error_desc


def job(second: int) -> str:
    return (
        f"Job type:         Unbounded\nTime elapsed:     {1000 * second}         ms\n"
        f"Memory processed: {sent_mib(second)}.000 MiB\nMemory remaining: {left_mib(second)}.000 MiB\n"
        f"Memory total:     1.953 GiB\nIteration:        {max(1, (second - 4) // 2)}"
    )


JOBS = "\n\n".join(job(n) for n in range(1, ANSWERS))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("operation aborted: migration out job: canceled by client", "cancelled"),
        ("internal error: qemu unexpectedly closed the monitor", "failed"),
        ("operation failed: job 'migration out' unexpectedly failed", "failed"),
    ],
)
def test_the_error_of_virsh_migrate_in_the_same_terminal_is_the_end(error: str, status: str) -> None:
    log = one(f"{JOBS}\nerror: {error}\n")
    assert log.status[-1] == status
    assert log.error_desc.startswith(error.partition(":")[0])


def test_polls_after_the_end_do_not_undo_it() -> None:
    done = (
        "Job type:         Completed\nTime elapsed:     20500        ms\nMemory processed: 5.1 GiB\nTotal downtime:   90  ms"
    )
    log = one("\n\n".join([JOBS, done, *["Job type:         None"] * 3]))
    assert log.status[-1] == "completed"


def test_the_command_before_an_answer_names_its_guest() -> None:
    """Two guests of one size that are migrated alike: no counter tells them apart."""
    text = "\n".join(f"# virsh domjobinfo {guest}\n{job(n)}" for n in range(1, 9) for guest in ("web01", "db02"))
    assert [(log.tag, len(log)) for log in parse_logs(text)] == [("web01", 8), ("db02", 8)]


def smaller(second: int) -> str:
    return job(second).replace("1.953 GiB", "1.000 GiB").replace(f"{sent_mib(second)}.000", f"{sent_mib(second) // 9}.000")


@pytest.mark.parametrize("prefix", ["/var/log/{}.log:", "[pod/{}/compute] ", "{} \u203a compute "])
def test_lines_of_several_files_and_pods(prefix: str) -> None:
    text = "\n".join(
        prefix.format(guest) + line
        for n in range(1, 9) for guest, answer in (("web01", job(n)), ("db02", smaller(n))) for line in answer.split("\n")
    )  # fmt: skip
    logs = parse_logs(text)
    assert [len(log) for log in logs] == [8, 8]
    assert all(guest in log.tag for guest, log in zip(("web01", "db02"), logs, strict=True))


def test_names_before_figures_are_guests() -> None:
    text = "\n".join(
        f"{at(n)} {guest} remaining={left * MIB} transferred={sent * MIB}"
        for n in range(1, 9) for guest, left, sent in (("web01", left_mib(n), sent_mib(n)), ("db02", 900 - n, 30 * n))
    )  # fmt: skip
    assert [(log.tag, len(log)) for log in parse_logs(text)] == [("web01", 8), ("db02", 8)]


def test_the_end_of_a_launcher_is_of_its_own_guest() -> None:
    def line(guest: str, message: str, second: int) -> str:
        return json.dumps({"component": "virt-launcher", "level": "info", "msg": message, "name": guest, "namespace": "prod",
                           "timestamp": f"2025-03-11T{at(second)}.000000Z"})  # fmt: skip

    def info(uid: str, second: int) -> str:
        return (
            f"Migration info for {uid}: TimeElapsed:{1000 * second}ms DataProcessed:{sent_mib(second)}MiB "
            f"DataRemaining:{left_mib(second)}MiB DataTotal:2000MiB"
        )

    text = [line(guest, info(f"{guest}-uid", n), n) for n in range(1, 9) for guest in ("vma", "vmb")]
    vma, vmb = parse_logs("\n".join([*text, line("vma", "Migration has been completed", 9)]))
    assert (vma.status[-1], vmb.status[-1]) == ("completed", "active")


def test_bytes_sent_in_a_counter_of_32_bits() -> None:
    text = "\n".join(
        f"{at(n)} remaining={left_mib(n) * MIB} transferred={sent_mib(n) * MIB % (1 << 32)} total={2000 * MIB}"
        for n in range(1, 40)
    )
    log = one(text)
    assert log.transferred_bytes[-1] == sent_mib(39) * MIB
    assert "32 bits" in " ".join(log.notes)


def test_without_times_it_is_the_times_that_lack() -> None:
    text = "\n".join(f"remaining={left_mib(n) * MIB} transferred={sent_mib(n) * MIB} iteration={n}" for n in range(1, 9))
    assert "the log has no times" in explain_log(one(text)).headline


def test_falls_of_a_percentage_are_passes_over_the_memory() -> None:
    text = "\n".join(f"Migration: [{percent:3d} %]" for percent in (20, 60, 95, 80, 97, 82, 96))
    said = render(explain_log(one(text)))
    assert "fell back 2 times, the last time to 82 %" in said


def test_syncs_show_where_fewer_bytes_leave_than_are_sent() -> None:
    """As in Nova's log, which counts none: rounds of two answers, each of which finds 500 MiB dirty again."""
    log = one(lines("{at} remaining={bytes_left} transferred={bytes_sent} total=2097152000"))
    assert log.dirty_sync_count[PASS_S - 2] == 1
    assert log.dirty_sync_count[-1] == 1 + (ANSWERS - 1 - PASS_S) // 2 + 1
    assert "does not count bitmap syncs" in " ".join(log.notes)
    assert explain_log(log).outcome == "not converging"


def test_syncs_as_fast_as_answers_are_not_counted() -> None:
    form = "{} remaining={} transferred={} total=2097152000"
    text = "\n".join(form.format(at(n), (300 + n) * MIB, 250 * n * MIB) for n in range(1, 20))
    assert np.isnan(one(text).dirty_sync_count).all()


STATUS = """\
status:
  migrationState:
    abortStatus: Succeeded
    completed: true
    endTimestamp: "2025-03-11T10:12:44Z"
    failed: true
    migrationConfiguration:
      allowAutoConverge: false
      allowPostCopy: false
      completionTimeoutPerGiB: 150
      progressTimeout: 150
    startTimestamp: "2025-03-11T09:52:44Z"
"""


def test_the_limits_in_the_status_of_a_vmi_are_said() -> None:
    log = one(STATUS)
    assert log.status == ("cancelled",)
    said = render(explain_log(log))
    assert "150 s a GiB of memory for the whole migration (completionTimeoutPerGiB), 150 s without progress" in said
    assert "no post-copy (allowPostCopy is false), no auto-converge" in said
    state = {"migrationState": {"failed": True, "completed": True, "startTimestamp": "2025-03-11T09:52:44Z",
                                "migrationConfiguration": {"progressTimeout": 150}}}  # fmt: skip
    assert "150 s without progress" in render(explain_log(one(json.dumps({"metadata": {"name": "vm"}, "status": state}))))


def test_a_migration_that_a_metric_calls_failed_may_have_been_aborted() -> None:
    names = {"remaining": "bytes_left", "processed": "bytes_sent"}
    text = "\n".join(
        lines(f'kubevirt_vmi_migration_data_{name}_bytes{{{{name="a"}}}} {{{field}}} 17416843{{ms:05d}}')
        for name, field in names.items()
    )
    log = one(f'{text}\nkubevirt_vmi_migration_failed{{vmi="a"}} 1')
    assert log.status[-1] == "cancelled"
    assert "its time-out aborts as failed" in render(explain_log(log))


def test_a_failure_without_a_reason_is_not_said_to_have_one() -> None:
    failed = '{"return": {"status": "failed", "total-time": 20500}}'
    headline = explain_log(one(lines('{{"return": {{"status": "active", "total-time": {ms}}}}}') + f"\n{failed}")).headline
    assert "not a matter of convergence" not in headline
    assert "the log has no reason" in headline


@pytest.mark.parametrize("head", ["remaining_pages,transferred_pages,total_pages", "pages left,pages sent,total (pages)"])
def test_sizes_in_pages(head: str) -> None:
    rows = "\n".join(f"{at(n)},{left_mib(n) * 256},{sent_mib(n) * 256},512000" for n in range(1, ANSWERS))
    log = one(f"time,{head}\n{rows}")
    assert log.remaining_bytes[0] == left_mib(1) * MIB
    assert log.total_bytes[0] == 2000 * MIB
    assert explain_log(log).numbers["bandwidth_bytes_per_s"] == pytest.approx(SPEED_MIB * MIB)


def test_names_of_figures_and_states_are_no_files_and_services() -> None:
    named = "\n".join(f"ram.remaining: {left_mib(n) * MIB}\nram.transferred: {sent_mib(n) * MIB}" for n in range(1, ANSWERS))
    assert len(one(named)) == ANSWERS - 1
    rows = "\n".join(f"active | {at(n)} | {left_mib(n) * MIB} | {sent_mib(n) * MIB}" for n in range(1, ANSWERS))
    log = one(f"status | time | remaining | transferred\n{rows}")
    assert log.t_s[-1] == ANSWERS - 2
    assert log.transferred_bytes[-1] == sent_mib(ANSWERS - 1) * MIB
