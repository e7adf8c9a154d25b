"""Rules of a measurement, on records made up for them."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hostsim.costs.costs import KVM_MEASURED, known_numbers, load_costs
from hostsim.measure.calibrate.machine import MachineFacts
from hostsim.measure.calibrate.sheet_text import as_object, sheet_text
from hostsim.measure.kvm import calibrate_kvm, device, measures
from hostsim.measure.kvm.bench import Bench, Timing
from hostsim.measure.kvm.bystanders import busy_s, check_quiet
from hostsim.measure.kvm.calibrate_kvm import Plan, calibration_of, notes, with_kvm
from hostsim.measure.kvm.chains import CHAIN_WORK, CHAINS, chain_name
from hostsim.measure.kvm.device import Kvm, KvmError, check_platform
from hostsim.measure.kvm.host import KvmHost, read_host
from hostsim.measure.kvm.memory_size import size_for
from hostsim.measure.kvm.numbers import ABOVE_ALL, LOCKED_SHARE, MEANING, RENAMED, chain_slope, follow
from hostsim.measure.kvm.pace import PREEMPTED, is_calm, waits
from hostsim.measure.kvm.rules import REPETITIONS_MIN, Expected, about, complaint, foreign_share, none_of, slope
from tests.unit.test_calibrate_sheet import CACHES, made

SHADOW = KvmHost("shadow", False, "6.18.44-x", "AMD EPYC", 2)
TDP = KvmHost("tdp", False, "6.8.0", "Intel Xeon", 8)
LEAST = 24_600
"""Ticks of the loop on an own core."""
FAULT = {"loop_ns": 10.0, "dirty_pass_ns": 2510.0, "populate_pass_ns": 4610.0}


def bench(**medians: float) -> Bench:
    """Seven repetitions of each, 1 % apart."""
    made_up = Bench(None, REPETITIONS_MIN, 1 << 26, (0, 1))  # type: ignore[arg-type]  # no KVM is asked
    for name, ns in medians.items():
        for step in range(-3, 4):
            made_up.keep(name, ns * (1 + step / 100), [Timing(ns, ns, {})])
    return made_up


def test_a_line_has_slope_and_intercept() -> None:
    a_call, rest = slope([1, 32, 256], [100 + 2 * 1, 100 + 2 * 32, 100 + 2 * 256])
    assert (round(a_call, 9), round(rest, 6)) == (2, 100)


@pytest.mark.parametrize(
    ("counters", "expected", "said"),
    [
        ({"pf_taken": 16384}, about("pf_taken", 16384), ""),
        ({"pf_taken": 16000}, about("pf_taken", 16384), "pf_taken moved by 16000, expected 16212 to 16556"),
        ({}, none_of("pf_taken"), ""),
        ({"pf_taken": 9}, none_of("pf_taken"), "pf_taken moved by 9, expected -8 to 8"),
        ({"pages_4k": -16384}, about("pages_4k", -16384), ""),
        ({"pages_4k": 16384}, about("pages_4k", -16384), "pages_4k moved by 16384, expected -16556 to -16212"),
    ],
)
def test_counters_prove_what_happened(counters: dict[str, int], expected: Expected, said: str) -> None:
    assert complaint(counters, [expected]) == said


def test_a_repetition_with_a_fault_too_many_is_refused() -> None:
    found = bench(read_loop_ns=5)
    for faults in [0] * (REPETITIONS_MIN - 1) + [4000]:
        found.take("loop_ns", Timing(2000.0, 1000.0, {"pf_taken": faults}), 100, none_of("pf_taken"))
    assert found.taken["loop_ns"].ns == [10.0] * (REPETITIONS_MIN - 1)
    assert found.sample("loop_ns") is None
    assert found.why_not("loop_ns") == "refused: pf_taken moved by 4000, expected -8 to 8"
    assert found.why_not("ring_reset_ns") == "not reached"


def test_a_call_that_sleeps_takes_as_long_as_the_walls_clock_says() -> None:
    assert Timing(20_000.0, 12_000.0, {}, slept=True).ns == 20_000
    assert Timing(20_000.0, 12_000.0, {}).ns == 12_000


def test_a_thread_that_waits_is_seen_to_wait() -> None:
    before = waits()
    time.sleep(1e-3)
    assert waits() > before


def test_a_descriptor_that_is_freed_is_what_unmapping_pays_more_than_enabling() -> None:
    unmap, enable = {1: 37.0, 2: 247.0, 8: 304.0}, {1: 40.0, 2: 107.0, 8: 238.0}
    rows = {("unmap", k): ns for k, ns in unmap.items()} | {("enable", k): ns for k, ns in enable.items()}
    found = {name: value for name, value, *_ in follow(SHADOW, {chain_name(*key): ns for key, ns in rows.items()})}
    assert found["zap_page_ns"] == 37
    assert found["free_cold_ns"] == pytest.approx((247 - 37 - 57 / 6) - (107 - 40 - 131 / 6))


def test_an_emulated_write_is_told_from_its_flush() -> None:
    ns = {"clear_one_more_ns": 300.0, "clear_nothing_ns": 470.0, "clear_dirty_page_ns": 24.0, "emulated_more_ns": 1150.0}
    found = {name: value for name, value, *_ in follow(SHADOW, ns)}
    assert found["emulate_write_ns"] == 1150 - 276


def test_time_of_others_is_what_is_not_ours() -> None:
    assert foreign_share(busy_s=3.0, own_s=1.0, elapsed_s=2.0, n_cpus=2) == 0.5
    assert foreign_share(busy_s=0.9, own_s=1.0, elapsed_s=2.0, n_cpus=2) == 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    # user nice system idle iowait irq softirq steal guest guest_nice; guest time is in user already
    assert busy_s(f"cpu  {5 * ticks} 0 {ticks} 900 80 0 0 {ticks} {4 * ticks} 0\ncpu0 1 2 3") == 7


def test_a_busy_machine_is_refused_unless_accepted() -> None:
    check_quiet(0.05, accept=False)
    check_quiet(0.9, accept=True)
    with pytest.raises(KvmError, match=r"the machine is busy: other processes took 90% .* or accept it with --busy"):
        check_quiet(0.9, accept=False)


def test_a_fault_of_the_shadow_mmu_is_shared_out() -> None:
    found = {name: value for name, value, *_ in follow(SHADOW, {**FAULT, "pages_a_map_fault": 8.0})}
    assert found["exclusive_base_ns"] == LOCKED_SHARE * 2500
    assert found["exit_ns"] + found["entry_ns"] + found["exclusive_base_ns"] == pytest.approx(2500)
    assert found["populate_ns"] == 2100
    assert "lockless_hold_ns" not in found


def test_a_further_page_of_a_fault_is_what_it_takes_more_than_a_fault_of_one_page() -> None:
    passes = {"map_pass_ns": 710.0, "logged_map_pass_ns": 2710.0}
    shadow = {name: value for name, value, *_ in follow(SHADOW, {**FAULT, **passes, "pages_a_map_fault": 8.0})}
    assert shadow["prefetch_spte_ns"] == pytest.approx((8 * 700 - 2700) / 7)
    of_one = {name for name, *_ in follow(SHADOW, {**FAULT, **passes, "pages_a_map_fault": 1.0})}
    assert "prefetch_spte_ns" not in of_one


def test_the_first_mapping_of_a_page_is_what_a_pass_over_new_pages_takes_longer() -> None:
    for pair_ns, more_ns in ((420.0, 420.0), (-10.0, 0.0)):
        passes = {"map_pass_ns": 710.0, "first_map_pass_ns": 1130.0, "first_map_more_ns": pair_ns}
        found = {name: value for name, value, *_ in follow(SHADOW, {**FAULT, **passes, "pages_a_map_fault": 8.0})}
        assert found["first_map_ns"] == more_ns


def test_a_direct_map_fault_is_not_charged_with_what_it_prefetches() -> None:
    direct = KvmHost("direct", False, "6.18.0", "Intel Xeon", 8)
    ns = {**FAULT, "event_exit_ns": 1000.0, "map_pass_ns": 710.0, "logged_map_pass_ns": 2710.0, "pages_a_map_fault": 8.0}
    found = {name: value for name, value, *_ in follow(direct, ns)}
    assert (found["map_hold_ns"], found["populate_ns"]) == (1700, 1900)
    assert found["prefetch_spte_ns"] == pytest.approx((8 * 700 - 2700) / 7)


def test_a_fault_of_the_tdp_mmu_pays_exit_and_entry_as_measured() -> None:
    ns = {**FAULT, "event_exit_ns": 1000.0, "map_pass_ns": 3010.0, "pages_a_map_fault": 1.0}
    found = {name: value for name, value, *_ in follow(TDP, ns)}
    assert found["exit_ns"] + found["entry_ns"] == pytest.approx(1000)
    assert (found["lockless_hold_ns"], found["map_hold_ns"], found["populate_ns"]) == (1500, 2000, 1600)
    assert "exclusive_base_ns" not in found


def test_an_exit_that_costs_more_than_a_fault_is_no_measure_of_it() -> None:
    ns = {**FAULT, "event_exit_ns": 3000.0, "pages_a_map_fault": 1.0}
    found = {name: value for name, value, *_ in follow(TDP, ns)}
    assert 0 < found["exit_ns"] + found["entry_ns"] < 2500


def test_faults_that_the_processor_logs_are_no_faults() -> None:
    with_pml = KvmHost("tdp", True, "6.8.0", "Intel Xeon", 8)
    assert list(follow(with_pml, {**FAULT, "pages_a_map_fault": 1.0})) == []
    ns = {**FAULT, "event_exit_ns": 1000.0, "map_pass_ns": 3010.0, "pages_a_map_fault": 1.0}
    found = {name: value for name, value, *_ in follow(with_pml, ns)}
    assert found == {"exit_ns": 600, "entry_ns": 400, "map_hold_ns": 2000, "populate_ns": 1600}


def test_the_sheet_of_a_measurement_loads(tmp_path: Path) -> None:
    found = bench(**FAULT, clear_dirty_page_ns=24.0, protect_page_ns=36.0, all_set_page_ns=0.0)
    calibration = calibration_of(SHADOW, found, 0.01)
    whole = with_kvm(made(MachineFacts("a CPU", False, CACHES, None, None), ()), calibration)
    path = tmp_path / "mine.toml"
    path.write_text(sheet_text(whole), encoding="utf-8")
    sheet = load_costs(str(path))
    assert (sheet.clear_rmap_ns, sheet.protect_page_ns, sheet.initially_set_ratio) == (23.64, 35.46, 0)
    source = sheet.numbers["clear_rmap_ns"].source
    assert source.startswith("measured on AMD EPYC, Linux 6.18, KVM's shadow MMU, lower quartile of 7")
    assert sheet.numbers["flush_first_ns"].assumed
    assert "flush_first_ns: not reached" in path.read_text(encoding="utf-8")
    assert "exit_ns" in as_object(whole, "mine.toml")["through_kvm"]


def test_a_difference_that_noise_made_negative_is_not_measured(tmp_path: Path) -> None:
    found = bench(**FAULT, scattered_fault_ns=-4.8, clear_one_more_ns=10.0, clear_nothing_ns=470.0, clear_dirty_page_ns=24.0)
    calibration = calibration_of(SHADOW, found, 0.0)
    for name in ("scattered_fault_ns", "flush_local_ns"):
        assert name not in {number.name for number in calibration.numbers}
        assert "less than their noise here" in calibration.absent[name]
    path = tmp_path / "mine.toml"
    path.write_text(sheet_text(with_kvm(made(MachineFacts("a CPU", False, CACHES, None, None), ()), calibration)), "utf-8")
    assert "scattered_fault_ns" not in load_costs(str(path)).numbers, "cascade-lake has none to lend"


def test_a_number_is_the_repetition_that_its_noise_asks_for() -> None:
    made_up = bench(**FAULT, map_pass_ns=700.0, first_map_more_ns=200.0)
    found = {number.name: number for number in calibration_of(SHADOW, made_up, 0.0).numbers}
    assert found["dirty_pass_ns"].value == pytest.approx(0.985 * 2510, rel=1e-3)  # of -3 to 3 %, a quarter of the way
    assert ", lower quartile of 7" in found["dirty_pass_ns"].source
    assert (found["map_pass_ns"].value, found["first_map_ns"].value) == (689.5, 200)
    assert ", median of 7" in found["first_map_ns"].source


def test_a_flush_is_a_call_that_finds_a_page_less_one_that_finds_none() -> None:
    ns = {**FAULT, "clear_one_more_ns": 300.0, "clear_nothing_ns": 470.0, "clear_dirty_page_ns": 24.0}
    found = {name: value for name, value, *_ in follow(SHADOW, {**ns, "pages_a_map_fault": 8.0})}
    assert (found["flush_local_ns"], found["clear_call_ns"]) == (276, 746)


def paced(**repetitions: Sequence[tuple[float, float]]) -> Bench:
    """Repetitions of (ns, times the least time of the loop beside it)."""
    made_up = bench(loop_ns=10.0)
    made_up.pace = SimpleNamespace(least_ticks=LEAST)  # type: ignore[assignment]  # no loop is called
    for name, rows in repetitions.items():
        for ns, times in rows:
            made_up.keep(name, ns, [Timing(ns, ns, {}, pace_ticks=round(times * LEAST))])
    return made_up


def test_repetitions_count_whose_core_was_their_own() -> None:
    rows = [(2500, 1.0), (3400, 1.5), (2510, 1.02), (3100, 1.3), (2490, 1.03), (2000, 1.04), (4000, 1.9)]
    found = paced(dirty_pass_ns=rows)
    sample = found.sample("dirty_pass_ns")
    assert sample is not None
    assert sample.ns.tolist() == [2500, 2510, 2490]
    assert (sample.taken, sample.is_calm, sample.doubt, sample.words) == (7, True, "", "the 3 with cores of their own of 7")
    assert found.n_calm["dirty_pass_ns"] == 3


def test_a_number_without_a_core_of_its_own_is_to_be_distrusted() -> None:
    rows = [(3400, 1.5), (3100, 1.3), (2600, 1.1), (3600, 1.6), (3500, 1.5), (2700, 1.2), (2500, 1.01)]
    found = calibration_of(SHADOW, paced(dirty_pass_ns=rows), 0.0)
    assert found.doubts["exit_ns"] == "fewer than three repetitions had a core of their own"
    (number,) = [number for number in found.numbers if number.name == "dirty_pass_ns"]
    assert (number.value, number.repetitions) == (2550, 3)  # the lower quartile of the three calmest
    assert "of the 3 calmest of 7, spread" in number.source
    assert found.is_restless
    assert any(line.startswith("The machine is restless") and "dirty_pass_ns" in line for line in notes(found))


def test_a_number_whose_repetitions_wander_is_to_be_distrusted() -> None:
    found = paced(ring_reset_ns=[(30.0 * (1 + step % 3), 1.0) for step in range(9)]).sample("ring_reset_ns")
    assert found is not None
    assert found.doubt == f"uncertain by {found.error:.0%}"
    assert found.error == pytest.approx(1.2533 / 1.349 * 1.0 / 3, rel=0.01)


def test_a_preempted_repetition_does_not_count() -> None:
    assert not is_calm(PREEMPTED, LEAST)
    assert is_calm(round(1.03 * LEAST), LEAST)


def test_rounds_go_on_with_measurements_that_are_not_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wandering one is made again and again, after the rounds the other no more."""
    found, made = paced(), list[str]()

    def steady(_bench: Bench) -> None:
        made.append("steady")
        found.keep("loop_ns", 10.0, [Timing(1.0, 1.0, {}, pace_ticks=LEAST)])

    def wandering(_bench: Bench) -> None:
        made.append("wandering")
        found.keep("ring_reset_ns", 10.0 + 10 * (len(made) % 3), [Timing(1.0, 1.0, {}, pace_ticks=LEAST)])

    measures: dict[str, Callable[[Bench], None]] = {"steady": steady, "wandering": wandering}
    monkeypatch.setattr(calibrate_kvm, "MEASURES", measures)
    plan, gives = Plan(1, 1, rounds=2, seconds=9.0, enough=3), {"steady": {"loop_ns"}, "wandering": {"ring_reset_ns"}}
    order = calibrate_kvm._in_order(found, plan, gives)
    for what in islice(order, 9):
        measures[what](found)
    assert made == ["steady", "wandering"] * 2 + ["wandering"] * 5


def test_a_busy_machine_is_named_in_every_source() -> None:
    calibration = calibration_of(SHADOW, bench(**FAULT), 0.8)
    assert calibration.is_busy
    assert all("other processes took 80% of the processors" in number.source for number in calibration.numbers)


def test_every_number_has_a_place_in_a_sheet() -> None:
    names = {renamed for name in MEANING for renamed in RENAMED.get(name, {"": name}).values()} - {*ABOVE_ALL}
    names |= {"first_map_ns", "clear_call_ns", "emulate_write_ns", "zap_page_ns", "free_cold_ns"}
    names |= {f"further_spte_{work}_ns" for work in CHAIN_WORK}
    assert names <= known_numbers()
    assert set(KVM_MEASURED) <= names


def test_every_number_that_is_kept_has_a_meaning() -> None:
    """A bench takes any name; one without a line in MEANING would be measured and reach no sheet."""
    folder = Path(measures.__file__).parents[1]
    texts = [path.read_text() for path in [*folder.glob("kvm/*.py"), *folder.glob("privileged/*.py")]]
    kept = {name for text in texts for name in re.findall(r"bench\.(?:take|keep)\(\s*\"(\w+)\"", text)}
    assert {"loop_ns", "sync_table_ns", "age_page_ns"} <= kept
    assert kept - {*MEANING, "pages_a_map_fault"} == set(), "add its words to MEANING in hostsim/measure/kvm/numbers.py"


def test_a_further_spte_is_a_line_from_the_second_on() -> None:
    found = bench(**{chain_name("get", k): 24 + (50 if k > 1 else 0) + 11 * (k - 1) for k in CHAINS})
    a_spte, which, sample = chain_slope(found, "get") or (0.0, "", None)
    assert sample is not None
    assert (a_spte, which) == (pytest.approx(11), "medians")
    assert np.median(sample.ns) == pytest.approx(11)
    assert chain_slope(found, "unmap") is None
    calibration = calibration_of(SHADOW, found, 0.0)
    assert [number.value for number in calibration.numbers if number.name == "further_spte_get_ns"] == [11]
    assert calibration.chains == {"get": {1: 24, 2: 85, 8: 151, 16: 239}}
    assert calibration.absent["further_spte_unmap_ns"] == "not reached"


def test_a_host_is_read_from_its_modules(tmp_path: Path) -> None:
    assert read_host(tmp_path).mmu == "shadow"
    parameters = {"kvm/parameters/tdp_mmu": "Y", "kvm_intel/parameters/ept": "Y", "kvm_intel/parameters/pml": "N"}
    for name, value in parameters.items():
        path = tmp_path / "sys/module" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    assert (read_host(tmp_path).mmu, read_host(tmp_path).pml) == ("tdp", False)
    (tmp_path / "sys/module/kvm/parameters/tdp_mmu").write_text("N\n")
    assert read_host(tmp_path).mmu == "direct"


def test_what_is_missing_is_said_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(device, "DEVICE", str(tmp_path / "kvm"))
    with pytest.raises(KvmError, match=r"kvm: No such file or directory; load the module kvm_intel or kvm_amd"):
        Kvm.open()
    monkeypatch.setattr(device, "DEVICE", "/dev/null")
    with pytest.raises(KvmError, match=r"KVM_GET_API_VERSION: Inappropriate ioctl"):
        Kvm.open()


def test_no_right_is_a_matter_of_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(KvmError, match=r"/dev/kvm: Permission denied; join the group kvm"):
        Kvm.open()


def test_other_machines_are_told_so() -> None:
    with pytest.raises(KvmError, match=r"this is aarch64 under linux; hostsim measures KVM on x86-64 Linux only"):
        check_platform("aarch64", "linux")
    with pytest.raises(KvmError, match="darwin"):
        check_platform("x86_64", "darwin")
    check_platform("x86_64", "linux")


@pytest.mark.parametrize(("fault_ns", "mib"), [(500, 64), (2_500, 64), (10_000, 32), (20_000, 32), (1e6, 32)])
def test_a_host_whose_faults_are_dear_is_measured_with_smaller_vms(fault_ns: float, mib: int) -> None:
    assert size_for(fault_ns) == mib << 20
