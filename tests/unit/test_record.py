"""Recording a live QEMU, without one: commands, records, and the messages of failures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hostsim.core.errors import OutputError
from hostsim.logs.sniff import read_logs
from hostsim.measure.live.dirty_rates import DirtyRates, Guest
from hostsim.measure.live.line_file import LineFile
from hostsim.measure.live.recording import READ_ONLY, Recording, Wanted, _later_than
from hostsim.measure.qemu.qmp import QemuError
from hostsim.verdict import evidence_from_log, explain_log
from tests.helpers.command import hostsim, limited
from tests.helpers.fake_qmp import HANG_UP, VERSION, Monitor

PARAMETERS = {"max-bandwidth": 8_000_000, "downtime-limit": 30, "max-cpu-throttle": 99}
CAPABILITIES = [{"capability": "auto-converge", "state": False}, {"capability": "events", "state": True}]
BESIDE = {
    "query-migrate-parameters": PARAMETERS, "query-migrate-capabilities": CAPABILITIES, "query-name": {"name": "small"},
    "query-status": {"status": "running", "running": True}, "query-kvm": {"enabled": True, "present": True},
    "query-memory-size-summary": {"base-memory": 1 << 30}, "query-cpus-fast": [{"cpu-index": 0, "thread-id": 7}],
}  # fmt: skip
MIB = 1 << 20


def active(total_ms: int, sent_mib: int = 0, syncs: int = 1, status: str = "active") -> dict[str, Any]:
    """An answer about a guest of 64 MiB."""
    ram = {"total": 64 * MIB, "remaining": max(0, 64 - sent_mib) * MIB, "transferred": sent_mib * MIB,
           "normal": 256 * sent_mib, "duplicate": 0,
           "dirty-sync-count": syncs, "dirty-pages-rate": 2000, "mbps": 64.0, "page-size": 4096}  # fmt: skip
    return {"status": status, "total-time": total_ms, "expected-downtime": 30, "ram": ram}


COMPLETED = {**active(900, 64, 3, "completed"), "downtime": 12}
RACED = {name: value for name, value in COMPLETED.items() if name != "total-time"}
"""QEMU 7.2 for a moment after the end."""


class Script:
    """Answers of query-migrate one after the other, the last again and again; other commands as in BESIDE."""

    def __init__(self, *answers: Any, **beside: Any) -> None:
        self._answers = list(answers)
        self.beside = BESIDE | {name.replace("_", "-"): answer for name, answer in beside.items()}

    def __call__(self, name: str, given: dict[str, Any]) -> list[dict[str, Any]]:
        if name != "query-migrate":
            found = self.beside.get(name, {"error": {"class": "CommandNotFound", "desc": f"no {name}"}})
            found = found(given) if callable(found) else found
            return [found if isinstance(found, dict) and "error" in found else {"return": found}]
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer == HANG_UP:
            return [HANG_UP]
        return [*answer] if isinstance(answer, list) else [{"return": answer}]


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Callable[..., Monitor]]:
    opened: list[Monitor] = []

    def serve(*answers: Any, greeting: bytes | None = b"", **beside: Any) -> Monitor:
        opened.append(Monitor(tmp_path / "qmp", Script(*answers, **beside), greeting))
        return opened[-1]

    yield serve
    for one in opened:
        one.close()


def recorded(folder: Path, **wanted: Any) -> tuple[Recording, list[dict[str, Any]], list[str]]:
    said: list[str] = []
    options = {"interval_s": 0.01, "for_s": 10.0, "greeting_s": 0.3} | wanted
    recording = Recording(Wanted(str(folder / "qmp"), **options), said.append)
    return recording, list(recording.lines()), said


def answers_in(lines: list[dict[str, Any]]) -> list[str]:
    return [line["return"].get("status", "none") for line in lines if line.get("execute") == "query-migrate"]


# -- what is recorded


def test_a_migration_is_recorded_from_the_wait_to_its_end(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    asked = monitor({}, {}, {"status": "setup"}, active(100, 10), active(200, 20), RACED, COMPLETED)
    recording, lines, said = recorded(tmp_path)
    assert answers_in(lines) == ["none", "setup", "active", "active", "completed", "completed"]
    assert (recording.end, recording.status, recording.answers) == ("ended", "completed", 5)
    assert said == ["no migration runs yet: waiting for one to begin"]
    assert asked.commands <= READ_ONLY
    assert lines[0]["execute"] == "query-version"
    assert all(isinstance(line["timestamp"]["seconds"], int) for line in lines)


def test_the_record_tells_explain_what_was_set(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    monitor(active(100, 10), active(200, 20), COMPLETED)
    _, lines, _ = recorded(tmp_path)
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (log,) = read_logs(str(tmp_path / "log"))
    assert (log.setup.version, log.setup.name, log.setup.kvm) == ((7, 2, 22), "small", True)
    assert (log.setup.vcpus, log.setup.memory_bytes) == (1, 1 << 30)
    assert log.setup.capabilities == {"auto-converge": False, "events": True}
    assert (log.limit_ms[-1], log.status[-1]) == (30, "completed")
    assert "Limit: downtime 12 ms, limit 30 ms." in explain_log(log).findings


def test_answers_through_virsh_are_known_by_their_form(tmp_path: Path) -> None:
    """virsh qemu-monitor-command VM '{"execute":"query-migrate"}' prints an answer with an id, and no command."""
    answers = ({"qemu": VERSION, "package": "Debian"}, PARAMETERS, CAPABILITIES, active(100, 10), active(200, 20))
    (tmp_path / "job.jsonl").write_text("".join(json.dumps({"return": one, "id": "libvirt-41"}) + "\n" for one in answers))
    (log,) = read_logs(str(tmp_path / "job.jsonl"))
    assert (log.setup.version, log.setup.capabilities["auto-converge"]) == ((7, 2, 22), False)
    assert evidence_from_log(log).max_bandwidth_bytes_per_s == PARAMETERS["max-bandwidth"]
    assert (len(log), log.limit_ms[-1]) == (2, 30)


@pytest.mark.parametrize("answer", [None, 3, "x", [], {}, [3], {"qemu": 3, "package": 1}, {"qemu": {"major": "7"}}])
def test_broken_answers_about_the_qemu_tell_nothing(answer: object, tmp_path: Path) -> None:
    names = ("query-version", "query-name", "query-kvm", "query-memory-size-summary", "query-cpus-fast",
             "query-migrate-parameters", "query-migrate-capabilities", "query-status")  # fmt: skip
    lines = [{"execute": name, "return": answer} for name in names]
    lines.append({"execute": "query-migrate", "return": active(100, 10)})
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (log,) = read_logs(str(tmp_path / "log"))
    assert (log.setup.version, log.setup.name, log.setup.kvm, log.setup.memory_bytes) == ((), "", None, None)
    assert explain_log(log).outcome == "too early to tell"


def test_statuses_of_the_vm_are_no_statuses_of_a_migration(tmp_path: Path) -> None:
    colo = {"execute": "query-status", "return": {"status": "colo"}}
    lines = [colo, {"execute": "query-migrate", "return": active(100, 10)}]
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_logs(str(tmp_path / "log"))[0].status == ("active",)


def test_a_parameter_that_changes_is_recorded_where_it_changes(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    limits = iter([30, 30, 30, 500])
    monitor(
        active(100, 10), active(200, 20), active(300, 30), COMPLETED,
        query_migrate_parameters=lambda _: PARAMETERS | {"downtime-limit": next(limits, 500)},
    )  # fmt: skip
    _, lines, _ = recorded(tmp_path)
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (log,) = read_logs(str(tmp_path / "log"))
    assert log.limit_ms.tolist() == [30, 500, 500, 500]  # it was set between the second answer and the third


def test_events_stand_in_the_record_as_qemu_sent_them(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    stop = {"event": "STOP", "timestamp": {"seconds": 5, "microseconds": 1}}
    noise = {"event": "RTC_CHANGE", "timestamp": {"seconds": 5, "microseconds": 2}, "data": {}}
    monitor(active(100, 10), [stop, noise, {"return": COMPLETED}])
    _, lines, _ = recorded(tmp_path)
    assert [line for line in lines if "event" in line] == [stop]


def test_an_event_after_an_answer_is_not_written_before_it(tmp_path: Path) -> None:
    """Both are read at once: a line that says "cancelling" after "cancelled" would read as another migration."""

    def answer(name: str, _given: dict[str, Any]) -> list[dict[str, Any]]:
        is_first = name == "query-migrate" and asked.count(name) == 1
        return [{"return": active(100, 10, status="cancelling")}, told_by("cancelled")] if is_first else script(name, {})

    def told_by(status: str) -> dict[str, Any]:
        return {"event": "MIGRATION", "timestamp": {"seconds": 5, "microseconds": 1}, "data": {"status": status}}

    asked: list[str] = []
    script = Script({"status": "cancelled"})

    def noted(name: str, given: dict[str, Any]) -> list[dict[str, Any]]:
        asked.append(name)
        return answer(name, given)

    served = Monitor(tmp_path / "qmp", noted)
    _, lines, _ = recorded(tmp_path)
    served.close()
    order = [line["return"]["status"] if "return" in line else line["data"]["status"]
             for line in lines if line.get("execute") == "query-migrate" or "event" in line]  # fmt: skip
    assert order == ["cancelling", "cancelled", "cancelled"]
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(read_logs(str(tmp_path / "log"))) == 1


@pytest.mark.parametrize(
    ("status", "told", "late"),
    [
        ("active", ["setup", "active"], 0), ("active", ["active", "cancelling", "cancelled"], 1),
        ("completed", ["completed"], 0), ("none", ["setup", "active"], 2), ("device", ["device", "completed"], 1),
    ],
)  # fmt: skip
def test_events_are_late_if_the_answer_does_not_know_them(status: str, told: list[str], late: int) -> None:
    events = [{"event": "MIGRATION", "data": {"status": one}} for one in told]
    assert _later_than(status, events) == events[len(events) - late :]


def test_a_migration_that_ended_before_is_not_the_one_waited_for(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    monitor({"status": "failed"}, {"status": "failed"}, active(100, 10), {"status": "cancelled"})
    _, lines, said = recorded(tmp_path)
    assert answers_in(lines) == ["failed", "active", "cancelled"]
    assert said == ["the last migration ended before the recording began (failed): waiting for the next one"]


def test_a_vm_that_has_moved_already_is_told_at_once(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    monitor(COMPLETED, query_status={"status": "postmigrate"})
    recording, lines, said = recorded(tmp_path)
    assert (recording.end, answers_in(lines), len(said)) == ("ended", ["completed"], 1)


def test_it_goes_on_with_the_next_migration_if_asked(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    again = {**active(700, 64, 2, "completed"), "downtime": 3}
    monitor(active(100, 10), {"status": "cancelled"}, active(50, 5), again)
    recording, lines, said = recorded(tmp_path, goes_on=True, for_s=0.6)
    assert answers_in(lines) == ["active", "cancelled", "active", "completed"]
    assert (recording.end, len(said)) == ("time", 2)
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [log.status[-1] for log in read_logs(str(tmp_path / "log"))] == ["cancelled", "completed"]


def test_its_time_ends_it(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    monitor(active(100, 10))
    began_s = time.monotonic()
    recording, _, _ = recorded(tmp_path, for_s=0.2)
    assert (recording.end, recording.status) == ("time", "active")
    assert time.monotonic() - began_s < 8


def test_a_machine_that_is_not_ready_is_asked_again(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    early = {"error": {"class": "GenericError", "desc": "The command query-migrate is not available yet"}}
    monitor([early], [early], active(100, 10), COMPLETED)
    _, lines, said = recorded(tmp_path)
    assert answers_in(lines) == ["active", "completed"]
    assert said == ["query-migrate: The command query-migrate is not available yet; asking again"]


# -- a monitor that closes


def test_a_monitor_that_closes_is_connected_to_again(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    monitor(active(100, 10), HANG_UP, active(200, 20), COMPLETED)
    recording, lines, said = recorded(tmp_path)
    assert (recording.end, answers_in(lines)) == ("ended", ["active", "active", "completed"])
    assert said == ["query-migrate: QEMU closed its monitor; connecting again, for 30 s at most", "connected again"]
    assert [line["execute"] for line in lines].count("query-version") == 1


def test_a_qemu_that_goes_away_is_an_error(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    served = monitor(active(100, 10), active(200, 20))
    recording = Recording(Wanted(str(tmp_path / "qmp"), 0.01, away_s=0.1))
    lines = recording.lines()
    seen = [next(lines) for _ in range(10)]
    served.close()
    (tmp_path / "qmp").unlink()
    with pytest.raises(QemuError, match=r"QEMU went away while the migration was active: .*/qmp: no such socket"):
        seen += list(lines)
    assert answers_in(seen)[:2] == ["active", "active"]
    assert recording.end == "gone"


def test_a_source_that_is_ended_after_its_migration_is_no_error(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    done = {"event": "MIGRATION", "timestamp": {"seconds": 5, "microseconds": 1}, "data": {"status": "completed"}}
    monitor(active(100, 10), [done, HANG_UP])
    recording, lines, _ = recorded(tmp_path)
    assert answers_in(lines) == ["active"]
    assert done in lines
    assert recording.end == "ended"


def test_a_new_qemu_in_the_place_of_the_old_one_is_noticed(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    monitor(active(100, 10), HANG_UP, {})
    with pytest.raises(QemuError, match="QEMU was started anew: the end of the migration before was not seen"):
        recorded(tmp_path)


# -- calc-dirty-rate


def measured(window: int, rate: int) -> dict[str, Any]:
    return {"status": "measured", "calc-time": window, "start-time": 1, "dirty-rate": rate, "mode": "page-sampling",
            "sample-pages": 512}  # fmt: skip


def test_dirty_rates_are_measured_before_a_migration(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    found = iter([{"status": "measuring", "calc-time": 1, "start-time": 1}, measured(1, 412), measured(5, 0)])
    asked = monitor(
        *[{}] * 8, active(100, 10), COMPLETED, calc_dirty_rate={}, query_dirty_rate=lambda _: next(found, measured(5, 0))
    )
    _, lines, said = recorded(tmp_path, windows_ns=(10**9, 5 * 10**9))
    assert [given for name, given in asked.asked if name == "calc-dirty-rate"] == [{"calc-time": 1}, {"calc-time": 5}]
    assert asked.commands <= READ_ONLY | {"calc-dirty-rate"}
    assert any(line.startswith("calc-dirty-rate over 5 s reports 0: the guest is paused") for line in said)
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (log,) = read_logs(str(tmp_path / "log"))
    assert [(one.period_s, one.bytes_per_s) for one in log.setup.dirty_rates] == [(1.0, 412 * MIB), (5.0, 0.0)]
    assert len(log) == 2


def test_a_migration_ends_the_measurements(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    asked = monitor({}, {}, {}, active(100, 10), COMPLETED, calc_dirty_rate={}, query_dirty_rate={"status": "measuring"})
    _, _, said = recorded(tmp_path, windows_ns=(10**9, 5 * 10**9))
    assert [name for name, _ in asked.asked].count("calc-dirty-rate") == 1
    assert said[-1].startswith("not measured (windows of 1 s, 5 s): a migration has begun")


GUEST = Guest((7, 2), kvm=True, memory_bytes=1 << 30)
REFUSED = {
    "a migration runs": ("page-sampling", 10**9, Guest((7, 2), True, 1 << 30, "active"), "a migration is active, and"),
    "TCG": ("dirty-bitmap", 10**9, Guest((7, 2), False, 1 << 30), "dirty-bitmap needs KVM, without it QEMU 7.2 crashes"),
    "a small guest": ("page-sampling", 10**9, Guest((10, 0), True, 64 << 20), "page-sampling passes over RAM blocks below"),
    "half a second": ("dirty-bitmap", 5 * 10**8, GUEST, "a window of 0.5 s: QEMU 7.2 measures whole seconds"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_measurements_that_would_harm_or_lie_are_refused(name: str) -> None:
    mode, window_ns, guest, words = REFUSED[name]
    with pytest.raises(QemuError, match=f"^--dirty-rate: {words}"):
        DirtyRates([window_ns], mode, lambda _: None).check(guest)


def test_other_measurements_are_not_refused() -> None:
    ring = ("dirty-ring", 5 * 10**8, Guest((8, 2), True, 64 << 20))
    for mode, window_ns, guest in (("page-sampling", 10**9, GUEST), ring):
        rates = DirtyRates([window_ns], mode, lambda _: None)
        rates.check(guest)
        assert not rates.is_done


def test_a_measurement_is_refused_before_anything_is_sent(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    asked = monitor(active(100, 10))
    with pytest.raises(QemuError, match="a migration is active"):
        recorded(tmp_path, windows_ns=(10**9,))
    assert asked.commands <= READ_ONLY


# -- the file


def test_a_cut_line_is_continued_on_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b'{"a": 1}\n{"b": ')
    with LineFile(tmp_path / "f") as file:
        file.put({"c": 3})
        (tmp_path / "f").write_bytes((tmp_path / "f").read_bytes()[:-3])
        file.put({"d": 4})
    assert (tmp_path / "f").read_text() == '{"a": 1}\n{"b": \n{"c": \n{"d": 4}\n'


def test_a_file_that_is_moved_away_is_made_anew(tmp_path: Path) -> None:
    with LineFile(tmp_path / "new" / "f") as file:
        file.put({"a": 1})
        (tmp_path / "new" / "f").rename(tmp_path / "f.1")
        file.put({"b": 2})
        (tmp_path / "new" / "f").write_text("")
        file.put({"c": 3})
    assert (tmp_path / "f.1").read_text() == '{"a": 1}\n'
    assert (tmp_path / "new" / "f").read_text() == '{"c": 3}\n'


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    def fill() -> int:
        with LineFile(tmp_path / "f") as file:
            try:
                for _ in range(100):
                    file.put({"name": "x" * 30})
            except OutputError as error:
                return 2 if "f: cannot write: File too large" in str(error) else 1
        return 0

    assert limited(fill, 1000, tmp_path).returncode == 2
    lines = (tmp_path / "f").read_bytes().splitlines(keepends=True)
    assert len(lines) > 10
    assert all(json.loads(line) == {"name": "x" * 30} and line.endswith(b"\n") for line in lines)


# -- the command


def test_the_command_writes_the_log_and_says_how_to_read_it(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    monitor(active(100, 10), active(200, 20), COMPLETED)
    done = hostsim("record", "--qmp", "qmp", "--interval", "10ms", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "3 answers about the migration (completed) in out/migration.jsonl\n\nhostsim explain out/migration.jsonl\n"
    )
    explained = hostsim("explain", "out/migration.jsonl", cwd=tmp_path)
    assert explained.stdout.startswith("VERDICT: completed (converged) in 900 ms, downtime 12 ms")


def test_standard_output_has_the_log_alone(monitor: Callable[..., Monitor], tmp_path: Path) -> None:
    monitor({}, active(100, 10), COMPLETED)
    done = hostsim("record", "--qmp", "qmp", "--interval", "10ms", "--out", "-", cwd=tmp_path)
    assert answers_in([json.loads(line) for line in done.stdout.splitlines()]) == ["none", "active", "completed"]
    assert done.stderr == "no migration runs yet: waiting for one to begin\n"
    assert [path.name for path in tmp_path.iterdir()] == ["qmp"]


def test_without_the_library_the_command_that_brings_it_is_named(
    monitor: Callable[..., Monitor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor(active(100, 10))
    monkeypatch.setitem(sys.modules, "qemu.qmp", None)
    for command in ("record", "watch"):
        done = hostsim(command, "--qmp", "qmp", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: qemu.qmp is not installed (extra 'live'): ")
        assert "pip install 'qemu.qmp>=" in done.stderr


def test_without_a_monitor_no_file_is_made(tmp_path: Path) -> None:
    done = hostsim("record", "--qmp", "qmp", cwd=tmp_path)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert done.stderr.startswith("error: qmp: no such socket")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--interval", "1us"), "--interval: got 1us, wanted from 10ms to 1h"),
        (("--interval", "fast"), "--interval: got 'fast', wanted"),
        (("--for", "0s"), "--for: got 0s, wanted more than 0"),
        (("--dirty-rate", "1s,2h"), "--dirty-rate: got 2h, wanted windows from 50ms to 60s"),
        (("--dirty-rate", "1s", "--dirty-rate-mode", "bitmap"), "--dirty-rate-mode: got bitmap, wanted one of: page-"),
    ],
)
def test_wrong_options_are_named(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = hostsim("record", "--qmp", "qmp", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {words}")
