"""Checks of [destination.memory] against the migration and the guest that it is about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import Finding
from hostsim.core.units import format_bytes
from hostsim.kvm.spec import pins_pages
from hostsim.memory.frames import kept_at_start
from hostsim.memory.policies.registry import policy_named
from hostsim.memory.spec import NO_LIMIT
from hostsim.scenario.kvm_schema import Mmu
from hostsim.scenario.memory_schema import NO_SWAP, DestinationMemory

if TYPE_CHECKING:
    from hostsim.scenario.schema import Scenario

KEY = "destination.memory"


def destination_findings(scenario: Scenario) -> list[Finding]:
    """All findings about the destination's memory, and about pages that neither host can swap."""
    found = list(_host_pages(scenario))
    if scenario.destination is None:
        return found
    memory = scenario.destination.memory
    return [*found, *_needs(scenario), *_ageing(scenario), *_room(scenario, memory)]


def _host_pages(scenario: Scenario) -> Iterator[Finding]:
    """ram_load refuses blocks of another page size than its own (migration/ram.c::parse_ramblock)."""
    tables = {"host.memory": scenario.host.memory, KEY: scenario.destination}
    migration = scenario.migration
    for key in [key for key, table in tables.items() if table is not None]:
        if migration is not None and migration.postcopy_ram and migration.host_page != "4KiB":
            got = f"'{migration.host_page}' with [{key}]"
            wanted = "4KiB: frames hold 4 KiB, and both sides of a migration have pages of one size"
            yield Finding("migration.host_page", got, wanted, 'host_page = "4KiB"', (key,))


def _needs(scenario: Scenario) -> Iterator[Finding]:
    mmu = scenario.vm.mmu or Mmu()
    if scenario.migration is None or not scenario.migration.postcopy_ram:
        wanted = "post-copy: before the switchover the guest does not run at the destination"
        got, uses = "a table without migration.postcopy_ram", ("migration.postcopy_ram",)
        yield Finding(KEY, got, wanted, "postcopy_ram = true", uses)
    if scenario.vm.dirty_tracking == "tcg":
        wanted = "a guest under KVM: a dirty_tracking other than 'tcg'"
        example = 'dirty_tracking = "get-dirty-log" under [vm]'
        yield Finding(KEY, "a table with dirty_tracking = 'tcg'", wanted, example, ("vm.dirty_tracking",))
    elif mmu.page_size != "4KiB":
        wanted = f"4KiB with [{KEY}]: its frames hold 4 KiB each, and so does a slot of swap"
        yield Finding("vm.mmu.page_size", f"'{mmu.page_size}' with [{KEY}]", wanted, 'page_size = "4KiB"', (KEY,))
    if pins_pages(mmu.index, mmu.era):
        wanted = "another index, or a later era: Book3S PR pinned the pages of its guests in 2010"
        yield Finding("vm.mmu.index", f"'{mmu.index}' with [{KEY}] and era {mmu.era}", wanted, 'era = "E0b"', (KEY,))


def _ageing(scenario: Scenario) -> Iterator[Finding]:
    ageing = scenario.ageing
    if ageing is not None and scenario.host.memory is None and not policy_named(ageing.policy).scans:
        wanted = f"'scan' or 'idle' beside [{KEY}]: other policies keep lists of pages that do not come and go"
        yield Finding("ageing.policy", f"'{ageing.policy}'", wanted, 'policy = "idle"', (KEY,))


def _room(scenario: Scenario, memory: DestinationMemory) -> Iterator[Finding]:
    """A finding unless frames and swap hold the whole guest, however much of it is written by the switch."""
    vm = scenario.vm
    pages = vm.memory_pages + sum(block.size // PAGE_BYTES for block in vm.ramblock)
    out = pages - kept_at_start([pages], [NO_LIMIT], memory.size // PAGE_BYTES)[0]
    room = 0 if memory.swap == NO_SWAP else memory.swap_size // PAGE_BYTES
    if out > room:
        wanted = f"frames and swap for all of vm.memory: {format_bytes((out - room) * PAGE_BYTES)} do not fit"
        uses = ("vm.memory", "vm.ramblock", f"{KEY}.swap", f"{KEY}.swap_size")
        yield Finding(f"{KEY}.size", format_bytes(memory.size), wanted, 'swap = "nvme", or a larger size', uses)
