"""What of vm.dirty_tracking and [vm.mmu] goes together under KVM: one list for scenarios, studies, selftests and machines.

A rule says what a kernel, a machine or an index of sptes does not offer. What a key means at all is the scenario's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hostsim.core.finding import Finding
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.costs.costs import load_costs, sheet_names
from hostsim.costs.era import Era, era_names, load_era
from hostsim.kvm.spec import INDEXED, MEASURED, Interface, MmuSpec, WriteTracking, traits_of

RING_RESERVED = 64
"""Entries that stay free in a ring, with PML a buffer more (virt/kvm/dirty_ring.c::kvm_dirty_ring_get_rsvd_entries)."""
PML_SINCE = "E1"
"""VMX has PML since 2015; release 4.0 assumed."""
RING_SINCE = "E3"
"""KVM_CAP_DIRTY_LOG_RING, in 5.11 assumed: after the first kernel of E2."""
TRACKING, WRITES, MODE = "vm.dirty_tracking", "vm.mmu.write_tracking", "vm.mmu.mode"
ERA, COSTS, INDEX, PAGES = "vm.mmu.era", "vm.mmu.costs", "vm.mmu.index", "vm.mmu.page_size"

Offers = Callable[[Era], bool]
OFFERED: dict[str, Offers] = {
    "clear-dirty-log": lambda era: era.manual_protect,
    "initially-all-set": lambda era: era.initially_all_set,
    "dirty-ring": lambda era: not _before(era, RING_SINCE),
}
"""Whether the kernels of an era have that value of vm.dirty_tracking."""


def conflicts(mmu: MmuSpec, interface: Interface) -> Iterator[Finding]:
    """Everything that does not go together; the sheet, apart, by ``sheet_conflicts``: its file may not be known yet."""
    era = load_era(mmu.era)
    yield from _of_interface(interface, era)
    yield from _of_write_tracking(mmu, interface, era)
    if mmu.eager_split:
        yield from _not_in(era, "vm.mmu.eager_split", "true", lambda one: one.eager_split)
    if interface == "dirty-ring":
        yield from _of_ring(mmu)
    if mmu.index != MEASURED:
        yield from _of_index(mmu, interface)


def sheet_conflicts(mmu: MmuSpec, sheet: str) -> Iterator[Finding]:
    """What the machine of the cost sheet ``sheet`` (name or path) does not have. InputError if there is no such sheet."""
    if mmu.write_tracking == "pml" and not load_costs(sheet).has_pml:
        sheets = [name for name in sheet_names() if load_costs(name).has_pml]
        got, wanted = f"'pml' with costs = '{mmu.costs}'", "the cost sheet of a machine that has PML: " + ", ".join(sheets)
        yield Finding(WRITES, got, wanted, f'costs = "{sheets[0]}"', (COSTS,))


def ring_reserve(mmu: MmuSpec) -> int:
    """Entries of each vCPU's ring that KVM keeps free."""
    return RING_RESERVED + (PML_ENTRIES if mmu.write_tracking == "pml" else 0)


def caught_by(index: str) -> WriteTracking:
    """How a first write is found where ``index`` holds the sptes: by bits that the hardware sets, or by protection."""
    return "d-bit" if traits_of(index).logs_by_hardware else "write-protect"


def _before(era: Era, name: str) -> bool:
    return era_names().index(era.name) < era_names().index(name)


def _not_in(era: Era, key: str, got: str, offers: Offers) -> Iterator[Finding]:
    """``got`` where ``era`` does not offer it; the first era that does is named, with its kernel."""
    if not offers(era):
        first = next(one for one in map(load_era, era_names()) if offers(one))
        wanted = f"an era that has it: {first.name} (kernel {first.kernel.split('-', 1)[0]}) or later"
        yield Finding(key, f"{got} with era {era.name} (kernel {era.kernel})", wanted, f'era = "{first.name}"', (ERA,))


def _of_interface(interface: Interface, era: Era) -> Iterator[Finding]:
    offers = OFFERED.get(interface)
    if offers is not None:
        yield from _not_in(era, TRACKING, f"'{interface}'", offers)


def _of_write_tracking(mmu: MmuSpec, interface: Interface, era: Era) -> Iterator[Finding]:
    if mmu.index == MEASURED and mmu.write_tracking == "d-bit" and interface != "get-dirty-log":
        got, example = f"'d-bit' with dirty_tracking = '{interface}'", 'dirty_tracking = "get-dirty-log"'
        yield Finding(WRITES, got, "'get-dirty-log' beside it: a scan finds all at once", example, (TRACKING,))
    if mmu.write_tracking == "pml":
        yield from _of_pml(mmu, era)
    if mmu.write_tracking != "write-protect" and not mmu.a_bits:
        got, wanted = f"false with '{mmu.write_tracking}'", "true: page tables that have D bits have A bits"
        yield Finding("vm.mmu.a_bits", got, wanted, "a_bits = true", (WRITES, INDEX))


def _of_pml(mmu: MmuSpec, era: Era) -> Iterator[Finding]:
    """PML needs EPT (arch/x86/kvm/vmx/vmx.c::hardware_setup), and a kernel that uses it."""
    if mmu.mmu == "shadow":
        wanted = "mode = 'tdp' or 'direct': the processor logs through its own second page tables"
        yield Finding(WRITES, "'pml' with mode = 'shadow'", wanted, 'mode = "tdp"', (MODE,))
    yield from _not_in(era, WRITES, "'pml'", lambda one: not _before(one, PML_SINCE))


def _of_ring(mmu: MmuSpec) -> Iterator[Finding]:
    reserve = ring_reserve(mmu)
    if mmu.ring_entries < reserve + 2:
        beside = " with 'pml'" if mmu.write_tracking == "pml" else ""
        what = "for a PML buffer" if beside else "of a ring"
        wanted = f"more than the {reserve} that KVM keeps free {what}"
        yield Finding("vm.mmu.ring_entries", f"{mmu.ring_entries}{beside}", wanted, "ring_entries = 4096", (WRITES,))


def _of_index(mmu: MmuSpec, interface: Interface) -> Iterator[Finding]:
    """An index is asked to write-protect 4 KiB sptes of a direct map; Book3S HV's to read C bits."""
    index, caught = f"'{mmu.index}'", caught_by(mmu.index)
    traits = traits_of(mmu.index)
    offered = INDEXED[:1] if traits.logs_by_hardware or traits.protects_by_zapping else INDEXED
    if interface not in offered:
        wanted = "an index beside " + " or ".join(f"'{name}'" for name in offered)
        example = f'dirty_tracking = "{offered[0]}"'
        yield Finding(INDEX, f"{index} with dirty_tracking = '{interface}'", wanted, example, (TRACKING,))
    if mmu.mmu == "shadow":
        wanted = "an index of a direct map: one spte a page"
        yield Finding(INDEX, f"{index} with mode = 'shadow'", wanted, 'mode = "direct"', (MODE,))
    if mmu.page_size != "4KiB":
        got = f"{index} with page_size = '{mmu.page_size}'"
        yield Finding(INDEX, got, "an index of 4 KiB sptes", 'page_size = "4KiB"', (PAGES,))
    if mmu.write_tracking != caught:
        got, wanted = f"{index} with write_tracking = '{mmu.write_tracking}'", f"'{caught}' with this index, or no such key"
        yield Finding(INDEX, got, wanted, f'write_tracking = "{caught}"', (WRITES,))
