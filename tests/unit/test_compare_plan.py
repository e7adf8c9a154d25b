"""Which runs a comparison has: all combinations, the same seeds, keys that distinguish results."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.study.compare import identity, together
from hostsim.study.compare.axes import read_axes
from hostsim.study.compare.plan import Plan, Request, make_plan
from hostsim.study.compare.runner import replay
from tests.helpers.command import QUICK

TRACE = QUICK.replace('pattern = "sequential"\nsize = "8MiB"\nwrite_rate = "2000/s"', 'pattern = "trace"\nfile = "t.csv"')
BOTH = ("migration.bandwidth=16MiB/s,32MiB/s,64MiB/s", "migration.downtime_limit=100ms,300ms")


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    path = tmp_path / "quick.toml"
    path.write_text(QUICK)
    return path


def planned(file: Path, *vary: str, **more: object) -> Plan:
    return make_plan(Request(file, read_axes(vary), **more))  # type: ignore[arg-type]


def problems(file: Path, *vary: str, **more: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        planned(file, *vary, **more)
    return [str(problem) for problem in caught.value.problems]


def test_the_last_axis_varies_fastest_and_the_first_values_come_first(quick: Path) -> None:
    found = planned(quick, *BOTH)
    assert found.combinations[:3] == (("16MiB/s", "100ms"), ("16MiB/s", "300ms"), ("32MiB/s", "100ms"))
    assert len(found.runs) == 6
    migrations = [run.scenario.migration for run in found.runs]
    assert [m.downtime_limit for m in migrations if m] == [100_000_000, 300_000_000] * 3
    assert [m.bandwidth >> 20 for m in migrations if m] == [16, 16, 32, 32, 64, 64]


def test_every_combination_has_the_same_seeds(quick: Path) -> None:
    found = planned(quick, *BOTH, seed=7, n_seeds=3)
    assert found.seeds == (7, 8, 9)
    assert [run.seed for run in found.runs] == [7, 8, 9] * 6
    assert all(run.scenario.seed == run.seed for run in found.runs)


def test_the_key_of_a_run_follows_from_what_moves_its_result(quick: Path) -> None:
    keys = [run.key for run in planned(quick, *BOTH, n_seeds=2).runs]
    assert len(set(keys)) == len(keys)
    assert keys[::2] == [run.key for run in planned(quick, *BOTH).runs]
    same = planned(quick, "migration.bandwidth=16MiB/s,16384KiB/s").runs
    assert same[0].key == same[1].key


def test_another_version_or_trace_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, trace = tmp_path / "trace.toml", tmp_path / "t.csv"
    file.write_text(TRACE)
    trace.write_text("time,vcpu,gfn,rw\n1000,0,5,w\n")
    keys = [planned(file, BOTH[1]).runs[0].key]
    trace.write_text("time,vcpu,gfn,rw\n1000,0,6,w\n")
    keys.append(planned(file, BOTH[1]).runs[0].key)
    monkeypatch.setattr(identity, "versions", lambda: {"hostsim": "another"})
    keys.append(planned(file, BOTH[1]).runs[0].key)
    assert len(set(keys)) == 3


def test_the_code_that_moves_no_result_is_not_in_the_key() -> None:
    rooms = {path.name for path in identity.PACKAGE.iterdir() if path.is_dir()}
    assert set(identity.MOVES_NOTHING) <= rooms
    simulated = {"compiled", "core", "costs", "guest", "spte_index", "kvm", "qemu", "memory", "machine", "data"}
    asked = {"scenario", "results", "study", "theory"}
    assert not (simulated | asked) & set(identity.MOVES_NOTHING)


def test_an_unknown_key_is_said_once_with_the_nearest(quick: Path) -> None:
    (text,) = problems(quick, "link.bandwith=1Gbit/s,10Gbit/s", BOTH[1])
    assert text == "--vary: link.bandwith: got an unknown key, wanted 'bandwidth' (the nearest valid key)"


def test_bad_values_of_all_combinations_are_said_at_once(quick: Path) -> None:
    found = problems(quick, "migration.bandwidth=16MiB,32MiB/s,x", "migration.downtime_limit=1500us,1h,300ms")
    assert len(found) == 4
    assert all(text.startswith("--vary: migration.") for text in found)
    assert [text.partition("got ")[2].partition(",")[0] for text in found] == ["'16MiB'", "1.5ms", "1h", "'x'"]


def test_what_is_wrong_with_some_values_only_says_with_which(quick: Path) -> None:
    (text,) = problems(quick, "vm.memory=4MiB,64MiB", BOTH[1])
    assert text.startswith(f"{quick}: vm.workload[0].size: got ")
    assert "with vm.memory=4MiB, migration.downtime_limit=100ms and 1 more" in text


def test_what_is_wrong_with_the_file_is_said_of_the_file(quick: Path) -> None:
    quick.write_text(QUICK.replace("memory", "memroy"))
    found = problems(quick, *BOTH, overrides=("vm.vcpu=2",))
    assert {text.partition(": got")[0] for text in found} == {"--set: vm.vcpu", f"{quick}: vm.memroy", f"{quick}: vm.memory"}


def test_more_runs_than_asked_for_are_refused_before_any_is_loaded(tmp_path: Path) -> None:
    (text,) = problems(tmp_path / "gone.toml", *BOTH, n_seeds=5, max_runs=29)
    assert "got 30 runs (3 x 2 x 5 seeds), wanted at most 29 runs, or --max-runs; example: --max-runs 30" in text


def test_seeds_end_somewhere(quick: Path) -> None:
    (text,) = problems(quick, BOTH[1], seed=(1 << 63) - 1, n_seeds=2)
    assert text.startswith("--seeds: got seeds 9223372036854775807 to 9223372036854775808")


def test_a_run_can_be_replayed_alone(quick: Path) -> None:
    found = planned(quick, 'vm.workload.0.vcpus="0",all', seed=3, overrides=("vm.vcpus=2",))
    command = replay(found, found.runs[0])
    assert command == f"hostsim run {quick} --set vm.vcpus=2 --set 'vm.workload[0].vcpus=\"0\"' --seed 3"


def test_workers_are_as_many_as_fit(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = planned(quick, *BOTH).runs
    monkeypatch.setattr(together, "cores", lambda: 4)
    assert together.choose_workers(runs, None) == 4
    assert together.choose_workers(runs, 99) == 6
    assert together.choose_workers((), None) == 1
    needed = together.together_bytes(runs, 3)
    monkeypatch.setattr(together, "available_bytes", lambda: needed)
    assert together.choose_workers(runs, None) == 3
    with pytest.raises(InputError, match=r"--workers: got 4, whose simulations take .* wanted at most 3"):
        together.choose_workers(runs, 4)
    monkeypatch.setattr(together, "available_bytes", lambda: None)
    assert together.choose_workers(runs, 4) == 4


def test_the_largest_runs_decide(quick: Path) -> None:
    runs = planned(quick, "vm.memory=64MiB,1GiB,128MiB").runs
    alone = together.together_bytes(runs, 1)
    assert alone == together.together_bytes(runs[1:2], 1) > together.together_bytes(runs[:1], 1)
    assert together.together_bytes(runs, 2) > alone + together.WORKER_BYTES
