"""``hostsim validate --suite kvm --measure``: an error names the missing part; a real migration where both exist."""

from __future__ import annotations

import json
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from hostsim.measure.kvm import device
from hostsim.measure.qemu import process
from hostsim.measure.qemu.firmware import Guest
from hostsim.measure.qemu.measure import measure
from hostsim.measure.qemu.plan import Planned
from hostsim.validation.kvm_measured import case_of, measured_rows
from tests.helpers.command import hostsim, started
from tests.helpers.needs import needs_kvm, needs_qemu

COMMAND = ("validate", "--suite", "kvm", "--measure")
SHORT = Planned("short", Guest(mem_mib=32, fill_pages=2048, set_pages=1024, rate=1000, pattern="seq"))


def qemus() -> set[int]:
    """Running processes of QEMU that have a firmware of a measurement."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"qemu" in words[0] and any(b"/hostsim-" in word for word in words):
                found.add(int(entry.name))
    return found


def test_without_qemu_the_way_to_get_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PLACES", ("no-such-qemu",))
    done = hostsim(*COMMAND, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no-such-qemu: not found in PATH; install it: apt install qemu-system-x86")
    assert list(tmp_path.iterdir()) == []


def test_without_kvm_the_way_to_get_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PLACES", ("sh",))
    monkeypatch.setattr(device, "DEVICE", str(tmp_path / "no-kvm"))
    done = hostsim(*COMMAND, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path}/no-kvm: No such file or directory; load the module kvm_intel")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suites", [(), ("--suite", "qemu"), ("--suite", "kvm", "--suite", "oracles")])
def test_only_the_suite_kvm_measures(suites: tuple[str, ...], tmp_path: Path) -> None:
    done = hostsim("validate", *suites, "--measure", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--measure: got " in done.stderr
    assert "example: hostsim validate --suite kvm --measure" in done.stderr


@pytest.mark.real
@needs_kvm
@needs_qemu
def test_a_short_real_migration_is_recorded_and_simulated() -> None:
    before = qemus()
    found = measure([SHORT], repeats=1, modes=("dirty-bitmap",), busy=True)
    assert qemus() == before
    assert found.refused == {}
    (case,) = map(case_of, found.cases)
    (repeat,), inputs, measured = case.repeats, case.inputs, case.measured
    assert case.status == ("completed",)
    assert repeat["goes_on"]
    # The first pass sends every page; those that were not zero had been counted before.
    assert measured["zero_pages_sent"]["median"] == inputs["ram_pages"] - inputs["nonzero_pages"]
    assert measured["normal_pages"]["median"] >= inputs["nonzero_pages"] > 3072
    assert repeat["write_rate_before"] == pytest.approx(1000, rel=0.05)
    assert found.dirty_rates[0].reported_mib_s == pytest.approx(found.dirty_rates[0].distinct_mib_s, abs=1)
    rows = {row.quantity: row for row in measured_rows([case], "zen4-pvm")}
    assert rows["outcome"].passed
    assert json.loads(json.dumps(found.cases[0])) == found.cases[0]


@pytest.mark.real
@needs_kvm
@needs_qemu
def test_ctrl_c_ends_every_qemu(tmp_path: Path) -> None:
    before = qemus()
    process = started(*COMMAND, "--busy", "--sheet", "zen4-pvm", cwd=tmp_path)
    until = time.monotonic() + 60
    while len(qemus() - before) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(qemus() - before) >= 2
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted: files that were finished are whole, no other was begun\n"
    assert qemus() <= before
    assert list(tmp_path.rglob("*.jsonl")) == []


@pytest.mark.real
@needs_kvm
@needs_qemu
def test_a_qemu_dies_with_a_killed_hostsim(tmp_path: Path) -> None:
    before = qemus()
    process = started(*COMMAND, "--busy", "--sheet", "zen4-pvm", cwd=tmp_path)
    until = time.monotonic() + 60
    while not qemus() - before and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    until = time.monotonic() + 10
    while qemus() - before and time.monotonic() < until:
        time.sleep(0.05)
    assert qemus() <= before
