"""Real migrations by the installed QEMU under software emulation: recorded, watched, explained, and migrated again."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostsim.logs.sniff import read_logs
from hostsim.measure.qemu.firmware import Guest
from tests.helpers.command import hostsim, started
from tests.helpers.fake_qmp import Monitor
from tests.helpers.needs import needs_qemu
from tests.helpers.real_qemu import NARROW, WIDE, Limits, Recorded, recorded_migration, running
from tests.helpers.terminal import COLUMNS, CTRL_C, ROWS, Terminal, frames

SHOWN_CURSOR = "\x1b[?25h"
PATIENCE_S = 60.0
ATTEMPTS, REFUSED = 8, "no fit: "
BUSY_MACHINE = 0.35
"""Of the prediction: alone on a machine it is within 3 %, and a machine that is busy slows QEMU and its guest."""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Recorded, int, str]]:
    """A recorded migration; exit code and screens of a `hostsim watch` that saw it, too, and waits until Ctrl-C."""
    folder = tmp_path_factory.mktemp("real")
    screens: list[Terminal] = []

    def watch(pair: object) -> None:
        screens.append(Terminal("watch", "--qmp", folder / "third.qmp", "--follow", cwd=folder))
        screens[0].until(lambda text: "no migration yet" in text)

    with recorded_migration(folder, watch) as recorded, screens[0] as screen:
        screen.until(lambda text: "cancelled; waiting for the next one" in text)
        screen.press(CTRL_C)
        code = screen.ended()
        assert screen.modes() == screen.modes_before
        yield recorded, code, screen.text


@needs_qemu
def test_a_real_migration_is_recorded_whole(real: tuple[Recorded, int, str]) -> None:
    recorded = real[0]
    lines = [json.loads(line) for line in recorded.log.read_text().splitlines()]
    statuses = [line["return"].get("status", "none") for line in lines if line.get("execute") == "query-migrate"]
    assert (statuses[0], statuses[-1]) == ("none", "cancelled")
    assert statuses.count("active") > 4
    assert " answers about the migration (cancelled) in out/migration.jsonl\n" in recorded.told
    assert recorded.told.endswith("\nhostsim explain out/migration.jsonl\n")
    (log,) = read_logs(str(recorded.log))
    assert (log.setup.name, log.setup.kvm, log.setup.memory_bytes) == ("small", False, 64 << 20)
    assert log.setup.parameters["max-bandwidth"] == NARROW.bandwidth_bytes_per_s
    assert log.setup.version >= (4, 0)
    assert log.limit_ms[-1] == NARROW.downtime_ms


@needs_qemu
def test_a_real_migration_is_explained_from_its_record(real: tuple[Recorded, int, str]) -> None:
    done = hostsim("explain", real[0].log, "--json", cwd=real[0].log.parent)
    (verdict,) = json.loads(done.stdout)
    assert verdict["outcome"] in ("not converging", "undecided")
    assert verdict["numbers"]["downtime_limit_ms"] == NARROW.downtime_ms
    sent = verdict["numbers"]["bandwidth_bytes_per_s"]  # a busy machine wakes QEMU late: less for a while, then bursts
    assert NARROW.bandwidth_bytes_per_s / 4 < sent < 4 * NARROW.bandwidth_bytes_per_s
    (limit,) = [remedy for remedy in verdict["remedies"] if remedy["kind"] == "downtime_limit"]
    assert limit["value"] is None or NARROW.downtime_ms < limit["value"] < 10 * WIDE.downtime_ms


@needs_qemu
def test_a_real_migration_is_watched_until_ctrl_c_gives_the_terminal_back(real: tuple[Recorded, int, str]) -> None:
    _, code, text = real
    assert code == 130
    assert text.rstrip().endswith("interrupted: files that were finished are whole, no other was begun")
    before = re.split(r"\^C|interrupted: ", text)[0]  # the terminal's echo of the key, and the last words, are no screen
    drawn = [frame for frame in frames(before) if any("iteration" in line for line in frame)]
    assert len(drawn) > 5
    assert max(len(frame) for frame in drawn) <= ROWS
    assert max(len(line) for frame in drawn for line in frame) <= COLUMNS
    assert any(line.startswith("remaining   ") for frame in drawn for line in frame)
    assert any("Forecast: " in line and " not converge: remaining " in line for frame in drawn for line in frame)
    assert drawn[-1][0].rstrip().split()[-3] == "cancelled"
    assert SHOWN_CURSOR in text[-400:]


@needs_qemu
def test_the_guest_migrates_for_real_under_a_limit_that_suffices(real: tuple[Recorded, int, str]) -> None:
    pair = real[0].pair
    pair.resume()
    pair.start(WIDE)
    last = pair.ended()
    assert last["status"] == "completed"
    assert 0 <= last["downtime"] < 5 * WIDE.downtime_ms


# -- record, fit, predict another limit, migrate for real


@needs_qemu
def test_a_fitted_guest_predicts_its_next_real_migration(tmp_path: Path) -> None:
    """Once more where the fit refuses the log: on a busy machine the guest of software emulation halts in single rounds."""
    for attempt in range(ATTEMPTS):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        last = migrated_twice(folder)
        options = ("--set", "migration.downtime_limit=300ms", "--reps", "3", "--json")
        found = hostsim("whatif", "log.jsonl", *options, cwd=folder)
        if found.returncode == 0 or REFUSED not in found.stderr:
            break
    assert found.returncode == 0, found.stderr
    figures = json.loads(found.stdout)["figures"]
    assert figures["total_time_ms"]["mean"] == pytest.approx(last["total-time"], rel=BUSY_MACHINE)
    assert figures["transferred_bytes"]["mean"] == pytest.approx(last["ram"]["transferred"], rel=BUSY_MACHINE)


def migrated_twice(folder: Path) -> dict[str, Any]:
    """Record a migration with a limit of 5 ms as log.jsonl; the last answer of the next one, whose limit is 300 ms."""
    with running(folder, Guest(mem_mib=64, fill_pages=4096, set_pages=2048, rate=1500)) as pair:
        recorder = started("record", "--qmp", pair.monitor, "--interval", "50ms", "--out", "log.jsonl", cwd=folder)
        wait_for(folder / "log.jsonl")
        pair.start(Limits(downtime_ms=5))
        assert pair.ended()["status"] == "completed"
        recorder.communicate(timeout=PATIENCE_S)
        pair.source.qmp.ask("cont")
        pair.start(Limits(downtime_ms=300))
        return pair.ended()


def wait_for(path: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.2)  # an answer before the migration begins


# -- Ctrl-C, which needs no QEMU


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    """A guest that migrates forever."""
    ram = {"total": 1 << 30, "remaining": 1 << 29, "transferred": 1 << 29, "dirty-sync-count": 3, "mbps": 480}
    answer = {"return": {"status": "active", "total-time": 5000, "ram": ram}}
    served = Monitor(tmp_path / "qmp", lambda name, _: [answer if name == "query-migrate" else {"return": {}}])
    yield served
    served.close()


def test_ctrl_c_leaves_whole_lines(monitor: Monitor, tmp_path: Path) -> None:
    process = started("record", "--qmp", "qmp", "--interval", "10ms", "--out", "log", cwd=tmp_path)
    until = time.monotonic() + 60
    while sum(name == "query-migrate" for name, _ in monitor.asked) < 20 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted: files that were finished are whole, no other was begun\n"
    assert out.splitlines()[-1] == "hostsim explain log"
    text = (tmp_path / "log").read_text()
    assert text.endswith("\n")
    assert len([json.loads(line) for line in text.splitlines()]) > 20
