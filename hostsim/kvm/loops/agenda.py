"""The agenda: next events of vCPUs in their order, the earliest first, of equals that of the lowest vCPU.

An entry is one number, time and vCPU, so that one comparison orders two. Entries lie side by side, the latest at the end of
the array. Most vCPUs wait for mmu_lock, and an event that moves passes few others: a heap compares as many entries, and the
processor foresees none of its branches.
"""

from __future__ import annotations

from hostsim.compiled.jit import inlined, part
from hostsim.kvm.loops.layout import Ints, State

NEAR, MANY = 4, 64
"""Places that are put in order at once: two times NEAR, then MANY at a time."""
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
    if _passes(agenda, first + 1, entry) and _passes(agenda, first + 1 + NEAR, entry):
        _put_far(agenda, first + 1 + 2 * NEAR, entry)
    return int(earliest)


@inlined
def _passes(agenda: Ints, first: int, entry: int) -> bool:
    """Put ``entry`` into its place of NEAR, the free one at ``first`` and those behind; returns whether it passes all."""
    # No branch at each place: how many events one passes hangs on draws. An event that comes next has not waited for it.
    later = entry
    for at in range(first, first + NEAR):
        following = agenda[at + 1]
        agenda[at] = min(later, following)
        later = max(later, following)
    return bool(later == entry)


@part
def _put_far(agenda: Ints, first: int, entry: int) -> None:
    """As ``put``, MANY places at once."""
    at = first
    while agenda[at] < entry:
        for i in range(at, at + MANY):  # no branch, so that LLVM takes eight steps at once
            agenda[i] = max(agenda[i], min(entry, agenda[i + 1]))
        at += MANY
