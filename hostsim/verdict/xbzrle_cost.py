"""The work of XBZRLE's cache in a sentence, and a larger cache to try where the cache is too small."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hostsim.core.constants import PAGE_BYTES
from hostsim.scenario.mechanisms.xbzrle import CACHE
from hostsim.verdict.commands import command_for
from hostsim.verdict.model import Remedy
from hostsim.verdict.words import bytes_words, pages_words, percent_words

if TYPE_CHECKING:
    from hostsim.results.tables import MigrationResult
    from hostsim.verdict.evidence import Evidence
    from hostsim.verdict.model import Verdict

__all__ = ["CACHE", "XbzrleCost", "cost_of", "larger_cache", "not_run", "with_cost"]

MISSED_AGAIN = 0.1
"""Pages missed beyond the first miss of each, over all pages looked up, from which a cache counts as too small (assumed)."""
NOT_RUN = "XBZRLE: a cache of {size} would hold every page that the guest writes; whether the migration ends was not run"


@dataclass(frozen=True)
class XbzrleCost:
    """Counters of the cache and the guest that it served.

    hits, misses, overflows: pages; delta_bytes: of the deltas, an overflow counts as a page.
    span_pages: from the first page that a workload writes to the last; working_set_pages: distinct pages written.
    changed: (bytes that a write changes, "same", "start" or "scattered" places) of each workload that writes.
    """

    cache_bytes: int
    hits: int
    misses: int
    overflows: int
    delta_bytes: int
    span_pages: int
    working_set_pages: int
    changed: tuple[tuple[int, str], ...]

    @property
    def saved_bytes(self) -> int:
        """Bytes of the pages found in the cache less the bytes sent for them."""
        return self.hits * PAGE_BYTES - self.delta_bytes

    @property
    def is_too_small(self) -> bool:
        """Whether pages were missed again and again that a larger cache would hold."""
        again = self.misses - min(self.misses, self.working_set_pages)
        return again > MISSED_AGAIN * (self.hits + self.misses) and self.cache_bytes < self.span_pages * PAGE_BYTES

    @property
    def fitting_bytes(self) -> int:
        """The least power of two that holds every page the guest writes without two of them in one slot [bytes]."""
        return PAGE_BYTES << max(0, self.span_pages - 1).bit_length()


def cost_of(migration: MigrationResult) -> XbzrleCost | None:
    """The cost in a simulated migration; None without XBZRLE."""
    facts, told = migration.facts, migration.query.get("xbzrle-cache")
    if told is None:
        return None
    return XbzrleCost(
        cache_bytes=int(told["cache-size"]),
        hits=int(told["pages"]),
        misses=int(told["cache-miss"]),
        overflows=int(told["overflow"]),
        delta_bytes=int(told["bytes"]),
        span_pages=int(facts["xbzrle_span_pages"]),
        working_set_pages=int(facts["working_set_pages"]),
        changed=tuple((int(size), str(place)) for size, place in facts["xbzrle_changed"]),
    )


def with_cost(verdict: Verdict, evidence: Evidence, cost: XbzrleCost) -> Verdict:
    """``verdict`` with a note on the cache and, if it is too small and the migration did not end, with a larger one."""
    remedies = verdict.remedies
    if cost.is_too_small and remedies:
        remedies = (larger_cache(evidence, cost), *remedies)
    numbers = {"xbzrle_saved_bytes": float(cost.saved_bytes), "xbzrle_cache_misses": float(cost.misses)}
    note = f"XBZRLE: {_note(cost)}"
    return replace(verdict, notes=(*verdict.notes, note), remedies=remedies, numbers=verdict.numbers | numbers)


def larger_cache(evidence: Evidence, cost: XbzrleCost) -> Remedy:
    """A cache that holds all pages that the guest writes; advice only once a run has confirmed it."""
    value = float(cost.fitting_bytes)
    text = f"XBZRLE's cache of {_size(cost.fitting_bytes)} (now {_size(cost.cache_bytes)}): it holds every page written"
    return Remedy(CACHE, text, value, "bytes", command_for(evidence.profile, CACHE, value), certain=False)


def not_run(remedy: Remedy) -> Remedy:
    """``remedy``, a larger cache, without its value: no run has confirmed it."""
    text = NOT_RUN.format(size=_size(int(remedy.value or 0)))
    return replace(remedy, text=text, value=None, command="", helps=False)


def _note(cost: XbzrleCost) -> str:
    looked = cost.hits + cost.misses
    if looked == 0:
        return "no page was sent again, so QEMU never looked into its cache"
    contents = " and ".join(dict.fromkeys(f"{size} B {_place(place)}" for size, place in cost.changed))
    return (
        f"{pages_words(cost.hits)} were in its cache of {_size(cost.cache_bytes)} and took {bytes_words(cost.delta_bytes)} "
        f"instead of {bytes_words(cost.hits * PAGE_BYTES)}{_overflowed(cost)}; {pages_words(cost.misses)} "
        f"({percent_words(cost.misses / looked)}) {_missed(cost)}. Contents: a write changes {contents} of its page"
    )


def _place(place: str) -> str:
    return {"same": "at the same place", "start": "at the start"}.get(place, "anywhere")


def _overflowed(cost: XbzrleCost) -> str:
    return f" ({pages_words(cost.overflows)} had changed too much for a delta)" if cost.overflows else ""


def _missed(cost: XbzrleCost) -> str:
    if cost.is_too_small:
        return f"missed it and were sent whole: the guest writes to {bytes_words(cost.span_pages * PAGE_BYTES)} of memory"
    return "missed it and were sent whole, most of them the first time that they were sent again"


def _size(n_bytes: int) -> str:
    """64 MiB: caches are powers of two."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")):
        if n_bytes >= unit:
            return f"{n_bytes // unit} {name}"
    return f"{n_bytes // 1024} KiB"
