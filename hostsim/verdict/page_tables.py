"""The cost of shadow paging to a guest that writes its page tables, in a sentence, unless the cost is negligible."""

from __future__ import annotations

from dataclasses import replace

from hostsim.verdict.evidence import Evidence, PageTables
from hostsim.verdict.logging_cost import WORTH, percent
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import count_words


def _others(cost: PageTables) -> str:
    """The exits beside CR3 loads, in words; empty if there were none."""
    found = ((cost.invlpgs, "INVLPGs"), (cost.forks, "forks, each of which ended a process and cleared its page tables"))
    return "".join(f", to {count_words(n)} {what}" for n, what in found if n)


def with_page_tables(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with a note on exits for page tables and their syncs, unless they take a negligible share of time."""
    cost = evidence.page_tables
    if cost is None or cost.stall_share < WORTH:
        return verdict
    note = (
        f"Shadow paging: the guest lost {percent(cost.stall_share)} of its time to {count_words(cost.cr3_loads)} CR3 loads, "
        f"which synced {count_words(cost.unsync_tables)} page tables that it had written{_others(cost)}; the first write to "
        "each of these tables was a fault beside that. KVM with EPT or NPT sees none of these exits"
    )
    return replace(verdict, notes=(*verdict.notes, note), numbers=verdict.numbers | {"cr3_share": cost.stall_share})
