"""A cap on mapped pages: a fault that finds the cap reached unmaps all of memory first.

Linux arch/powerpc/kvm/book3s_mmu_hpte.c::kvmppc_mmu_hpte_cache_next, ::kvmppc_mmu_pte_flush_all.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, jit, late
from hostsim.costs.exits import MAP
from hostsim.kvm.loops.armed import count_range
from hostsim.kvm.loops.layout import IN_GUEST, Kvm, State
from hostsim.kvm.loops.streams import pass_by, rearm
from hostsim.spte_index.spte import KEPT, PRESENT

# Model limit: the hptes of all vCPUs are one table with the sum of their caps. In KVM each vCPU has a table of its own: it
# unmaps the hptes of that table alone, and maps pages again that another vCPU has mapped for itself.


@inlined
def at_cap(state: State, kind: int) -> bool:
    """Whether a fault of ``kind`` finds no room for its page."""
    return bool(kind == MAP and state.cap_sptes > 0 and state.mapped_sptes >= state.cap_sptes)


@late
def unmap_all(k: Kvm, v: int, now_ns: int) -> None:
    """Unmap all of memory for vCPU ``v``, which found the cap reached at ``now_ns``.

    Events of one instant are ordered by vCPU, so vCPUs before ``v`` have made their touches of ``now_ns``.
    """
    n_pages = len(k.sptes.spte)
    count_range(k, 0, n_pages, -1)
    for page in range(n_pages):
        k.sptes.spte[page] &= KEPT
    count_range(k, 0, n_pages, 1)
    k.state.mapped_sptes = 0
    k.state.emptied += 1
    for other in range(v):
        if k.vcpus[other].stage == IN_GUEST:
            pass_by(k, other, k.vcpus[other].stream_end, now_ns)
    rearm(k, 0, n_pages, now_ns)


@jit
def count_mapped(k: Kvm) -> None:
    """MAPPED of Kvm.state from the sptes themselves: 4 KiB ones."""
    n = 0
    for page in range(len(k.sptes.spte)):
        n += int(k.sptes.spte[page] & PRESENT != 0)
    k.state.mapped_sptes = n
