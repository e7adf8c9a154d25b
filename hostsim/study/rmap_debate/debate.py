"""All claims in the order of the thread, and the table that shows them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator
from functools import cache

from hostsim.study.rmap_debate import chaining, flushing, mapping, notifying
from hostsim.study.rmap_debate.claim import Claim, Crossing
from hostsim.study.rmap_debate.runs import SHEET, costs

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
"""Claims by what they are about, three each."""
WIDTH = 118


@cache
def all_claims() -> tuple[Claim, ...]:
    """Run everything: half a minute of work."""
    return tuple(claim() for group in GROUPS.values() for claim in group)


def table() -> str:
    """The claims as text: who said it, the verdict, and where costs meet, measured and computed."""
    c = costs()
    machine = (
        f"{SHEET}: L1 {c.l1_ns:.1f}, L2 {c.l2_ns:.1f}, LLC {c.llc_ns:.1f} ({c.llc_bytes / (1 << 20):.0f} MiB), "
        f"DRAM {c.dram_ns:.0f}, streamed line {c.line_stream_ns:.0f}, atomic {c.atomic_ns:.0f}, "
        f"spte changed {c.change_ns:.0f} ns"
    )
    return "\n".join([machine, "", *(line for claim in all_claims() for line in _lines(claim))])


def _lines(claim: Claim) -> Iterator[str]:
    yield f"{claim.number:2}. {claim.who}: {claim.says}"
    verdict = textwrap.wrap(f"{claim.verdict.upper()}: {claim.condition}", WIDTH - 4)
    yield from (f"    {line}" for line in verdict)
    yield from (f"    {shown(crossing)}" for crossing in claim.crossings)
    yield ""


def shown(crossing: Crossing) -> str:
    """One crossing on one line."""
    measured = "nowhere" if math.isnan(crossing.measured) else f"{crossing.measured:.4g}"
    form = f"closed form {crossing.computed:.4g} ({crossing.off:+.1%}): {crossing.formula}"
    return f"{crossing.what}: {measured} {crossing.unit}; {form}"
