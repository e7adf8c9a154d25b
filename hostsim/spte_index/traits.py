"""In what the answers of an index differ from those of the others, by design and not by defect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """sees_young: whether ageing finds accessed bits. protects_by_zapping: write protection unmaps. keeps_bits: accessed and
    dirty bits outlive an unmapping, in a word of the page. zaps_all_on_delete: a slot that goes takes all sptes with it.
    recycle: more sptes of a gfn than this are zapped at once, 0: never. cap: more sptes of a vCPU than this and all of the
    vCPU's go first, 0: no such limit. one_spte: a gfn has one spte at most. has_notifiers: the host may unmap and age; else
    guest pages are pinned. logs_by_hardware: the harvest reads dirty bits, write protection is not needed.
    """

    sees_young: bool = True
    protects_by_zapping: bool = False
    keeps_bits: bool = False
    zaps_all_on_delete: bool = False
    recycle: int = 0
    cap: int = 0
    one_spte: bool = False
    has_notifiers: bool = True
    logs_by_hardware: bool = False
