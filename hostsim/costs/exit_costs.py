"""Costs of the exits of a VM's vCPUs on a machine: holds, the queue at mmu_lock, PML, IPIs, in whole nanoseconds."""

from __future__ import annotations

from dataclasses import asdict
from math import log2

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import InputError, Problem
from hostsim.costs.cost_rules import PML_ENTRIES, caches_of
from hostsim.costs.costs import MODES, CostSheet, load_costs, sheet_names
from hostsim.costs.era import Era
from hostsim.costs.exits import COST_KEYS, ExitCosts

LINES_PER_PAGE = 64


def handover_ns(sheet: CostSheet, n_vcpus: int) -> float:
    """Time that others at the exclusive lock add to a hold [ns]: none if ``n_vcpus`` vCPUs run on one socket."""
    # Model limit: a hand-over of mmu_lock grows with the logarithm of the number of vCPUs, as was measured with 8 to 64 on
    # hosts of two sockets. Farther cores, lower clocks of busy ones and hyperthreads take part in it; it is not known which.
    # Model limit: an exclusive mmu_lock that another actor has held last costs a vCPU as much when no other waits
    # as when others do. It was measured with a lock that is never free.
    return sheet.handover_ns * max(0.0, log2(n_vcpus / sheet.near_vcpus))


def readers_hold_ns(hold_ns: float, turn_ns: float, n: int) -> NDArray[np.float64]:
    """float64[n]: hold of each of 1 .. n readers that share the lock all the time [ns].

    A hold is work of hold_ns, of which one turn of turn_ns needs the lock word; readers queue for the word alone. Mean value
    analysis of a closed queue with turns of constant length: an arriving reader finds half of the current turn left. So the
    hold grows from the first other reader on, up to n turns.
    """
    found, waiting, busy = np.zeros(n), 0.0, 0.0
    for i in range(n):
        response_ns = turn_ns * (1.0 + waiting - busy / 2)
        found[i] = max(max(0.0, hold_ns - turn_ns) + response_ns, (i + 1) * turn_ns)
        waiting, busy = (i + 1) * response_ns / found[i], min(1.0, (i + 1) * turn_ns / found[i])
    return found


def caches_at(sheet: CostSheet, length: int, n_vcpus: int) -> NDArray[np.float64]:
    """float64[length]: caches beside one's own that want a line when k other actors do: hyperthreads share theirs.

    Of ``n_vcpus`` vCPUs those beyond the sheet's cores share a core with one other each. The k actors and one's own are any
    of the vCPUs, so the number of cores is a mean.
    """
    # Model limit: two vCPUs on one core change a shared line as one; the line would be taken away between the two at times.
    # Model limit: with more vCPUs than the sheet's host has hardware threads, the host has half as many cores as vCPUs.
    cores = max(sheet.core_vcpus, n_vcpus / 2)
    return np.array([caches_of(min(k, n_vcpus), n_vcpus, cores) + max(0, k - n_vcpus) - 1 for k in range(1, length + 1)])


def queue_table_ns(sheet: CostSheet, length: int, n_vcpus: int) -> NDArray[np.int64]:
    """int64[3, length]: time that k other contenders add to a hold [ns], by mode and k.

    n_vcpus: of the VM. Exclusive: the hand-over to another socket, which the queue's length does not change: each waiter
    spins on a node of its own (kernel/locking/qspinlock.c). A vCPU that takes the lock after another actor, and for which
    none waits, pays as with one other. Shared: ``readers_hold_ns``.
    """
    # Model limit: which vCPU waits on which socket is not modelled. A saturated FIFO queue keeps its order for a whole run,
    # so the share of hand-overs that cross sockets differs from run to run by a quarter with 8 vCPUs.
    # Model limit: hyperthreads that share a core and a lower turbo clock with more busy cores slow no vCPU down.
    # Model limit: the work of a reader beside the turns of the lock word is the work of a write-protection fault, for every
    # kind of fault.
    by_caches = readers_hold_ns(sheet.shared_hold_ns, sheet.shared_turn_ns, length)
    shared = np.interp(caches_at(sheet, length, n_vcpus), np.arange(length), by_caches)
    exclusive = np.full(length, handover_ns(sheet, n_vcpus))
    exclusive[0] = 0.0
    rows = (np.zeros(length), shared - shared[0], exclusive)
    return np.stack([np.rint(row).astype(np.int64) for row in rows])


def crowd_table_ns(sheet: CostSheet, n_vcpus: int) -> NDArray[np.int64]:
    """int64[n_vcpus]: time that k other vCPUs that populate memory add to a populated page [ns].

    Each shared line goes round once among those that change it: a turn of the lock word is two changes of one line. A line
    of a NUMA node goes round among the vCPUs of its socket.
    """
    # Model limit: vCPUs that do not all run on one socket are spread evenly over all sockets, and each takes its memory from
    # its own.
    sockets = sheet.host_sockets if n_vcpus > sheet.near_vcpus else 1.0
    lines = sheet.populate_lines - sheet.populate_node_lines + sheet.populate_node_lines / sockets
    others = caches_at(sheet, n_vcpus, n_vcpus)
    found: NDArray[np.int64] = np.rint(lines * sheet.shared_turn_ns / 2 * others).astype(np.int64)
    return found


def exit_costs(
    sheet: CostSheet, era: Era, mmu: str = "tdp", *, pml: bool = False, n_vcpus: int = 64, n_hosts: int = 0
) -> ExitCosts:
    """Costs of the exits of ``n_vcpus`` vCPUs, in whole ns; at least 1 ns where the engine needs time to pass.

    sheet: the measured times. era: the kernel, which decides how faults of ``mmu``, one of MMUS, take mmu_lock.
    pml: vCPUs log their writes by PML. n_hosts: host threads that may stand at mmu_lock with the vCPUs.
    InputError for an MMU that does not exist, and for PML on a machine without PML.
    """
    locks = era.locks(mmu)
    kinds: dict[str, str] = asdict(locks)
    holds = {kind: _hold_ns(sheet, kind, mode, mmu) for kind, mode in kinds.items()}
    log_ns, drain_ns = _pml_ns(sheet, era) if pml else (0.0, 0.0)
    return ExitCosts(
        exit_ns=_at_least_1(sheet.exit_ns),
        entry_ns=_at_least_1(sheet.entry_ns),
        spurious_ns=_at_least_1(sheet.spurious_hold_ns),
        pml_ns=round(log_ns),
        pml_drain_ns=round(drain_ns),
        mode=np.array([MODES.index(kinds.get(kind, "none")) for kind in COST_KEYS], np.int64),
        hold_ns=np.array([_at_least_1(holds.get(kind, 1.0)) for kind in COST_KEYS], np.int64),
        queue_ns=queue_table_ns(sheet, max(1, n_vcpus) + n_hosts, n_vcpus),
        crowd_ns=crowd_table_ns(sheet, max(1, n_vcpus)),
        lone_ns=_lone_ns(sheet),
        # Model limit: a fault far from the fault before costs as much more in any memory as it does in 64 MiB. On
        # Zen 4 such a fault takes 50 ns more in 16 MiB, which caches hold, and 350 ns more in 128 MiB.
        scattered_ns=round(sheet.measured_ns("scattered_fault_ns")),
        prefetch_ns=round(sheet.prefetch_spte_ns),
        ipi_ns=_ipi_ns(sheet),
        before_ns=np.array([round(_before_lock_ns(sheet, kind, kinds.get(kind, "none"))) for kind in COST_KEYS], np.int64),
        # The slow path of a reader is two more changes of the line of the lock word; that of a writer, one.
        wait_lock_ns=round(sheet.shared_turn_ns),
        word_ns=round(sheet.shared_turn_ns / 2),
    )


def populate_ns(sheet: CostSheet, host_pages: int) -> int:
    """Time to allocate and clear a host page of ``host_pages`` x 4 KiB, at least 1 ns; further pages are streamed."""
    # Model limit: clearing a large page takes as long as reading as many lines in order.
    return _at_least_1(sheet.populate_ns + (host_pages - 1) * LINES_PER_PAGE * sheet.line_stream_ns)


def _lone_ns(sheet: CostSheet) -> NDArray[np.int64]:
    """int64[2]: time that a fault 0.2 ms and 1 ms after the last entry takes longer than one back to back [ns].

    Zeros where it was not measured.
    """
    # Model limit: a fault that comes alone costs more only with the sheet of a host on which that was measured.
    back_to_back_ns = sheet.measured_ns("dirty_pass_ns")
    alone = [sheet.measured_ns(name) for name in ("lone_fault_200us_ns", "lone_fault_1000us_ns")]
    if not back_to_back_ns or not all(alone):
        return np.zeros(2, np.int64)
    return np.rint(np.maximum.accumulate(np.maximum(0.0, np.subtract(alone, back_to_back_ns)))).astype(np.int64)


def _ipi_ns(sheet: CostSheet) -> int:
    """Time that an IPI of a flush takes from a vCPU beside leaving and entering the guest [ns]; 0 where not measured."""
    # Model limit: an IPI takes no more from a vCPU than leaving and entering the guest, but with the sheet of a host on
    # which the loss was measured.
    took_ns = sheet.measured_ns("interrupted_ns")
    return round(max(0.0, took_ns - sheet.exit_ns - sheet.entry_ns))


def _at_least_1(ns: float) -> int:
    return max(1, round(ns))


def _hold_ns(sheet: CostSheet, kind: str, mode: str, mmu: str) -> float:
    """Hold of a fault without other contenders [ns].

    Shadow paging reads the guest's page tables again under the lock (paging_tmpl.h::fetch, ::gpte_changed).
    """
    # Model limit: a fault that splits leaves 511 pages unmapped in every era; the TDP MMU has kept them mapped since 6.2.
    maps = kind in {"map", "split"}
    if mode == "exclusive" and mmu == "shadow":
        hold_ns = sheet.exclusive_map_ns if maps else sheet.exclusive_base_ns
    elif mode == "exclusive":
        hold_ns = sheet.direct_map_ns if maps else sheet.direct_wp_ns
    elif maps:
        hold_ns = sheet.map_hold_ns - _before_lock_ns(sheet, kind, mode)
    else:
        hold_ns = sheet.lockless_hold_ns if mode == "none" else sheet.shared_hold_ns
    return hold_ns + (sheet.split_fault_ns if kind == "split" else 0)


def _before_lock_ns(sheet: CostSheet, kind: str, mode: str) -> float:
    """Handling of a fault of the TDP MMU that maps before it takes mmu_lock: the host page is looked up [ns]."""
    # Model limit: under mmu_lock the TDP MMU maps a page in the time that a direct MMU with rmaps needs; no table has it.
    maps = kind in {"map", "split"} and mode != "exclusive"
    return max(0.0, sheet.map_hold_ns - sheet.direct_map_ns) if maps else 0.0


def _pml_ns(sheet: CostSheet, era: Era) -> tuple[float, float]:
    """(time to log a page, time to drain a full buffer) [ns]. InputError on a machine without PML."""
    log_ns, newest, oldest = sheet.pml_log_ns, sheet.pml_drain_entry_ns, sheet.pml_drain_entry_ordered_ns
    if log_ns is None or newest is None or oldest is None:
        with_pml = [name for name in sheet_names() if load_costs(name).has_pml]
        wanted = "a sheet with PML: " + ", ".join(with_pml)
        raise InputError([Problem("", "pml", f"PML on '{sheet.name}'", wanted, with_pml[0])])
    return log_ns, PML_ENTRIES * (oldest if era.pml_drain == "oldest-first" else newest)
