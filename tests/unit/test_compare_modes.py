"""compare --modes: each mechanism changes its own keys alone, and the ones that a guest cannot have are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.report.compare_report import compare_tables
from hostsim.simulation import run
from hostsim.study.compare.figures import figures_of
from hostsim.study.compare.modes import MODES, keys_of, modes_plan
from hostsim.study.compare.plan import Request
from hostsim.study.compare.runner import replay
from hostsim.study.compare.summary import summarise

SCENARIO = """
[vm]
memory = "32MiB"
{tracking}
[[vm.workload]]
pattern = "uniform"
size = "8MiB"
write_rate = "20000/s"
[migration]
auto_converge = true
bandwidth = "400Mbit/s"
timeout = "5s"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO.format(tracking=""))
    return path


def test_all_modes_but_the_ones_that_qemu_refuses(file: Path) -> None:
    found = modes_plan(Request(file, ()), "all")
    assert set(found.left_out) == {"dirty-limit"}, "the guest has no dirty rings"
    assert "dirty-ring" in found.left_out["dirty-limit"]
    assert [settings["modes"] for settings in map(found.plan.settings, range(len(MODES) - 1))] == [
        name for name in MODES if name != "dirty-limit"
    ]
    first = found.plan.runs[0].scenario.migration
    assert first is not None
    assert not first.auto_converge, "precopy has nothing beside it, whatever the file says"


def test_each_mode_runs_and_has_its_figures(file: Path) -> None:
    found = modes_plan(Request(file, ()), "precopy,xbzrle,multifd,postcopy@1")
    figures = {one.key: figures_of(run(one.scenario)) for one in found.plan.runs}
    rows = dict(zip(found.plan.axes[0].labels, summarise(found.plan, figures).rows, strict=True))
    exposed = rows["postcopy@1"].spread("mode.exposed_ns")
    assert exposed is not None
    assert exposed.mean > 0
    assert rows["precopy"].spread("mode.exposed_ns") is None
    sent = {name: row.spread("mode.sent_percent") for name, row in rows.items()}
    assert all(spread is not None and spread.mean > 90 for spread in sent.values())
    titles = [column.title for grid in compare_tables(summarise(found.plan, figures)) for column in grid.columns]
    assert {"mode", "sent / RAM", "needs both hosts", "page wait p99"} <= set(titles)


def test_a_run_is_replayed_by_its_mode(file: Path) -> None:
    plan = modes_plan(Request(file, ()), "precopy,postcopy@3").plan
    assert replay(plan, plan.runs[1]) == f"hostsim compare {file} --modes postcopy@3 --seed 1"
    assert keys_of("postcopy@3")["postcopy_after_rounds"] == "3"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("precpy", "precopy"), ("precopy,precopy", "each mode once"), ("xbzrle@2", "postcopy-preempt only"),
        ("postcopy@two", "a number of rounds"),
    ],
)  # fmt: skip
def test_what_is_no_mode_is_refused(file: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        modes_plan(Request(file, ()), text)


def test_a_guest_with_rings_has_dirty_limit_too(tmp_path: Path) -> None:
    path = tmp_path / "rings.toml"
    path.write_text(SCENARIO.format(tracking='dirty_tracking = "dirty-ring"'))
    assert not modes_plan(Request(path, ()), "all").left_out


def test_dirty_limit_by_name_gives_the_guest_dirty_rings(file: Path) -> None:
    found = modes_plan(Request(file, ()), "precopy,dirty-limit")
    assert found.with_rings == ("dirty-limit",)
    assert [one.scenario.vm.dirty_tracking for one in found.plan.runs] == ["tcg", "dirty-ring"]


def test_a_vm_without_a_migration_is_migrated_by_default_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "vm.toml"
    path.write_text(SCENARIO.format(tracking="").split("[migration]")[0])
    assert len(modes_plan(Request(path, ()), "precopy,xbzrle", needs_table=False).plan.runs) == 2
    with pytest.raises(InputError, match="migration"):
        modes_plan(Request(path, ()), "precopy,xbzrle")
