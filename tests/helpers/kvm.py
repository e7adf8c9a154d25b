"""A cost sheet of round numbers, so that times of phases can be computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostsim.costs.costs import LogCosts
from hostsim.costs.exits import MAP, SPLIT, WP
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.spec import MmuSpec
from hostsim.measure.selftest.walked_vm import WalkedSpec

EXIT_NS, ENTRY_NS, LOOP_NS, READ_LOOP_NS = 600, 400, 60, 15
HOLD_NS = {MAP: 1000, WP: 120, SPLIT: 30_000}
DRAIN_NS = 2048
LOG = LogCosts(
    get_ns=0.5, clear_ns=30.0, protect_ns=16.0, split_ns=26_000.0, recover_ns=36_000.0, all_set_ns=0.25, flush_ns=661.0,
    first_ipi_ns=775.0, more_ipi_ns=70.0, bare_word_ns=128.0,
)  # fmt: skip
NUMBERS = {
    "exit_ns": EXIT_NS, "entry_ns": ENTRY_NS, "loop_ns": LOOP_NS, "read_loop_ns": READ_LOOP_NS, "map_hold_ns": HOLD_NS[MAP],
    "lockless_hold_ns": HOLD_NS[WP], "shared_hold_ns": HOLD_NS[WP], "exclusive_base_ns": HOLD_NS[WP], "shared_turn_ns": 0,
    "exclusive_map_ns": HOLD_NS[WP], "direct_wp_ns": HOLD_NS[WP], "direct_map_ns": HOLD_NS[WP], "handover_ns": 0,
    "split_fault_ns": HOLD_NS[SPLIT] - HOLD_NS[MAP], "spurious_hold_ns": 50, "pml_log_ns": 40,
    "pml_drain_entry_ns": DRAIN_NS / 512, "get_page_ns": LOG.get_ns, "clear_rmap_ns": LOG.clear_ns,
    "clear_tree_cmpxchg_ns": LOG.clear_ns, "clear_tree_atomic_ns": LOG.clear_ns, "protect_page_ns": LOG.protect_ns,
    "bare_word_rmap_ns": LOG.bare_word_ns, "bare_word_tree_ns": LOG.bare_word_ns, "eager_split_ns": LOG.split_ns,
    "recover_region_ns": LOG.recover_ns,
    "initially_set_ratio": LOG.all_set_ns / LOG.protect_ns, "flush_local_ns": LOG.flush_ns,
    "flush_first_ns": LOG.first_ipi_ns, "flush_vcpu_ns": LOG.more_ipi_ns, "atomic_ns": 0, "visit_ns": 0,
}  # fmt: skip


def round_sheet(folder: Path, **changed: float) -> str:
    """Path of a sheet in ``folder`` whose numbers are ``NUMBERS``, some of them ``changed``; it borrows the others."""
    entries = [f'[{name}]\nvalue = {value}\nsource = "assumed: round"\n' for name, value in {**NUMBERS, **changed}.items()]
    path = folder / f"round{len(list(folder.glob('round*.toml')))}.toml"
    path.write_text('machine = "round"\npml = true\notherwise = "cascade-lake"\n\n' + "\n".join(entries))
    return str(path)


def walked(
    sheet: str, n_vcpus: int, vcpu_pages: int, interface: Interface = "clear-dirty-log", *, era: str = "E5",
    overlap: bool = False, **mmu: Any,
) -> WalkedSpec:  # fmt: skip
    """A VM of the selftest, in a kernel that recovers huge pages in place and flushes once a slot."""
    return WalkedSpec(MmuSpec(era=era, costs=sheet, **mmu), interface, n_vcpus, vcpu_pages, overlap)
