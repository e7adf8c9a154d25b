"""Rules on which values of vm.dirty_tracking and [vm.mmu] are compatible under KVM, for all inputs of the package.

A rule names a choice that a kernel, a machine or an index of sptes does not offer. The scenario room checks single keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hostsim.core.errors import Finding
from hostsim.costs.cost_rules import PML_ENTRIES
from hostsim.costs.costs import load_costs, sheet_names
from hostsim.costs.era import Era, era_names, is_before, load_era
from hostsim.kvm.interfaces import INTERFACE_TRAITS, Interface, with_index
from hostsim.kvm.spec import MEASURED, MmuSpec, WriteTracking, traits_of

RING_RESERVED = 64
"""Entries that stay free in a ring, with PML a buffer more (virt/kvm/dirty_ring.c::kvm_dirty_ring_get_rsvd_entries)."""
PML_SINCE = "E1"
"""VMX has PML since 2015; release 4.0 assumed."""
TRACKING, WRITES, MODE = "vm.dirty_tracking", "vm.mmu.write_tracking", "vm.mmu.mode"
ERA, COSTS, INDEX, PAGES = "vm.mmu.era", "vm.mmu.costs", "vm.mmu.index", "vm.mmu.page_size"
CLEAR_LOCK = "vm.mmu.clear_lock"

Offers = Callable[[Era], bool]


def conflicts(mmu: MmuSpec, interface: Interface) -> Iterator[Finding]:
    """All incompatible choices among ``mmu`` and ``interface``, as findings.

    The choices of the cost sheet are checked by ``sheet_conflicts``: the sheet's file may not be known yet.
    """
    era = load_era(mmu.era)
    yield from _of_interface(interface, era)
    yield from _of_write_tracking(mmu, interface, era)
    if mmu.eager_split:
        yield from _not_in(era, "vm.mmu.eager_split", "true", lambda one: one.eager_split)
    if INTERFACE_TRAITS[interface].has_rings:
        yield from _of_ring(mmu)
    if mmu.clear_lock == "shared" and INTERFACE_TRAITS[interface].has_clear:
        yield from _of_shared_clear(mmu, era)
    if mmu.index != MEASURED:
        yield from _of_index(mmu, interface)


def sheet_conflicts(mmu: MmuSpec, sheet: str) -> Iterator[Finding]:
    """Choices that the machine of ``sheet`` (name or path) does not offer. InputError if the sheet does not exist."""
    if mmu.write_tracking == "pml" and not load_costs(sheet).has_pml:
        sheets = [name for name in sheet_names() if load_costs(name).has_pml]
        got, wanted = f"'pml' with costs = '{mmu.costs}'", "the cost sheet of a machine that has PML: " + ", ".join(sheets)
        yield Finding(WRITES, got, wanted, f'costs = "{sheets[0]}"', (COSTS,))


def ring_reserve(mmu: MmuSpec) -> int:
    """Entries of each vCPU's ring that KVM keeps free."""
    return RING_RESERVED + (PML_ENTRIES if mmu.write_tracking == "pml" else 0)


def caught_by(index: str) -> WriteTracking:
    """The write tracking of ``index``: D bits if the hardware sets its dirty bits, else write protection."""
    return "d-bit" if traits_of(index).logs_by_hardware else "write-protect"


def _not_in(era: Era, key: str, got: str, offers: Offers) -> Iterator[Finding]:
    """A finding on ``got`` if ``era`` does not offer it; it names the first era that does, with its kernel."""
    if not offers(era):
        first = next(one for one in map(load_era, era_names()) if offers(one))
        wanted = f"an era that has it: {first.name} (kernel {first.kernel.split('-', 1)[0]}) or later"
        yield Finding(key, f"{got} with era {era.name} (kernel {era.kernel})", wanted, f'era = "{first.name}"', (ERA,))


def _of_interface(interface: Interface, era: Era) -> Iterator[Finding]:
    yield from _not_in(era, TRACKING, f"'{interface}'", INTERFACE_TRAITS[interface].offered)


def _of_write_tracking(mmu: MmuSpec, interface: Interface, era: Era) -> Iterator[Finding]:
    if mmu.index == MEASURED and mmu.write_tracking == "d-bit" and interface != "get-dirty-log":
        got, example = f"'d-bit' with dirty_tracking = '{interface}'", 'dirty_tracking = "get-dirty-log"'
        yield Finding(WRITES, got, "'get-dirty-log' beside it: a scan finds all at once", example, (TRACKING,))
    if mmu.write_tracking == "pml":
        yield from _of_pml(mmu, era)
    if mmu.write_tracking != "write-protect" and not mmu.a_bits:
        got, wanted = f"false with '{mmu.write_tracking}'", "true: page tables that have D bits have A bits"
        yield Finding("vm.mmu.a_bits", got, wanted, "a_bits = true", (WRITES, INDEX))


def _of_shared_clear(mmu: MmuSpec, era: Era) -> Iterator[Finding]:
    """Readers of mmu_lock may change sptes of the TDP MMU alone: a chain of an rmap needs the lock exclusively."""
    if mmu.mmu != "tdp":
        got, wanted = f"'shared' with mode = '{mmu.mmu}'", "mode = 'tdp', or 'each-mask': rmaps need mmu_lock exclusively"
        yield Finding(CLEAR_LOCK, got, wanted, 'mode = "tdp"', (MODE,))
    elif mmu.index != MEASURED:
        wanted = "no index, or 'each-mask': the proposal is of the TDP MMU"
        yield Finding(CLEAR_LOCK, f"'shared' with index = '{mmu.index}'", wanted, 'clear_lock = "each-mask"', (INDEX,))
    yield from _not_in(era, CLEAR_LOCK, "'shared'", lambda one: one.lock == "rwlock" and one.tdp_mmu != "absent")


def _of_pml(mmu: MmuSpec, era: Era) -> Iterator[Finding]:
    """PML needs EPT (arch/x86/kvm/vmx/vmx.c::hardware_setup), and a kernel that uses it."""
    if mmu.mmu == "shadow":
        wanted = "mode = 'tdp' or 'direct': the processor logs through its own second page tables"
        yield Finding(WRITES, "'pml' with mode = 'shadow'", wanted, 'mode = "tdp"', (MODE,))
    yield from _not_in(era, WRITES, "'pml'", lambda one: not is_before(one, PML_SINCE))


def _of_ring(mmu: MmuSpec) -> Iterator[Finding]:
    reserve = ring_reserve(mmu)
    if mmu.ring_entries < reserve + 2:
        beside = " with 'pml'" if mmu.write_tracking == "pml" else ""
        what = "for a PML buffer" if beside else "of a ring"
        wanted = f"more than the {reserve} that KVM keeps free {what}"
        yield Finding("vm.mmu.ring_entries", f"{mmu.ring_entries}{beside}", wanted, "ring_entries = 4096", (WRITES,))


def _of_index(mmu: MmuSpec, interface: Interface) -> Iterator[Finding]:
    """An index write-protects 4 KiB sptes of a direct map; Book3S HV's index reads C bits instead."""
    index, caught = f"'{mmu.index}'", caught_by(mmu.index)
    traits = traits_of(mmu.index)
    offered = with_index(in_place=not (traits.logs_by_hardware or traits.protects_by_zapping))
    if interface not in offered:
        wanted = "dirty_tracking = " + " or ".join(f"'{name}'" for name in offered) + " with this index"
        example = f'dirty_tracking = "{offered[0]}"'
        yield Finding(INDEX, f"{index} with dirty_tracking = '{interface}'", wanted, example, (TRACKING,))
    if mmu.mmu == "shadow":
        wanted = "an index of a direct map: one spte a page"
        yield Finding(INDEX, f"{index} with mode = 'shadow'", wanted, 'mode = "direct"', (MODE,))
    if mmu.page_size != "4KiB":
        got = f"{index} with page_size = '{mmu.page_size}'"
        yield Finding(INDEX, got, "an index of 4 KiB sptes", 'page_size = "4KiB"', (PAGES,))
    if mmu.write_tracking != caught:
        got = f"{index} with write_tracking = '{mmu.write_tracking}'"
        wanted = f"'{caught}' with this index, or no write_tracking"
        yield Finding(INDEX, got, wanted, f'write_tracking = "{caught}"', (WRITES,))
