"""A page mapped at 1, 2, 8, 16 addresses: enabling a log, GET, disabling, unmapping by sptes a page.

Caches are emptied before each call that is timed. Sptes and rmap descriptors of a page take 0.1 to 0.4 KiB, those of a
measured VM 0.5 to 3 MiB: more than a private cache holds, less than the share of the last one that neighbours leave on some
days and not on others. Found there or in memory, a spte differs by a factor; and a host whose guests have run finds them in
memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from functools import partial

from hostsim.measure.kvm.bench import Bench, Timing, host_timing
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.passes import LEAVES, PROT_NONE, SCATTER, complaint_of, in_turn, lost_pages, write, write_all
from hostsim.measure.kvm.rules import about, none_of
from hostsim.measure.kvm.vm import Vm, address_of

CHAINS = (1, 2, 8, 16)
SECOND = 1
"""Mapping through which a page gets its second spte."""
OTHER_BYTES = 64 << 10
SHARE = 4
"""Of a bench's VM: mapping every page at 16 addresses takes longest of all."""
CHAIN_WORK = ("enable", "get", "disable", "unmap")


def chain_name(work: str, length: int) -> str:
    """Name of ``work`` with ``length`` sptes a page."""
    return f"{work}_{length}_sptes_ns"


def further_name(work: str) -> str:
    """Name of the time that a further spte adds to ``work``."""
    return f"further_spte_{work}_ns"


def chains(bench: Bench, length: int) -> None:
    """Every work on pages with ``length`` sptes each."""
    memory_bytes = bench.memory_bytes // SHARE
    with bench.vm(memory_bytes=OTHER_BYTES) as other, bench.vm(memory_bytes=memory_bytes, aliases=length) as vm:
        vm.memory.lay_in_a_row()
        for _ in range(bench.repetitions):
            if not _chain_round(bench, other, vm, length):
                names = [*(further_name(work) for work in CHAIN_WORK), "zap_page_ns", "free_cold_ns", "allocation_ns"]
                bench.absent |= dict.fromkeys(names, "a page has one spte here, whatever the guest maps (EPT, NPT)")
                return


def _chain_round(bench: Bench, other: Vm, vm: Vm, length: int) -> bool:
    """False if KVM keeps no chain."""
    n, bitmaps = vm.spec.n_pages, vm.bitmaps()
    before = vm.read_counters()[LEAVES]
    _keep_allocation(bench, map_all(vm), n)
    if vm.read_counters()[LEAVES] - before < 0.99 * n * length:
        return False
    write(other)
    both = (other, vm)
    bench.take(chain_name("enable", length), _timed(bench, both, lambda one: partial(one.ask, one.logs(on=True))), n)
    write_all(*both)
    got = _timed(bench, both, lambda one: partial(one.ask, one.gets(bitmaps if one is vm else one.bitmaps())))
    bench.keep(chain_name("get", length), got.ns / n, [got], lost_pages(bitmaps, n))
    bench.take(chain_name("disable", length), _timed(bench, both, lambda one: partial(one.ask, one.logs(on=False))), n)
    _keep_unmapping(bench, both, length)
    return True


def _keep_allocation(bench: Bench, mapped: Sequence[Timing], n: int) -> None:
    """A page that gets its second spte also gets a descriptor of the rmap; with the third one it has it.

    mapped: passes over ``n`` pages, through one mapping after the other.
    """
    if len(mapped) > SECOND + 1:
        second, third = mapped[SECOND : SECOND + 2]
        bench.keep("allocation_ns", (second.ns - third.ns) / n, [second, third])


def _keep_unmapping(bench: Bench, both: tuple[Vm, Vm], length: int) -> None:
    """KVM's part of an mprotect: less the same call when KVM has mapped none of the pages.

    Not by MADV_DONTNEED: the host's own work, to free the pages, takes longer than KVM's and wanders more.
    """
    n = both[1].spec.n_pages
    unmapped, bare = (_protected(bench, both) for _ in range(2))
    expected = about(LEAVES, -n * length)
    why_not = complaint_of([unmapped], expected) or complaint_of([bare], none_of(LEAVES))
    bench.keep(chain_name("unmap", length), (unmapped.ns - bare.ns) / n, [unmapped, bare], why_not)


def _protected(bench: Bench, both: tuple[Vm, Vm]) -> Timing:
    timing = _timed(bench, both, lambda one: partial(one.memory.protect, PROT_NONE))
    for one in both:
        one.memory.protect(mmap.PROT_READ | mmap.PROT_WRITE)
    return timing


def _timed(bench: Bench, vms: tuple[Vm, Vm], call: Callable[[Vm], Callable[[], object]]) -> Timing:
    """Time ``call`` of the last VM: its sptes are in no cache, the kernel's code is, since the VM before made the same call.

    Without that the call itself, 50 us when its code has to be loaded, would count as time of pages.
    """
    bench.empty_caches()
    other, vm = vms
    bench.wait()
    call(other)()
    return host_timing(vm, call(vm), patient=False)


def map_all(vm: Vm) -> list[Timing]:
    """Map every page at each of its addresses, pages in a row far apart, as guests do; returns the pass of each mapping.

    KVM allocates a descriptor of the rmap when a page gets its second spte. In the order of addresses descriptors come to
    lie in a row while the allocator is fresh, and a walk over them costs a third of one on a host that has run for long.
    """
    n = vm.spec.n_pages
    assert n & (n - 1) == 0, "a power of two"
    return in_turn(vm, [Work(Command.SCATTER, address_of(0, alias), n, every=SCATTER) for alias in range(vm.spec.aliases)])
