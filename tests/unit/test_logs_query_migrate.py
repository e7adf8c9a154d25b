"""Answers of query-migrate in every wrapping, and what is wrong with a broken one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.core.user_files import LOG
from hostsim.logs.sniff import parse_logs, read_logs

SAMPLES = Path(__file__).parents[1] / "data" / "logs" / "query_migrate_samples.jsonl"
ACTIVE = {
    "status": "active",
    "total-time": 1500,
    "setup-time": 2,
    "expected-downtime": 300,
    "ram": {"total": 1 << 30, "remaining": 1 << 29, "transferred": 12345, "mbps": 480.5, "dirty-sync-count": 1},
}


def test_all_samples_are_read() -> None:
    logs = read_logs(str(SAMPLES))
    assert len(logs) == 12
    assert sum(len(log) for log in logs) == len(SAMPLES.read_text().splitlines())
    assert {log.format for log in logs} == {"query-migrate"}


def test_figures_go_where_they_belong() -> None:
    log = read_logs(str(SAMPLES), "fast/xbzrle")[0]
    assert log.t_s[0] == 0.0221
    assert log.setup_time_ms[0] == 3
    assert log.total_bytes[0] == 1074274304
    assert log.xbzrle_pages[-2] == 15401702
    assert log.xbzrle_bytes[-2] == 114556745
    assert log.dirty_sync_count[-2] == 238
    assert log.status[-1] == "cancelled"
    assert np.isnan(log.remaining_bytes[-1])


def test_columns_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        read_logs(str(SAMPLES))[0].t_s[0] = 1


WRAPPINGS = {
    "bare": json.dumps(ACTIVE),
    "return": json.dumps({"return": ACTIVE, "id": 4}),
    "info": json.dumps({"t": 1.5, "info": ACTIVE}),
    "array": json.dumps([{"t": 1.5, "info": ACTIVE}]),
    "pretty": json.dumps({"return": ACTIVE}, indent=4),
    "with qmp chatter": "\n".join(
        json.dumps(part) for part in ({"QMP": {}}, {"event": "MIGRATION", "data": {}}, {"return": {}}, {"return": ACTIVE})
    ),
    "byte order mark": json.dumps(ACTIVE),
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_an_answer_in_any_wrapping(name: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(WRAPPINGS[name], "utf-8-sig" if name == "byte order mark" else "utf-8")
    (log,) = read_logs(str(path))
    assert log.status == ("active",)
    assert log.t_s[0] == 1.5
    assert (log.remaining_bytes[0], log.mbps[0]) == (1 << 29, 480.5)


def test_tags_are_logs_of_their_own() -> None:
    lines = [{"tag": tag, "t": t, "info": ACTIVE} for t in (1, 2) for tag in ("b", "a")]
    logs = parse_logs(json.dumps(lines))
    assert [(log.tag, len(log)) for log in logs] == [("b", 2), ("a", 2)]
    assert parse_logs(json.dumps(lines), tag="a")[0].tag == "a"
    with pytest.raises(InputError, match="one of: b, a"):
        parse_logs(json.dumps(lines), tag="c")


def test_without_a_clock_total_time_is_the_clock() -> None:
    answers = [{**ACTIVE, "total-time": ms} for ms in (100, 900)] + [{"status": "completed", "total-time": 0}]
    assert parse_logs(json.dumps(answers))[0].t_s.tolist() == [0.1, 0.9, 0.9]


def test_the_reason_of_a_failure_is_kept() -> None:
    (log,) = parse_logs('{"status": "failed", "error-desc": "Unable to write to socket: Broken pipe"}')
    assert log.error_desc == "Unable to write to socket: Broken pipe"


NO_LOG = {
    "cut off": ('{"status": "acti', "cut off"),
    "no status": ('{"return": {"total-time": 3}}', "no answer"),
    "status a number": ('{"status": 3}', "no answer"),
    "another command's": ('{"return": {"status": "running", "running": true}}', "no answer"),
    "an error": (
        '{"error": {"class": "GenericError", "desc": "no such thing"}}',
        "error of QMP, GenericError: no such thing",
    ),
    "a list in the list": ("[[1]]", "no answer"),
    "a number for an answer": ('{"return": 5}', "no answer"),
    "nothing in it": ("[]", "no answer"),
    "only chatter": ('{"event": "STOP"}', "no answer"),
    "empty": ("", "nothing"),
    "prose": ("it never finishes, help", "it never finishes"),
    "deep": ("[" * 100_000, "line 1"),
    "deep objects": ('{"a":' * 100_000, "line 1"),
}


@pytest.mark.parametrize("name", NO_LOG)
def test_what_is_no_log_is_named(name: str) -> None:
    text, wanted = NO_LOG[name]
    with pytest.raises(InputError) as caught:
        parse_logs(text, "job.jsonl")
    assert "job.jsonl" in str(caught.value)
    assert wanted in str(caught.value)
    assert caught.value.problems[0].wanted
    assert not any(word in str(caught.value) for word in ("Error:", "Traceback", "NoneType")) or name == "an error"


@pytest.mark.parametrize(
    "told",
    ['"x12"', "true", "-1", "18446744073709551615", "1e30", "NaN", "-nan", "nan", "1e999", "9" * 5000, "null", "[1]", "{}"],
)
def test_a_counter_that_cannot_be_is_not_told(told: str) -> None:
    (log,) = parse_logs(f'{{"status": "active", "total-time": 5, "ram": {{"remaining": {told}, "transferred": 7}}}}')
    assert np.isnan(log.remaining_bytes[0])
    assert log.transferred_bytes[0] == 7
    assert bool(log.notes) == (told not in ("null", "-nan", "nan"))


def test_answers_before_a_cut_count() -> None:
    (log,) = parse_logs(json.dumps(ACTIVE) + '\n{"status": "acti')
    assert log.status == ("active",)


def test_time_that_runs_backwards_is_another_migration() -> None:
    logs = parse_logs(json.dumps([{"t": 2, "info": ACTIVE}, {"t": 1, "info": ACTIVE}]))
    assert [log.part for log in logs] == [(1, 2), (2, 2)]


def test_a_log_printed_newest_first_is_turned() -> None:
    (log,) = parse_logs(json.dumps([{**ACTIVE, "total-time": ms} for ms in (3000, 2000, 1000)]))
    assert log.t_s.tolist() == [1, 2, 3]


def test_a_counter_that_slips_once_is_no_new_migration() -> None:
    answers = [
        {"status": "active", "total-time": ms, "ram": {"remaining": 5, "transferred": sent, "dirty-sync-count": 1}}
        for ms, sent in ((1000, 10), (2000, 3), (3000, 30))
    ]
    (log,) = parse_logs(json.dumps(answers))
    assert np.isnan(log.transferred_bytes).tolist() == [False, True, False]
    assert "transferred_bytes 3" in log.notes[0]


def test_an_event_after_the_last_answer_tells_the_end() -> None:
    event = {"event": "MIGRATION", "data": {"status": "completed"}, "timestamp": {"seconds": 9, "microseconds": 0}}
    (log,) = parse_logs("\n".join(json.dumps(part) for part in (ACTIVE, event)))
    assert log.status == ("active", "completed")


def test_block_jobs_are_disks() -> None:
    jobs = {"return": [{"type": "mirror", "device": "d", "len": 1000, "offset": 400, "ready": False}]}
    (log,) = parse_logs("\n".join(json.dumps(part) for part in (jobs, {"return": ACTIVE})))
    assert (log.disk_total_bytes[0], log.disk_remaining_bytes[0]) == (1000, 600)
    (alone,) = parse_logs(json.dumps(jobs))
    assert alone.disk_remaining_bytes[0] == 600


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_passed_over(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(json.dumps(ACTIVE), encoding)
    assert read_logs(str(tmp_path / "log"))[0].status == ("active",)


@pytest.mark.parametrize("content", [b"\x00" * 9, b"\x7fELF\x00\x01"])
def test_bytes_that_are_no_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(InputError, match="UTF-8"):
        read_logs(str(tmp_path / "log"))


def test_devices_and_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="device"):
        read_logs("/dev/zero")
    monkeypatch.setattr("hostsim.logs.sniff.LOG", replace(LOG, bytes_max=10))
    (tmp_path / "log").write_bytes(b"x" * 11)
    with pytest.raises(InputError, match="at most"):
        read_logs(str(tmp_path / "log"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_logs(str(tmp_path / "missing"))
    with pytest.raises(InputError, match="directory"):
        read_logs(str(tmp_path))


def test_a_counter_that_a_tool_has_quoted_is_told() -> None:
    (log,) = parse_logs('{"status": "active", "total-time": "5", "ram": {"remaining": "12", "transferred": " 7 "}}')
    assert (log.total_time_ms[0], log.remaining_bytes[0], log.transferred_bytes[0]) == (5, 12, 7)
