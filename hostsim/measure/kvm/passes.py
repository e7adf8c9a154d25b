"""Passes over a VM's memory and the rows of timings that measurements are made of."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.measure.kvm.bench import PART_PAGES, Timing, guest_timing
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.rules import Expected, complaint
from hostsim.measure.kvm.vm import Vm, address_of

PROT_NONE = 0
"""mman.h; not in the module mmap."""
FAULTS, FLUSHES, ASKED, LEAVES = "pf_taken", "remote_tlb_flush", "remote_tlb_flush_requests", "pages_4k"
"""Counters of KVM: faults, flushes that reached a vCPU in guest mode, flushes asked for, sptes of 4 KiB."""
SCATTER = 5063
"""Pages from one to the next when all of up to 8192 are visited: the golden section of 8192, so that those in a row are far
apart.
"""

Row = Sequence[Timing]


def write(vm: Vm, passes: int = 1, alias: int = 0) -> Timing:
    """Time of one vCPU of ``vm`` that writes every page ``passes`` times, through mapping number ``alias`` of its memory."""
    return guest_timing(vm, [Work(Command.WRITE, address_of(0, alias), vm.spec.n_pages, passes=passes)])


def parts(vm: Vm) -> list[Work]:
    """Work of one vCPU that writes every page of ``vm`` once, PART_PAGES at a time."""
    return [Work(Command.WRITE, address_of(page), PART_PAGES) for page in range(0, vm.spec.n_pages, PART_PAGES)]


def write_by_part(vm: Vm) -> list[Timing]:
    """Timings of one vCPU that writes every page of ``vm``, a part each.

    It waits for nothing: there are so many parts that some find a core of their own.
    """
    return in_turn(vm, parts(vm))


def in_turn(vm: Vm, works: Sequence[Work]) -> list[Timing]:
    """Timings of one vCPU that does ``works`` one after the other, without waiting."""
    return [guest_timing(vm, [work], patient=False) for work in works]


def write_all(*vms: Vm) -> None:
    """Every page of each VM becomes writable for the guest."""
    for vm in vms:
        write(vm)


def unmap(vm: Vm) -> None:
    """The host's pages are given back, KVM's sptes with them."""
    vm.memory.advise(mmap.MADV_DONTNEED)


def forget(vm: Vm, n_bytes: int | None = None) -> None:
    """KVM's sptes of the first ``n_bytes``, of all without, go; the host's pages stay."""
    vm.memory.protect(PROT_NONE, 0, n_bytes)
    vm.memory.protect(mmap.PROT_READ | mmap.PROT_WRITE, 0, n_bytes)


def complaint_of(row: Row, *expected: Expected) -> str:
    """The first counter of any timing of ``row`` that is not as expected, in words; empty if all are."""
    return next(filter(None, (complaint(one.counters, expected) for one in row)), "")


def lost_pages(bitmaps: Sequence[NDArray[np.uint64]], n: int) -> str:
    """Words if the log has another number of pages than ``n``; empty if it has as many."""
    found = sum(int(np.unpackbits(one.view(np.uint8)).sum()) for one in bitmaps)
    return "" if found == n else f"{found} pages in the log, {n} were written"
