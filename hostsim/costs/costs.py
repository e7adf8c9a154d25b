"""Cost sheets: costs of KVM's MMU operations on a machine, each number with unit, source and fitted published rows.

Data in hostsim/data/costs/<name>.toml, or in a user's file; derived numbers are computed here by the rules of
``cost_rules``, never typed in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from hostsim.core.errors import InputError, Problem
from hostsim.costs.cost_file import is_path, read_sheet
from hostsim.costs.cost_rules import REQUEST_ATOMICS, RULES
from hostsim.costs.era import Era, unknown_name

MODES = ("none", "shared", "exclusive")
"""Rows of queue_ns, in the order of the engine's modes."""


@dataclass(frozen=True)
class Number:
    """One number of a sheet.

    name: ends in the unit of ``value``.
    source: origin of the value.
    fitted_on: published rows that set the value, "row key" each.
    how: formula of a derived value, "" for a given one.
    rests_on: names of assumed numbers behind a derived value.
    """

    name: str
    value: float
    source: str
    fitted_on: tuple[str, ...] = ()
    how: str = ""
    rests_on: tuple[str, ...] = ()

    @property
    def assumed(self) -> bool:
        """Whether no measurement on this machine supports the value."""
        return self.source.startswith("assumed")


@dataclass(frozen=True)
class CostSheet:
    """Costs of one machine [ns], fractions kept: callers round once, at the end.

    numbers: all numbers of the sheet and the inputs of derived ones, by name.
    loop_ns, read_loop_ns: a vCPU's own work for a page written, and for a page read or passed over.
    exit_ns, entry_ns: leaving and entering the guest.
    *_hold_ns: an uncontended fault after its exit.
    exclusive_base_ns, exclusive_map_ns: the same under the exclusive lock with shadow paging, which reads the guest's page
    tables again: a write-protection fault, and one that maps.
    direct_wp_ns, direct_map_ns: the same with two-dimensional paging.
    handover_ns: added to an exclusive hold, for each doubling of the vCPUs beyond near_vcpus, when others wait or another
    actor had the lock last.
    near_vcpus: vCPUs that the host keeps on one socket.
    queued_vcpus: the most vCPUs with which the exclusive lock was measured.
    shared_turn_ns: time for which one reader keeps the lock word.
    core_vcpus: vCPUs that the host runs on a core each; with more, hyperthreads share cores and their caches.
    host_sockets: sockets, each with a NUMA node.
    populate_lines: shared cache lines outside mmu_lock that every populated page changes.
    populate_node_lines: those of them that each NUMA node has for itself.
    populate_ns: allocation of a host page.
    split_fault_ns: splitting a large spte in a fault, beyond the hold.
    prefetch_spte_ns: an spte that a fault sets beside its own; eager_split_ns, recover_region_ns: a 2 MiB region.
    get_page_ns, clear_*_ns, protect_page_ns, age_page_ns: a page.
    bare_word_*_ns: a CLEAR of a word of 64 pages that have no 4 KiB spte, through the rmap or the tree.
    idle_syscall_ns: one of the three system calls that mark a page idle.
    initially_set_ratio: cost of setting a page's bit in a log that starts all set, over protecting the page.
    flush_*: a flush without a target, the first target, each further host thread, each further vCPU in guest mode.
    l1_ns, l2_ns, llc_ns, dram_ns: a load that depends on the load before, with its line in that place.
    line_stream_ns: each of many lines read in order from memory.
    atomic_ns: a read-modify-write of a line in the CPU's own cache.
    lock_pair_ns: taking and dropping an uncontended lock.
    visit_ns: reading an entry of an index, beside loading its line.
    ahead_ns: work on which the processor is ahead of a load that it waits for, as far as its reorder buffer reaches.
    allocation_ns: allocating or freeing a small object.
    *_bytes: sizes of the data caches.
    tlb_entries, tlb_giant_entries: entries of the second-level TLB for 4 KiB and 2 MiB together, and for 1 GiB.
    pml_*: logging a page, draining an entry; None on a machine without PML.
    """

    name: str
    machine: str
    numbers: Mapping[str, Number]
    loop_ns: float
    read_loop_ns: float
    exit_ns: float
    entry_ns: float
    lockless_hold_ns: float
    shared_hold_ns: float
    shared_turn_ns: float
    exclusive_base_ns: float
    exclusive_map_ns: float
    direct_wp_ns: float
    direct_map_ns: float
    handover_ns: float
    near_vcpus: float
    queued_vcpus: float
    map_hold_ns: float
    populate_ns: float
    populate_lines: float
    populate_node_lines: float
    host_sockets: float
    core_vcpus: float
    split_fault_ns: float
    spurious_hold_ns: float
    prefetch_spte_ns: float
    eager_split_ns: float
    get_page_ns: float
    clear_rmap_ns: float
    clear_tree_cmpxchg_ns: float
    clear_tree_atomic_ns: float
    bare_word_rmap_ns: float
    bare_word_tree_ns: float
    protect_page_ns: float
    age_page_ns: float
    idle_syscall_ns: float
    initially_set_ratio: float
    recover_region_ns: float
    flush_local_ns: float
    flush_first_ns: float
    flush_thread_ns: float
    flush_vcpu_ns: float
    l1_ns: float
    l2_ns: float
    llc_ns: float
    dram_ns: float
    line_stream_ns: float
    atomic_ns: float
    lock_pair_ns: float
    visit_ns: float
    ahead_ns: float
    allocation_ns: float
    l1_bytes: float
    l2_bytes: float
    llc_bytes: float
    tlb_entries: float
    tlb_giant_entries: float
    pml_log_ns: float | None = None
    pml_drain_entry_ns: float | None = None
    pml_drain_entry_ordered_ns: float | None = None

    @property
    def has_pml(self) -> bool:
        """Whether the processor has PML."""
        return self.pml_log_ns is not None

    def measured_ns(self, name: str) -> float:
        """A number of KVM_MEASURED or BY_HAND; 0.0 in a sheet without it: its cost is in other numbers, or is not known."""
        return self.numbers[name].value if name in self.numbers else 0.0

    def fitted_on(self) -> frozenset[str]:
        """Published rows, "row key", that set some number of this sheet."""
        return frozenset(row for number in self.numbers.values() for row in number.fitted_on)


CONSTANTS = tuple(field.name for field in fields(CostSheet) if field.name not in {"name", "machine", "numbers"})
PML_CONSTANTS = tuple(name for name in CONSTANTS if name.startswith("pml_"))
ANCHORS = ("shared_hold_ns", "exclusive_base_ns", "direct_wp_ns", "lockless_hold_ns")
SCALED = frozenset((*ANCHORS, "map_hold_ns", "exclusive_map_ns", "direct_map_ns", "spurious_hold_ns"))
"""Handling of a fault: a sheet that borrows one of these scales it by the first of ANCHORS that it has itself."""
ALSO_MEASURED = ("random_store_ns", "clear_page_ns")
"""Further numbers that a sheet may have; the simulator does not use them yet."""
KVM_MEASURED = (
    "dirty_pass_ns", "dirty_pass_own_ns", "dirty_pass_shared_ns", "lone_fault_200us_ns", "lone_fault_1000us_ns",
    "scattered_fault_ns", "enable_call_ns", "disable_call_ns", "disable_page_ns", "get_call_ns", "get_dirty_page_ns",
    "clear_call_ns", "clear_nothing_ns", "all_set_first_clear_ns", "event_exit_ns", "user_exit_ns", "ring_pass_ns",
    "ring_harvest_ns", "ring_reset_ns", "ring_full_exit_ns", "unmap_page_ns", "mprotect_page_ns", "further_spte_enable_ns",
    "further_spte_get_ns", "further_spte_disable_ns", "further_spte_unmap_ns", "first_map_pass_ns", "logged_map_pass_ns",
    "first_map_ns", "swap_in_ns", "swap_in_p99_ns", "swap_out_page_ns",
    "sync_table_ns", "sync_spte_ns", "sync_drop_ns", "enable_next_call_ns", "disable_next_call_ns", "zap_page_ns",
    "free_cold_ns", "sync_protect_ns", "root_load_ns", "invlpg_ns", "invlpg_spte_ns", "emulate_write_ns", "zap_table_ns",
    "zap_entry_ns", "swap_slot_ns",
)  # fmt: skip
"""Further numbers that are measured through /dev/kvm; trackers use those of LogCosts."""
BY_HAND = ("interrupted_ns",)
"""Further numbers that a sheet may have and ``hostsim calibrate`` does not measure."""


@dataclass(frozen=True)
class LogCosts:
    """Times of the thread that works on the log of a slot, each for one unit of work [ns].

    get_ns: copying the bit of a page.
    clear_ns: clearing a page.
    bare_word_ns: a word of 64 pages in a CLEAR that finds no 4 KiB spte to clear; 0: as if it found nothing to look at.
    protect_ns: protecting an spte.
    split_ns, recover_ns: splitting and recovering a 2 MiB region.
    all_set_ns: a page of a log that starts all set.
    flush_ns: a TLB flush of a VM with one vCPU, which is not in guest mode.
    request_ns: added to a flush by each further vCPU of the VM, in guest mode or not.
    first_ipi_ns, more_ipi_ns: added to a flush by the first and by each further vCPU in guest mode.
    enable_call_ns, disable_call_ns: switching the log of a memslot on and off, beside its pages; 0: not measured.
    enable_next_call_ns, disable_next_call_ns: the same of each further memslot, right after the one before; 0: not measured,
    as the first.
    disable_page_ns: looking at the mapping of a page, which stays, when the log ends.
    clear_call_ns: a CLEAR that finds nothing.
    ring_reset_ns: resetting an entry of a ring; 0: as clear_ns.
    """

    get_ns: float
    clear_ns: float
    protect_ns: float
    split_ns: float
    recover_ns: float
    all_set_ns: float
    flush_ns: float
    first_ipi_ns: float
    more_ipi_ns: float
    enable_call_ns: float = 0.0
    disable_call_ns: float = 0.0
    enable_next_call_ns: float = 0.0
    disable_next_call_ns: float = 0.0
    disable_page_ns: float = 0.0
    clear_call_ns: float = 0.0
    ring_reset_ns: float = 0.0
    bare_word_ns: float = 0.0
    request_ns: float = 0.0

    def ipis_ns(self, running: int) -> float:
        """IPIs to ``running`` vCPUs in guest mode, and the wait for the last."""
        return self.first_ipi_ns + self.more_ipi_ns * (running - 1) if running else 0.0

    def remote_flush_ns(self, running: int, n_vcpus: int = 1) -> float:
        """One flush of a VM of ``n_vcpus`` vCPUs with ``running`` of them in guest mode (oracle O35)."""
        return self.flush_ns + self.request_ns * (n_vcpus - 1) + self.ipis_ns(running)


@cache
def sheet_names() -> tuple[str, ...]:
    """Names of the sheets that come with hostsim."""
    folder = files("hostsim") / "data" / "costs"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


@cache
def _table(name: str) -> dict[str, Any]:
    text = (files("hostsim") / "data" / "costs" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def load_costs(name: str) -> CostSheet:
    """The sheet ``name``, or that of the file ``name`` (it ends in .toml or lies in a folder), derived numbers computed.

    InputError names the nearest sheet for an unknown name, and lists all problems of a file.
    """
    if is_path(name):
        return _sheet_of_file(name)
    if name not in sheet_names():
        raise unknown_name("sheet", name, sheet_names())
    return _sheet_of_name(name)


@cache
def _sheet_of_name(name: str) -> CostSheet:
    table = _table(name)
    return _sheet(name, table, {key: number(name, key) for key in _names_in(table)})


def _sheet_of_file(path: str) -> CostSheet:
    """The sheet of a file, read at every call: the file may have changed."""
    table = read_sheet(path, known_numbers(), sheet_names())
    numbers, problems = {}, []
    for key in _names_in(table):
        try:
            numbers[key] = _number(table, key)
        except KeyError as missing:
            wanted = "the number, or `otherwise` with a sheet that lends it"
            problems.append(Problem(path, str(missing.args[0]), "nothing", wanted, 'otherwise = "cascade-lake"'))
        except RecursionError:
            got = "a rule that needs its own result"
            problems.append(Problem(path, key, got, "a value, or another rule", "value = 400"))
        except (AssertionError, ArithmeticError, ValueError):
            got = "inputs of which its rule makes no number"
            problems.append(Problem(path, key, got, "inputs that its rule can take", "value = 400"))
    if problems:
        raise InputError(dict.fromkeys(problems))
    return _sheet(path, table, numbers)


def _sheet(name: str, table: Mapping[str, Any], numbers: Mapping[str, Number]) -> CostSheet:
    values = {key: numbers[key].value for key in _wanted(table)}
    return CostSheet(name, table["machine"], MappingProxyType(dict(numbers)), **values)


def _wanted(table: Mapping[str, Any]) -> tuple[str, ...]:
    return CONSTANTS if table["pml"] else tuple(key for key in CONSTANTS if key not in PML_CONSTANTS)


def _names_in(table: Mapping[str, Any]) -> Iterable[str]:
    """Names of constants, then of the table's other numbers."""
    return dict.fromkeys([*_wanted(table), *(key for key, entry in table.items() if isinstance(entry, dict))])


def known_numbers() -> frozenset[str]:
    """Names that an entry of a sheet may have: constants, inputs of rules, further measured numbers."""
    inputs = (name for rule in RULES.values() for name in rule.inputs)
    return frozenset([*CONSTANTS, *ALSO_MEASURED, *KVM_MEASURED, *BY_HAND, *inputs])


def number(sheet: str, name: str) -> Number:
    """Number ``name`` of ``sheet`` or its file: given, computed by its rule, or of another sheet (then it is assumed)."""
    if is_path(sheet):
        return _number(read_sheet(sheet, known_numbers(), sheet_names()), name)
    return _number_of_name(sheet, name)


@cache
def _number_of_name(sheet: str, name: str) -> Number:
    return _number(_table(sheet), name)


def _number(table: Mapping[str, Any], name: str) -> Number:
    """As ``number``, from ``table``. KeyError names a missing number that no other sheet lends."""
    entry = table.get(name)
    if entry is None and "otherwise" not in table:
        raise KeyError(name)
    if entry is None and name in SCALED and (anchor := next((key for key in ANCHORS if key in table), None)):
        return _scaled(table, name, anchor)
    entry = entry or {"as": table["otherwise"]}
    rows = tuple(entry.get("fitted_on", ()))
    if "as" in entry:
        there = number(entry["as"], name)
        source = entry.get("source", f"assumed: as {entry['as']} ({there.source.removeprefix('assumed: ')})")
        return replace(there, source=source)
    if "rule" in entry:
        return _derived(table, name, entry)
    if "total" in entry:
        return Number(name, entry["total"] / entry["count"], entry["source"], rows, f"{entry['total']} / {entry['count']}")
    return Number(name, float(entry["value"]), entry["source"], rows)


def _derived(table: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> Number:
    """Compute number ``name`` by its rule; it is fitted on all rows of its inputs."""
    rule = RULES[entry["rule"]]
    inputs = [_number(table, key) for key in rule.inputs]
    rows = sorted({row for used in inputs for row in used.fitted_on})
    guesses = sorted({guess for used in inputs for guess in ([used.name] if used.assumed else used.rests_on)})
    value = rule.compute(*(used.value for used in inputs))
    return Number(name, value, entry["source"], tuple(rows), rule.formula, tuple(guesses))


def _scaled(table: Mapping[str, Any], name: str, anchor: str) -> Number:
    """Number ``name`` of the lending sheet, times the ratio of the two machines' ``anchor``."""
    lender = table["otherwise"]
    lent, there, own = number(lender, name), number(lender, anchor), _number(table, anchor)
    rows = tuple(sorted({*lent.fitted_on, *there.fitted_on, *own.fitted_on}))
    source = f"assumed: as {lender}, scaled by {anchor} ({lent.source.removeprefix('assumed: ')})"
    return Number(name, lent.value * own.value / there.value, source, rows, f"{lender}'s * own {anchor} / {lender}'s")


def clear_page_ns(sheet: CostSheet, era: Era, mmu: str = "tdp") -> float:
    """Time to CLEAR a page [ns]: through the rmap, or through the TDP tree by cmpxchg or, later, by one atomic AND.

    sheet: the three times. era: the kernel, which decides among them for ``mmu``, one of MMUS.
    InputError for an MMU that does not exist.
    """
    # Model limit: the walk over all active shadow pages (before 3.6) costs a dirty page as much as its rmap does later.
    era.locks(mmu)
    if era.log_read[mmu] != "tdp-tree":
        return sheet.clear_rmap_ns
    return sheet.clear_tree_atomic_ns if era.clear == "atomic-and" else sheet.clear_tree_cmpxchg_ns


def log_costs(sheet: CostSheet, era: Era, mmu: str = "tdp") -> LogCosts:
    """Costs of enabling, reading, clearing and ending a log.

    sheet: the times. era: the kernel, which decides how a log is read and cleared for ``mmu``, one of MMUS.
    InputError for an MMU that does not exist.
    """
    return LogCosts(
        get_ns=sheet.get_page_ns,
        clear_ns=clear_page_ns(sheet, era, mmu),
        protect_ns=sheet.protect_page_ns,
        split_ns=sheet.eager_split_ns,
        recover_ns=sheet.recover_region_ns,
        all_set_ns=sheet.protect_page_ns * sheet.initially_set_ratio,
        flush_ns=sheet.flush_local_ns,
        first_ipi_ns=sheet.flush_first_ns,
        more_ipi_ns=sheet.flush_vcpu_ns,
        enable_call_ns=sheet.measured_ns("enable_call_ns"),
        disable_call_ns=sheet.measured_ns("disable_call_ns"),
        enable_next_call_ns=sheet.measured_ns("enable_next_call_ns"),
        disable_next_call_ns=sheet.measured_ns("disable_next_call_ns"),
        disable_page_ns=sheet.measured_ns("disable_page_ns"),
        clear_call_ns=sheet.measured_ns("clear_nothing_ns"),
        ring_reset_ns=sheet.measured_ns("ring_reset_ns"),
        bare_word_ns=sheet.bare_word_tree_ns if era.log_read[mmu] == "tdp-tree" else sheet.bare_word_rmap_ns,
        request_ns=request_ns(sheet),
    )


def request_ns(sheet: CostSheet) -> float:
    """A flush asks a vCPU [ns]: sets a bit of vcpu->requests, and exchanges vcpu->mode to see whether it needs an IPI.

    virt/kvm/kvm_main.c::kvm_make_vcpu_request, ::kvm_request_needs_ipi: two atomic operations on lines that the flushing CPU
    has from its last flush.
    """
    return REQUEST_ATOMICS * sheet.atomic_ns + sheet.visit_ns


def flush_ns(sheet: CostSheet, targets: int, *, in_guest_mode: bool = True, n_vcpus: int = 1) -> float:
    """A TLB flush that waits for ``targets`` CPUs [ns]: of threads of the host, or of vCPUs in guest mode of ``n_vcpus``."""
    asked_ns = sheet.flush_local_ns + request_ns(sheet) * (n_vcpus - 1)
    if targets == 0:
        return asked_ns
    further_ns = sheet.flush_vcpu_ns if in_guest_mode else sheet.flush_thread_ns
    return asked_ns + sheet.flush_first_ns + further_ns * (targets - 1)
