"""Instructions of a guest in kernel mode that reach KVM under shadow paging: CR3 loads and INVLPG.

KVM on processors without virtualization emulates all of kernel mode, instruction by instruction: a loop with MOV in place of
the instruction is subtracted. Elsewhere that loop takes no time, and INVLPG cannot be told from its exit.
Linux arch/x86/kvm/mmu/mmu.c::kvm_mmu_new_pgd, ::cached_root_find_and_keep_current, ::kvm_mmu_invlpg.
"""

from __future__ import annotations

from hostsim.measure.kvm.bench import Bench, Timing, guest_timing
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.page_tables import ENTRIES, PAGE_BYTES
from hostsim.measure.kvm.vm import Vm, address_of

MEMORY_BYTES = 8 << 20
CACHED, UNCACHED = 4, 6
"""Roots in turn: as many as a vCPU keeps (KVM_MMU_NUM_PREV_ROOTS and the current one), so that none is missed; so many that
each is missed.
"""
INSTRUCTIONS, TURNS = 100, 4
NATIVE_NS = 100
"""Of a turn of the loop; an emulated one takes 2000."""
INVLPGS, UNSYNCED = "invlpg", "mmu_unsync"
"""Counters of KVM."""
NAMES = ("root_load_ns", "invlpg_ns", "invlpg_spte_ns")


def kernel_mode(bench: Bench) -> None:
    """A root that is not cached; INVLPG of a page, and the comparison if its table is unsync."""
    with bench.vm(memory_bytes=MEMORY_BYTES) as vm:
        for _ in range(bench.repetitions * TURNS):
            if not _keep(bench, vm):
                return


def _keep(bench: Bench, vm: Vm) -> bool:
    """Keep a repetition; False if KVM does not shadow page tables."""
    _linked(vm)
    move, synced = _timed(vm, Command.MOVE, Command.INVALIDATE)
    if synced.counters.get(INVLPGS, 0) < INSTRUCTIONS:
        why_not = "two-dimensional paging: a guest loads CR3 and invalidates pages without an exit"
        bench.absent |= dict.fromkeys(NAMES, why_not)
        return False
    cached, uncached = (_load_ns(vm, roots) for roots in (CACHED, UNCACHED))
    bench.keep("root_load_ns", uncached[0] - cached[0], [*cached[1], *uncached[1]])
    _keep_invlpg(bench, move, synced)
    is_unsync = _unsync(vm)
    _, unsynced = _timed(vm, Command.MOVE, Command.INVALIDATE)
    why_not = "" if is_unsync else "the table was not unsync"
    bench.keep("invlpg_spte_ns", (unsynced.ns - synced.ns) / INSTRUCTIONS, [synced, unsynced], why_not)
    return True


def _keep_invlpg(bench: Bench, move: Timing, synced: Timing) -> None:
    if move.ns < NATIVE_NS * INSTRUCTIONS:
        bench.absent["invlpg_ns"] = "INVLPG cannot be told from its exit here"
        return
    bench.keep("invlpg_ns", (synced.ns - move.ns) / INSTRUCTIONS, [move, synced])


def _load_ns(vm: Vm, roots: int) -> tuple[float, list[Timing]]:
    """(A CR3 load of ``roots`` in turn beside the loop [ns], its timings)."""
    turn, load = _timed(vm, Command.TURN, Command.LOAD, roots=roots)
    return (load.ns - turn.ns) / INSTRUCTIONS, [turn, load]


def _timed(vm: Vm, *commands: Command, roots: int = 1) -> list[Timing]:
    """Timings of INSTRUCTIONS of each of ``commands``, each after the same ones once more."""
    works = [Work(command, address_of(0), INSTRUCTIONS) for command in commands]
    with vm.kernel_mode(roots):
        return [guest_timing(vm, [work], patient=False) for work in works + works][len(works) :]


def _linked(vm: Vm) -> None:
    """KVM has shadow pages of all tables, in sync, and has mapped every page."""
    for root in (1, 0):
        vm.load_root(root)
        vm.run([Work(Command.READ, address_of(0), vm.spec.n_pages)])


def _unsync(vm: Vm) -> bool:
    """The guest writes an entry of its first table, which then is as it was; whether the table is unsync now."""
    _linked(vm)
    at, entries = vm.page_tables(1)
    kept = entries.copy()
    last = at + PAGE_BYTES - PAGE_BYTES // ENTRIES
    unsync = guest_timing(vm, [Work(Command.WRITE, last)], patient=False).counters.get(UNSYNCED, 0)
    entries[:] = kept
    return unsync > 0
