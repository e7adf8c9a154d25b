from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.kvm.interfaces import INTERFACES
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.spec import INDEXES
from hostsim.machine.machine import Machine
from hostsim.scenario import Scenario, footprint
from hostsim.scenario.build import build

SWEEP = {"pattern": "sequential", "write_rate": "100/s"}
GUESTS: dict[str, list[dict[str, Any]]] = {
    "idle": [],
    "paced": [{"pattern": "uniform", "write_rate": "100/s"}],
    "drawn": [{"pattern": "uniform", "write_rate": "100/s", "arrivals": "poisson"}],
    "split": [{**SWEEP, "split": True}],
    "shared": [SWEEP],
    "zipf": [{"pattern": "zipf", "write_rate": "100/s", "read_rate": "100/s"}],
}


def scenario(loads: list[dict[str, Any]], memory: str = "64MiB") -> Scenario:
    return Scenario.model_validate({"vm": {"memory": memory, "vcpus": 4, "workload": loads}, "migration": {}})


def array_bytes(machine: Machine) -> int:
    vm, ram = machine.vm, machine.migration.ram
    arrays = [vm.memory.zero, vm.memory.version, machine.tracker._due, ram.bmap, ram.copied, *vm.armed, *vm.guest.table]
    return sum(array.nbytes for array in arrays)


@pytest.mark.parametrize("name", GUESTS)
def test_what_is_told_is_what_the_arrays_take(name: str) -> None:
    one = scenario(GUESTS[name])
    taken = array_bytes(Machine(build(one)))
    spare = 1.1 if name != "zipf" else 2.5  # its arrays are needed while it is built
    assert 0.99 * taken < footprint.footprint_bytes(one) < spare * taken + one.vm.memory_pages


def kvm_scenario(loads: list[dict[str, Any]], tracking: str) -> Scenario:
    vm = {"memory": "256MiB", "vcpus": 4, "dirty_tracking": tracking, "workload": loads}
    return Scenario.model_validate({"vm": vm, "migration": {}})


def kvm_array_bytes(machine: Machine) -> int:
    vm, ram = machine.vm, machine.migration.ram
    assert isinstance(vm, LiveVm)
    roots = [*vars(vm.engine.kvm).values(), vm.guest.table, vm.memory.zero, vm.memory.version, ram.bmap, ram.copied]
    roots += vars(machine.tracker).values()
    return sum({id(array): array.nbytes for root in roots for array in arrays_in(root)}.values())


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """Every array in ``value``, a tuple of tuples of arrays."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from arrays_in(item)


@pytest.mark.parametrize("tracking", INTERFACES)
@pytest.mark.parametrize("name", GUESTS)
def test_under_kvm_as_well(name: str, tracking: str) -> None:
    one = kvm_scenario(GUESTS[name], tracking)
    taken = kvm_array_bytes(Machine(build(one)))
    spare = 1.1 if name != "zipf" else 2.5
    assert 0.99 * taken < footprint.footprint_bytes(one) < spare * taken + 2 * one.vm.memory_pages


@pytest.mark.parametrize("index", INDEXES)
def test_an_index_counts(index: str) -> None:
    vm = {"memory": "64MiB", "dirty_tracking": "get-dirty-log", "mmu": {"index": index}, "fill": [{"size": "64MiB"}]}
    one = Scenario.model_validate({"vm": vm, "migration": {}})
    machine = Machine(build(one))
    taken = kvm_array_bytes(machine) + index_array_bytes(machine)
    assert 0.99 * taken < footprint.footprint_bytes(one) < 1.1 * taken + 22 * one.vm.memory_pages


def index_array_bytes(machine: Machine) -> int:
    assert isinstance(machine.vm, LiveVm)
    if machine.vm.indexed is None:
        return 0
    index = machine.vm.indexed.index
    parts = [*vars(index).values(), *vars(getattr(index, "partner", index)).values()]
    return sum({id(array): array.nbytes for part in parts for array in arrays_in(part)}.values())


def test_a_guest_that_does_not_fit_is_refused_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "available_bytes", lambda: 10 << 30)
    build(scenario(GUESTS["paced"], "2TiB"))
    with pytest.raises(InputError, match=r"vm\.memory: got 64TiB, whose simulation takes 162GiB, wanted at most the 10GiB "):
        build(scenario(GUESTS["paced"], "64TiB"))


def test_a_machine_that_does_not_tell_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "available_bytes", lambda: None)
    assert build(scenario(GUESTS["paced"], "64TiB")).blocks[0].n_pages == 1 << 34


def test_what_linux_says_is_free(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       16318184 kB\nMemAvailable:    1024 kB\n")
    assert footprint.available_bytes(tmp_path / "meminfo") == 1 << 20
    everything = footprint.available_bytes(tmp_path / "nothing")
    assert everything is None or everything > 1 << 27
