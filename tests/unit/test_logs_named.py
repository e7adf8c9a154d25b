"""Figures that exporters, tables and scripts write by names of their own: one migration in each form reads alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.fitting.inputs import is_curve
from hostsim.logs.figures import quantity, written
from hostsim.logs.model import MigrationLog
from hostsim.logs.named import figure_named
from hostsim.logs.sniff import parse_logs
from hostsim.verdict import explain_log, render
from tests.unit.test_logs_disorder import MIB, RATE, answers

START = datetime(2025, 3, 11, 9, 12, 44, tzinfo=UTC)
Answer = dict[str, Any]
ANSWERS: list[Answer] = list(answers())
KUBEVIRT = {"data_processed_bytes": "transferred", "data_remaining_bytes": "remaining", "data_total_bytes": "total"}
LIBVIRT = {"memory_processed_bytes": "transferred", "memory_remaining_bytes": "remaining", "memory_total_bytes": "total"}
QMP = ("transferred", "remaining", "total", "normal", "duplicate", "dirty-sync-count", "dirty-pages-rate", "mbps")


def at(i: int) -> datetime:
    return START + timedelta(seconds=i)


def epoch_ms(i: int) -> int:
    return round(at(i).timestamp() * 1000)


def exposition(some: Sequence[Answer], prefix: str, names: dict[str, str], *, times: bool) -> str:
    """Scrapes of an exporter, one after the other."""
    return "\n".join(
        f'# TYPE {prefix}{name} gauge\n{prefix}{name}{{name="vm-a"}} {float(one["ram"][key])}{f" {epoch_ms(i)}" * times}'
        for i, one in enumerate(some)
        for name, key in names.items()
    )


def query_range(some: Sequence[Answer]) -> str:
    result = [
        {"metric": {"__name__": f"kubevirt_vmi_migration_{name}", "name": "vm-a"},
         "values": [[epoch_ms(i) / 1000, str(one["ram"][key])] for i, one in enumerate(some)]}
        for name, key in KUBEVIRT.items()
    ]  # fmt: skip
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def table(some: Sequence[Answer], separator: str) -> str:
    rows = [[f"{at(i):%Y-%m-%d %H:%M:%S}", "active", *(str(ram[key]) for key in QMP)] for i, ram in _rams(some)]
    return "\n".join(separator.join(row) for row in [["time", "status", *QMP], *rows])


def grafana(some: Sequence[Answer]) -> str:
    """Series joined by time, as a panel is downloaded, with units in the cells."""
    head = '"Time","remaining {name=""vm-a""}","processed","total"'
    rows = (f"{at(i):%Y-%m-%d %H:%M:%S},{r['remaining']} B,{r['transferred']},{r['total']}" for i, r in _rams(some))
    return "\n".join([head, *rows])


def series_by_row(some: Sequence[Answer]) -> str:
    rows = (
        f'"kubevirt_vmi_migration_{name}";{at(i).isoformat()};{ram[key]}'
        for name, key in KUBEVIRT.items()
        for i, ram in _rams(some)
    )
    return "\n".join(['"Series";"Time";"Value"', *rows])


def logfmt(some: Sequence[Answer]) -> str:
    return "\n".join(
        f"{at(i):%H:%M:%S} migwatch vm=a remaining={r['remaining']} transferred={r['transferred']} total={r['total']}"
        for i, r in _rams(some)
    )


def influx(some: Sequence[Answer]) -> str:
    return "\n".join(
        f"migration,domain=a remaining={r['remaining']}i,transferred={r['transferred']}i,total={r['total']}i "
        f"{epoch_ms(i)}000000"
        for i, r in _rams(some)
    )


def go_struct(some: Sequence[Answer]) -> str:
    return "\n".join(
        f"{at(i):%Y/%m/%d %H:%M:%S} stats: &{{Type:2 MemTotalSet:true MemTotal:{r['total']} MemProcessed:{r['transferred']} "
        f"MemRemaining:{r['remaining']} MemIteration:{r['dirty-sync-count']}}}"
        for i, r in _rams(some)
    )


def job_info(some: Sequence[Answer]) -> str:
    """Python's dom.jobInfo()."""
    return "\n".join(
        str([2, one["total-time"], 0, *[one["ram"][key] for key in ("total", "transferred", "remaining")] * 2, 0, 0, 0])
        for one in some
    )


def yaml(some: Sequence[Answer]) -> str:
    return "\n".join(
        f"return:\n  status: active\n  total-time: {one['total-time']}\n  ram:\n"
        + "\n".join(f"    {key}: {value}" for key, value in one["ram"].items())
        for one in some
    )


def _rams(some: Sequence[Answer]) -> list[tuple[int, Answer]]:
    return [(i, one["ram"]) for i, one in enumerate(some)]


FORMS: dict[str, tuple[str, Callable[[Sequence[Answer]], str]]] = {
    "KubeVirt's exporter": ("kubevirt-metrics", lambda a: exposition(a, "kubevirt_vmi_migration_", KUBEVIRT, times=True)),
    "an exporter of libvirt": ("libvirt-metrics", lambda a: exposition(a, "libvirt_domain_job_info_", LIBVIRT, times=True)),
    "query_range": ("kubevirt-metrics", query_range),
    "CSV": ("figures", lambda a: table(a, ",")),
    "CSV with semicolons": ("figures", lambda a: table(a, ";")),
    "TSV": ("figures", lambda a: table(a, "\t")),
    "Grafana": ("figures", grafana),
    "series by row": ("figures", series_by_row),
    "logfmt": ("figures", logfmt),
    "InfluxDB": ("figures", influx),
    "Go": ("figures", go_struct),
    "jobInfo": ("figures", job_info),
    "YAML": ("figures", yaml),
}


@pytest.fixture(scope="module")
def straight() -> MigrationLog:
    (log,) = parse_logs("\n".join(json.dumps({"return": one}) for one in ANSWERS))
    return log


@pytest.mark.parametrize("name", FORMS)
def test_one_migration_reads_alike_in_each_form(name: str, straight: MigrationLog) -> None:
    form, written = FORMS[name]
    (log,) = parse_logs(written(ANSWERS))
    assert log.format == form
    for column in ("transferred_bytes", "remaining_bytes", "total_bytes"):
        np.testing.assert_allclose(getattr(log, column), getattr(straight, column), rtol=1e-8)
    np.testing.assert_allclose(np.diff(log.t_s), np.diff(straight.t_s), atol=0.01)


@pytest.mark.parametrize("name", FORMS)
def test_each_form_has_the_verdict_of_query_migrate(name: str, straight: MigrationLog) -> None:
    (log,) = parse_logs(FORMS[name][1](ANSWERS))
    verdict = explain_log(log)
    assert verdict.outcome == explain_log(straight).outcome
    assert verdict.numbers["bandwidth_bytes_per_s"] == pytest.approx(RATE, rel=0.2)


@pytest.mark.parametrize("name", ["CSV", "YAML"])
def test_tables_keep_the_syncs_and_pages(name: str, straight: MigrationLog) -> None:
    (log,) = parse_logs(FORMS[name][1](ANSWERS))
    for column in ("dirty_sync_count", "normal_pages", "zero_pages", "mbps", "dirty_pages_rate_per_s"):
        np.testing.assert_array_equal(getattr(log, column), getattr(straight, column))


def test_a_scrape_without_times_begins_where_a_figure_comes_again(straight: MigrationLog) -> None:
    (log,) = parse_logs(exposition(ANSWERS, "kubevirt_vmi_migration_", KUBEVIRT, times=False))
    np.testing.assert_allclose(log.remaining_bytes, straight.remaining_bytes, rtol=1e-8)


def test_an_exporter_shows_zeros_before_and_after_a_job() -> None:
    idle: Answer = {"ram": dict.fromkeys(("transferred", "remaining", "total"), 0)}
    (log,) = parse_logs(exposition([idle, *ANSWERS[:9], idle], "libvirt_domain_job_info_", LIBVIRT, times=True))
    assert log.status[-1] == "none"
    assert explain_log(log).outcome == "cannot tell"


def test_nothing_left_of_bytes_sent_is_the_end() -> None:
    end: Answer = {"ram": {**ANSWERS[-1]["ram"], "remaining": 0}}
    (log,) = parse_logs(exposition([*ANSWERS, end], "kubevirt_vmi_migration_", KUBEVIRT, times=True))
    assert explain_log(log).outcome == "completed"


NAMES = {
    "ram.remaining": ("remaining_bytes", 1), "MemRemaining": ("remaining_bytes", 1),
    "remaining (MiB)": ("remaining_bytes", 1 << 20),
    "kubevirt_vmi_migration_dirty_memory_rate_bytes": ("dirty_pages_rate_per_s", 1 / 4096), "memory_bps": ("mbps", 8e-6),
    "kubevirt_vmi_migration_memory_transfer_rate_bytes": ("mbps", 8e-6), "elapsed_s": ("total_time_ms", 1000),
    "libvirt_domain_job_info_file_remaining_bytes": ("disk_remaining_bytes", 1), "dirty-sync-count": ("dirty_sync_count", 1),
    "normal-bytes": ("normal_bytes", 1), "normal": ("normal_pages", 1), "TimeElapsed": ("total_time_ms", 1),
}  # fmt: skip
NO_NAMES = (
    "libvirt_domain_job_info_time_remaining_seconds", "node_memory_MemTotal_bytes", "kubevirt_vmi_memory_used_bytes",
    "elapsed", "kubevirt_vmi_migration_start_time_seconds", "downtime-bytes", "pages-per-second", "page-size", "bytes",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_figures_are_known_with_their_units(name: str) -> None:
    found = figure_named(name)
    assert found is not None
    assert (found.column, found.factor) == (NAMES[name][0], pytest.approx(NAMES[name][1]))


@pytest.mark.parametrize("name", NO_NAMES)
def test_other_names_are_none(name: str) -> None:
    assert figure_named(name) is None


@pytest.mark.parametrize("text", ["disk remaining=10 used=20\n", "a,b\n1,2\n", "job left: 5\ntotal: 9\n", "[2, 3, 4]\n"])
def test_figures_of_other_programs_are_no_migration(text: str) -> None:
    with pytest.raises(InputError, match="no answer about a migration"):
        parse_logs(text)


def virsh_event(i: int, name: str, data: str, *, stamped: bool) -> str:
    if stamped:
        return f"{at(i):%Y-%m-%d %H:%M:%S}.250+0000: event {name} for domain 'vm1': {data}"
    return f"event {name} at {at(i).timestamp():.6f} for domain 'vm1': {data}"


@pytest.mark.parametrize("stamped", [True, False])
def test_events_that_virsh_shows_are_read(stamped: bool) -> None:
    passes = [virsh_event(20 * n, "MIGRATION_PASS", json.dumps({"pass": n}), stamped=stamped) for n in range(1, 9)]
    begin = virsh_event(19, "MIGRATION", '{"status":"active"}', stamped=stamped)
    (log,) = parse_logs("\n".join([begin, *passes]))
    assert log.dirty_sync_count[-1] == 8
    assert explain_log(log).outcome == "not converging"


@pytest.mark.parametrize("digits", [10, 13, 16, 19])
@pytest.mark.parametrize("inside", [True, False])
def test_times_since_1970_are_read_in_any_unit(digits: int, inside: bool, straight: MigrationLog) -> None:
    lines = []
    for i, one in enumerate(ANSWERS):
        told = {key: value for key, value in one.items() if key != "total-time"}
        stamp = int(at(i).timestamp()) * 10 ** (digits - 10)
        lines.append(json.dumps({"ts": stamp, **told}) if inside else f"{stamp} {json.dumps(told)}")
    (log,) = parse_logs("\n".join(lines))
    np.testing.assert_allclose(np.diff(log.t_s), np.diff(straight.t_s), atol=1e-3)


INSTANCE = "[instance: 5c1e9c0f]"
TIMED_OUT = f"""\
{{progress}}
2025-03-11 09:20:00.001 7 WARNING nova {INSTANCE} Live migration not completed after 400 sec
2025-03-11 09:20:00.301 7 WARNING nova {INSTANCE} Migration operation was cancelled
2025-03-11 09:20:00.402 7 ERROR nova {INSTANCE} Live Migration failure: operation aborted: migration out: canceled by client
"""


def test_the_error_of_a_migration_that_nova_cancelled_is_no_failure() -> None:
    progress = "\n".join(
        f"2025-03-11 09:{13 + i}:00.001 7 INFO nova {INSTANCE} Migration running for {60 * i} secs, memory 20% remaining "
        f"(bytes processed={i * 7 * 10**9}, remaining=400000000, total=2000000000)"
        for i in range(1, 7)
    )
    (log,) = parse_logs(TIMED_OUT.format(progress=progress))
    verdict = explain_log(log)
    assert verdict.outcome == "not converging"
    assert "time-out of 400 s" in render(verdict)


def test_proxmox_lines_without_times_are_judged_by_their_speed() -> None:
    lines = "\n".join(
        f"migration active, transferred {4 * i}.0 GiB of 8.0 GiB VM-state, 113.9 MiB/s, "
        "VM dirties lots of memory: 200.0 MiB/s"
        for i in range(1, 12)
    )
    (log,) = parse_logs(lines)
    verdict = explain_log(log)
    assert verdict.outcome == "not converging"
    assert verdict.numbers["bandwidth_bytes_per_s"] == pytest.approx(113.9 * (1 << 20), rel=0.01)


def test_bytes_that_a_log_does_not_tell_are_no_number() -> None:
    """Rounds before the end tell the curve, and the last line of vdsm tells no bytes."""
    head = "2025-03-11 09:1{m}:{s:02d},000+0000 INFO  (migmon/8f5b) [virt.vm] (vmId='8f5b')"
    lines = [
        f"{head.format(m=i // 6, s=10 * (i % 6))} Migration Progress: {10 * (i + 1)} seconds elapsed, "
        f"90% of data processed, total data: 2048MB, processed data: {1190 * (i + 1)}MB, "
        f"remaining data: {200 + 30 * (i % 2)}MB, "
        f"transfer speed 119MBps, zero pages: 0MB, compressed: 0MB, dirty rate: 20000, memory iteration: {3 * i + 1}"
        for i in range(8)
    ]
    end = f"{head.format(m=2, s=0)} migration took 90 seconds to complete (migration:526)"
    (log,) = parse_logs("\n".join([*lines, end]))
    verdict = explain_log(log)
    assert verdict.outcome == "completed"
    assert "sent_bytes" not in verdict.numbers


DATES: dict[str, Callable[[datetime], str]] = {
    "date in German": lambda t: f"Di 11. M\u00e4r {t:%H:%M:%S} CET 2025\n",
    "a German sentence": lambda t: f"Dienstag, 11. M\u00e4rz 2025, {t:%H:%M:%S} Uhr MEZ\n",
    "date in French": lambda t: f"mar. 11 mars 2025 {t:%H:%M:%S} CET\n",
    "day first": lambda t: f"{t:%d.%m.%Y %H:%M:%S} ",
    "slashes": lambda t: f"{t:%Y/%m/%d %H:%M:%S} ",
    "a web server": lambda t: f"[{t:%d/%b/%Y:%H:%M:%S} +0000] ",
    "klog": lambda t: f"I{t:%m%d %H:%M:%S.%f}       1 poll.go:44] ",
    "no signs": lambda t: f"{t:%Y%m%dT%H%M%S}Z ",
    "seconds since boot": lambda t: f"[{t.timestamp() - START.timestamp() + 812.25:12.6f}] ",
    "RFC 5424": lambda t: f"<14>1 {t:%Y-%m-%dT%H:%M:%S.%f}Z kvm7 poll 4471 - - ",
}  # fmt: skip


@pytest.mark.parametrize("name", DATES)
def test_times_in_any_form_are_read(name: str, straight: MigrationLog) -> None:
    lines = [
        DATES[name](at(i)) + json.dumps({"return": {key: value for key, value in one.items() if key != "total-time"}})
        for i, one in enumerate(ANSWERS)
    ]
    (log,) = parse_logs("\n".join(lines))
    np.testing.assert_allclose(np.diff(log.t_s), np.diff(straight.t_s), atol=1e-3)


def test_a_duration_is_no_time_of_day() -> None:
    (log,) = parse_logs("migration active, transferred 1.0 GiB of 8.0 GiB VM-state, 1.0 GiB/s\nended (duration 00:10:20)\n")
    assert np.isnan(log.stamp_s).all()


@pytest.mark.parametrize("number", [False, True])
def test_tables_with_spaces_between_their_columns_are_read(number: bool, straight: MigrationLog) -> None:
    """As gnuplot reads them, and as pandas prints them, with the number of each row before it."""
    rows = [
        f"{f'{i} ' * number}{i + 1} {r['remaining'] / MIB:.6f}   {r['transferred'] / MIB:.6f} {r['total'] >> 20}"
        for i, r in _rams(ANSWERS)
    ]
    (log,) = parse_logs("\n".join([f"{'#' * (not number)} t_s remaining_mib transferred_mib total_mib", *rows]))
    np.testing.assert_allclose(log.remaining_bytes, straight.remaining_bytes, atol=2)
    np.testing.assert_allclose(np.diff(log.t_s), np.diff(straight.t_s))


def test_guests_that_are_migrated_at_once_are_told_apart_by_the_names_before_their_answers() -> None:
    """One loop polls both, so that QEMU's clocks agree: bytes and syncs do not."""
    other = list(answers(written_pages=20_000, n=len(ANSWERS)))
    for one in other:
        one["ram"]["transferred"] = round(0.9 * one["ram"]["transferred"])
    lines = [f"{name} {json.dumps({'return': one})}" for pair in zip(ANSWERS, other, strict=True)
             for name, one in zip(("vm1", "vm2"), pair, strict=True)]  # fmt: skip
    logs = parse_logs("\n".join(lines))
    assert [log.tag for log in logs] == ["vm1", "vm2"]
    assert [len(log) for log in logs] == [len(ANSWERS)] * 2


def test_a_log_in_csv_is_fitted_as_a_log_and_no_dirty_curve(tmp_path: Path) -> None:
    log, curve = tmp_path / "job.csv", tmp_path / "curve.csv"
    log.write_text(table(ANSWERS, ","))
    curve.write_text("seconds,pages\n1,1000\n2,1800\n")
    assert not is_curve(str(log))
    assert is_curve(str(curve))
    assert is_curve(str(tmp_path / "missing.csv"))


def script(some: Sequence[Answer]) -> str:
    return "\n".join(
        f"{at(i):%H:%M:%S} transferred: {r['transferred'] / MIB:.4f} MiB, remaining: {r['remaining'] / MIB:.4f} MiB, "
        f"total: {r['total'] >> 30}.00 GiB"
        for i, r in _rams(some)
    )


def test_figures_with_units_behind_colons_are_read(straight: MigrationLog) -> None:
    (log,) = parse_logs(script(ANSWERS))
    np.testing.assert_allclose(log.remaining_bytes, straight.remaining_bytes, atol=100)


def test_named_figures_of_a_backup_are_no_migration() -> None:
    with pytest.raises(InputError, match="a log of a backup"):
        parse_logs("INFO: starting new backup job: vzdump 104\n" + script(ANSWERS))


def test_a_column_of_times_needs_no_name(straight: MigrationLog) -> None:
    (log,) = parse_logs(table(ANSWERS, ";").replace("time;", "Zeitpunkt;", 1))
    np.testing.assert_allclose(np.diff(log.t_s), np.diff(straight.t_s))


def test_memory_that_no_figure_tells_is_that_of_the_first_answer() -> None:
    """Exporters of KubeVirt before 1.3 have no total."""
    names = {name: key for name, key in KUBEVIRT.items() if key != "total"}
    (log,) = parse_logs(exposition(ANSWERS, "kubevirt_vmi_migration_", names, times=True))
    first = log.remaining_bytes[0] + log.transferred_bytes[0]
    np.testing.assert_array_equal(log.total_bytes, first)
    assert "no size of memory" in " ".join(log.notes)
    assert explain_log(log).outcome == "not converging"
    (late,) = parse_logs(exposition(ANSWERS[25:], "kubevirt_vmi_migration_", names, times=True))
    assert np.isnan(late.total_bytes).all()


def test_levels_of_a_logger_are_no_guests() -> None:
    lines = [f"{('INFO', 'DEBUG')[i % 2]} {json.dumps({'return': one})}" for i, one in enumerate(ANSWERS)]
    (log,) = parse_logs("\n".join(lines))
    assert len(log) == len(ANSWERS)


def test_a_migration_that_is_failing_has_failed() -> None:
    end = {"status": "failing", "error-desc": "Unable to write to socket: Connection reset by peer"}
    (log,) = parse_logs("\n".join(json.dumps({"return": one}) for one in [*ANSWERS[:9], end]))
    verdict = explain_log(log)
    assert verdict.outcome == "failed"
    assert "Connection reset" in verdict.headline


def test_the_limit_that_the_monitor_shows_is_the_limit() -> None:
    shown = "(qemu) info migrate_parameters\nmax-bandwidth: 134217728 bytes/second\ndowntime-limit: 500 ms\n"
    asked = "\n".join(
        f"(qemu) info migrate\nMigration status: active\ntotal time: {one['total-time']} ms\n"
        f"transferred ram: {one['ram']['transferred'] >> 10} kbytes\nremaining ram: {one['ram']['remaining'] >> 10} kbytes\n"
        f"total ram: {one['ram']['total'] >> 10} kbytes\ndirty sync count: {one['ram']['dirty-sync-count']}"
        for one in ANSWERS
    )
    (log,) = parse_logs(shown + asked)
    assert explain_log(log).numbers["downtime_limit_ms"] == 500


@pytest.mark.parametrize(
    ("text", "wanted"),
    [('{"status": "InProgress", "memory_transmission_info": {"memory_iteration": 3}}', "Cloud Hypervisor"),
     ("2025-03-11 09:12:44,123Z INFO  [org.ovirt.engine.core.vdsbroker.VmAnalyzer] VM moved", "oVirt's engine")],
)  # fmt: skip
def test_progress_of_other_programs_is_refused_by_name(text: str, wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        parse_logs(text)


SIZED = {
    "pairs": "{at} status=active transferred={sent}{unit} remaining={left}{unit} total=8{unit}",
    "sentence": "{at} {left} {unit} remaining, {sent} {unit} transferred of 8 {unit}",
    "table": "{at},{left} {unit},{sent} {unit},8 {unit}",
}


def sized(form: str, unit: str) -> MigrationLog:
    """Answers in sizes of ``unit``, as a form of no tool prints them."""
    rows = (SIZED[form].format(at=at(i).isoformat(), sent=i, left=8 - i, unit=unit) for i in range(1, 7))
    head = ["time,remaining,transferred,total"] if form == "table" else []
    (log,) = parse_logs("\n".join([*head, *rows]), "sizes.txt")
    return log


@pytest.mark.parametrize("form", SIZED)
@pytest.mark.parametrize(("unit", "factor"), [("MB", 1e6), ("MiB", MIB), ("GB", 1e9), ("GiB", 1024 * MIB), ("kB", 1e3)])
def test_a_size_that_no_tool_printed_is_in_its_unit_and_decimals_are_said(form: str, unit: str, factor: float) -> None:
    log = sized(form, unit)
    assert log.remaining_bytes.tolist() == pytest.approx([factor * (8 - i) for i in range(1, 7)])
    assert log.total_bytes[0] == pytest.approx(8 * factor)
    assert any("powers of 1000" in note for note in log.notes) == ("i" not in unit)


def test_vdsm_and_proxmox_mean_powers_of_1024_by_mb() -> None:
    assert written("9MB", "bytes") == 9e6
    assert quantity("9MB", "bytes") == 9 * MIB
