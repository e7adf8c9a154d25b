"""Values that a scenario leaves out, that hostsim assumes, and that a migration's answer may hang on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hostsim.qemu.compression import ASSUMED_RATIO
from hostsim.scenario.guest_schema import SWEEPS, Vm, Workload
from hostsim.scenario.host_schema import Migration
from hostsim.scenario.presets import PRESETS

if TYPE_CHECKING:
    from hostsim.scenario.schema import Scenario


def assumptions_of(scenario: Scenario) -> tuple[str, ...]:
    """A sentence for each value that hostsim assumes because ``scenario``, checked and complete, leaves it out."""
    if scenario.migration is None:
        return ()
    contents = _contents(scenario.vm) if scenario.migration.xbzrle else ()
    return (*_presets(scenario.vm), *_sweeps(scenario.vm), *contents, *_compression(scenario.vm, scenario.migration))


def _presets(vm: Vm) -> Iterator[str]:
    """Figures of known programs that no source gives."""
    for i, load in enumerate(vm.workload):
        if load.preset is not None and (assumed := PRESETS[load.preset].assumed):
            yield f"vm.workload.{i} is preset {load.preset}, of which hostsim assumes: {assumed}"


def _contents(vm: Vm) -> Iterator[str]:
    """What a write changes decides what XBZRLE sends."""
    for i, load in enumerate(vm.workload):
        writes = load.write_rate > 0 or load.pattern == "trace"
        if writes and not {"changed_bytes", "changed_place"} & load.model_fields_set:
            key, where = f"vm.workload.{i}", "at the same place" if load.changed_place == "same" else "anywhere"
            yield (
                f"a write of {key} changes {load.changed_bytes} bytes in a row {where} in its page; XBZRLE sends more or "
                f"less if it changes others (--set {key}.changed_bytes=..., --set {key}.changed_place=...)"
            )


def _drifts(load: Workload) -> bool:
    """Whether a vCPU that faults falls behind those that do not, and stays there."""
    return load.pattern in SWEEPS and load.write_rate > 0 and load.pacing == "closed"


def _compression(vm: Vm, migration: Migration) -> Iterator[str]:
    """Pages that a migration compresses, and of which the scenario does not say how well they compress."""
    if migration.multifd_compression != "none" and vm.compression_ratio is None:
        yield (
            f"{migration.multifd_compression} is assumed to shrink pages to {ASSUMED_RATIO:.3g} of their size, as in one "
            "published measurement; how well this guest's pages compress decides what it can send "
            "(--set vm.compression_ratio=0.5)"
        )


def _sweeps(vm: Vm) -> Iterator[str]:
    """Sweeps of several vCPUs: under KVM, faults delay the vCPU in front, so the others catch up with it."""
    for i, load in enumerate(vm.workload):
        k, key = len(load.vcpu_numbers(vm.vcpus)), f"vm.workload.{i}"
        if k == 1 or vm.dirty_tracking == "tcg" or not _drifts(load):
            continue
        if "split" not in load.model_fields_set:
            yield (
                f"each of the {k} vCPUs of {key} sweeps a part of its own (split = true); {k} vCPUs that all "
                "sweep the whole region catch up with one another and dirty fewer pages, so the answer may differ "
                f"(--set {key}.split=false)"
            )
        elif not load.is_split:
            yield (
                f"the {k} vCPUs that sweep the region of {key} together (split = false) keep the distances at "
                "which they begin; they catch up with one another and dirty fewer pages, so a longer run may complete"
            )
