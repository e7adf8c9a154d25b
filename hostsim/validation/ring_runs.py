"""Guests whose dirty rings are reaped only when one is full: exits with a full ring, by vCPU."""

from __future__ import annotations

from fractions import Fraction

from hostsim.core.clock import Clock
from hostsim.core.constants import NS_PER_S
from hostsim.core.memory import lay_out, make_memory
from hostsim.core.rng import NEVER
from hostsim.guest.workload import Active, Workload, build_guest
from hostsim.kvm.build import live_vm
from hostsim.kvm.rules import RING_RESERVED
from hostsim.kvm.spec import MmuSpec
from hostsim.kvm.trackers.dirty_ring import DirtyRing

START_NS, LOOP_NS, FAULT_NS = 10_000_000, 200, 20_000
"""The log is on by then; a vCPU's own work on a page; more than a fault takes, its share of a reap included. Checked."""


def ring_full_exits(pages: int, entries: int, n_vcpus: int = 2, *, in_turn: bool = True) -> list[int]:
    """Ring-full exits of each vCPU that writes ``pages`` of its own once, in order, with ``entries`` to the soft limit.

    in_turn: one vCPU after the other, because a reap takes the entries of all vCPUs; else all at once.
    """
    rate, length_ns = Fraction(NS_PER_S, LOOP_NS), pages * LOOP_NS
    turns = [START_NS + v * pages * FAULT_NS * in_turn for v in range(n_vcpus)]
    loads = [
        Workload(f"vcpu {v}", "sequential", (v,), v * pages, pages, rate, active=Active(turns[v], length_ns))
        for v in range(n_vcpus)
    ]
    n_pages = n_vcpus * pages
    memory, env = make_memory(lay_out([("pc.ram", n_pages, [(0, n_pages)])])), Clock()
    mmu = MmuSpec(era="E4", ring_entries=entries + RING_RESERVED)
    vm = live_vm(env, memory, build_guest(loads, 1), n_vcpus, 0, mmu, "dirty-ring")
    ring = DirtyRing(vm, reap_period_ns=NEVER // 2)
    env.process(ring.start_log())
    env.run(until=max(turns) + pages * FAULT_NS)
    assert vm.tally().wp_faults >= n_pages, "all of them have been written"
    return [vcpu.ring_full_exits for vcpu in vm.vcpus]

