"""calc-dirty-rate: QEMU's integers, its three modes against known writes, and the loader's refusals."""

from __future__ import annotations

import statistics
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.core.knobs import Knobs
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Workload, build_guest
from hostsim.guest.written import class_works, written_pages
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.calc_dirty_rate import CalcDirtyRate, DirtyRate
from hostsim.qemu.parameters import MigrationParameters
from hostsim.qemu.version import Version
from hostsim.scenario import Scenario
from hostsim.simulation import run

MS, S = 1_000_000, 1_000_000_000
PAGES = 65_536
FAST = Pacing(open_loop=True, catch_up=Fraction(1000))


def load(pattern: str = "uniform", writes: int = 8_000, **keys: Any) -> Workload:
    keys = {"pacing": FAST, **keys}
    return Workload("writer", pattern, (0,), 1024, 16_384, Fraction(writes), **keys)


def measured(
    *commands: CalcDirtyRate, tracking: str = "clear-dirty-log", work: Workload | None = None, seed: int = 1,
    knobs: Knobs | None = None, **parameters: Any,
) -> list[DirtyRate]:  # fmt: skip
    machine = Machine(
        MachineSpec(
            lay_out([("pc.ram", PAGES, [(0, PAGES // 2)]), ("tiny", 16, [])]), (work or load(),), 1, load_sheet("generic"),
            seed, 4 * S, tracking, mmu=MmuSpec(ring_entries=4096), dirty_rates=commands,
            migration=MigrationParameters(**parameters) if parameters else None,
        ),
        knobs,
    )  # fmt: skip
    machine.run()
    assert machine.dirty_rates is not None
    return machine.dirty_rates.answers


def command(mode: Any, at_s: int = 0, calc_time_ms: int = 1000, sample_pages: int = 4096) -> CalcDirtyRate:
    return CalcDirtyRate(at_s * S, mode, calc_time_ms, sample_pages)


def test_a_bitmap_counts_the_pages_of_a_sweep_each_time_anew() -> None:
    for tracking in ("get-dirty-log", "clear-dirty-log", "initially-all-set"):
        found = measured(command("dirty-bitmap"), command("dirty-bitmap", 2), tracking=tracking, work=load("sequential"))
        assert [abs(one.written_pages - 8_000) <= 2 for one in found] == [True, True], tracking
        assert [one.dirty_rate for one in found] == [31, 31], "8000 pages are 31.25 MiB"
        assert all(one.lost_ns > 0 for one in found)


def test_a_ring_counts_pages_again_that_are_dirtied_again() -> None:
    (few,) = measured(command("dirty-ring"), tracking="dirty-ring", work=load("sequential"))
    assert (few.dirty_rate, few.vcpu_dirty_rates) == (31, (31,))
    (many,) = measured(command("dirty-ring"), tracking="dirty-ring", work=load(writes=100_000))
    assert many.written_pages <= 16_384
    assert many.dirty_rate > 3 * many.written_pages // 256, "each full ring is reset, and its pages are logged again"


def test_page_sampling_is_off_by_its_sampling_error_and_costs_nothing() -> None:
    found = [measured(command("page-sampling"), seed=seed)[0] for seed in range(1, 31)]
    truth = [one.written_pages / 256 for one in found]
    errors = [one.dirty_rate - real for one, real in zip(found, truth, strict=True)]
    # 1024 samples of 65536 pages, a tenth of which is written: the estimate spreads by sqrt(n)/n of n = 100 samples.
    expected = statistics.mean(truth) * (1024 * statistics.mean(truth) / 256) ** -0.5
    assert statistics.pstdev(errors) == pytest.approx(expected, rel=0.4)
    assert abs(statistics.mean(errors) + 0.5) < 4 * expected / len(found) ** 0.5, "half a MiB is lost to whole numbers"
    assert all(one.lost_ns == 0 for one in found)


@pytest.mark.parametrize("tracking", ["tcg", "dirty-ring", "get-dirty-log"])
def test_page_sampling_needs_no_log(tracking: str) -> None:
    (found,) = measured(command("page-sampling"), tracking=tracking)
    assert 10 < found.dirty_rate < 60


def test_sampling_is_the_arithmetic_of_update_dirtyrate() -> None:
    """All pages of a block of 256 MiB but the last are written, so each sample is dirty: 256 MiB in 500 ms."""
    every = Workload("writer", "sequential", (0,), 0, PAGES, Fraction(1_000_000), pacing=FAST)
    (found,) = measured(command("page-sampling", calc_time_ms=500, sample_pages=512), work=every)
    assert (found.calc_time_ms, found.dirty_rate) == (500, 128 * 256 * 1000 // (128 * 500))


@pytest.mark.parametrize(("qemu", "rate"), [("7.2", 20), ("10.2", 21)])
def test_whole_mib_are_dropped_before_or_after_the_scaling(qemu: Version, rate: int) -> None:
    """2700 pages in 500 ms: 10.55 MiB; 7.2 drops the part first, later versions last."""
    found = measured(
        command("dirty-bitmap", calc_time_ms=500), work=load("sequential", 5_400), qemu=qemu, start_ns=1 << 60
    )
    assert found[0].dirty_rate == rate


def test_no_knob_moves_a_measurement() -> None:
    commands = (command("page-sampling"), command("dirty-bitmap", 2))
    assert measured(*commands, knobs=Knobs(3, 5, 777_777)) == measured(*commands)


@pytest.mark.parametrize("arrivals", ["paced", "poisson"])
def test_as_many_pages_are_written_as_the_law_says(arrivals: Any) -> None:
    guest = build_guest((load(writes=16_384, arrivals=arrivals),), 5)
    before, after = class_works(guest, 0), class_works(guest, S)
    after[:] = S
    found = written_pages(guest, PAGES, before, after, np.random.Generator(np.random.Philox(key=(1, 2))))
    assert abs(found.sum() - 16_384 * (1 - np.exp(-1))) < 5 * 16_384**0.5 * 0.5
    assert not found[:1024].any()
    assert not found[1024 + 16_384 :].any()


@pytest.mark.parametrize("tracking", ["clear-dirty-log", "initially-all-set", "get-dirty-log", "dirty-ring"])
def test_a_migration_after_a_measurement_loses_no_write(tracking: str) -> None:
    mode = "dirty-ring" if tracking == "dirty-ring" else "dirty-bitmap"
    found = run(scenario(mode, dirty_tracking=tracking, migration={"start": "1500ms", "bandwidth": "64MiB/s"}))
    assert found.migrations[0].status == "completed"
    assert len(found.to_dict()["calc_dirty_rate"]) == 1


def scenario(mode: str, **keys: Any) -> Scenario:
    migration, extra = keys.pop("migration", None), keys.pop("measure", {})
    vm = {"memory": "32MiB", "workload": [{"pattern": "uniform", "size": "16MiB", "write_rate": "2000/s"}], **keys}
    vm["calc_dirty_rate"] = [{"mode": mode, **extra}]
    return Scenario(duration="8s", vm=vm, **({} if migration is None else {"migration": migration}))


@pytest.mark.parametrize(
    ("mode", "keys", "match"),
    [
        ("dirty-ring", {"dirty_tracking": "get-dirty-log"}, r"mode: got 'dirty-ring' with 'get-dirty-log'"),
        ("dirty-bitmap", {"dirty_tracking": "dirty-ring"}, r"mode: got 'dirty-bitmap' with 'dirty-ring'"),
        ("dirty-bitmap", {}, r"mode: got 'dirty-bitmap' with 'tcg'"),
        ("page-sampling", {"measure": {"calc_time": "10ms"}}, r"calc_time"),
        ("page-sampling", {"measure": {"calc_time": "9s"}}, r"start: got an end at 9s"),
        ("page-sampling", {"measure": {"calc_time": "500ms"}, "migration": {"qemu": "7.2"}}, r"whole seconds"),
        ("page-sampling", {"measure": {"sample_pages": 100}}, r"sample_pages"),
        ("dirty-bitmap", {"dirty_tracking": "get-dirty-log", "migration": {}}, r"before migration\.start"),
    ],
)
def test_qemus_refusals_are_the_loaders(mode: str, keys: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        scenario(mode, **keys)


@pytest.mark.parametrize("key", ["calc_dirty_rate", "dirty_limit"])
def test_a_neighbour_takes_no_commands(key: str) -> None:
    commands = {"calc_dirty_rate": [{"start": "1s"}], "dirty_limit": [{"quota": "10MiB/s"}]}
    vm = {"memory": "32MiB", "dirty_tracking": "dirty-ring"}
    with pytest.raises(InputError, match=rf"neighbour\[0\]\.{key}: got a command, wanted commands of \[vm\] alone"):
        Scenario(duration="8s", vm=vm, neighbour=[{**vm, key: commands[key]}])
