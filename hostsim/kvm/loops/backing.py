"""The host's page under a fault: found, made of a frame at hand, or asked of the host.

Linux virt/kvm/kvm_main.c::hva_to_pfn; mm/memory.c::do_anonymous_page, mm/hugetlb.c::hugetlb_no_page.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit
from hostsim.kvm.loops.armed import flags_of
from hostsim.kvm.loops.layout import (
    AGAIN,
    AWAY,
    BACKED,
    DUE_FAULT,
    FAULTS,
    FRAMES,
    HOST_PAGES,
    N_FRESH,
    PFN,
    PFN_NS,
    POPULATE_NS,
    RESIDENT,
    UNTOUCHED,
    V_FRAMES,
    V_NS,
    V_PAGE,
    V_STAGE,
    Kvm,
)
from hostsim.kvm.loops.mmu_lock import tell_host
from hostsim.spte_index.spte import PRESENT


@inlined
def look_up(k: Kvm, v: int, now_ns: int) -> None:
    """VCPU ``v`` wants the host page of its fault: it waits (PFN, FAULTS) if that takes time."""
    look_ns = k.state[PFN_NS]
    if k.state[BACKED] == 1:
        found = k.backing[k.vcpus[V_PAGE, v]]
        if found >= AWAY or (found == UNTOUCHED and k.state[FRAMES] < k.state[HOST_PAGES]):
            k.vcpus[V_STAGE, v] = FAULTS
            tell_host(k.state, now_ns, DUE_FAULT, v)
            return
        if found == UNTOUCHED:
            k.vcpus[V_FRAMES, v] = k.state[HOST_PAGES]
            k.state[FRAMES] -= k.state[HOST_PAGES]
            look_ns += k.state[POPULATE_NS]
    if look_ns > 0:
        k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = now_ns + look_ns, PFN


@inlined
def take_page(k: Kvm, v: int) -> None:
    """The frame that vCPU ``v`` has filled becomes the host page, unless another was faster (pte_none under the lock)."""
    n_pages = k.vcpus[V_FRAMES, v]
    if n_pages == 0:
        return
    page = k.vcpus[V_PAGE, v]
    k.vcpus[V_FRAMES, v] = 0
    if k.backing[page] != UNTOUCHED:
        k.state[FRAMES] += n_pages
        return
    first = page - page % n_pages
    for other in range(first, min(first + n_pages, len(k.backing))):
        k.backing[other] = RESIDENT
    if k.state[N_FRESH] < len(k.fresh):
        k.fresh[k.state[N_FRESH]] = page
        k.state[N_FRESH] += 1


@jit
def look_again(k: Kvm, v: int, now_ns: int) -> None:
    """The host has done what vCPU ``v`` asked for: it looks the page up again, as of the mmu_invalidate_seq it has."""
    k.vcpus[V_NS, v], k.vcpus[V_STAGE, v] = now_ns, AGAIN


@jit
def first_orphan(k: Kvm) -> int:
    """First gfn that is mapped and not resident, or -1."""
    for page in range(len(k.backing)):
        if k.backing[page] != RESIDENT and flags_of(k.sptes, page) & PRESENT != 0:
            return page
    return -1
