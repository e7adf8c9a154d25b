"""CLEAR of a page at a time: nothing dirty; one dirty; one dirty with a vCPU in guest mode."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np

from hostsim.measure.kvm.bench import Bench, Timing, asking, calmest
from hostsim.measure.kvm.guest import Command, Work
from hostsim.measure.kvm.passes import ASKED, FLUSHES, complaint_of, write, write_all
from hostsim.measure.kvm.rules import about, none_of
from hostsim.measure.kvm.vm import Call, Vm, address_of, clear

TURNS = 4
"""Rows a repetition, each with a page of its own in every granule."""
GRANULE = 64
"""Pages of the smallest CLEAR."""
CALLS = 256
"""Calls of CLEAR that are timed together, to find nothing or one page each."""
SINGLES_A_BATCH, BATCHES = 4, 10


def flushes(bench: Bench) -> None:
    """A call of CLEAR, its flush, the share of a vCPU in guest mode and of a second one."""
    for processors, name in ((2, "flush_first_ns"), (3, "flush_vcpu_ns")):
        if bench.n_cpus < processors:
            bench.absent[name] = f"needs {processors} processors, there are {bench.n_cpus}"
    with bench.vm(manual_protect=1, n_vcpus=max(1, min(2, bench.n_cpus - 1))) as vm:
        write_all(vm)
        vm.ask(vm.logs(on=True))
        for _ in range(bench.repetitions):
            write(vm)
            vm.ask(vm.gets(vm.bitmaps()))
            _nothing_and_one(bench, vm)
            _in_guest_mode(bench, vm)


def _nothing_and_one(bench: Bench, vm: Vm) -> None:
    """As many calls that find nothing as calls that find one page each, one row right after the other."""
    calls = min(CALLS, vm.spec.n_pages // GRANULE)
    for turn in range(TURNS):
        nothing, one = both = [_asked(vm, bits, calls) for bits in (0, 1 << turn)]
        nothing_ns = max(0.0, nothing.ns / calls - bench.call_ns())
        bench.keep("clear_nothing_ns", nothing_ns, [nothing], complaint_of([nothing], none_of(ASKED)))
        why_not = complaint_of([one], none_of(FLUSHES), about(ASKED, calls))
        bench.keep("clear_one_more_ns", (one.ns - nothing.ns) / calls, both, why_not)


def _asked(vm: Vm, bits: int, calls: int) -> Timing:
    """CLEAR of one granule after the other, those pages of each that are set in ``bits``; no vCPU is in guest mode."""
    word = np.array([bits], np.uint64)
    return asking(vm, [clear(GRANULE * at, GRANULE, word) for at in range(calls)])


def _in_guest_mode(bench: Bench, vm: Vm) -> None:
    places = iter(range(1, vm.spec.n_pages // GRANULE))
    took = [_clear_singles(vm, places, n_vcpus) for n_vcpus in range(min(len(vm.vcpus), bench.n_cpus - 1) + 1)]
    for name, (fewer, more) in zip(("flush_first_ns", "flush_vcpu_ns"), pairwise(took), strict=False):
        if not (fewer and more):
            bench.keep(name, 0.0, [], "no vCPU was in guest mode")
            return
        for batch in more:
            bench.keep(name, max(0.0, (batch.ns - calmest(fewer).ns) / SINGLES_A_BATCH), [batch])


def _clear_singles(vm: Vm, places: Iterator[int], n_vcpus: int) -> list[Timing]:
    """Batches of SINGLES_A_BATCH calls of CLEAR of 64 pages, one of them dirty, while ``n_vcpus`` are in guest mode.

    Batches count whose flushes all reached a vCPU in guest mode, without vCPUs those whose flushes reached none.
    """
    one = np.array([1 << TURNS], np.uint64)  # pages that no call has cleared yet
    batches = []
    for _ in range(BATCHES):
        calls = [clear(GRANULE * place, GRANULE, one) for place in islice(places, SINGLES_A_BATCH)]
        timing = _beside(vm, n_vcpus, calls)
        if len(calls) == SINGLES_A_BATCH and timing.counters.get(FLUSHES, 0) == min(1, n_vcpus) * SINGLES_A_BATCH:
            batches.append(timing)
    return batches


def _beside(vm: Vm, n_vcpus: int, calls: Sequence[Call]) -> Timing:
    """Time of ``calls`` while ``n_vcpus`` vCPUs write; the pace of their cores counts as well."""
    for v in range(n_vcpus):
        vm.start(Work(Command.SPIN, address_of(0), 1), v, patient=True)
        _until_spinning(vm, v)
    timing = asking(vm, calls, patient=n_vcpus == 0)
    paces = [vm.stop(v).pace_ticks for v in range(n_vcpus)]
    return replace(timing, pace_ticks=max([timing.pace_ticks, *paces]))


def _until_spinning(vm: Vm, vcpu: int) -> None:
    while vm.vcpus[vcpu].mailbox.progress == 0:
        time.sleep(1e-4)
