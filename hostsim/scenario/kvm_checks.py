"""Checks between the keys that say how KVM finds dirty pages, and between them and the rest of the VM."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hostsim.host.kvm.spec import INDEXED, INTERFACES, MEASURED, UNMAPPING
from hostsim.mmu.cost_file import is_path
from hostsim.mmu.cost_rules import PML_ENTRIES
from hostsim.mmu.costs import load_costs, sheet_names
from hostsim.mmu.era import Era, era_names, load_era
from hostsim.scenario.finding import Finding
from hostsim.scenario.guest_schema import Vm
from hostsim.scenario.kvm_schema import Mmu
from hostsim.units import format_bytes, format_duration

PAGE_SIZE_BYTES = {"4KiB": 1 << 12, "2MiB": 1 << 21, "1GiB": 1 << 30}
RING_RESERVED = 64
"""Entries that stay free in a ring, with PML a buffer more (virt/kvm/dirty_ring.c::kvm_dirty_ring_get_rsvd_entries)."""
PML_SINCE = "E1"
"""VMX has PML since 2015; release 4.0 assumed."""
RING_SINCE = "E3"
"""KVM_CAP_DIRTY_LOG_RING, in 5.11 assumed: after the first kernel of E2."""

Offers = Callable[[Era], bool]

OFFERED: dict[str, Offers] = {
    "clear-dirty-log": lambda era: era.manual_protect,
    "initially-all-set": lambda era: era.initially_all_set,
    "dirty-ring": lambda era: not _before(era, RING_SINCE),
}
"""Whether the kernels of an era have that value of vm.dirty_tracking."""


def kvm_findings(vm: Vm) -> list[Finding]:
    """All that is wrong with [vm.mmu], or with what it stands beside."""
    if vm.dirty_tracking == "tcg":
        return list(_without_kvm(vm))
    mmu = vm.mmu or Mmu()
    return [
        *_interface(vm, mmu),
        *_mechanism(vm, mmu),
        *_splitting(mmu),
        *_ring(vm, mmu),
        *_memory(vm, mmu),
        *_ticks(vm),
        *_index(vm, mmu),
    ]


def idle_keys(vm: Vm) -> frozenset[str]:
    """Keys of [vm.mmu] that mean nothing for ``vm``."""
    mmu = vm.mmu or Mmu()
    keys = {
        "eager_split": mmu.page_size == "4KiB",
        "ring_entries": vm.dirty_tracking != "dirty-ring",
        "index": mmu.index == MEASURED,
        "write_tracking": mmu.index == "book3s-hv",
        "a_bits": mmu.a_bits,
    }
    return frozenset(key for key, idle in keys.items() if idle)


def _before(era: Era, name: str) -> bool:
    return era_names().index(era.name) < era_names().index(name)


def _without_kvm(vm: Vm) -> Iterator[Finding]:
    if vm.mmu is not None:
        wanted = "KVM's way to find dirty pages: " + ", ".join(INTERFACES)
        example = 'dirty_tracking = "get-dirty-log" under [vm]'
        got = "a table without meaning with dirty_tracking = 'tcg'"
        yield Finding("vm.mmu", got, wanted, example, ("vm.dirty_tracking",))


def _since(offers: Offers) -> str:
    """The first era that ``offers``, with its kernel."""
    first = next(era for era in map(load_era, era_names()) if offers(era))
    return f"{first.name} (kernel {first.kernel.split('-', 1)[0]})"


def _era(key: str, got: str, era: Era, offers: Offers) -> Iterator[Finding]:
    if not offers(era):
        first = _since(offers)
        got = f"{got} with era {era.name} (kernel {era.kernel})"
        wanted = f"an era that has it: {first} or later"
        yield Finding(key, got, wanted, f'era = "{first.split(" ", 1)[0]}"', ("vm.mmu.era",))


def _interface(vm: Vm, mmu: Mmu) -> Iterator[Finding]:
    offers = OFFERED.get(vm.dirty_tracking)
    if offers is not None:
        yield from _era("vm.dirty_tracking", f"'{vm.dirty_tracking}'", load_era(mmu.era), offers)


def _mechanism(vm: Vm, mmu: Mmu) -> Iterator[Finding]:
    key = "vm.mmu.write_tracking"
    if mmu.write_tracking == "d-bit" and vm.dirty_tracking != "get-dirty-log":
        got, example = f"'d-bit' with dirty_tracking = '{vm.dirty_tracking}'", 'dirty_tracking = "get-dirty-log"'
        yield Finding(key, got, "'get-dirty-log' beside it: a scan finds all at once", example, ("vm.dirty_tracking",))
    if mmu.write_tracking == "pml":
        yield from _pml(mmu, key)
    if mmu.caught_by != "write-protect" and not mmu.a_bits:
        got, wanted = f"false with '{mmu.caught_by}'", "true: page tables that have D bits have A bits"
        yield Finding("vm.mmu.a_bits", got, wanted, "a_bits = true", (key, "vm.mmu.index"))


def _pml(mmu: Mmu, key: str) -> Iterator[Finding]:
    """PML needs a machine that has it, EPT (arch/x86/kvm/vmx/vmx.c::hardware_setup), and a kernel that uses it."""
    if not is_path(mmu.costs):
        yield from sheet_findings(mmu, mmu.costs)
    if mmu.mode == "shadow":
        wanted = "mode = 'tdp' or 'direct': the processor logs through its own second page tables"
        yield Finding(key, "'pml' with mode = 'shadow'", wanted, 'mode = "tdp"', ("vm.mmu.mode",))
    yield from _era(key, "'pml'", load_era(mmu.era), lambda era: not _before(era, PML_SINCE))


def sheet_findings(mmu: Mmu, sheet: str) -> Iterator[Finding]:
    """What is wrong between ``mmu`` and the cost sheet ``sheet``, its own or where that is found. InputError."""
    if mmu.write_tracking == "pml" and not load_costs(sheet).has_pml:
        sheets = [name for name in sheet_names() if load_costs(name).has_pml]
        got, wanted = f"'pml' with costs = '{mmu.costs}'", "the cost sheet of a machine that has PML: " + ", ".join(sheets)
        yield Finding("vm.mmu.write_tracking", got, wanted, f'costs = "{sheets[0]}"', ("vm.mmu.costs",))


def _splitting(mmu: Mmu) -> Iterator[Finding]:
    key, uses = "vm.mmu.eager_split", ("vm.mmu.page_size",)
    if mmu.eager_split is None or "eager_split" not in mmu.model_fields_set:
        return
    if mmu.page_size == "4KiB":
        yield Finding(key, "a key without meaning here", "only with large pages", 'page_size = "2MiB"', uses)
    elif mmu.eager_split:
        yield from _era(key, "true", load_era(mmu.era), lambda era: era.eager_split)


def _index(vm: Vm, mmu: Mmu) -> Iterator[Finding]:
    """An index is asked to write-protect 4 KiB sptes of a direct map; book3s-hv to read C bits."""
    if mmu.index == MEASURED:
        return
    key, index = "vm.mmu.index", f"'{mmu.index}'"
    by_hardware = mmu.index == "book3s-hv"
    offered = INDEXED[:1] if by_hardware or mmu.index == UNMAPPING else INDEXED
    if vm.dirty_tracking not in offered:
        wanted = "an index beside " + " or ".join(f"'{name}'" for name in offered)
        example = f'dirty_tracking = "{offered[0]}"'
        yield Finding(key, f"{index} with dirty_tracking = '{vm.dirty_tracking}'", wanted, example, ("vm.dirty_tracking",))
    if mmu.mode == "shadow":
        wanted = "an index of a direct map: one spte a page"
        yield Finding(key, f"{index} with mode = 'shadow'", wanted, 'mode = "direct"', ("vm.mmu.mode",))
    if mmu.page_size != "4KiB":
        got, wanted = f"{index} with page_size = '{mmu.page_size}'", "an index of 4 KiB sptes"
        yield Finding(key, got, wanted, 'page_size = "4KiB"', ("vm.mmu.page_size",))
    caught = "d-bit" if by_hardware else "write-protect"
    if "write_tracking" in mmu.model_fields_set and mmu.write_tracking != caught:
        got, wanted = f"{index} with write_tracking = '{mmu.write_tracking}'", f"'{caught}' with this index, or no such key"
        yield Finding(key, got, wanted, f'write_tracking = "{caught}"', ("vm.mmu.write_tracking",))


def _ring(vm: Vm, mmu: Mmu) -> Iterator[Finding]:
    key = "vm.mmu.ring_entries"
    if vm.dirty_tracking != "dirty-ring":
        if "ring_entries" in mmu.model_fields_set:
            wanted = 'only with dirty_tracking = "dirty-ring"'
            yield Finding(key, "a key without meaning here", wanted, "", ("vm.dirty_tracking",))
        return
    reserved = RING_RESERVED + (PML_ENTRIES if mmu.write_tracking == "pml" else 0)
    if mmu.ring_entries <= reserved:
        wanted = f"more than the {reserved} that KVM keeps free for a PML buffer"
        yield Finding(key, f"{mmu.ring_entries} with 'pml'", wanted, "ring_entries = 4096", ("vm.mmu.write_tracking",))


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
