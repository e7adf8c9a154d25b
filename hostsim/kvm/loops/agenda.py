"""The agenda: next events of vCPUs in their order, the earliest first, of equals that of the lowest vCPU.

An entry is one number, time and vCPU, so that one comparison orders two. Entries lie side by side, the latest at the end of
the array. Most vCPUs wait for mmu_lock, and an event that moves passes few others: a heap compares as many entries, and the
processor foresees none of its branches.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, part
from hostsim.kvm.loops.layout import Ints, State

NEAR, MANY = 8, 64
"""Entries that an event passes one by one, and how many at once after them."""
SPARE = MANY + 2
"""Places behind the last entry; all hold LAST."""
LAST = (1 << 63) - 1
VCPU_BITS = 12
SPAN_NS = LAST >> VCPU_BITS
"""Time that an entry has room for: 26 days."""
_VCPUS = (1 << VCPU_BITS) - 1


@inlined
def entry_of(state: State, ns: int, vcpu: int) -> int:
    """The entry of an event of ``vcpu`` at ``ns``; events beyond the span come at its end."""
    return (min(ns - state.agenda_ns, SPAN_NS) << VCPU_BITS) | vcpu


@inlined
def time_of(state: State, entry: int) -> int:
    """When the event of ``entry`` comes [ns]."""
    return int(state.agenda_ns + (entry >> VCPU_BITS))


@inlined
def vcpu_of(entry: int) -> int:
    """The vCPU of ``entry``."""
    return int(entry & _VCPUS)


@inlined
def put(agenda: Ints, first: int, entry: int) -> int:
    """Put ``entry`` into ``agenda``, in place of the entry at ``first``; returns the new first entry."""
    earliest = agenda[first + 1]
    if entry < earliest:
        agenda[first] = entry
        return entry
    agenda[first] = earliest
    at, following = first + 1, agenda[first + 2]
    while following < entry:
        if at > first + NEAR:
            _put_far(agenda, at, entry)
            return int(earliest)
        agenda[at] = following
        at += 1
        following = agenda[at + 1]
    agenda[at] = entry
    return int(earliest)


@part
def _put_far(agenda: Ints, first: int, entry: int) -> None:
    """As ``put``, MANY places at once."""
    at = first
    while agenda[at] < entry:
        for i in range(at, at + MANY):  # no branch, so that LLVM takes eight steps at once
            agenda[i] = max(agenda[i], min(entry, agenda[i + 1]))
        at += MANY
