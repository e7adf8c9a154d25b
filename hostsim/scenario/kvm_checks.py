"""Checks of [vm.mmu]: keys without meaning, and conflicts between keys that hostsim.kvm.rules finds."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.core.errors import Finding
from hostsim.core.units import format_bytes, format_duration
from hostsim.costs.cost_file import is_path
from hostsim.kvm.interfaces import INTERFACES, with_clear, with_rings
from hostsim.kvm.rules import caught_by, conflicts, sheet_conflicts
from hostsim.kvm.spec import MEASURED
from hostsim.scenario.guest_schema import Vm
from hostsim.scenario.kvm_schema import Mmu
from hostsim.scenario.page_table_checks import page_table_findings

PAGE_SIZE_BYTES = {"4KiB": 1 << 12, "2MiB": 1 << 21, "1GiB": 1 << 30}


def kvm_findings(vm: Vm) -> list[Finding]:
    """All findings in [vm.mmu], and between it and the other keys of ``vm``."""
    if vm.dirty_tracking == "tcg":
        return list(_without_kvm(vm))
    mmu = vm.mmu or Mmu()
    sheet = [] if is_path(mmu.costs) else sheet_conflicts(mmu.spec(), mmu.costs)
    idle, broken = list(_without_meaning(vm, mmu)), {finding.key for finding in _without_meaning(vm, mmu)}
    together = [found for found in conflicts(mmu.spec(), vm.dirty_tracking) if found.key not in broken]
    return [*together, *sheet, *idle, *_memory(vm, mmu), *_ticks(vm), *page_table_findings(vm)]


def sheet_findings(mmu: Mmu, sheet: str) -> Iterator[Finding]:
    """Conflicts between ``mmu`` and the cost sheet ``sheet`` (a name or a path). InputError if it cannot be read."""
    yield from sheet_conflicts(mmu.spec(), sheet)


def idle_keys(vm: Vm) -> frozenset[str]:
    """Keys of [vm.mmu] that mean nothing for ``vm``."""
    mmu = vm.mmu or Mmu()
    keys = {
        "eager_split": mmu.page_size == "4KiB",
        "ring_entries": vm.dirty_tracking not in with_rings(),
        "clear_lock": mmu.clear_lock is None or vm.dirty_tracking not in with_clear(),
        "index": mmu.index == MEASURED,
        "write_tracking": caught_by(mmu.index) != "write-protect",
        "a_bits": mmu.a_bits,
    }
    return frozenset(key for key, idle in keys.items() if idle)


def _without_kvm(vm: Vm) -> Iterator[Finding]:
    if vm.mmu is not None:
        wanted = "KVM's way to find dirty pages: " + ", ".join(INTERFACES)
        example = 'dirty_tracking = "get-dirty-log" under [vm]'
        got = "a table that has no effect with dirty_tracking = 'tcg'"
        yield Finding("vm.mmu", got, wanted, example, ("vm.dirty_tracking",))


def _without_meaning(vm: Vm, mmu: Mmu) -> Iterator[Finding]:
    """Keys that are written and that nothing reads."""
    got = "a key that has no effect here"
    if "eager_split" in mmu.model_fields_set and mmu.eager_split is not None and mmu.page_size == "4KiB":
        yield Finding("vm.mmu.eager_split", got, "only with large pages", 'page_size = "2MiB"', ("vm.mmu.page_size",))
    if "ring_entries" in mmu.model_fields_set and vm.dirty_tracking not in with_rings():
        wanted = "only with " + _tracking(with_rings())
        yield Finding("vm.mmu.ring_entries", got, wanted, "", ("vm.dirty_tracking",))
    if mmu.clear_lock is not None and vm.dirty_tracking not in with_clear():
        wanted, example = "only where CLEAR is called: " + _tracking(with_clear()), f'dirty_tracking = "{with_clear()[0]}"'
        yield Finding("vm.mmu.clear_lock", got, wanted, example, ("vm.dirty_tracking",))


def _tracking(interfaces: tuple[str, ...]) -> str:
    return "dirty_tracking = " + " or ".join(f"'{name}'" for name in interfaces)


def _memory(vm: Vm, mmu: Mmu) -> Iterator[Finding]:
    if vm.memory % PAGE_SIZE_BYTES[mmu.page_size]:
        got, wanted = format_bytes(vm.memory), f"a multiple of vm.mmu.page_size ({mmu.page_size})"
        yield Finding("vm.memory", got, wanted, 'memory = "4GiB"', ("vm.mmu.page_size",))


def _ticks(vm: Vm) -> Iterator[Finding]:
    for i, workload in enumerate(vm.workload):
        if workload.tick:
            key, got = f"vm.workload[{i}].tick", f"{format_duration(workload.tick)} with KVM"
            wanted = "no tick: a vCPU under KVM works all the time; or dirty_tracking = 'tcg'"
            yield Finding(key, got, wanted, 'tick = "off"', ("vm.dirty_tracking",))
