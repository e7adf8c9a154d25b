"""All claims in the order of the thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from hostsim.study.rmap_debate import chaining, flushing, mapping, notifying
from hostsim.study.rmap_debate.claim import Claim
from hostsim.study.rmap_debate.runs import costs, sheet

GROUPS: dict[str, tuple[Callable[[], Claim], ...]] = {
    "flushing": (flushing.list_speeds_up_flushing, flushing.sptes_dominate, flushing.sptes_scattered),
    "mapping": (mapping.nearly_every_page_is_mapped, mapping.pages_are_mapped_often, mapping.laziness_loses_with_time),
    "chaining": (
        chaining.a_list_costs_memory_and_upkeep, chaining.chain_logged_slots_only, chaining.chain_writable_sptes_only,
    ),
    "notifying": (
        notifying.swapping_is_slow_anyway, notifying.ageing_must_be_fast, notifying.referenced_bit_needs_a_fast_rmap,
    ),
}  # fmt: skip
"""Claims by subject, three each."""
N_CLAIMS = sum(map(len, GROUPS.values()))


def run_claims(step: Callable[[str], None]) -> tuple[Claim, ...]:
    """Run the claims one after the other: half a minute of work. ``step`` is called after each with its subject."""
    claims = []
    for about, group in GROUPS.items():
        for claim in group:
            claims.append(claim())
            step(about)
    return tuple(claims)


@cache
def all_claims() -> tuple[Claim, ...]:
    """All claims, run once in a process."""
    return run_claims(lambda _about: None)


def machine_words() -> str:
    """The machine whose costs price the claims, in a line."""
    c = costs()
    return (
        f"{sheet().name}: L1 {c.l1_ns:.1f}, L2 {c.l2_ns:.1f}, LLC {c.llc_ns:.1f} ({c.llc_bytes / (1 << 20):.0f} MiB), "
        f"DRAM {c.dram_ns:.0f}, streamed line {c.line_stream_ns:.0f}, atomic {c.atomic_ns:.0f}, "
        f"spte changed {c.change_ns:.0f} ns"
    )
