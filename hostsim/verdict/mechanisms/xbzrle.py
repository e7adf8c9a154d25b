"""XBZRLE in verdicts: the tail in which pages travel as deltas, the cost of the cache, a larger cache as a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hostsim.qemu.mechanisms.xbzrle import NAME
from hostsim.verdict.evidence import Evidence, Seen
from hostsim.verdict.mechanism import Changes, Mechanism, OwnOutcome, Tried
from hostsim.verdict.xbzrle import BLOCKED, blocked
from hostsim.verdict.xbzrle_cost import CACHE, XbzrleCost, cost_of, not_run, with_cost
from hostsim.verdict.xbzrle_tail import DELTA_SYNCS, XbzrleTail, is_unclear, tail_of_log, tail_of_rounds

if TYPE_CHECKING:
    from hostsim.logs.model import MigrationLog
    from hostsim.results.tables import MigrationResult, RunResult
    from hostsim.verdict.model import Verdict

MIB = 1 << 20


@dataclass(frozen=True)
class SeenXbzrle(Seen):
    """tail: the part in which pages travelled as deltas; cost: of the cache, for runs alone.

    is_unclear: most pages have come to travel as deltas, but too late in the log to see how fast.
    """

    tail: XbzrleTail | None = None
    cost: XbzrleCost | None = None
    is_unclear: bool = False

    @property
    def counts_parts(self) -> bool:
        """Whether most pages travelled as deltas."""
        return self.tail is not None

    @property
    def may_count_parts(self) -> bool:
        """Whether they may have."""
        return self.is_unclear

    @property
    def too_short(self) -> str:
        """The reason why the tail is no evidence."""
        if not self.is_unclear and (self.tail is None or self.tail.syncs >= DELTA_SYNCS):
            return ""
        return f"most pages travel as XBZRLE deltas, and fewer than {DELTA_SYNCS} syncs of them were seen"


def _of_run(_result: RunResult, migration: MigrationResult) -> SeenXbzrle | None:
    tail, cost = tail_of_rounds(migration.rounds.columns), cost_of(migration)
    return None if tail is None and cost is None else SeenXbzrle(tail, cost)


def _of_log(log: MigrationLog, at: NDArray[np.int64]) -> SeenXbzrle | None:
    tail, unclear = tail_of_log(log, at), is_unclear(log, at)
    return SeenXbzrle(tail, is_unclear=unclear) if tail is not None or unclear else None


def _seen(evidence: Evidence) -> SeenXbzrle:
    found = evidence.mechanisms.get(NAME)
    return found if isinstance(found, SeenXbzrle) else SeenXbzrle()


def _blocked(evidence: Evidence) -> Verdict | None:
    tail = _seen(evidence).tail
    return None if tail is None else blocked(evidence, tail)


def _line(verdict: Verdict, evidence: Evidence) -> Verdict:
    cost = _seen(evidence).cost
    return verdict if cost is None else with_cost(verdict, evidence, cost)


def _larger_cache(value: float, _evidence: Evidence) -> Changes:
    return {"migration.xbzrle_cache_size": round(value)}


def _cache_words(value: float) -> str:
    return f"a cache of {value / MIB:g} MiB"


PART = Mechanism(
    NAME, 10, _of_run, _of_log,
    outcomes=(OwnOutcome(BLOCKED, "bad"),),
    running=(_blocked,),
    line=_line,
    tried={CACHE: Tried("XBZRLE's cache", _larger_cache, _cache_words, not_run=not_run)},
)  # fmt: skip
