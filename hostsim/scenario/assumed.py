"""Values that a scenario leaves out, that hostsim assumes, and that a migration's answer may hang on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hostsim.scenario.guest_schema import SWEEPS, Vm, Workload
from hostsim.scenario.mechanism import on_in
from hostsim.scenario.presets import PRESETS

if TYPE_CHECKING:
    from hostsim.scenario.schema import Scenario


def assumptions_of(scenario: Scenario, *, completed: bool = False) -> tuple[str, ...]:
    """A sentence for each value that hostsim assumes because ``scenario``, checked and complete, leaves it out.

    completed: whether all its migrations have; sweeps that could only help them to complete are left out then.
    """
    if scenario.migration is None:
        return ()
    made = [one.assumptions(scenario) for one in on_in(scenario.migration) if one.assumptions is not None]
    of_mechanisms = [text for texts in made for text in texts]
    return (*_presets(scenario.vm), *(() if completed else _sweeps(scenario.vm)), *of_mechanisms)


def _presets(vm: Vm) -> Iterator[str]:
    """Figures of known programs that no source gives."""
    for i, load in enumerate(vm.workload):
        if load.preset is not None and (assumed := PRESETS[load.preset].assumed):
            yield f"vm.workload.{i} is preset {load.preset}; hostsim assumes: {assumed}"


def _drifts(load: Workload) -> bool:
    """Whether a vCPU that faults falls behind those that do not, and stays there."""
    return load.pattern in SWEEPS and load.write_rate > 0 and load.pacing == "closed"


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
