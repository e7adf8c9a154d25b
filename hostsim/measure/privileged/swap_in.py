"""The time for which a vCPU waits for a page that the host has swapped out.

MADV_PAGEOUT takes the pages of the VM's memory away, KVM's sptes with them; the guest then writes one page in sixteen and
times each write by its own clock, the fault included. Pages between these are not there either, so that nothing which the
kernel reads ahead (vm.page-cluster, 8 pages) is met later.
"""

from __future__ import annotations

import mmap
from functools import partial
from pathlib import Path

import numpy as np

from hostsim.core.constants import NS_PER_MS
from hostsim.measure.kvm.bench import Bench, guest_timing, host_timing
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.page_tables import PAGE_BYTES
from hostsim.measure.kvm.passes import FAULTS, LEAVES, unmap, write
from hostsim.measure.kvm.rules import Expected, about, complaint
from hostsim.measure.kvm.vm import Vm, address_of

MADV_PAGEOUT = 21
"""mman.h, since Linux 5.4; not in the module mmap."""
SWAPPED_BYTES = 32 << 20
STRIDE_PAGES = 16
REPETITIONS = 12
WORDS_A_PAGE, RANDOM_WORDS = 512, 256
"""Half of each page is random: compression halves it, as it does memory of programs."""
STATUS = Path("/proc/self/status")
NEARLY = 0.99


def swap_ins(bench: Bench) -> None:
    """Median and 99th percentile of a swap-in, a page's share of MADV_PAGEOUT, and giving a slot back."""
    rng = np.random.default_rng(1)
    with bench.vm(memory_bytes=SWAPPED_BYTES) as vm:
        for use in (_read_back, _give_back) * REPETITIONS:
            unmap(vm)
            _fill(vm, rng)
            write(vm)
            use(bench, vm, _page_out(bench, vm))


def _fill(vm: Vm, rng: np.random.Generator) -> None:
    pages = vm.memory.array(np.uint64).reshape(-1, WORDS_A_PAGE)
    pages[:, :RANDOM_WORDS] = rng.integers(0, 1 << 63, (len(pages), RANDOM_WORDS), np.uint64)


def _page_out(bench: Bench, vm: Vm) -> str:
    """Swap everything out; empty, or the reason for which nothing that follows counts."""
    n, before = vm.spec.n_pages, swapped_pages()
    timing = host_timing(vm, partial(vm.memory.advise, MADV_PAGEOUT))
    gone = swapped_pages() - before
    why_not = "" if gone >= NEARLY * n else f"MADV_PAGEOUT swapped {gone} of {n} pages out"
    why_not = why_not or complaint(timing.counters, [about(LEAVES, -n)])
    bench.keep("swap_out_page_ns", timing.ns / n, [timing], why_not)
    return why_not


def _give_back(bench: Bench, vm: Vm, why_not: str) -> None:
    """MADV_DONTNEED of memory that is swapped out gives its slots back; the same call right after it finds nothing."""
    slots = swapped_pages()
    freed, empty = row = [host_timing(vm, partial(vm.memory.advise, mmap.MADV_DONTNEED)) for _ in range(2)]
    given = slots - swapped_pages()
    why_not = why_not or ("" if given >= NEARLY * vm.spec.n_pages else f"{given} slots were given back")
    bench.keep("swap_slot_ns", (freed.ns - empty.ns) / max(1, given), row, why_not)


def _read_back(bench: Bench, vm: Vm, why_not: str) -> None:
    n, before = vm.spec.n_pages // STRIDE_PAGES, swapped_pages()
    work = Work(Command.PACED, address_of(0), n, stride_bytes=STRIDE_PAGES * PAGE_BYTES)
    timing = guest_timing(vm, [work])
    came = before - swapped_pages()
    why_not = why_not or ("" if came >= NEARLY * n else f"{came} of {n} pages came back from swap")
    why_not = why_not or complaint(timing.counters, [Expected(FAULTS, NEARLY * n, 4 * n)])
    ns = timing.outcomes[0].samples.astype(np.float64) * (NS_PER_MS / vm.tsc_khz)
    bench.keep("swap_in_ns", float(np.median(ns)), [timing], why_not)
    bench.keep("swap_in_p99_ns", float(np.percentile(ns, 99)), [timing], why_not)


def swapped_pages() -> int:
    """Pages of this process that are in swap (VmSwap of proc(5))."""
    rows = [line.split() for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines()]
    return next((int(row[1]) * 1024 // PAGE_BYTES for row in rows if row[:1] == ["VmSwap:"]), 0)
