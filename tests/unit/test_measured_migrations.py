"""Real migrations without a real one: firmware, monitor, records and their simulated side, from what was recorded."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hostsim.costs.costs import load_costs
from hostsim.measure.kvm.host import KvmHost
from hostsim.measure.qemu import firmware, process
from hostsim.measure.qemu import migrate as migrate_module
from hostsim.measure.qemu.dirty_rate import DirtyRate, distinct_mib
from hostsim.measure.qemu.firmware import ALL_EARNS, Guest, Mailbox
from hostsim.measure.qemu.measure import guest_of
from hostsim.measure.qemu.migrate import Run
from hostsim.measure.qemu.plan import PLAN, Planned
from hostsim.measure.qemu.qmp import QemuError, Qmp
from hostsim.measure.qemu.record import Host, case_of
from hostsim.qemu.dirty_limit import LimitChange
from hostsim.report.beside import beside_grid, measured_lines, ratio_of
from hostsim.validation.kvm_measured import case_of as as_case
from hostsim.validation.kvm_measured import measured_rows, modelled_version, rate_rows, under_of
from hostsim.validation.kvm_migrations import TOLERANCE, _figure, machine_of
from hostsim.validation.qemu.cases import Case, load_cases
from tests.helpers.fake_qmp import HANG_UP, VERSION, Monitor
from tests.helpers.needs import needs_nasm

pytestmark = pytest.mark.quick
TSC_HZ = 2_000_000_000
SOURCE = Path(firmware.__file__).with_name("firmware.asm")
HOST = Host(KvmHost("shadow", pml=False, release="6.18.44-amd64", title="a test", n_cpus=2), 32_850, TSC_HZ)
PARAMETERS = {
    "throttle-trigger-threshold": 50, "cpu-throttle-initial": 20, "cpu-throttle-increment": 10,
    "cpu-throttle-tailslow": False, "max-cpu-throttle": 99,
}  # fmt: skip


# -- the guest


@needs_nasm
def test_the_firmware_is_its_source(tmp_path: Path) -> None:
    subprocess.run(["nasm", "-f", "bin", str(SOURCE), "-o", str(tmp_path / "bin")], check=True)
    image = Guest(pattern="seq", rate=0).image(TSC_HZ)
    assembled = (tmp_path / "bin").read_bytes()
    assert len(image) == len(assembled) == 1 << 16
    assert image[88:] == assembled[88:]
    assert assembled[:88] == bytes(88)


def test_parameters_stand_before_the_program() -> None:
    hot = {"pattern": "hotcold", "hot_pages": 2, "hot_share": 0.5}
    guest = Guest(fill_pages=3, set_pages=5, rate=1000, pace="cpu", seed=7, first=4, **hot)  # type: ignore[arg-type]
    words = struct.unpack_from("<11Q", guest.image(TSC_HZ))
    assert words == (4 << 20, 3, (4 << 20) + 3 * 4096, 5, 2, 2, 1 << 30, 2_000_000, 400_000, 7, 4)


@pytest.mark.parametrize("guest", [Guest(rate=0, pace="cpu"), Guest(rate=5, pace="wall")])
def test_time_away_earns_writes_unless_the_pace_is_the_processors(guest: Guest) -> None:
    assert struct.unpack_from("<11Q", guest.image(TSC_HZ))[8] == ALL_EARNS


def test_the_guest_counts_its_rate_and_the_time_of_its_writes() -> None:
    before, after = Mailbox.of([1, 100, 0, 1000]), Mailbox.of([1, 300, TSC_HZ // 2, 401_000])
    assert after.rate_since(before, TSC_HZ) == 400
    assert after.write_ns_since(before, TSC_HZ) == 1000
    assert before.rate_since(before, TSC_HZ) == before.write_ns_since(before, TSC_HZ) == 0


def test_repeats_differ_and_are_the_same_each_time() -> None:
    guests = [guest_of(PLAN[3], repeat) for repeat in range(3)]
    assert len({guest.seed for guest in guests}) == len({guest.first for guest in guests}) == 3
    assert guests == [guest_of(PLAN[3], repeat) for repeat in range(3)]


# -- the monitor


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Callable[..., Qmp]]:
    opened: list[Qmp | Monitor] = []

    def connect(*answers: dict[str, Any]) -> Qmp:
        opened.append(Monitor(tmp_path / "qmp", lambda _name, _given: [*answers] or [HANG_UP]))
        opened.append(qmp := Qmp(tmp_path / "qmp"))
        return qmp

    yield connect
    for one in reversed(opened):
        one.close()


def test_events_between_answers_are_kept(monitor: Callable[..., Qmp]) -> None:
    event = {"event": "STOP", "timestamp": {"seconds": 5, "microseconds": 500_000}}
    qmp = monitor(event, {"return": 3})
    assert qmp.ask("query-x") == 3
    assert qmp.events == [(5.5, "STOP", None, event)]
    assert qmp.greeting["qemu"] == VERSION


def test_a_refusal_is_qemus_own_words(monitor: Callable[..., Qmp]) -> None:
    with pytest.raises(QemuError, match=r"^migrate-set-capabilities: Postcopy is not supported"):
        monitor({"error": {"class": "GenericError", "desc": "Postcopy is not supported"}}).ask("migrate-set-capabilities")


def test_a_monitor_that_goes_away_is_an_error(monitor: Callable[..., Qmp]) -> None:
    with pytest.raises(QemuError, match=r"closed its monitor|does not answer"):
        monitor().ask("query-status")


def test_words_of_memory_are_read_by_xp(monitor: Callable[..., Qmp]) -> None:
    text = "0000000000020000: 0x0000000000000001 0x00000000000003fe\r\n"
    text += "0000000000020010: 0x0000000000000003 0xffffffffffffffff\r\n"
    assert monitor({"return": text}).words(0x20000, 4) == [1, 0x3FE, 3, (1 << 64) - 1]


def test_without_qemu_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PLACES", ("no-such-qemu",))
    with pytest.raises(QemuError, match="no-such-qemu: not found in PATH; install it: apt install qemu-system-x86"):
        process.find_qemu()


def test_a_qemu_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "qemu").write_text("#!/bin/sh\necho first\necho qemu: no such accelerator\nexit 7\n")
    (tmp_path / "qemu").chmod(0o755)
    with pytest.raises(QemuError, match="QEMU ended with 7: qemu: no such accelerator"):
        process.Qemu(str(tmp_path / "qemu"), process.Place(tmp_path, "src"), b"", 64, "kvm")


# -- the record, and its simulated side


def run_of(status: str = "completed", **more: Any) -> Run:
    """As QEMU 7.2 recorded a guest of 128 MiB that writes nothing."""
    ram = {"total": 134_553_600, "transferred": 67_490_663, "dirty-sync-count": 3, "normal": 16_409, "duplicate": 16_441}
    last = {"status": status, "ram": ram} | ({"total-time": 1010, "downtime": 2} if status == "completed" else {})
    marks = {"before": Mailbox(True, 0, 0, 0), "start": Mailbox(True, 2000, TSC_HZ // 2, 4000),
             "end": Mailbox(True, 6000, TSC_HZ * 3 // 2, 4_008_000)}  # fmt: skip
    return replace(Run(VERSION, status, last, PARAMETERS, 16_409, counters={"pf_taken": 900}, **marks), **more)


def recorded(planned: Planned, *runs: Run) -> dict[str, Any]:
    return case_of(planned, [guest_of(planned, i) for i in range(len(runs))], runs, HOST)


def test_a_record_is_a_case_that_the_suite_reads(tmp_path: Path) -> None:
    raw = recorded(PLAN[1], run_of(), run_of(status="cancelled"))
    (tmp_path / "mine.jsonl").write_text(json.dumps(raw) + "\n")
    (case,) = load_cases(tmp_path / "mine.jsonl")
    assert case == as_case(raw)
    assert case.status == ("completed", "cancelled")
    assert case.measured["total_time_ms"] == {"n": 1, "median": 1010, "min": 1010, "max": 1010}
    assert case.inputs["qemu_version"] == "7.2.22"
    assert case.inputs["ws_start_page"] == 1024 + 8192
    assert case.repeats[0]["write_rate_before"] == 4000
    assert case.repeats[0]["writes_at_start"] == 2000
    # 4000 writes in a second of 500 ns each beyond the 1 ns that they took before
    assert case.measured["guest_loss_percent"]["median"] == pytest.approx(4000 * (500.5 - 1) / 1e7)


def test_a_guest_of_no_rate_has_the_one_that_was_counted() -> None:
    (flat,) = [planned for planned in PLAN if planned.id == "log_rand_flat"]
    inputs = recorded(flat, run_of())["inputs"]
    assert (inputs["write_rate_pages_s"], inputs["pace"], inputs["spin"]) == (4000, "cpu", True)
    assert recorded(PLAN[0], run_of())["inputs"]["always_dirty_pages"] == []


def test_a_recorded_migration_is_simulated_from_its_inputs() -> None:
    rows = list(measured_rows([as_case(recorded(PLAN[0], run_of()))], "zen4-pvm"))
    found = {row.quantity: row for row in rows}
    assert all(row.passed for row in rows if row.scored), rows
    assert {"outcome", "total_time_ms", "transferred_bytes", "dirty_sync_count", "faults"} <= set(found)
    assert not found["faults"].scored
    assert ratio_of(found["total_time_ms"]) == pytest.approx(1, abs=0.02)


def test_the_limit_of_a_case_is_set_when_its_migration_begins() -> None:
    plans = {planned.id: planned for planned in PLAN}
    names = ("ring_rand_flat_limit", "log_rand_24000_postcopy")
    limited, post = (as_case(recorded(plans[name], run_of())) for name in names)
    assert machine_of(limited, limited.repeats[0]).inputs["dirty_limit"] == (LimitChange(0, 10),)
    assert machine_of(post, post.repeats[0]).migration.postcopy_after_rounds == 2  # type: ignore[union-attr]


def test_a_record_has_the_parameters_and_figures_of_mechanisms() -> None:
    """Else its simulation takes the defaults: two channels without compression, a cache of 64 MiB, no limit."""
    set_to = {
        "multifd-channels": 5, "multifd-compression": "zlib", "xbzrle-cache-size": 32 << 20,
        "max-postcopy-bandwidth": 30_000_000,
    }  # fmt: skip
    run = run_of(parameters={**PARAMETERS, **set_to})
    run.last["xbzrle-cache"] = {"bytes": 600, "pages": 100, "cache-miss": 7}
    case = as_case(recorded(replace(PLAN[1], capabilities=("multifd", "postcopy-ram")), run))
    migration = machine_of(case, case.repeats[0]).migration
    assert migration is not None
    assert (migration.multifd_channels, migration.multifd_compression) == (5, "zlib")
    assert (migration.xbzrle_cache_size, migration.max_postcopy_bandwidth) == (32 << 20, 30_000_000)
    assert case.measured["xbzrle_cache_miss"]["median"] == 7
    assert machine_of(case, case.repeats[0]).content.ratio == 1.0


def test_both_sides_get_the_parameters_of_a_mechanism() -> None:
    """A destination with two channels refuses the third, and the migration fails with "Broken pipe"."""
    asked: dict[str, list[Any]] = {"src": [], "dst": []}

    def side(name: str) -> Any:
        return SimpleNamespace(qmp=SimpleNamespace(ask=lambda command, **given: asked[name].append((command, given))))

    planned = replace(PLAN[1], parameters={"multifd-channels": 3})
    migrate_module._set_up(side("src"), side("dst"), planned, run_of())
    assert ("migrate-set-parameters", {"multifd-channels": 3}) in asked["dst"]


@pytest.mark.parametrize(("capabilities", "beyond"), [(["auto-converge"], 0.04), ([], 0.015)])
def test_a_single_repeat_is_judged_by_the_spread_of_single_repeats(capabilities: list[str], beyond: float) -> None:
    inputs = {"accel": "kvm", "write_rate_pages_s": 40000, "capabilities": capabilities}
    single = {name: {"median": n, "min": n, "max": n} for name, n in (("total_time_ms", 6000), ("dirty_sync_count", 24))}
    case = Case("one", inputs, ("completed",), single, ({},))
    assert _figure(case, "total_time_ms", 6000 * (0.999 + TOLERANCE + beyond)).passed
    assert not _figure(case, "total_time_ms", 6000 * (1.001 + TOLERANCE + beyond)).passed
    assert _figure(case, "dirty_sync_count", 23).passed
    assert not _figure(replace(case, repeats=({}, {}, {})), "dirty_sync_count", 23).passed


def test_a_dirty_rate_is_told_and_not_scored() -> None:
    rows = list(rate_rows([DirtyRate("dirty-ring", 12, 12.4, 4000, 100, 2700)]))
    assert not any(row.scored for row in rows)
    assert beside_grid(rows).cells == ()
    (line,) = measured_lines(rows)
    assert line == (
        "calc-dirty-rate/dirty-ring: MiB/s 12; not simulated beside it; the guest wrote 12.4 MiB/s of distinct pages"
    )


@pytest.mark.parametrize(
    ("version", "simulated"), [("7.2.22", "7.2"), ("6.2.0", "7.2"), ("8.2.2", "7.2"), ("10.1.0", "10.0"), ("11.0.0", "10.2")]
)
def test_another_qemu_is_simulated_as_the_nearest_older_one(version: str, simulated: str) -> None:
    assert modelled_version(version) == simulated


def test_kvm_of_the_case_is_that_of_its_host() -> None:
    raw = recorded(PLAN[0], run_of())
    under = under_of(as_case(raw), "zen4-pvm")
    assert (under.mmu, under.write_tracking, under.sheet) == ("shadow", "write-protect", "zen4-pvm")
    raw["inputs"]["host"] = {"kernel": "6.1", "mmu": "tdp", "pml": True}
    under = under_of(as_case(raw), "cascade-lake")
    assert (under.era, under.mmu, under.write_tracking) == ("E4", "tdp", "pml")
    assert load_costs(under.sheet)


def test_distinct_pages_of_uniform_writes() -> None:
    assert distinct_mib(8192, 1e9) == 32
    assert distinct_mib(8192, 1) == pytest.approx(4096 / (1 << 20), rel=1e-3)
