"""The additional cost of a fault whose code and data are not in the caches.

A fault in a row finds KVM's code and data in the caches, and the entries of its page beside those of the page before: spte,
guest's and host's page-table entry are eight to a cache line, and the hardware loads the next lines by itself. A fault that
comes alone, or on a page far from the one before, waits for memory.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined
from hostsim.kvm.loops.layout import IN_A_ROW_PAGES, LONE_FAR_NS, LONE_NEAR_NS, Kvm


@inlined
def _lone_ns(k: Kvm, since_ns: int) -> int:
    """Time that a fault takes longer because the CPU has run only the guest for ``since_ns``: KVM has left its caches."""
    near_ns, far_ns = k.costs.lone_near_ns, k.costs.lone_far_ns
    if since_ns <= LONE_NEAR_NS:
        return int(near_ns * since_ns // LONE_NEAR_NS)
    later_ns = min(since_ns, LONE_FAR_NS) - LONE_NEAR_NS
    return int(near_ns + (far_ns - near_ns) * later_ns // (LONE_FAR_NS - LONE_NEAR_NS))


@inlined
def cold_ns(k: Kvm, v: int, now_ns: int) -> int:
    """Time that the fault of vCPU ``v``, which leaves the guest at ``now_ns``, takes longer than one in a row."""
    vcpu = k.vcpus[v]
    found = _lone_ns(k, now_ns - vcpu.entered_ns) if k.costs.lone_far_ns > 0 else 0
    if k.costs.scattered_ns > 0:
        distance = vcpu.page - vcpu.last_fault_page
        if distance > IN_A_ROW_PAGES or distance < -IN_A_ROW_PAGES:
            found += k.costs.scattered_ns
        vcpu.last_fault_page = vcpu.page
    return int(found)
