"""The interfaces by which user space gets dirty pages from KVM: the values of ``dirty_tracking`` beside "tcg".

A new interface is its tracker's file and an entry of INTERFACE_TRAITS; the values that scenarios and commands take, their
help, their errors and the reference come from here. Loading this file loads no tracker: ``--help`` reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hostsim.costs.era import Era, is_before

Interface = Literal["get-dirty-log", "clear-dirty-log", "initially-all-set", "dirty-ring"]
RING_SINCE = "E3"
"""KVM_CAP_DIRTY_LOG_RING, in 5.11 assumed: after the first kernel of E2."""


@dataclass(frozen=True)
class InterfaceTraits:
    """An interface, and the choices that follow from it.

    says: what the interface does, for users, as the second half of a sentence that its name begins.
    tracker: the class behind it, "module of hostsim.kvm.trackers:class".
    offered: whether the kernels of an era have it.
    has_clear: KVM_CLEAR_DIRTY_LOG clears it, chunk by chunk.
    has_rings: each vCPU has a dirty ring in place of a bitmap.
    all_set: the log starts with all pages dirty and no page protected.
    takes_index: indexes of sptes that it works with: "any", those that write-protect sptes "in-place", or "none".
    """

    says: str
    tracker: str
    offered: Callable[[Era], bool] = lambda _era: True
    has_clear: bool = False
    has_rings: bool = False
    all_set: bool = False
    takes_index: Literal["any", "in-place", "none"] = "none"


INTERFACE_TRAITS: dict[Interface, InterfaceTraits] = {
    "get-dirty-log": InterfaceTraits(
        "reads, clears and protects at a sync", "get_dirty_log:GetDirtyLog", takes_index="any"
    ),
    "clear-dirty-log": InterfaceTraits(
        "reads at a sync and protects a chunk of 1 GiB (2^18 pages) before its pages are sent",
        "clear_dirty_log:ClearDirtyLog",
        lambda era: era.manual_protect, has_clear=True, takes_index="in-place",
    ),
    "initially-all-set": InterfaceTraits(
        "does as clear-dirty-log, and protects nothing at the start", "clear_dirty_log:ClearDirtyLog",
        lambda era: era.initially_all_set, has_clear=True, all_set=True,
    ),
    "dirty-ring": InterfaceTraits(
        "takes the pages from a ring of each vCPU", "dirty_ring:DirtyRing",
        lambda era: not is_before(era, RING_SINCE), has_rings=True,
    ),
}  # fmt: skip
INTERFACES: tuple[Interface, ...] = tuple(INTERFACE_TRAITS)


def with_rings() -> tuple[Interface, ...]:
    """Interfaces with a dirty ring for each vCPU."""
    return tuple(name for name, traits in INTERFACE_TRAITS.items() if traits.has_rings)


def with_clear() -> tuple[Interface, ...]:
    """Interfaces with KVM_CLEAR_DIRTY_LOG."""
    return tuple(name for name, traits in INTERFACE_TRAITS.items() if traits.has_clear)


def with_index(*, in_place: bool) -> tuple[Interface, ...]:
    """Interfaces that work with an index of sptes. in_place: the index write-protects sptes that stay mapped."""
    taken = {"any", "in-place"} if in_place else {"any"}
    return tuple(name for name, traits in INTERFACE_TRAITS.items() if traits.takes_index in taken)
