"""Defaults that depend on other keys, and which keys of a workload mean something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from hostsim.core.constants import NS_PER_S
from hostsim.costs.era import load_era
from hostsim.kvm.spec import splits_eagerly
from hostsim.scenario.guest_schema import SWEEPS, Vm, Workload
from hostsim.scenario.host_schema import Migration
from hostsim.scenario.kvm_schema import Mmu
from hostsim.scenario.presets import PRESETS
from hostsim.scenario.profiles import PROFILES

if TYPE_CHECKING:
    # Circle of types: the schema calls it, and it reads the whole scenario.
    from hostsim.scenario.schema import Scenario

M = TypeVar("M", bound=BaseModel)

TOUCHING = (*SWEEPS, "uniform", "hotcold", "zipf")


def _of(*patterns: str) -> Callable[[Workload], bool]:
    return lambda workload: workload.pattern in patterns


def _late_ticks_matter(workload: Workload) -> bool:
    return workload.pacing == "closed" and workload.tick > 0


def _is_plugged(workload: Workload) -> bool:
    return workload.is_plugged


def _loads_cr3(workload: Workload) -> bool:
    return workload.cr3_load_rate > 0


def _in_region(workload: Workload) -> bool:
    return workload.pattern in (*TOUCHING, "idle") or workload.is_plugged


APPLIES: Mapping[str, tuple[Callable[[Workload], bool], str]] = {
    "at": (_in_region, "no region: a trace names its own gfns"),
    "size": (_in_region, "no region: a trace names its own gfns"),
    "split": (_of(*TOUCHING), "only with a pattern that touches a region"),
    "write_rate": (_of(*TOUCHING), "no rate with idle or trace"),
    "read_rate": (_of(*TOUCHING), "no rate with idle or trace"),
    "cr3_load_rate": (lambda workload: workload.pattern in TOUCHING and workload.write_rate > 0,
                      "only with a pattern that touches a region and a write_rate"),
    "processes": (_loads_cr3, "only with a cr3_load_rate"),
    "invlpg_rate": (_loads_cr3, "only with a cr3_load_rate"),
    "fork_rate": (lambda workload: _loads_cr3(workload) and workload.processes > 1,
                  "only with a cr3_load_rate and processes = 2 or more: the child takes the place of another process"),
    "active": (lambda workload: workload.pattern in TOUCHING and workload.writes is None,
               "only with a pattern that touches a region, and without `writes`"),
    "writes": (lambda workload: workload.pattern in TOUCHING and workload.write_rate > 0,
               "only with a pattern that touches a region and a write_rate"),
    "think": (lambda workload: workload.pattern in TOUCHING and workload.pacing == "closed" and workload.tick == 0,
              'only with a pattern that touches a region, pacing = "closed" and no tick'),
    "operations": (lambda workload: workload.preset is not None and PRESETS[workload.preset].operations_per_s > 0,
                   "only with a preset of clients: ycsb, memcached, redis"),
    "stride": (_of("strided"), 'only with pattern = "strided"'),
    "hot_size": (_of("hotcold"), 'only with pattern = "hotcold"'),
    "hot_share": (_of("hotcold"), 'only with pattern = "hotcold"'),
    "exponent": (_of("zipf"), 'only with pattern = "zipf"'),
    "start_page": (_of(*SWEEPS), 'only with pattern = "sequential" or "strided"'),
    "compression_ratio": (_in_region, "no region: a trace names its own gfns"),
    "options": (_is_plugged, "only with the pattern of a plug-in"),
    "arrivals": (_of("uniform", "hotcold"), 'only with pattern = "uniform" or "hotcold"'),
    "file": (_of("trace"), 'only with pattern = "trace"'),
    "catch_up": (lambda workload: workload.pacing == "open", 'only with pacing = "open"'),
    "tick_late": (_late_ticks_matter, 'only with pacing = "closed" and a tick'),
}
"""Key of a workload: a test whether the workload reads the key, and the words of the error where it does not."""


def without_idle_keys(workload: Workload, table: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` without the keys that mean nothing for ``workload``."""
    return {key: value for key, value in table.items() if key not in APPLIES or APPLIES[key][0](workload)}


def complete(scenario: Scenario) -> None:
    """Fill in names, sizes and time-outs. In place: pydantic's constructors keep the object they began with."""
    scenario.__dict__["neighbour"] = tuple(_completed_vm(vm) for vm in neighbours(scenario))
    scenario.__dict__["vm"] = _completed_vm(scenario.vm)
    if scenario.migration is not None:
        scenario.__dict__["migration"] = _completed_migration(scenario.migration, scenario.vm.memory)
    memory = scenario.host.memory
    if memory is not None and memory.reclaim is not None:
        reclaim = _with(memory.reclaim, {"scan": memory.reclaim.scan_ns})
        scenario.__dict__["host"] = _with(scenario.host, {"memory": _with(memory, {"reclaim": reclaim})})


def _with(model: M, values: Mapping[str, Any]) -> M:
    """A copy with ``values``; pydantic does not count them as written in the file (``model_fields_set``)."""
    copy = model.model_copy()
    copy.__dict__.update(values)
    return copy


HOST_WIDE = ("era", "costs", "a_bits")
"""Keys of [vm.mmu] that describe the host: a neighbour takes them from [vm]."""


def neighbours(scenario: Scenario) -> tuple[Vm, ...]:
    """The neighbours, each with the KVM keys that it leaves out: it is never logged, and it runs on the host of ``vm``."""
    host = scenario.vm.mmu or Mmu()
    return tuple(_on_host(vm, host) for vm in scenario.neighbour)


def _on_host(vm: Vm, host: Mmu) -> Vm:
    tracking = vm.dirty_tracking if "dirty_tracking" in vm.model_fields_set else "get-dirty-log"
    own = vm.mmu or Mmu()
    mmu = _with(own, {key: getattr(host, key) for key in HOST_WIDE if key not in own.model_fields_set})
    return _with(vm, {"dirty_tracking": tracking, "mmu": vm.mmu if tracking == "tcg" else mmu})


def vms_of(scenario: Scenario) -> list[tuple[str, Vm]]:
    """(key, VM) of all VMs of the host; the first is the VM that may be migrated."""
    return [("vm", scenario.vm), *((f"neighbour[{i}]", vm) for i, vm in enumerate(neighbours(scenario)))]


def workload_name(workload: Workload, index: int) -> str:
    """The name of ``workload``; without one, its pattern and its index."""
    return workload.name or f"{workload.pattern}-{index}"


def _completed_vm(vm: Vm) -> Vm:
    workloads = tuple(_completed_workload(one, i, vm.memory) for i, one in enumerate(vm.workload))
    mmu = None if vm.dirty_tracking == "tcg" else _completed_mmu(vm.mmu or Mmu())
    return _with(vm, {"workload": workloads, "filled": "list" if vm.fill else vm.filled, "mmu": mmu})


def _completed_mmu(mmu: Mmu) -> Mmu:
    """``mmu``, its ``eager_split`` filled in from its era where the file has none: False with 4 KiB pages."""
    as_era = mmu.page_size != "4KiB" and splits_eagerly(mmu.mode, load_era(mmu.era))
    return _with(mmu, {"eager_split": as_era if mmu.eager_split is None else mmu.eager_split})


def _completed_workload(workload: Workload, index: int, memory_bytes: int) -> Workload:
    update: dict[str, Any] = {"name": workload_name(workload, index), "split": workload.is_split}
    if workload.size is None and workload.pattern != "trace":
        update["size"] = memory_bytes - workload.at
    return _with(workload, update)


def _completed_migration(migration: Migration, memory_bytes: int) -> Migration:
    """``migration`` with the keys that its profile sets by the guest's memory, where the file has none."""
    profile = PROFILES[migration.profile]
    shares = {key: default for key, default in profile.defaults.items() if default.memory_share}
    by_memory = {"timeout": profile.timeout_s(memory_bytes) * NS_PER_S}
    by_memory |= {key: default.of_memory_bytes(memory_bytes) for key, default in shares.items()}
    return _with(migration, {key: value for key, value in by_memory.items() if key not in migration.model_fields_set})
