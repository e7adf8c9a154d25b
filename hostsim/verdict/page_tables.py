"""The cost of shadow paging to a guest that writes its page tables, in a sentence, unless the cost is negligible."""

from __future__ import annotations

from dataclasses import replace

from hostsim.verdict.evidence import Evidence
from hostsim.verdict.logging_cost import WORTH, percent
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import count_words


def with_page_tables(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with a note on CR3 loads and the syncs of page tables, unless they take a negligible share of time."""
    cost = evidence.page_tables
    if cost is None or cost.stall_share < WORTH:
        return verdict
    note = (
        f"Shadow paging: the guest lost {percent(cost.stall_share)} of its time to {count_words(cost.cr3_loads)} CR3 loads, "
        f"which synced {count_words(cost.unsync_tables)} page tables that it had written; the first write to each of these "
        "was a fault beside that. KVM with EPT or NPT sees neither"
    )
    return replace(verdict, notes=(*verdict.notes, note), numbers=verdict.numbers | {"cr3_share": cost.stall_share})
