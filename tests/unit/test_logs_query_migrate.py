"""Answers of query-migrate in every wrapping, and what is wrong with a broken one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hostsim.errors import InputError
from hostsim.logs import parse_logs, read_logs

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


BROKEN = {
    "cut off": ('{"status": "active"}\n{"status": "acti', "line 2"),
    "no status": ('{"return": {"total-time": 3}}', "status"),
    "status a number": ('{"status": 3}', "status"),
    "a text for a number": ('{"status": "active", "ram": {"remaining": "12"}}', "ram.remaining"),
    "a flag for a number": ('{"status": "active", "total-time": true}', "total-time"),
    "negative": ('{"status": "active",\n "ram": {"remaining": -1}}', "ram.remaining"),
    "beyond 64 bits": ('{"status": "active", "ram": {"total": 1e30}}', "ram.total"),
    "not a number": ('{"status": "active", "ram": {"mbps": NaN}}', "ram.mbps"),
    "infinite": ('{"status": "active", "ram": {"mbps": 1e999}}', "ram.mbps"),
    "ram is a list": ('{"status": "active", "ram": [1]}', "ram"),
    "a list in the list": ("[[1]]", "JSON object"),
    "a number for an answer": ('{"return": 5}', "answer of query-migrate"),
    "backwards": ('{"t": 2, "info": {"status": "active"}}\n{"t": 1, "info": {"status": "active"}}', "line 2"),
    "nothing in it": ("[]", "no answer"),
    "only chatter": ('{"event": "STOP"}', "no answer"),
    "empty": ("", "nothing"),
    "prose": ("it never finishes, help", "it never finishes"),
    "deep": ("[" * 100_000, "line 1"),
    "long number": ('{"status": "active", "total-time": ' + "9" * 5000 + "}", "line 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(name: str) -> None:
    text, wanted = BROKEN[name]
    with pytest.raises(InputError) as caught:
        parse_logs(text, "job.jsonl")
    assert "job.jsonl" in str(caught.value)
    assert wanted in str(caught.value)
    assert caught.value.problems[0].wanted


@pytest.mark.parametrize("content", [b"\xff\xfe\x00{", b'{"status": "act\xc3'])
def test_bytes_that_are_no_text(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(InputError, match="UTF-8"):
        read_logs(str(tmp_path / "log"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_logs(str(tmp_path / "missing"))
    with pytest.raises(InputError, match="directory"):
        read_logs(str(tmp_path))
