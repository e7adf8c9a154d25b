"""The cost of finding dirty pages to guest and migration, in a sentence, unless it is negligible."""

from __future__ import annotations

from dataclasses import replace

from hostsim.costs.exits import EXITS
from hostsim.verdict.evidence import Evidence, LoggingCost
from hostsim.verdict.model import Verdict
from hostsim.verdict.words import count_words, seconds_words

WORTH = 0.005
"""Shares of the vCPUs' or the migration's time below this are negligible (assumed)."""
MUCH = 0.1
"""A share of the stall from which a wait is named as its reason (assumed)."""
RARE = 0.01
"""A share of all exits up to which a kind is not named (assumed)."""
KINDS = {kind.name: kind.words for kind in EXITS}
"""Why a vCPU left the guest, by column of ``rounds``."""


def with_logging_cost(verdict: Verdict, evidence: Evidence) -> Verdict:
    """``verdict`` with a note on the cost of logging, unless it is negligible."""
    cost = evidence.logging
    parts = [] if cost is None else [part for part in (_stall(cost), _harvest(cost)) if part]
    if cost is None or not parts:
        return verdict
    numbers = {"stall_share": cost.stall_share, "harvest_share": cost.harvest_share}
    return replace(verdict, notes=(*verdict.notes, f"Logging: {'; '.join(parts)}"), numbers=verdict.numbers | numbers)


def _stall(cost: LoggingCost) -> str:
    if cost.stall_share < WORTH:
        return ""
    kinds = " and ".join(f"{count_words(count)} {KINDS[name]}" for name, count in _main(cost.exits))
    waits = cost.lock_wait_s / cost.stall_s
    lock = f", {percent(waits)} of it waiting for mmu_lock" if waits >= MUCH else ""
    return f"the guest lost {percent(cost.stall_share)} of its time to {kinds}{lock}"


def _main(exits: dict[str, int]) -> list[tuple[str, int]]:
    """The two most frequent kinds of exits, without rare kinds; full rings always, as their exits are few and long."""
    often = sorted(exits.items(), key=lambda item: -item[1])[:2]
    kept = [(name, count) for name, count in often if count > RARE * sum(exits.values()) and name != "ring_full"]
    return [*kept, *((name, count) for name, count in exits.items() if name == "ring_full" and count)]


def _harvest(cost: LoggingCost) -> str:
    if cost.harvest_share < WORTH:
        return ""
    return f"syncs and CLEARs took {seconds_words(cost.harvest_s)} of the migration's {seconds_words(cost.seconds)}"


def percent(share: float) -> str:
    """0.0312 -> "3.1 %"."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
