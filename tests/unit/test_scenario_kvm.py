"""[vm.mmu] and vm.dirty_tracking: what may stand together, and what is filled in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.costs.era import era_of_kernel
from hostsim.kvm import build
from hostsim.kvm.interfaces import INTERFACES
from hostsim.kvm.spec import INDEXES, MEASURED, MmuSpec
from hostsim.machine.machine import Machine
from hostsim.scenario import Scenario, load_scenario, reference
from hostsim.scenario.build import build as build_machine


def scenario(tracking: str = "get-dirty-log", mmu: dict[str, Any] | None = None, **vm: Any) -> Scenario:
    table: dict[str, Any] = {"memory": "4GiB", "dirty_tracking": tracking, **vm}
    return Scenario.model_validate({"vm": table | ({} if mmu is None else {"mmu": mmu}), "migration": {}})


@pytest.mark.parametrize(
    ("kernel", "era"),
    [
        ("2.6.34", None), ("2.6.35", "E0"), ("3.0", "E0"), ("3.2", "E0b"), ("3.6", "E1"), ("5.9.1", "E1"), ("5.10", "E2"),
        ("5.14", "E2"), ("5.15.7", "E3"), ("5.16", "E3"), ("5.17", "E4"), ("6.1", "E4"), ("6.12", "E4"), ("6.13", "E5"),
        ("6.15", "E6"), ("7.0", "E6"),
    ],
)  # fmt: skip
def test_an_era_goes_on_until_the_next(kernel: str, era: str | None) -> None:
    assert era_of_kernel(kernel) == era
    if era is not None:
        assert scenario(mmu={"era": kernel}).resolved()["vm"]["mmu"]["era"] == era


def test_a_kernel_can_be_set_without_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[vm]\nmemory = "4GiB"\ndirty_tracking = "get-dirty-log"\n')
    mmu = load_scenario(path, overrides=["vm.mmu.era=5.10"]).vm.mmu
    assert mmu is not None
    assert mmu.era == "E2"


def test_without_the_table_the_defaults_hold() -> None:
    assert scenario().resolved()["vm"]["mmu"] == {
        "era": "E4", "costs": "cascade-lake", "mode": "tdp", "page_size": "4KiB", "write_tracking": "write-protect",
    }  # fmt: skip


def test_tcg_has_no_mmu() -> None:
    assert "mmu" not in scenario("tcg").resolved()["vm"]


@pytest.mark.parametrize(
    ("era", "mode", "eager"), [("E3", "tdp", False), ("E4", "tdp", True), ("E4", "shadow", False), ("E6", "direct", False)]
)
def test_large_pages_are_split_as_the_era_does_in_the_tdp_mmu(era: str, mode: str, eager: bool) -> None:
    mmu = {"era": era, "page_size": "2MiB", "mode": mode}
    assert scenario(mmu=mmu).resolved()["vm"]["mmu"]["eager_split"] is eager
    on_faults = scenario(mmu={"era": era, "page_size": "2MiB", "eager_split": False})
    assert on_faults.resolved()["vm"]["mmu"]["eager_split"] is False


@pytest.mark.parametrize("tracking", INTERFACES)
@pytest.mark.parametrize("page_size", ["4KiB", "2MiB", "1GiB"])
def test_what_resolves_can_be_run_again(tracking: str, page_size: str) -> None:
    resolved = scenario(tracking, {"page_size": page_size}).resolved()
    assert Scenario.model_validate(resolved).resolved() == resolved


@pytest.mark.parametrize("index", INDEXES)
def test_an_index_resolves_to_itself(index: str) -> None:
    one = scenario(mmu={"index": index})
    assert one.resolved()["vm"]["mmu"].get("index", MEASURED) == index
    assert Scenario.model_validate(one.resolved()).resolved() == one.resolved()
    assert build_machine(one).mmu.index == index
    assert build_machine(one).mmu.write_tracking == ("d-bit" if index == "book3s-hv" else "write-protect")


PML = {"write_tracking": "pml"}
D_BIT = {"write_tracking": "d-bit"}
REFUSED: dict[str, tuple[str, dict[str, Any] | None, str]] = {
    "an mmu without KVM": ("tcg", {}, r"vm\.mmu: got a table that has no effect.*wanted KVM's way.*dirty_tracking = "),
    "no such era": ("get-dirty-log", {"era": "E9"}, r"vm\.mmu\.era: got 'E9', wanted an era, E0, .*era = \"6\.1\""),
    "5.10 as a number": ("get-dirty-log", {"era": 5.10}, r"vm\.mmu\.era: got 5\.1, wanted an era.*kernel's release"),
    "a kernel before 2.6.35": ("get-dirty-log", {"era": "2.6.32"}, r"vm\.mmu\.era: .*wanted kernel 2\.6\.35 or later"),
    "no such sheet": ("get-dirty-log", {"costs": "cascadelake"}, r"vm\.mmu\.costs: .*wanted 'cascade-lake'"),
    "CLEAR before it was there": (
        "clear-dirty-log", {"era": "E1"}, r"vm\.dirty_tracking: .*era E1.*E2 \(kernel 5\.10\) or later",
    ),
    "all set before it was there": ("initially-all-set", {"era": "4.9"}, r"vm\.dirty_tracking: .*era E1.*era = \"E2\""),
    "a ring before it was there": ("dirty-ring", {"era": "5.10"}, r"vm\.dirty_tracking: .*E3 \(kernel 5\.15\) or later"),
    "D bits beside CLEAR": ("clear-dirty-log", D_BIT, r"vm\.mmu\.write_tracking: got 'd-bit' with dirty_tracking = 'clear-"),
    "D bits and a ring": ("dirty-ring", D_BIT, r"vm\.mmu\.write_tracking: got 'd-bit'.*wanted 'get-dirty-log'"),
    "PML on a machine without": (
        "get-dirty-log", {**PML, "costs": "haswell"}, r"'pml' with costs = 'haswell'.*cascade-lake",
    ),
    "PML under shadow paging": (
        "get-dirty-log", {**PML, "mode": "shadow"}, r"'pml' with mode = 'shadow', wanted mode = 'tdp'",
    ),
    "PML in 2010": ("get-dirty-log", {**PML, "era": "E0"}, r"write_tracking: got 'pml' with era E0.*E1 \(kernel 3\.6\)"),
    "eager splitting before it was there": (
        "get-dirty-log", {"era": "E3", "eager_split": True, "page_size": "2MiB"},
        r"eager_split: got true with era E3.*E4 \(kernel 5\.17\) or later",
    ),
    "splitting 4 KiB": ("get-dirty-log", {"eager_split": False}, r"eager_split: got a key that has no effect.*page_size"),
    "entries without a ring": (
        "get-dirty-log", {"ring_entries": 4096}, r"ring_entries: got a key that has no effect.*dirty-ring",
    ),
    "a CLEAR's lock without a CLEAR": (
        "get-dirty-log", {"clear_lock": "each-mask"}, r"clear_lock: got a key that has no effect.*'clear-dirty-log'",
    ),
    "a shared CLEAR through rmaps": (
        "clear-dirty-log", {"clear_lock": "shared", "mode": "direct"}, r"clear_lock: got 'shared' with mode = 'direct'",
    ),
    "entries: no power of two": (
        "dirty-ring", {"ring_entries": 1000}, r"ring_entries: got 1000, wanted a power of two.*= 512",
    ),
    "a ring that is all reserve": ("dirty-ring", {"ring_entries": 64}, r"ring_entries: got 64, wanted at least 128"),
    "a ring that PML's reserve fills": (
        "dirty-ring", {**PML, "ring_entries": 512}, r"ring_entries: got 512 with 'pml', wanted more than the 576",
    ),
    "a part of a page": ("get-dirty-log", {"page_size": "1GiB"}, r"vm\.memory: got 1537MiB, wanted a multiple.*1GiB"),
    "no such index": ("get-dirty-log", {"index": "writable-chains"}, r"vm\.mmu\.index: .*wanted 'writable-chain'"),
    "an index that unmaps beside CLEAR": (
        "clear-dirty-log", {"index": "book3s-pr"}, r"'book3s-pr' with dirty_tracking.*'get-dirty-log' with this index",
    ),
    "an index beside a ring": (
        "dirty-ring", {"index": "rmap"}, r"index: got 'rmap' with dirty_tracking = 'dirty-ring', wanted .*'clear-dirty-log'",
    ),
    "C bits beside CLEAR": (
        "clear-dirty-log", {"index": "book3s-hv"}, r"'book3s-hv' with dirty_tracking.*'get-dirty-log' with this index",
    ),
    "an index of large sptes": ("get-dirty-log", {"index": "tdp", "page_size": "2MiB"}, r"'tdp' with page_size = '2MiB'"),
    "an index of shadow paging": ("get-dirty-log", {"index": "rmap", "mode": "shadow"}, r"'rmap' with mode = 'shadow'"),
    "an index beside PML": ("get-dirty-log", {"index": "rmap", **PML}, r"'rmap' with write_tracking = 'pml', wanted 'write"),
    "C bits by protection": (
        "get-dirty-log", {"index": "book3s-hv", "write_tracking": "write-protect"}, r"'book3s-hv' with .*wanted 'd-bit'",
    ),
    "an unknown key": (
        "get-dirty-log", {"page_sise": "2MiB"}, r"vm\.mmu\.page_sise: got an unknown key, wanted 'page_size'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(name: str) -> None:
    tracking, mmu, says = REFUSED[name]
    memory = "1537MiB" if name == "a part of a page" else "4GiB"
    with pytest.raises(InputError, match=says) as caught:
        scenario(tracking, mmu, memory=memory)
    assert len(caught.value.problems) == 1


def scenario_file(folder: Path, mmu: str) -> Path:
    path = folder / "a.toml"
    path.write_text(f'[vm]\nmemory = "4MiB"\ndirty_tracking = "get-dirty-log"\n[vm.mmu]\n{mmu}\n[migration]\n')
    return path


def test_a_sheet_of_your_own_lies_beside_the_scenario(tmp_path: Path) -> None:
    own = 'machine = "mine"\npml = false\notherwise = "cascade-lake"\n[exit_ns]\nvalue = 5000\nsource = "by hand"\n'
    (tmp_path / "mine.toml").write_text(own)
    loaded = load_scenario(scenario_file(tmp_path, 'costs = "mine.toml"'))
    machine = Machine(build_machine(loaded))
    assert machine.spec.mmu.costs == str(tmp_path / "mine.toml")
    assert loaded.resolved()["vm"]["mmu"]["costs"] == "mine.toml"
    with pytest.raises(InputError, match=r"'pml' with costs = 'mine\.toml', wanted the cost sheet of a machine"):
        load_scenario(scenario_file(tmp_path, 'costs = "mine.toml"\nwrite_tracking = "pml"'))


def test_a_sheet_that_is_not_there_or_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"other\.toml: file: got No such file or directory, wanted a cost sheet"):
        load_scenario(scenario_file(tmp_path, 'costs = "other.toml"'))
    with pytest.raises(InputError, match=r"a\.toml: .*machine"):
        load_scenario(scenario_file(tmp_path, 'costs = "./a.toml"'))


def test_a_tick_needs_tcg() -> None:
    loads = [{"pattern": "uniform", "size": "4MiB", "write_rate": "10/s", "tick": "4ms"}]
    with pytest.raises(InputError, match=r"vm\.workload\[0\]\.tick: got 4ms with KVM, wanted no tick"):
        scenario(workload=loads)
    scenario("tcg", workload=loads)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(InputError) as caught:
        scenario("dirty-ring", {"era": "E0", "write_tracking": "pml", "costs": "haswell", "mode": "shadow"})
    assert [problem.key for problem in caught.value.problems] == ["vm.dirty_tracking", *["vm.mmu.write_tracking"] * 3]


def test_the_reference_lists_every_way_and_key() -> None:
    text = reference.markdown()
    assert "## `[vm.mmu]`" in text
    assert all(f'"{name}"' in text for name in ("tcg", *INTERFACES))


@pytest.mark.parametrize("tracking", INTERFACES)
@pytest.mark.parametrize("write_tracking", ["write-protect", "pml", "d-bit"])
def test_scenarios_and_machines_refuse_the_same(tracking: str, write_tracking: str) -> None:
    """What goes together is decided once: a scenario refuses what a machine refuses, and nothing else."""
    drawn = product(("E0", "E1", "E2", "E4"), ("tdp", "shadow"), ("measured", "rmap"), (True, False))
    for era, mode, index, a_bits in drawn:
        mmu = {"era": era, "mode": mode, "index": index, "a_bits": a_bits, "write_tracking": write_tracking}
        spec = MmuSpec(era, "cascade-lake", mode, "4KiB", write_tracking, index=index, a_bits=a_bits)
        assert refused(partial(scenario, tracking, mmu=mmu)) == refused(partial(build.checked, spec, tracking))


def refused(ask: Callable[[], object]) -> list[str]:
    """The findings that ``ask`` ends with, without the file they stand in."""
    try:
        ask()
    except InputError as error:
        return [str(replace(problem, file="")) for problem in error.problems]
    return []
