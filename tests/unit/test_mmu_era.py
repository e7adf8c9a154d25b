from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from importlib.resources import files

import pytest

from hostsim.core.errors import InputError
from hostsim.costs.era import (
    BY_MMU,
    FIELDS,
    MMUS,
    FaultLocks,
    era_names,
    era_of_kernel,
    first_kernel,
    last_kernel,
    load_era,
    with_era_names,
)
from hostsim.measure.selftest.access_options import AccessOptions, access_plan
from hostsim.measure.selftest.options import Options, asked_for
from hostsim.study.ageing.options import AgeOptions
from hostsim.study.ageing.preset import age_plan
from hostsim.study.reclaim.options import ReclaimOptions
from hostsim.study.reclaim.preset import reclaim_plan

DOTTED = {f"{field}.{mmu}" for field in BY_MMU for mmu in MMUS} | set(FIELDS) - set(BY_MMU)
ALL_EXCLUSIVE = FaultLocks("exclusive", "exclusive", "exclusive", "exclusive")
FAST = FaultLocks(map="shared", track="none", wp="none", split="shared")


def test_eras_stand_in_the_order_of_their_kernels() -> None:
    years = [load_era(name).year for name in era_names()]
    assert era_names() == ("E0", "E0b", "E1", "E2", "E3", "E4", "E5", "E6")
    assert years == sorted(years)


@pytest.mark.parametrize("name", ["E0", "E0b", "E1", "E2", "E3", "E4", "E5", "E6"])
def test_every_field_has_a_source(name: str) -> None:
    era = load_era(name)
    assert set(era.sources) == DOTTED
    assert all(len(source) > 5 for source in era.sources.values())


def test_the_file_has_no_unknown_field() -> None:
    table = tomllib.loads((files("hostsim") / "data" / "eras.toml").read_text(encoding="utf-8"))
    known = {*FIELDS, "after"}
    assert {key for era in table.values() for key in era} <= known
    assert {mmu for era in table.values() for field in BY_MMU for mmu in era.get(field, {})} == set(MMUS)


@pytest.mark.parametrize(
    ("era", "mmu", "locks"),
    [
        ("E0", "tdp", ALL_EXCLUSIVE), ("E0b", "shadow", ALL_EXCLUSIVE), ("E6", "shadow", ALL_EXCLUSIVE),
        ("E1", "tdp", FaultLocks("exclusive", "none", "none", "exclusive")),
        ("E4", "direct", FaultLocks("exclusive", "none", "none", "exclusive")),
        ("E2", "tdp", FaultLocks("shared", "shared", "shared", "shared")),
        ("E3", "tdp", FAST), ("E4", "tdp", FAST), ("E6", "tdp", FAST),
    ],
)  # fmt: skip
def test_how_faults_take_the_lock(era: str, mmu: str, locks: FaultLocks) -> None:
    assert load_era(era).locks(mmu) == locks


def column(field: str) -> list[object]:
    return [getattr(load_era(name), field) for name in era_names()]


def test_what_changed_when() -> None:
    assert column("lock") == ["spinlock"] * 3 + ["rwlock"] * 5
    assert column("ageing") == ["zap"] * 3 + ["access-tracking"] * 5
    assert column("flush_when_ageing") == [True] * 6 + [False] * 2
    assert column("ageing_lock") == ["exclusive"] * 7 + ["none"]
    assert column("eager_split") == [False] * 5 + [True] * 3
    assert column("manual_protect") == [False] * 3 + [True] * 5
    assert column("clear") == ["cmpxchg"] * 6 + ["atomic-and"] * 2
    flushes = [load_era(name).recovery_flush for name in era_names()]
    assert [one["tdp"] for one in flushes] == ["slot"] * 3 + ["spte"] * 2 + ["each"] + ["slot"] * 2
    assert {one[mmu] for one in flushes for mmu in ("direct", "shadow")} == {"slot"}
    assert column("clear_lock") == ["exclusive"] * 8


def test_how_the_log_is_read() -> None:
    reads = [load_era(name).log_read for name in era_names()]
    assert [read["tdp"] for read in reads] == ["active-walk", "hybrid", "rmap"] + ["tdp-tree"] * 5
    assert [read["shadow"] for read in reads] == ["active-walk", "hybrid"] + ["rmap"] * 6


def test_an_era_cannot_be_changed() -> None:
    era = load_era("E4")
    with pytest.raises(dataclasses.FrozenInstanceError):
        era.year = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        era.faults["tdp"] = ALL_EXCLUSIVE  # type: ignore[index]


@pytest.mark.parametrize(("name", "nearest"), [("e4", "'E4'"), ("E0B", "'E0b'"), ("E9", "'E"), ("linux", "one of E0, E0b")])
def test_an_unknown_era_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InputError) as caught:
        load_era(name)
    (problem,) = caught.value.problems
    assert problem.key == "era"
    assert problem.wanted.startswith(nearest)


def test_an_unknown_mmu_is_named() -> None:
    with pytest.raises(InputError, match="'shadow'"):
        load_era("E4").locks("shadows")


def test_each_era_tells_from_which_release_to_which_it_holds() -> None:
    spans = [(first_kernel(name), last_kernel(name)) for name in era_names()]
    assert spans[-3:] == [("5.17", "6.12"), ("6.13", "6.14"), ("6.15", None)]
    for name, (first, last) in zip(era_names(), spans, strict=True):
        assert era_of_kernel(first) == name
        assert last is None or era_of_kernel(f"{last}.99") == name


@pytest.mark.parametrize(
    ("text", "names"), [("6.1", "E4"), ("6.1,E4, 5.10.7", "E4,E2"), ("E9,6", "E9,6"), ("2.6.30", "2.6.30")]
)
def test_kernels_stand_for_their_eras_in_lists(text: str, names: str) -> None:
    assert with_era_names(text) == names


def test_every_command_takes_a_kernel_for_its_era() -> None:
    aged = age_plan(AgeOptions(era="6.1,6.15", policy="idle"))
    assert [mmu.era for row in range(2) if (mmu := aged.scenario(row).vm.mmu) is not None] == ["E4", "E6"]
    reclaimed = reclaim_plan(ReclaimOptions(era="6.1"))
    assert {mmu.era for run in reclaimed.plan.runs if (mmu := run.scenario.vm.mmu) is not None} == {"E4"}
    assert asked_for(Options(era="5.15.3")).spec == asked_for(Options(era="E3")).spec
    assert access_plan(AccessOptions(era="6.14")).mmu.era == "E5"


@pytest.mark.parametrize(
    "asked",
    [
        lambda era: age_plan(AgeOptions(era=era)), lambda era: reclaim_plan(ReclaimOptions(era=era)),
        lambda era: asked_for(Options(era=era)), lambda era: access_plan(AccessOptions(era=era)),
    ],
)  # fmt: skip
def test_no_command_takes_what_is_neither(asked: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match=r"--era: got .6\.x., wanted an era, E0, .* release; example: --era 6\.1"):
        asked("6.x")
