"""The host's page under a fault: found, made of a frame at hand, or asked of the host.

Linux virt/kvm/kvm_main.c::hva_to_pfn; mm/memory.c::do_anonymous_page, mm/hugetlb.c::hugetlb_no_page.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit
from hostsim.kvm.loops.armed import flags_of
from hostsim.kvm.loops.layout import AGAIN, AWAY, DUE_FAULT, FAULTS, PFN, RESIDENT, UNTOUCHED, Kvm
from hostsim.kvm.loops.mmu_lock import queue_host_event
from hostsim.spte_index.spte import PRESENT


@inlined
def look_up(k: Kvm, v: int, now_ns: int) -> None:
    """Look up the host page of the fault of vCPU ``v`` at ``now_ns``; stage PFN or FAULTS if that takes time."""
    vcpu = k.vcpus[v]
    look_ns = k.state.pfn_ns
    if k.state.is_backed == 1:
        found = k.backing[vcpu.page]
        if found >= AWAY or (found == UNTOUCHED and k.state.frames < k.state.host_page_gfns):
            vcpu.stage = FAULTS
            queue_host_event(k, now_ns, DUE_FAULT, v)
            return
        if found == UNTOUCHED:
            vcpu.frames = k.state.host_page_gfns
            k.state.frames -= k.state.host_page_gfns
            # Other vCPUs that make pages move the cache lines of the allocator and of mmap_lock from CPU to CPU.
            look_ns += k.state.populate_ns + k.crowd_ns[min(k.state.populating, len(k.crowd_ns) - 1)]
            k.state.populating += 1
    if look_ns > 0:
        vcpu.next_ns, vcpu.stage = now_ns + look_ns, PFN


@inlined
def take_page(k: Kvm, v: int) -> None:
    """The frame that vCPU ``v`` has filled becomes the host page, unless another was faster (pte_none under the lock)."""
    vcpu = k.vcpus[v]
    n_pages = vcpu.frames
    if n_pages == 0:
        return
    page = vcpu.page
    vcpu.frames = 0
    k.state.populating -= 1
    # Two vCPUs may populate one page at the same time: the second finds a pte, and gives its frame back.
    if k.backing[page] != UNTOUCHED:
        k.state.frames += n_pages
        return
    first = page - page % n_pages
    for other in range(first, min(first + n_pages, len(k.backing))):
        k.backing[other] = RESIDENT
    if k.state.fresh_pages < len(k.fresh):
        k.fresh[k.state.fresh_pages] = page
        k.state.fresh_pages += 1


@jit
def look_again(k: Kvm, v: int, now_ns: int) -> None:
    """Let vCPU ``v``, in FAULTS, look its page up again at ``now_ns``: the host has the page now.

    The vCPU keeps the mmu_invalidate_seq that it read before, so it retries if an invalidation went over the page meanwhile.
    """
    k.vcpus[v].next_ns, k.vcpus[v].stage = now_ns, AGAIN


@jit
def first_orphan(k: Kvm) -> int:
    """First gfn that is mapped and not resident, or -1."""
    for page in range(len(k.backing)):
        if k.backing[page] != RESIDENT and flags_of(k.sptes, page) & PRESENT != 0:
            return page
    return -1
