"""The measurements, one VM after the other; each function fills a bench and names the counters that have to move.

Names are those of the numbers in a cost sheet. Linux arch/x86/kvm/mmu/mmu.c, virt/kvm/kvm_main.c, virt/kvm/dirty_ring.c.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, pairwise

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_MS
from hostsim.measure.kvm import abi
from hostsim.measure.kvm.bench import Bench, Timing, asking, guest_timing, host_timing
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.page_tables import PAGE_BYTES
from hostsim.measure.kvm.rules import Expected, about, complaint, none_of, slope
from hostsim.measure.kvm.vm import Vm, address_of, clear

PROT_NONE = 0
"""mman.h; not in the module mmap."""
LOOPS = 5
IN_A_ROW = 4
"""Of so many timings one right after the other, in unchanged memory, the least is a repetition: a neighbour on the
processor, its cache or its other thread lengthens a timing and never shortens it. Between repetitions memory moves, and
their median is taken.
"""
GETS = 64
CHUNKS = (0, 512, 64)
"""Pages a call of CLEAR, 0: all."""
SMALL_BYTES = 2 << 20
"""Of the smaller of two VMs between whose times a line is drawn: next to nothing, since a few MiB lie in caches."""
SWITCHES = 5
"""The log of the smaller VM is switched on and off so often for one repetition."""
FULL_BYTES = 16 << 20
"""Of the VM whose dirty ring is full again and again."""
NOTHINGS = 256
"""Calls of CLEAR that find nothing."""
EXITS, USER_EXITS = 2000, 100
MAPPED_SHARE = 4
"""One page in so many is mapped again in a logged slot, where each takes a fault."""
PACES_US, PACED_WRITES = (200, 1000), 60
RACES = 3
"""Passes of all vCPUs through one memory whose mean is a repetition: who is ahead where is chance."""
CHAINS = (1, 2, 8, 16)
SCATTER = 5063
"""Pages from one to the next when all of up to 8192 are visited: the golden section of 8192, so that those in a row are far
apart.
"""
CHAIN_WORK = ("enable", "get", "disable", "unmap")
FAULTS, FLUSHES, ASKED, LEAVES = "pf_taken", "remote_tlb_flush", "remote_tlb_flush_requests", "pages_4k"
RESERVED_ENTRIES, PML_RESERVED_ENTRIES = 64, 576
"""Entries of a dirty ring below its size at which user space is called, without and with PML: dirty_ring.c."""
SINGLES_A_BATCH, PAUSE_S = 4, 1e-3


def write(vm: Vm, passes: int = 1, alias: int = 0) -> Timing:
    """One vCPU writes every page."""
    return guest_timing(vm, [Work(Command.WRITE, address_of(0, alias), vm.spec.n_pages, passes=passes)])


def unmap(vm: Vm) -> None:
    """The host's pages are given back, KVM's sptes with them."""
    vm.memory.advise(mmap.MADV_DONTNEED)


def forget(vm: Vm, n_bytes: int | None = None) -> None:
    """KVM's sptes of the first ``n_bytes``, of all without, go; the host's pages stay."""
    vm.memory.protect(PROT_NONE, 0, n_bytes)
    vm.memory.protect(mmap.PROT_READ | mmap.PROT_WRITE, 0, n_bytes)


def loops_and_maps(bench: Bench) -> None:
    """Memory that is mapped, or is not: loop, populate, map, unmap, protect."""
    with bench.vm() as vm:
        n = vm.spec.n_pages
        for _ in range(bench.repetitions):
            unmap(vm)
            bench.take("populate_pass_ns", write(vm), n, about(FAULTS, n))
            bench.take("loop_ns", least(lambda: write(vm, LOOPS)), n * LOOPS, none_of(FAULTS))
            read = [Work(Command.READ, address_of(0), n, passes=LOOPS)]
            bench.take("read_loop_ns", least(lambda: guest_timing(vm, read)), n * LOOPS, none_of(FAULTS))  # noqa: B023
            bench.take("first_map_pass_ns", least(lambda: _first_mapped(vm)), n, *_of_maps(n))
            mapped = bench.take("map_pass_ns", least(lambda: _mapped(vm)), n, *_of_maps(n))
            bench.keep("pages_a_map_fault", n / max(1, mapped.counters.get(FAULTS, 1)))
            bench.take("mprotect_page_ns", least(lambda: _protected(vm)), n, about(LEAVES, -n))
            forget(vm)
            write(vm)
            bench.take("unmap_page_ns", host_timing(vm, partial(unmap, vm)), n, about(LEAVES, -n))


def least(timing: Callable[[], Timing]) -> Timing:
    """The shortest of IN_A_ROW timings, its counters with it."""
    return min((timing() for _ in range(IN_A_ROW)), key=lambda one: one.ns)


def _mapped(vm: Vm) -> Timing:
    forget(vm)
    return write(vm)


def _first_mapped(vm: Vm) -> Timing:
    """A pass over pages that the host has just made, and that no VM has mapped."""
    unmap(vm)
    vm.memory.array(np.uint64)[:: PAGE_BYTES // 8] = 1
    return write(vm)


def _of_maps(n: int) -> tuple[Expected, ...]:
    """Counters of a pass that maps ``n`` pages, each fault one page or more."""
    return Expected(FAULTS, n / 512, 1.01 * n + 8), about(LEAVES, n)


def _protected(vm: Vm) -> Timing:
    _mapped(vm)
    return host_timing(vm, lambda: vm.memory.protect(mmap.PROT_READ))


def clear_log(bench: Bench) -> None:
    """Manual protect: enabling by size, faults, GET, CLEAR by chunk, disabling by size."""
    flags = abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE
    with bench.vm(manual_protect=flags) as vm, bench.vm(manual_protect=flags, memory_bytes=SMALL_BYTES) as small:
        _all_writable(small, vm)
        for _ in range(bench.repetitions):
            few = [min(ns) for ns in zip(*(_switched(small, vm) for _ in range(SWITCHES)), strict=True)]
            bench.keep("enable_call_ns", _line(bench, "protect_page_ns", (small, vm), (few[0], _enable(vm))))
            _clear_round(bench, vm)
            many = asking(vm, vm.logs(on=False)).ns
            bench.keep("disable_call_ns", _line(bench, "disable_page_ns", (small, vm), (few[1], many)))
            _all_writable(small, vm)


def _switched(vm: Vm, other: Vm) -> tuple[float, float]:
    """(ns to enable the log of ``vm``, ns to disable it), each after ``other`` has written all its memory.

    So the caches are as they are when a log is switched in earnest, and alike each time: a call that follows another one
    takes half as long.
    """
    write(other)
    enable_ns, bitmaps = _enable(vm), vm.bitmaps()
    write(vm)
    vm.ask([*vm.gets(bitmaps), *vm.clears(bitmaps)])
    write(other)
    disable_ns = asking(vm, vm.logs(on=False)).ns
    write(vm)
    return enable_ns, disable_ns


def _clear_round(bench: Bench, vm: Vm) -> None:
    n, calls, took = vm.spec.n_pages, [], []
    bitmaps = vm.bitmaps()
    for chunk in CHUNKS:
        bench.take("dirty_pass_ns", write(vm), n, _faults(bench, n))
        gets = asking(vm, vm.gets(bitmaps) * GETS)
        bench.keep("get_call_ns", max(0.0, gets.ns / GETS - bench.call_ns()), _lost(bitmaps, n))
        clears = vm.clears(bitmaps, chunk)
        calls.append(len(clears))
        took.append(asking(vm, clears).ns - len(clears) * bench.call_ns())
    a_call, rest = slope(calls, took)
    bench.keep("clear_call_ns", a_call)
    bench.keep("clear_dirty_page_ns", rest / n)


def get_log(bench: Bench) -> None:
    """GET that protects: faults back to back, far apart in memory, and far apart in time."""
    with bench.vm() as vm:
        n = vm.spec.n_pages
        _all_writable(vm)
        vm.ask(vm.logs(on=True))
        bitmaps = vm.bitmaps()
        for _ in range(bench.repetitions):
            _mapped_in_log(bench, vm)
            write(vm)
            got = asking(vm, vm.gets(bitmaps))
            bench.keep("get_dirty_page_ns", got.ns / n, _lost(bitmaps, n))
            _scattered(bench, vm)
            for pace_us in PACES_US:
                _paced(bench, vm, pace_us)


def _mapped_in_log(bench: Bench, vm: Vm) -> None:
    """A map fault that maps one page: KVM prefetches no spte where the slot is logged."""
    n = vm.spec.n_pages // MAPPED_SHARE
    forget(vm, vm.spec.memory_bytes // MAPPED_SHARE)
    bench.take("logged_map_pass_ns", guest_timing(vm, [Work(Command.WRITE, address_of(0), n)]), n, about(FAULTS, n))


def _scattered(bench: Bench, vm: Vm) -> None:
    """What a fault far from the one before costs more: two passes over protected memory, in a row and far apart."""
    n, took = vm.spec.n_pages, []
    for command in (Command.WRITE, Command.SCATTER):
        every = SCATTER if command is Command.SCATTER else 1
        took.append(guest_timing(vm, [Work(command, address_of(0), n, every=every)]))
        vm.ask(vm.gets(vm.bitmaps()))
    why_not = next(filter(None, (complaint(one.counters, [about(FAULTS, n)]) for one in took)), "")
    bench.keep("scattered_fault_ns", max(0.0, took[1].ns - took[0].ns) / n, why_not)


def _paced(bench: Bench, vm: Vm, pace_us: int) -> None:
    ticks = vm.tsc_khz * pace_us // 1000
    timing = guest_timing(vm, [Work(Command.PACED, address_of(0), PACED_WRITES, every=ticks)])
    median = float(np.median(timing.outcomes[0].samples)) * NS_PER_MS / vm.tsc_khz
    bench.keep(f"lone_fault_{pace_us}us_ns", median, "" if timing.counters.get(FAULTS, 0) >= PACED_WRITES else "no fault")
    vm.ask(vm.gets(vm.bitmaps()))


def all_set(bench: Bench) -> None:
    """A log that begins all set."""
    flags = abi.KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | abi.KVM_DIRTY_LOG_INITIALLY_SET
    with bench.vm(manual_protect=flags) as vm, bench.vm(manual_protect=flags, memory_bytes=SMALL_BYTES) as small:
        bitmaps = vm.bitmaps()
        _all_writable(small, vm)
        for _ in range(bench.repetitions):
            _line(bench, "all_set_page_ns", (small, vm), [_enable(one) for one in (small, vm)])
            vm.ask(vm.gets(bitmaps))
            first = asking(vm, vm.clears(bitmaps))
            bench.take("all_set_first_clear_ns", first, vm.spec.n_pages, Expected(ASKED, 1, 2))
            for one in (small, vm):
                one.ask(one.logs(on=False))
            _all_writable(small, vm)


def exits(bench: Bench) -> None:
    """Exits that are no faults: an ioeventfd ends one in the kernel, else user space does."""
    with bench.vm(memory_bytes=2 << 20) as vm:
        for _ in range(bench.repetitions):
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
        n = vm.spec.n_pages // n_vcpus
        _all_writable(vm)
        vm.ask(vm.logs(on=True))
        bitmaps = vm.bitmaps()
        own = [Work(Command.WRITE, address_of(v * n), n) for v in range(n_vcpus)]
        for _ in range(bench.repetitions):
            vm.ask(vm.gets(bitmaps))
            bench.take("dirty_pass_own_ns", guest_timing(vm, own), n, _of_all(bench, n_vcpus * n, n_vcpus * n))
            shared = [_shared(vm, own[:1] * n_vcpus) for _ in range(RACES)]
            why_not = next(filter(None, (complaint(one.counters, [_of_all(bench, n, n_vcpus * n)]) for one in shared)), "")
            bench.keep("dirty_pass_shared_ns", sum(one.ns for one in shared) / RACES / n, why_not)


def _shared(vm: Vm, works: Sequence[Work]) -> Timing:
    """All vCPUs in one memory, all protected."""
    vm.ask(vm.gets(vm.bitmaps()))
    return guest_timing(vm, works)


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
            _all_writable(one)
            one.ask(one.logs(on=True))
        write(vm)
        _emptied(vm)  # the first harvest of a ring also maps its pages
        for _ in range(bench.repetitions):
            bench.take("ring_pass_ns", write(vm), vm.spec.n_pages, _faults(bench, vm.spec.n_pages))
            _harvest_and_reset(bench, vm)
            _full_exits(bench, small, entries - reserved)


def _harvest_and_reset(bench: Bench, vm: Vm) -> None:
    n, ring = vm.spec.n_pages, vm.vcpus[0].ring
    assert ring is not None
    entries: list[int] = []
    harvest = host_timing(vm, lambda: entries.append(len(ring.harvest())))
    bench.keep("ring_harvest_ns", harvest.ns / max(1, entries[0]), "" if entries[0] >= n else "entries lost")
    reset: list[int] = []
    timing = host_timing(vm, lambda: reset.append(vm.reset_rings()))
    bench.keep("ring_reset_ns", timing.ns / n, "" if reset == entries else f"{reset[0]} of {entries[0]} reset")


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
    done = guest_timing(vm, [Work(Command.PACED, address_of(0), n)]).outcomes[0]
    fulls, expected = done.ring_fulls, n / room
    if abs(fulls - expected) > 2 or fulls < 2:
        bench.keep("ring_full_exit_ns", 0.0, f"{fulls} exits of a full ring, expected {expected:.0f}")
        return
    ns = done.samples.astype(np.float64) * (NS_PER_MS / vm.tsc_khz)
    met_ns = _met_full(ns, room)
    last = min(len(met_ns), fulls) - 1  # so many from the end, on both sides: the first of a pass may be no exit
    exits_ns = met_ns[-last:] - done.ring_full_walls_ns[-last:]
    bench.keep("ring_full_exit_ns", max(0.0, float(np.median(exits_ns) - np.median(ns))))


def _met_full(ns: NDArray[np.float64], room: int) -> NDArray[np.float64]:
    """Times of the writes that met a full ring, in their order: they are ``room`` writes apart, or one less.

    Single writes may be as long because a neighbour had the processor, so that the length of one tells nothing.
    """
    rows = [ns[first :: step] for step in (room - 1, room) for first in range(step)]
    return max(rows, key=lambda row: float(np.median(row)))


def flushes(bench: Bench) -> None:
    """CLEAR of a page at a time: nothing dirty; one dirty; one dirty with a vCPU in guest mode."""
    for processors, name in ((2, "flush_first_ns"), (3, "flush_vcpu_ns")):
        if bench.n_cpus < processors:
            bench.absent[name] = f"needs {processors} processors, there are {bench.n_cpus}"
    with bench.vm(manual_protect=1, n_vcpus=max(1, min(2, bench.n_cpus - 1))) as vm:
        _all_writable(vm)
        vm.ask(vm.logs(on=True))
        for _ in range(bench.repetitions):
            _flush_round(bench, vm)


def _flush_round(bench: Bench, vm: Vm) -> None:
    write(vm)
    vm.ask(vm.gets(vm.bitmaps()))
    one, none = np.array([2], np.uint64), np.zeros(1, np.uint64)
    nothing = [clear(64, 64, none)] * NOTHINGS
    bench.keep("clear_nothing_ns", max(0.0, asking(vm, nothing).ns / NOTHINGS - bench.call_ns()))
    words = iter(range(1, vm.spec.n_pages // 64))
    took = [_clear_singles(vm, one, words, 0, 8)]
    for v in range(min(len(vm.vcpus), bench.n_cpus - 1)):
        vm.start(Work(Command.SPIN, address_of(0), 1), v)
        _until_spinning(vm, v)
        took.append(_clear_singles(vm, one, words, 1, 20))
    for v in range(len(took) - 1):
        vm.stop(v)
    for name, pair in zip(("flush_first_ns", "flush_vcpu_ns"), pairwise(took), strict=False):
        bench.keep(name, max(0.0, pair[1] - pair[0]), "" if np.isfinite(pair).all() else "no vCPU was in guest mode")


def _until_spinning(vm: Vm, vcpu: int) -> None:
    while vm.vcpus[vcpu].mailbox.progress == 0:
        time.sleep(1e-4)


def _clear_singles(vm: Vm, word: NDArray[np.uint64], places: Iterator[int], wanted: int, n_batches: int) -> float:
    """Median time [ns] of a CLEAR of 64 pages, those set in ``word`` dirty; NaN if no batch counts.

    wanted: 1: batches count whose flushes all reached a vCPU in guest mode, 0: whose flushes reached none. Between batches a
    neighbour on the vCPU's processor may come to its end.
    """
    batches = []
    for _ in range(n_batches):
        calls = [clear(64 * place, 64, word) for place in islice(places, SINGLES_A_BATCH)]
        timing = asking(vm, calls)
        if calls and timing.counters.get(FLUSHES, 0) == wanted * len(calls):
            batches.append(timing.ns / len(calls))
        time.sleep(wanted * PAUSE_S)
    return float(np.median(batches)) if batches else float("nan")


def _enable(vm: Vm) -> float:
    return asking(vm, vm.logs(on=True)).ns


def _all_writable(*vms: Vm) -> None:
    for vm in vms:
        write(vm)


def _line(bench: Bench, name: str, vms: Sequence[Vm], ns: Sequence[float]) -> float:
    """Keep the slope over the pages of the VMs; returns the line's value for a VM without pages."""
    a_page, at_none = slope([vm.spec.n_pages for vm in vms], ns)
    bench.keep(name, max(0.0, a_page))
    return max(0.0, at_none)


def _faults(bench: Bench, n: int) -> Expected:
    """A write to a protected page is a fault, unless the processor logs it."""
    return none_of(FAULTS) if bench.pml else about(FAULTS, n)


def _lost(bitmaps: Sequence[NDArray[np.uint64]], n: int) -> str:
    found = sum(int(np.unpackbits(one.view(np.uint8)).sum()) for one in bitmaps)
    return "" if found == n else f"{found} pages in the log, {n} were written"


def chains(bench: Bench) -> None:
    """A page mapped at 1, 2, 8, 16 addresses: enabling, GET, disabling, unmapping by sptes a page."""
    for length in CHAINS:
        with bench.vm(memory_bytes=bench.memory_bytes // 2, aliases=length) as vm:
            for _ in range(bench.repetitions):
                if not _chain_round(bench, vm, length):
                    names = [further_name(work) for work in CHAIN_WORK]
                    bench.absent |= dict.fromkeys(names, "a page has one spte here, whatever the guest maps (EPT, NPT)")
                    return


def chain_name(work: str, length: int) -> str:
    """Name of ``work`` with ``length`` sptes a page."""
    return f"{work}_{length}_sptes_ns"


def further_name(work: str) -> str:
    """Name of the time that a further spte adds to ``work``."""
    return f"further_spte_{work}_ns"


def _chain_round(bench: Bench, vm: Vm, length: int) -> bool:
    """False if KVM keeps no chain."""
    n, bitmaps = vm.spec.n_pages, vm.bitmaps()
    before = vm.read_counters()[LEAVES]
    _write_all(vm)
    if vm.read_counters()[LEAVES] - before < 0.99 * n * length:
        return False
    bench.keep(chain_name("enable", length), _enable(vm) / n)
    write(vm)
    bench.keep(chain_name("get", length), asking(vm, vm.gets(bitmaps)).ns / n, _lost(bitmaps, n))
    bench.take(chain_name("disable", length), asking(vm, vm.logs(on=False)), n)
    # Not by MADV_DONTNEED: the host's own work, to free the pages, takes longer than KVM's and wanders more.
    unmapped = host_timing(vm, lambda: vm.memory.protect(PROT_NONE))
    bench.take(chain_name("unmap", length), unmapped, n, about(LEAVES, -n * length))
    vm.memory.protect(mmap.PROT_READ | mmap.PROT_WRITE)
    return True


def _write_all(vm: Vm) -> None:
    """Map every page at each of its addresses, pages in a row far apart, as guests do.

    KVM allocates a descriptor of the rmap when a page gets its second spte. In the order of addresses descriptors come to
    lie in a row while the allocator is fresh, and a walk over them costs a third of one on a host that has run for long.
    """
    n = vm.spec.n_pages
    assert n & (n - 1) == 0, "a power of two"
    for alias in range(vm.spec.aliases):
        vm.run([Work(Command.SCATTER, address_of(0, alias), n, every=SCATTER)])


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
            bench.keep("recover_region_ns", asking(vm, vm.logs(on=False)).ns / regions, why_not)


MEASURES: dict[str, Callable[[Bench], None]] = {
    "loop, populate, map, unmap": loops_and_maps,
    "enable, fault, GET, CLEAR": clear_log,
    "faults that come alone": get_log,
    "a log that begins all set": all_set,
    "exits": exits,
    "faults of all vCPUs": all_vcpus,
    "dirty rings": rings,
    "TLB flushes": flushes,
    "chains of sptes": chains,
    "huge pages": huge_pages,
}
"""By the words of the progress bar: the measurement."""
