from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.costs.costs import ALSO_MEASURED, CONSTANTS, known_numbers, load_costs
from hostsim.measure.calibrate import calibration, memory_probe
from hostsim.measure.calibrate.atomic import atomic_adder
from hostsim.measure.calibrate.calibration import Calibration, Measured, calibrate, found_levels
from hostsim.measure.calibrate.levels import Curve, plateaus
from hostsim.measure.calibrate.machine import MachineFacts
from hostsim.measure.calibrate.measure import TIMINGS, effort
from hostsim.measure.calibrate.sample import Sample, joined, repeat, repeat_counted
from hostsim.measure.calibrate.sheet_text import as_object, sheet_text
from tests.unit.test_calibrate_levels import CACHES, KIB, LATENCIES, curve

ODD_MODEL = 'An "odd" \\ CPU \t with % and é'
Tell = Callable[..., list[Measured]]


def made(machine: MachineFacts, numbers: tuple[Measured, ...], **more: bool) -> Calibration:
    found = curve()
    return Calibration(machine, "2026-01-02", "haswell", more.get("pml", False), found, tuple(plateaus(found)), numbers)


@pytest.fixture
def machine() -> MachineFacts:
    return MachineFacts(ODD_MODEL, True, CACHES, None, None)


def tell(found: Curve, reported: tuple[int, ...]) -> dict[str, Measured]:
    samples = [Sample(np.array([ns, 1.1 * ns, 0.9 * ns])) for ns in found.ns]
    maker = calibration._NumberMaker("measured on a CPU, 2026-01-02", True)
    levels = found_levels(found, reported)
    return {n.name: n for n in maker.levels(found, levels, samples, reported, load_costs("cascade-lake"))}


def test_a_sheet_that_hostsim_reads(machine: MachineFacts, tmp_path: Path) -> None:
    numbers = (Measured("l1_ns", 1.25, "measured 'so'\n", 9, 0.1), Measured("llc_bytes", 33554432, "reported", 0, None))
    path = tmp_path / "mine.toml"
    path.write_text(sheet_text(made(machine, numbers)), encoding="utf-8")
    sheet = load_costs(str(path))
    assert (sheet.l1_ns, sheet.llc_bytes, sheet.has_pml) == (1.25, 33554432, False)
    assert sheet.machine == f"{ODD_MODEL}, in a virtual machine"
    assert not sheet.numbers["l1_ns"].assumed
    lent, of_base = sheet.numbers["exit_ns"], load_costs("haswell")
    assert lent.assumed
    assert (sheet.exit_ns, sheet.flush_first_ns) == (of_base.exit_ns, of_base.flush_first_ns)


def test_a_base_without_pml_lends_it_all_the_same(machine: MachineFacts, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(sheet_text(made(machine, (), pml=True)), encoding="utf-8")
    assert load_costs(str(path)).pml_log_ns == load_costs("cascade-lake").pml_log_ns


def test_what_is_measured_is_what_sheets_have() -> None:
    assert set(TIMINGS) <= known_numbers()
    assert set(ALSO_MEASURED) <= set(TIMINGS)
    assert {"l1_ns", "l2_ns", "llc_ns", "dram_ns", "l1_bytes", "l2_bytes", "llc_bytes"} <= set(CONSTANTS)


def test_levels_and_sizes_from_a_curve_and_what_the_kernel_reports() -> None:
    numbers = tell(curve(noise=0.02), CACHES)
    assert [numbers[f"{name}_ns"].value for name in ("l1", "l2", "llc", "dram")] == pytest.approx(LATENCIES, rel=0.15)
    assert [numbers[f"{name}_bytes"].value for name in ("l1", "l2", "llc")] == list(CACHES)
    assert "reported by the kernel; knee of the latencies at" in numbers["l2_bytes"].source
    source = numbers["dram_ns"].source
    assert source.startswith("measured on a CPU, 2026-01-02, lower quartile of ")
    assert "spread" in source


def test_a_knee_that_the_report_contradicts_is_believed() -> None:
    numbers = tell(curve(), (48 * KIB, 1 << 20, 96 << 20))
    assert numbers["llc_bytes"].value == pytest.approx(32 << 20, rel=0.5)
    assert "the kernel reports 98304 KiB" in numbers["llc_bytes"].source


@pytest.mark.parametrize("left_mib", [4, 5, 8, 12, 32])
def test_a_share_of_the_last_cache_moves_no_latency(left_mib: int) -> None:
    """Neighbours leave more or less of it: its latency is read where it answers in any case, its size to a power of two."""
    found = curve((*CACHES[:2], left_mib << 20), noise=0.01)
    numbers, whole = tell(found, CACHES), tell(curve(noise=0.01), CACHES)
    for name in ("l1_ns", "l2_ns", "llc_ns", "dram_ns", "l1_bytes", "l2_bytes"):
        assert numbers[name].value == pytest.approx(whole[name].value, rel=0.02)
    assert numbers["llc_bytes"].value in {4 << 20, 8 << 20, 16 << 20, 32 << 20}
    assert left_mib / 2 <= numbers["llc_bytes"].value / (1 << 20) <= 2 * left_mib


def test_a_blurred_shared_cache_does_not_move_the_private_ones() -> None:
    """Half of the private cache's steps are lost in a slope: what the kernel reports says where the levels lie."""
    found = curve(noise=0.01)
    at = {int(size): n for n, size in enumerate(found.footprint_bytes)}
    slope = slice(at[3 << 19], at[128 << 20])
    found.ns[slope] = np.geomspace(5.0, 110.0, slope.stop - slope.start)
    numbers = tell(found, CACHES)
    assert numbers["l2_ns"].value == pytest.approx(LATENCIES[1], rel=0.1)
    assert numbers["dram_ns"].value == pytest.approx(LATENCIES[3], rel=0.1)


def test_without_a_report_knees_are_the_sizes() -> None:
    numbers = tell(curve(), ())
    for name, size in zip(("l1", "l2", "llc"), CACHES, strict=True):
        assert numbers[f"{name}_bytes"].value == pytest.approx(size, rel=0.5)
        assert "reported" not in numbers[f"{name}_bytes"].source


def test_a_curve_without_levels_gives_what_is_reported_and_no_latency(machine: MachineFacts) -> None:
    flat = Curve(curve().footprint_bytes, np.full(len(curve().ns), 7.0))
    numbers = tell(flat, CACHES)
    assert set(numbers) == {"l1_bytes", "l2_bytes", "llc_bytes"}
    assert "no knee" in numbers["l1_bytes"].source
    assert made(machine, tuple(numbers.values())).unseen == ("l1", "l2", "llc", "dram")


def test_json_has_every_number_and_the_curve(machine: MachineFacts) -> None:
    told = as_object(made(machine, (Measured("l1_ns", 1.25, "measured", 9, 0.9),)), "mine.toml")
    assert told["numbers"] == [{"name": "l1_ns", "value": 1.25, "repetitions": 9, "spread": 0.9, "source": "measured"}]
    assert told["noisy"] == ["l1_ns"]
    assert told["not_told_apart"] == ["l2", "llc", "dram"]
    assert told["curve"][0] == {"footprint_bytes": 4096, "load_ns": LATENCIES[0]}


def test_samples() -> None:
    assert Sample(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).median_ns == 3.0
    assert Sample(np.array([1.0, 2.0, 3.0, 4.0, 5.0])).spread == pytest.approx(2 / 3)
    assert joined([Sample(np.array([1.0])), Sample(np.array([2.0, 3.0]))]).median_ns == 2.0


def test_repetitions_do_the_work_they_are_counted_for() -> None:
    done: list[int] = []
    sample = repeat_counted(lambda units: sum(range(done.append(units) or units)), 5)
    assert len(sample.ns) == 5
    assert len(set(done[-5:])) == 1
    assert done[-1] > 1024
    assert repeat(lambda: done.append(1), 10, 3).ns.shape == (3,)


def test_an_atomic_addition_is_counted() -> None:
    adder = atomic_adder()
    assert adder is not None
    adder(1000)
    assert adder(1) is not None


def test_footprints_grow_by_half_octaves() -> None:
    footprints = effort(64 * KIB, quick=True).footprints_bytes
    assert footprints == tuple(KIB * n for n in (4, 6, 8, 12, 16, 24, 32, 48, 64))


def test_plain_python_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_probe, "chase", max)
    with pytest.raises(InputError, match="NUMBA_DISABLE_JIT"):
        calibrate()


def test_an_unknown_base_names_the_nearest() -> None:
    with pytest.raises(InputError, match="'haswell' \\(the nearest\\)"):
        calibrate("haswel")
