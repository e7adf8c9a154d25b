"""The measurements, one VM after the other; each function fills a bench and names the counters that have to move.

Names are those of the numbers in a cost sheet. Linux arch/x86/kvm/mmu/mmu.c, virt/kvm/kvm_main.c, virt/kvm/dirty_ring.c.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_MS, PAGE_BYTES
from hostsim.measure.kvm import abi
from hostsim.measure.kvm.bench import PART_PAGES, Bench, Timing, asking, guest_timing, host_timing
from hostsim.measure.kvm.chains import CHAINS, chains
from hostsim.measure.kvm.directories import directories
from hostsim.measure.kvm.flushes import flushes
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.kernel_mode import kernel_mode
from hostsim.measure.kvm.passes import (
    ASKED,
    FAULTS,
    LEAVES,
    complaint_of,
    forget,
    in_turn,
    lost_pages,
    parts,
    unmap,
    write,
    write_all,
    write_by_part,
)
from hostsim.measure.kvm.rules import Expected, about, none_of
from hostsim.measure.kvm.table_syncs import table_syncs
from hostsim.measure.kvm.vm import Vm, address_of

LOOPS, TURNS = 5, 4
"""Passes of a timing without faults; such timings a repetition."""
GETS = 64
SMALL_BYTES = 64 << 10
"""Of the smaller of two VMs between whose times a line is drawn: next to nothing, so that its time is that of the call."""
SLOTS = 16
"""Memslots of a VM whose log is switched by as many calls in a row."""
FULL_BYTES = 16 << 20
"""Of the VM whose dirty ring is full again and again."""
EXITS, USER_EXITS = 500, 50
MAPPED_SHARE = 4
"""One page in so many is mapped again in a logged slot, where each takes a fault."""
MAPPED_AGAIN = 3
"""Pages that the host has made once are mapped and protected so often."""
PACES_US, PACED_WRITES = (200, 1000), 10
PACED_TURNS = 3
"""Timings of paced writes a repetition: a long one would hardly ever have a core of its own."""
RACE_PARTS = 4
"""Parts of a pass of all vCPUs through one memory that are timed together: the vCPU that is ahead changes by chance."""
FAR = 317
"""Of the 512 pages of a part, from one to the next: the golden section of 512, so that those in a row are far apart."""
RESERVED_ENTRIES, PML_RESERVED_ENTRIES = 64, 576
"""Entries of a dirty ring below its size at which user space is called, without and with PML: dirty_ring.c."""


def loops_and_maps(bench: Bench) -> None:
    """Memory that is mapped, or is not: loop, populate, map, unmap, protect."""
    with bench.vm() as vm:
        n = vm.spec.n_pages
        read = [Work(Command.READ, address_of(0), n, passes=LOOPS)]
        for _ in range(bench.passes):
            unmap(vm)
            bench.take_parts("populate_pass_ns", write_by_part(vm), about(FAULTS, PART_PAGES))
            for _ in range(TURNS):
                bench.take("loop_ns", write(vm, LOOPS), n * LOOPS, none_of(FAULTS))
                bench.take("read_loop_ns", guest_timing(vm, read), n * LOOPS, none_of(FAULTS))
            vm.memory.lay_in_a_row()
            _first_mapped(bench, vm)
            _mapped_again(bench, vm)


def _first_mapped(bench: Bench, vm: Vm) -> None:
    """Pages that the host has just made, and that no VM has mapped, then the same pages mapped again."""
    expected = _of_maps(PART_PAGES)
    first = bench.take_parts("first_map_pass_ns", write_by_part(vm), *expected)
    for both in zip(first, _mapped(vm), strict=True):
        bench.keep("first_map_more_ns", (both[0].ns - both[1].ns) / PART_PAGES, both, complaint_of(both, *expected))


def _mapped_again(bench: Bench, vm: Vm) -> None:
    """Pages that lie in a row in the host's memory: mapped again, protected, unmapped.

    Where they lie anywhere, as on a host that has run for long, mprotect takes up to twice as long, mapping 1.4 times.
    """
    n = vm.spec.n_pages
    for _ in range(MAPPED_AGAIN):
        for part in bench.take_parts("map_pass_ns", _mapped(vm), *_of_maps(PART_PAGES)):
            bench.keep("pages_a_map_fault", PART_PAGES / max(1, part.counters.get(FAULTS, 1)), [part])
        bench.take("mprotect_page_ns", host_timing(vm, partial(vm.memory.protect, mmap.PROT_READ)), n, about(LEAVES, -n))
    _mapped(vm)
    for at in range(0, vm.spec.memory_bytes, PART_PAGES * PAGE_BYTES):
        giving_back = partial(vm.memory.advise, mmap.MADV_DONTNEED, at, PART_PAGES * PAGE_BYTES)
        gone = host_timing(vm, giving_back, patient=False)
        bench.take("unmap_page_ns", gone, PART_PAGES, about(LEAVES, -PART_PAGES))


def _mapped(vm: Vm) -> list[Timing]:
    """A pass after KVM has forgotten its sptes."""
    forget(vm)
    return write_by_part(vm)


def _of_maps(n: int) -> tuple[Expected, ...]:
    """Counters of a pass that maps ``n`` pages, each fault one page or more."""
    return Expected(FAULTS, n / 512, 1.01 * n + 8), about(LEAVES, n)


def clear_log(bench: Bench) -> None:
    """Manual protect: enabling by size, faults, GET, CLEAR, disabling by size."""
    flags = abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE
    with (
        bench.vm(manual_protect=flags) as vm, bench.vm(manual_protect=flags, memory_bytes=SMALL_BYTES) as small,
        bench.vm(manual_protect=flags, memory_bytes=SLOTS * SMALL_BYTES, n_slots=SLOTS) as slotted,
    ):  # fmt: skip
        vms = (small, vm)
        write_all(*vms, slotted)
        for _ in range(bench.repetitions):
            enabled = [_switch(bench, one, on=True) for one in vms]
            _dirtied_and_cleared(small)
            _clear_round(bench, vm)  # after the small VM: the switch that comes next is the first after other work
            disabled = [_switch(bench, one, on=False) for one in vms]
            _keep_line(bench, "enable_call_ns", "protect_page_ns", vms, enabled)
            _keep_line(bench, "disable_call_ns", "disable_page_ns", vms, disabled)
            for of_one, on in ((enabled, True), (disabled, False)):
                _keep_next(bench, "enable_next_call_ns" if on else "disable_next_call_ns", vms, of_one, slotted, on=on)
            write_all(*vms, slotted)


def _dirtied_and_cleared(vm: Vm) -> None:
    bitmaps = vm.bitmaps()
    write(vm)
    vm.ask([*vm.gets(bitmaps), *vm.clears(bitmaps)])


def _switch(bench: Bench, vm: Vm, *, on: bool) -> Timing:
    """Time to switch the log with empty caches, as when it is switched in earnest: once, after other work.

    A call soon after another one takes half as long, or somewhat more, by what the processor has kept of the kernel's code.
    """
    bench.empty_caches()
    return asking(vm, vm.logs(on=on))


def _keep_line(bench: Bench, a_call: str, a_page: str, vms: Sequence[Vm], took: Sequence[Timing]) -> None:
    """Keep the slope over the pages of a small and a large VM, and the intercept."""
    (few, many), (of_few, of_many) = (vm.spec.n_pages for vm in vms), took
    page_ns = max(0.0, (of_many.ns - of_few.ns) / (many - few))
    bench.keep(a_page, page_ns, took)
    bench.keep(a_call, max(0.0, of_few.ns - few * page_ns), [of_few])


def _keep_next(
    bench: Bench, name: str, vms: Sequence[Vm], took: Sequence[Timing], slotted: Vm, *, on: bool
) -> None:  # fmt: skip
    """Keep the time of a call right after the same call for another memslot of ``slotted``.

    vms, took: a VM of one memslot, as large as each of ``slotted``, and a larger one; the times of their calls.
    """
    (few, many), (of_few, of_many) = (vm.spec.n_pages for vm in vms), took
    page_ns = max(0.0, (of_many.ns - of_few.ns) / (many - few))
    of_all = _switch(bench, slotted, on=on)
    bench.keep(name, max(0.0, (of_all.ns - of_few.ns) / (SLOTS - 1) - few * page_ns), [of_few, of_all])


def _clear_round(bench: Bench, vm: Vm) -> None:
    n, bitmaps = vm.spec.n_pages, vm.bitmaps()
    bench.take_parts("dirty_pass_ns", write_by_part(vm), _faults(bench, PART_PAGES))
    for _ in range(TURNS):
        gets = asking(vm, vm.gets(bitmaps) * GETS)
        bench.keep("get_call_ns", max(0.0, gets.ns / GETS - bench.call_ns()), [gets], lost_pages(bitmaps, n))
    bench.take("clear_dirty_page_ns", asking(vm, vm.clears(bitmaps)), n, Expected(ASKED, 1, 2))


def get_log(bench: Bench) -> None:
    """GET that protects: faults back to back, far apart in memory, and far apart in time."""
    with bench.vm() as vm:
        n = vm.spec.n_pages
        vm.memory.lay_in_a_row()
        write(vm)
        vm.ask(vm.logs(on=True))
        bitmaps = vm.bitmaps()
        for _ in range(bench.repetitions):
            _mapped_in_log(bench, vm)
            write(vm)
            got = asking(vm, vm.gets(bitmaps))
            bench.keep("get_dirty_page_ns", got.ns / n, [got], lost_pages(bitmaps, n))
            _scattered(bench, vm)
            for pace_us in PACES_US * PACED_TURNS:
                _paced(bench, vm, pace_us)


def _mapped_in_log(bench: Bench, vm: Vm) -> None:
    """A map fault that maps one page: KVM prefetches no spte where the slot is logged."""
    forget(vm, vm.spec.memory_bytes // MAPPED_SHARE)
    mapped = parts(vm)[: vm.spec.n_pages // MAPPED_SHARE // PART_PAGES]
    bench.take_parts("logged_map_pass_ns", in_turn(vm, mapped), about(FAULTS, PART_PAGES))


def _scattered(bench: Bench, vm: Vm) -> None:
    """The additional cost of a fault far from the fault before: two passes over protected memory, in a row and far apart."""
    took = []
    for works in (parts(vm), _far_apart(vm)):
        took.append(in_turn(vm, works))
        vm.ask(vm.gets(vm.bitmaps()))
    for both in zip(*took, strict=True):
        more_ns = (both[1].ns - both[0].ns) / PART_PAGES
        bench.keep("scattered_fault_ns", more_ns, both, complaint_of(both, about(FAULTS, PART_PAGES)))


def _far_apart(vm: Vm) -> list[Work]:
    """As many writes of each page as ``parts``, but each far from the one before: a part goes over the whole memory."""
    n_parts = vm.spec.n_pages // PART_PAGES
    stride_bytes = n_parts * PAGE_BYTES
    return [
        Work(Command.SCATTER, address_of(page), PART_PAGES, every=FAR, stride_bytes=stride_bytes) for page in range(n_parts)
    ]


def _paced(bench: Bench, vm: Vm, pace_us: int) -> None:
    ticks = vm.tsc_khz * pace_us // 1000
    timing = guest_timing(vm, [Work(Command.PACED, address_of(0), PACED_WRITES, every=ticks)])
    median = float(np.median(timing.outcomes[0].samples)) * NS_PER_MS / vm.tsc_khz
    why_not = "" if timing.counters.get(FAULTS, 0) >= PACED_WRITES else "no fault"
    bench.keep(f"lone_fault_{pace_us}us_ns", median, [timing], why_not)
    vm.ask(vm.gets(vm.bitmaps()))


def all_set(bench: Bench) -> None:
    """A log that begins all set."""
    flags = abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | abi.KVM_DIRTY_LOG_INITIALLY_SET
    with bench.vm(manual_protect=flags) as vm, bench.vm(manual_protect=flags, memory_bytes=SMALL_BYTES) as small:
        bitmaps = vm.bitmaps()
        write_all(small, vm)
        for _ in range(bench.repetitions):
            enabled = [_switch(bench, one, on=True) for one in (small, vm)]
            _keep_line(bench, "all_set_call_ns", "all_set_page_ns", (small, vm), enabled)
            vm.ask(vm.gets(bitmaps))
            first = asking(vm, vm.clears(bitmaps))
            bench.take("all_set_first_clear_ns", first, vm.spec.n_pages, Expected(ASKED, 1, 2))
            for one in (small, vm):
                one.ask(one.logs(on=False))
            write_all(small, vm)


def exits(bench: Bench) -> None:
    """Exits that are no faults: an ioeventfd ends one in the kernel, else user space does."""
    with bench.vm(memory_bytes=2 << 20) as vm:
        for _ in range(bench.repetitions * TURNS):
            with vm.event_ends_in_kernel():
                done = guest_timing(vm, [Work(Command.EVENT, count=EXITS)])
            bench.take("event_exit_ns", done, EXITS, Expected("exits", EXITS, 2 * EXITS))
            done = guest_timing(vm, [Work(Command.EVENT, count=USER_EXITS)])
            bench.take("user_exit_ns", done, USER_EXITS, Expected("exits", USER_EXITS, 4 * USER_EXITS))


def all_vcpus(bench: Bench) -> None:
    """Faults of as many vCPUs as there are processors, 8 at most, each in its own memory, then all in one."""
    n_vcpus = min(8, bench.n_cpus)
    if n_vcpus < 2:
        bench.absent |= dict.fromkeys(("dirty_pass_own_ns", "dirty_pass_shared_ns"), "there is one processor")
        return
    with bench.vm(n_vcpus=n_vcpus) as vm:
        write_all(vm)
        vm.ask(vm.logs(on=True))
        for _ in range(bench.passes):
            vm.ask(vm.gets(vm.bitmaps()))
            _in_own_memory(bench, vm)
            vm.ask(vm.gets(vm.bitmaps()))
            _in_one_memory(bench, vm)


def _in_own_memory(bench: Bench, vm: Vm) -> None:
    n_vcpus = len(vm.vcpus)
    own, faults = vm.spec.n_pages // n_vcpus, n_vcpus * PART_PAGES
    for page in range(0, own - PART_PAGES, PART_PAGES):
        works = [Work(Command.WRITE, address_of(v * own + page), PART_PAGES) for v in range(n_vcpus)]
        bench.take("dirty_pass_own_ns", guest_timing(vm, works), PART_PAGES, _of_all(bench, faults, faults))


def _in_one_memory(bench: Bench, vm: Vm) -> None:
    n_vcpus, n = len(vm.vcpus), RACE_PARTS * PART_PAGES
    for page in range(0, vm.spec.n_pages, n):
        timing = guest_timing(vm, [Work(Command.WRITE, address_of(page), n)] * n_vcpus)
        bench.take("dirty_pass_shared_ns", timing, n, _of_all(bench, n, n_vcpus * n))


def _of_all(bench: Bench, fewest: int, most: int) -> Expected:
    """Faults of a pass of all vCPUs."""
    return Expected(FAULTS, 0 if bench.pml else fewest * 0.99, 1.01 * most + 64)


def rings(bench: Bench) -> None:
    """The dirty ring: a push, harvest and reset of an entry, an exit when it is nearly full."""
    if not bench.kvm.has(abi.KVM_CAP_DIRTY_LOG_RING_ACQ_REL):
        names = ("ring_pass_ns", "ring_harvest_ns", "ring_reset_ns", "ring_full_exit_ns")
        bench.absent |= dict.fromkeys(names, "KVM has no dirty ring here")
        return
    entries, reserved = (1024, PML_RESERVED_ENTRIES) if bench.pml else (256, RESERVED_ENTRIES)
    with bench.vm(ring_entries=65536) as vm, bench.vm(ring_entries=entries, memory_bytes=FULL_BYTES) as small:
        for one in (vm, small):
            write_all(one)
            one.ask(one.logs(on=True))
        write(vm)
        _emptied(vm)  # the first harvest of a ring also maps its pages
        for _ in range(bench.repetitions):
            bench.take_parts("ring_pass_ns", write_by_part(vm), _faults(bench, PART_PAGES))
            _harvest_and_reset(bench, vm)
            _full_exits(bench, small, entries - reserved)


def _harvest_and_reset(bench: Bench, vm: Vm) -> None:
    n, ring = vm.spec.n_pages, vm.vcpus[0].ring
    assert ring is not None
    entries: list[int] = []
    harvest = host_timing(vm, lambda: entries.append(len(ring.harvest())))
    bench.keep("ring_harvest_ns", harvest.ns / max(1, entries[0]), [harvest], "" if entries[0] >= n else "entries lost")
    reset: list[int] = []
    timing = host_timing(vm, lambda: reset.append(vm.reset_rings()))
    bench.keep("ring_reset_ns", timing.ns / n, [timing], "" if reset == entries else f"{reset[0]} of {entries[0]} reset")


def _emptied(vm: Vm) -> None:
    ring = vm.vcpus[0].ring
    assert ring is not None
    ring.harvest()
    vm.reset_rings()


def _full_exits(bench: Bench, vm: Vm, room: int) -> None:
    """A pass that fills a ring of ``room`` entries again and again, each write timed by the guest.

    Writes that met a full ring, less their harvest and reset, beside the others.
    """
    n = vm.spec.n_pages
    timing = guest_timing(vm, [Work(Command.PACED, address_of(0), n)])
    done = timing.outcomes[0]
    fulls, expected = done.ring_fulls, n / room
    if abs(fulls - expected) > 2 or fulls < 2:
        bench.keep("ring_full_exit_ns", 0.0, [timing], f"{fulls} exits of a full ring, expected {expected:.0f}")
        return
    ns = done.samples.astype(np.float64) * (NS_PER_MS / vm.tsc_khz)
    met_ns = _met_full(ns, room)
    last = min(len(met_ns), fulls) - 1  # so many from the end, on both sides: the first of a pass may be no exit
    exits_ns = met_ns[-last:] - done.ring_full_walls_ns[-last:]
    bench.keep("ring_full_exit_ns", max(0.0, float(np.median(exits_ns) - np.median(ns))), [timing])


def _met_full(ns: NDArray[np.float64], room: int) -> NDArray[np.float64]:
    """Times of the writes that met a full ring, in their order: they are ``room`` writes apart, or one less.

    A single write may be as long because a neighbour had the processor, so its length alone does not decide.
    """
    rows = [ns[first :: step] for step in (room - 1, room) for first in range(step)]
    return max(rows, key=lambda row: float(np.median(row)))


def _faults(bench: Bench, n: int) -> Expected:
    """A write to a protected page is a fault, unless the processor logs it."""
    return none_of(FAULTS) if bench.pml else about(FAULTS, n)


def huge_pages(bench: Bench) -> None:
    """Memory in 2 MiB pages, split while it is logged and recovered when the log ends."""
    with bench.vm(huge=True, guest_huge=True) as vm:
        regions = vm.spec.n_pages // 512
        for _ in range(bench.repetitions):
            unmap(vm)
            mapped = write(vm).counters.get("pages_2m", 0)
            why_not = "" if mapped >= regions else f"{mapped} of {regions} regions were mapped by a huge page"
            vm.ask(vm.logs(on=True))
            write(vm)
            recovered = asking(vm, vm.logs(on=False))
            bench.keep("recover_region_ns", recovered.ns / regions, [recovered], why_not)


MEASURES: dict[str, Callable[[Bench], None]] = {
    "loop, populate, map, unmap": loops_and_maps,
    "enable, fault, GET, CLEAR": clear_log,
    "faults that come alone": get_log,
    "a log that begins all set": all_set,
    "exits": exits,
    "faults of all vCPUs": all_vcpus,
    "dirty rings": rings,
    "TLB flushes": flushes,
    **{f"chains of sptes, {length} a page": partial(chains, length=length) for length in CHAINS},
    "huge pages": huge_pages,
    "page tables": table_syncs,
    "directories": directories,
    "kernel mode": kernel_mode,
}
"""By the words of the progress bar: the measurement."""
