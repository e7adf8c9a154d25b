"""K rows of suite ``published``: faults, locks and harvests of KVM, predicted with the cost sheets.

A row that a constant of its sheet was set on is shown and not scored: its note says ``fitted``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hostsim.validation.kvm_ageing import idle_marking_rows, populate_rows
from hostsim.validation.kvm_faults import idle_rows, lock_rows, pml_rows, protected_rows, shadow_rows
from hostsim.validation.kvm_log import clear_rows, disable_rows, enable_rows, flush_rows, rmap_rows
from hostsim.validation.rows import Row

GROUPS: dict[str, tuple[Callable[..., Iterator[Row]], ...]] = {
    "K1": (protected_rows, idle_rows),
    "K2": (lock_rows,),
    "K2b": (lock_rows,),
    "K3": (shadow_rows,),
    "K3b": (rmap_rows,),
    "K4": (shadow_rows,),
    "K5": (clear_rows,),
    "K6": (disable_rows,),
    "K7": (flush_rows,),
    "K8": (populate_rows,),
    "K9": (idle_marking_rows,),
    "K10": (enable_rows,),
    "K11": (pml_rows,),
}
"""Functions that compute the rows of each id; only those of the wanted ids run."""


PASSES = (protected_rows, idle_rows, lock_rows, pml_rows, clear_rows, disable_rows)
"""Rows of passes over memory that is all alike, so that their time grows with it; these take most of the work."""


def kvm_rows(cases: Sequence[str] | None = None, shrink: int = 1) -> Iterator[Row]:
    """Rows K1 to K11 of the ids in ``cases``, all for None: about half a minute of work.

    shrink: passes go over so many times less memory and are compared with as many times less time: for tests.
    """
    wanted = None if cases is None else {case.split("/")[0] for case in cases}
    chosen = [group for key, groups in GROUPS.items() if wanted is None or key in wanted for group in groups]
    for group in dict.fromkeys(chosen):
        yield from group(shrink) if group in PASSES else group()
