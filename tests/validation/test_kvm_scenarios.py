"""The scenarios on KVM answer their question as they say."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from hostsim.results.tables import MigrationResult
from hostsim.scenario import load_scenario
from tests.helpers.remembered import run

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"


@cache
def migrated(name: str, *overrides: str) -> MigrationResult:
    scenario = load_scenario(SCENARIOS / f"{name}.toml", overrides=overrides)
    return run(scenario).migrations[0]


def logged(name: str, *overrides: str) -> dict[str, float]:
    costs = migrated(name, *overrides).kvm
    assert costs is not None
    return costs.logged


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "kvm_write_protect", "kvm_clear_chunks", "kvm_dirty_ring", "kvm_pml",
        *(pytest.param(name, marks=pytest.mark.swarm) for name in ("kvm_huge_pages", "rmap_under_migration")),
    ],
)  # fmt: skip
def test_it_completes(name: str) -> None:
    assert migrated(name).converged


def test_write_protection_costs_most_at_the_start_of_a_round_and_in_short_rounds() -> None:
    found = migrated("kvm_write_protect")
    whole = found.rounds["end_ns"] - found.rounds["start_ns"] > 50_000_000
    shares = found.rounds["stall_share"][whole][:-1]
    assert np.all(np.diff(shares) > 0)
    first = found.series["guest_slowdown"][(found.series["round"] == 1) & (found.series["t_ns"] > 0)][1:-1]
    assert first[0] > 3 * first[-1]
    assert found.rounds["map_faults"].sum() == 0


@pytest.mark.parametrize("name", ["kvm_write_protect", "kvm_dirty_ring", "kvm_pml"])
def test_work_not_done_is_what_exits_took(name: str) -> None:
    """A closed loop, no throttle: two counters that share nothing but the guest."""
    found = migrated(name)
    t_ns, slowdown = found.series["t_ns"], found.series["guest_slowdown"]
    stop_ns = found.rounds["start_ns"][-2]
    lost_ns = float((np.diff(t_ns) * slowdown[1:])[t_ns[1:] <= stop_ns].sum()) * 4
    spans = found.rounds["end_ns"] <= stop_ns
    stalled_ns = float(found.rounds["stall_ns"][spans].sum())
    assert lost_ns == pytest.approx(stalled_ns, rel=0.02)


@pytest.mark.long
def test_chunks_take_the_hold_out_of_syncs() -> None:
    get, clear, all_set = (
        logged("kvm_clear_chunks", f"vm.dirty_tracking={name}")
        for name in ("get-dirty-log", "clear-dirty-log", "initially-all-set")
    )
    assert clear["sync_ns"] < 0.05 * get["sync_ns"]
    assert clear["lock_wait_ns"] < get["lock_wait_ns"]
    assert all_set["lock_wait_ns"] > 3 * clear["lock_wait_ns"]
    assert clear["clears"] > 16
    assert get["clears"] == 0


@pytest.mark.long
def test_the_index_decides_how_long_harvests_hold_the_lock_and_not_how_long_a_migration_takes() -> None:
    names = ("rmap", "slot-list", "writable-chain", "tdp", "book3s-hv")
    runs = {name: migrated("rmap_under_migration", f"vm.mmu.index={name}") for name in names}
    costs = {name: logged("rmap_under_migration", f"vm.mmu.index={name}") for name in names}
    took_ms = {name: run.total_time_ms or 0 for name, run in runs.items()}
    assert max(took_ms[name] for name in names[:4]) < 1.03 * took_ms["rmap"]
    assert costs["tdp"]["host_hold_ns"] < costs["rmap"]["host_hold_ns"] < 0.6 * costs["slot-list"]["host_hold_ns"]
    assert costs["rmap"]["lock_wait_ns"] < 0.6 * costs["writable-chain"]["lock_wait_ns"]
    assert costs["book3s-hv"]["wp_faults"] == 0 < costs["book3s-hv"]["map_faults"]
    assert costs["book3s-hv"]["sync_ns"] > 20 * costs["rmap"]["sync_ns"]
    assert took_ms["book3s-hv"] > 1.2 * took_ms["rmap"]


@pytest.mark.long
def test_a_ring_slows_down_and_so_ends_sooner() -> None:
    ring, get = migrated("kvm_dirty_ring"), migrated("kvm_dirty_ring", "vm.dirty_tracking=get-dirty-log")
    assert len(ring.rounds) < len(get.rounds)
    assert (ring.total_time_ms or 0) < 0.9 * (get.total_time_ms or 0)
    assert ring.rounds["ring_full"].sum() > 100
    larger = logged("kvm_dirty_ring", "vm.mmu.ring_entries=65536")
    assert larger["ring_full"] < 0.1 * ring.rounds["ring_full"].sum()
    assert larger["sync_ns"] > 5 * ring.rounds["sync_ns"].sum()


def test_pml_costs_the_guest_a_tenth_at_most_and_a_sync_as_much() -> None:
    pml, faults = logged("kvm_pml"), logged("kvm_pml", "vm.mmu.write_tracking=write-protect")
    assert pml["stall_share"] < 0.1 * faults["stall_share"]
    assert pml["wp_faults"] == 0
    assert migrated("kvm_pml").rounds["sync_ns"][0] > 0.9 * migrated("kvm_write_protect").rounds["sync_ns"][0]


def test_reads_make_pages_dirty_where_large_pages_are_split_by_faults() -> None:
    by_fault, eager = (migrated("kvm_huge_pages", f"vm.mmu.eager_split={value}") for value in ("false", "true"))
    assert by_fault.rounds["newly_dirty_pages"][1] > 8 * eager.rounds["newly_dirty_pages"][1]
    assert by_fault.rounds["map_faults"].sum() > 100_000
    assert eager.rounds["split_faults"].sum() + eager.rounds["map_faults"].sum() == 0
    assert by_fault.query["ram"]["transferred"] > 1.2 * eager.query["ram"]["transferred"]
