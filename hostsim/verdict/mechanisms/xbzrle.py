"""XBZRLE in verdicts: the tail in which pages travel as deltas, the cost of the cache, a larger cache as a remedy.

A migration whose tail is of deltas could end but never does, because QEMU counts a delta as if it were a whole page. QEMU
compares remaining (4096 bytes a page) with bandwidth x downtime limit, where bandwidth is the bytes on the wire in the last
window (migration/migration.c::migration_update_counters). When every dirty page travels as a delta of a few bytes, the wire
is nearly idle, the measured bandwidth tiny, and the test fails although the rest would take milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.qemu.mechanisms.xbzrle import NAME
from hostsim.scenario.mechanisms.xbzrle import CACHE
from hostsim.verdict.commands import command_for
from hostsim.verdict.evidence import Evidence, Seen
from hostsim.verdict.findings import sent_words
from hostsim.verdict.forecast import MARGIN
from hostsim.verdict.mechanism import Changes, Mechanism, OwnOutcome, Tried
from hostsim.verdict.model import Confidence, Own, Remedy, Verdict
from hostsim.verdict.remedies import LIMIT_MAX_S, always_end
from hostsim.verdict.words import bandwidth_words, bytes_words, pages_words, percent_words, rounded_up, seconds_words

if TYPE_CHECKING:
    from hostsim.logs.model import MigrationLog
    from hostsim.results.tables import MigrationResult, RunResult

XBZRLE_SHARE = 0.5
"""If this share of the pages sent since the first pass is encoded, XBZRLE decides the outcome (assumed)."""
DELTA_SYNCS = 3
"""So many syncs of deltas in a row suffice to measure the cost of a delta (assumed)."""
Array = NDArray[Any]


@dataclass(frozen=True)
class XbzrleTail:
    """The part of a migration in which pages travelled as XBZRLE deltas.

    pages, wire_bytes: encoded pages and their deltas on the wire; duration_s: length of the part; syncs: in that time.
    remaining_bytes: least and greatest seen, 4096 a page.
    needed_limit_ms: least and greatest downtime limit at which QEMU's test would have passed at an answer (remaining over
    the measured bandwidth).
    """

    pages: float
    wire_bytes: float
    duration_s: float
    remaining_bytes: tuple[float, float]
    needed_limit_ms: tuple[float, float]
    syncs: float

    @property
    def wire_bytes_per_page(self) -> float:
        """Mean bytes on the wire for one dirty page."""
        return self.wire_bytes / self.pages

    @property
    def pages_per_s(self) -> float:
        """Pages encoded a second."""
        return self.pages / self.duration_s


def tail_of(
    pages: float, wire_bytes: float, seconds: float, remaining_bytes: Array, bytes_per_s: Array, syncs: float
) -> XbzrleTail:
    """The tail of ``pages`` encoded pages in ``seconds``.

    remaining_bytes, bytes_per_s: [n], at the moments at which the two are known together; one speed is above 0.
    """
    moves = bytes_per_s > 0
    needed_ms = remaining_bytes[moves] / bytes_per_s[moves] * 1000
    return XbzrleTail(
        pages=pages,
        wire_bytes=wire_bytes,
        duration_s=seconds,
        remaining_bytes=(float(remaining_bytes.min()), float(remaining_bytes.max())),
        needed_limit_ms=(float(needed_ms.min()), float(needed_ms.max())),
        syncs=syncs,
    )


def tail_of_rounds(rounds: dict[str, Array]) -> XbzrleTail | None:
    """The tail of a run: its last rounds in which most pages were in the cache; None if these are too few to judge by."""
    if "xbzrle_pages" not in rounds:
        return None
    pages, whole = rounds["xbzrle_pages"], rounds["normal_pages"]
    by_delta = (pages > 0) & (pages >= XBZRLE_SHARE * (pages + whole)) & (rounds["bandwidth_bytes_per_s"] > 0)
    first = len(pages)
    while first > 0 and by_delta[first - 1]:
        first -= 1
    tail = slice(first, len(pages))
    if len(pages) - first < DELTA_SYNCS:
        return None
    return tail_of(
        float(pages[tail].sum()),
        float(rounds["xbzrle_bytes"][tail].sum()),
        float(rounds["end_ns"][-1] - rounds["start_ns"][first]) / NS_PER_S,
        rounds["remaining_start_bytes"][tail],
        rounds["bandwidth_bytes_per_s"][tail],
        float(len(pages) - first),
    )


def tail_of_log(log: MigrationLog, at: NDArray[np.int64]) -> XbzrleTail | None:
    """The tail of a log, at the answers ``at`` before the guest moved; None if deltas were few."""
    encoded = np.nan_to_num(log.xbzrle_pages[at])
    tail = at[encoded > 0]
    if len(tail) < 2:
        return None
    first, last = tail[0], tail[-1]
    pages = float(log.xbzrle_pages[last] - log.xbzrle_pages[first])
    whole = float(log.normal_pages[last] - log.normal_pages[first])
    seconds = float(log.t_s[last] - log.t_s[first])
    speed = log.mbps[tail] * 1e6 / 8
    if pages <= 0 or seconds <= 0 or pages < XBZRLE_SHARE * (pages + whole) or not np.any(speed > 0):
        return None
    return tail_of(
        pages,
        float(log.xbzrle_bytes[last] - log.xbzrle_bytes[first]),
        seconds,
        log.remaining_bytes[tail],
        speed,
        float(log.dirty_sync_count[last] - log.dirty_sync_count[first]),
    )


def is_unclear(log: MigrationLog, at: NDArray[np.int64]) -> bool:
    """Whether only the last answer has encoded pages, and most pages by then: the speed of encoding is unknown.

    at: int64[k], the answers of ``log`` to look at, in order.
    """
    encoded = np.nan_to_num(log.xbzrle_pages[at])
    if np.count_nonzero(encoded) != 1 or len(at) < 2:
        return False
    whole = float(log.normal_pages[at[-1]] - log.normal_pages[at[-2]])
    return bool(encoded[-1] >= XBZRLE_SHARE * (encoded[-1] + whole))


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
    """``verdict`` with a note on the cache and, if it is too small and the migration did not end, with a larger one.

    evidence: for the profile's command. cost: counters of the cache, which become figures of the verdict.
    """
    remedies = verdict.remedies
    if cost.is_too_small and remedies:
        remedies = (larger_cache(evidence, cost), *remedies)
    numbers = {"xbzrle_saved_bytes": float(cost.saved_bytes), "xbzrle_cache_misses": float(cost.misses)}
    note = f"XBZRLE: {_note(cost)}"
    return replace(verdict, notes=(*verdict.notes, note), remedies=remedies, numbers=verdict.numbers | numbers)


def larger_cache(evidence: Evidence, cost: XbzrleCost) -> Remedy:
    """The remedy of a cache that holds all pages the guest writes; advice only once a run has confirmed it.

    evidence: for the profile's command. cost: size of the cache now, and the size that fits [bytes].
    """
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


BLOCKED, BY_XBZRLE = Own("blocked by xbzrle accounting"), Own("xbzrle")


def outage_s(tail: XbzrleTail, evidence: Evidence) -> float:
    """The real time of the stop [s]: encoding the remaining pages at the speed seen, then sending the deltas.

    tail: the most pages remaining, the encoder's speed and the size of a delta.
    evidence: page size, and peak bandwidth; without one the deltas take no time.
    """
    pages = tail.remaining_bytes[1] / evidence.page_bytes
    wire_s = pages * tail.wire_bytes_per_page / (evidence.bandwidth_peak_bytes_per_s or float("inf"))
    return pages / tail.pages_per_s + wire_s


def blocked(evidence: Evidence, tail: XbzrleTail) -> Verdict | None:
    """The verdict if the rest would fit into the downtime limit of ``evidence`` but QEMU's test never passes; else None.

    tail: the part of the migration with deltas; after fewer than DELTA_SYNCS syncs it is no evidence yet.
    """
    if tail.syncs < DELTA_SYNCS or not evidence.ram_bytes:
        return None
    if outage_s(tail, evidence) > evidence.limit_s or tail.needed_limit_ms[0] <= evidence.limit_s * 1000:
        return None
    return Verdict(
        outcome=BLOCKED,
        reason=BY_XBZRLE,
        headline=_headline(evidence, tail),
        findings=_findings(evidence, tail),
        remedies=_remedies(evidence, tail),
        confidence=Confidence("high", f"{tail.syncs:.0f} syncs in a row, deltas of {tail.wire_bytes_per_page:.1f} B a page"),
        numbers={
            "outage_s": outage_s(tail, evidence),
            "remaining_bytes": tail.remaining_bytes[1],
            "remaining_wire_bytes": _wire_bytes(evidence, tail),
            "xbzrle_wire_bytes_per_page": tail.wire_bytes_per_page,
        },
    )


def _wire_bytes(evidence: Evidence, tail: XbzrleTail) -> float:
    return tail.remaining_bytes[1] / evidence.page_bytes * tail.wire_bytes_per_page


def _headline(evidence: Evidence, tail: XbzrleTail) -> str:
    return (
        f"could finish but is never switched over (XBZRLE): {evidence.status} after "
        f"{seconds_words(evidence.elapsed_s)}, "
        f"{tail.syncs:.0f} syncs in the last {seconds_words(tail.duration_s)}{sent_words(evidence)}"
    )


def _findings(evidence: Evidence, tail: XbzrleTail) -> tuple[str, ...]:
    low, high = tail.remaining_bytes
    rate = tail.wire_bytes / tail.duration_s
    return (
        (
            f"Why: {bytes_words(high)} remaining would cost {bytes_words(_wire_bytes(evidence, tail))} on "
            "the wire "
            f"({tail.wire_bytes_per_page:.1f} B a page) and about "
            f"{seconds_words(outage_s(tail, evidence))} of encoding, within "
            f"the limit of {seconds_words(evidence.limit_s)}."
        ),
        (
            f"But QEMU compares whole pages, {bytes_words(low)} to {bytes_words(high)}, with bandwidth x limit, and "
            f"the bandwidth of the deltas is {bandwidth_words(rate)}: for whole pages it would need a limit of "
            f"{seconds_words(tail.needed_limit_ms[0] / 1000)} to {seconds_words(tail.needed_limit_ms[1] / 1000)}."
        ),
    )


def _remedies(evidence: Evidence, tail: XbzrleTail) -> tuple[Remedy, ...]:
    return (
        _limit(evidence, tail),
        _switchover_bandwidth(evidence, tail),
        *always_end(evidence, tail.remaining_bytes[1] / evidence.page_bytes),
        _without_xbzrle(evidence, tail),
    )


def _limit(evidence: Evidence, tail: XbzrleTail) -> Remedy:
    least_s, most_s = (rounded_up(needed_ms / 1000 * MARGIN) for needed_ms in tail.needed_limit_ms)
    # Runs confirm a value or raise it, so the advice for a run begins with the least.
    value_s = least_s if evidence.source == "run" else most_s
    others = f"the greatest remaining x 8 / mbps seen; {seconds_words(least_s)} passes at some syncs"
    if evidence.source == "run":
        others = f"now {seconds_words(evidence.limit_s)}; {seconds_words(most_s)} would pass at every sync seen"
    text = (
        f"downtime limit >= {seconds_words(value_s)} ({others}): only QEMU's test needs this limit; the guest stops for "
        f"about {seconds_words(outage_s(tail, evidence))}"
    )
    command = command_for(evidence.profile, "downtime_limit", value_s * 1000)
    return Remedy("downtime_limit", text, value_s * 1000, "ms", command, helps=value_s <= LIMIT_MAX_S)


def _switchover_bandwidth(evidence: Evidence, tail: XbzrleTail) -> Remedy:
    value = rounded_up(tail.remaining_bytes[1] / evidence.limit_s * MARGIN)
    text = f"QEMU >= 8.2: avail-switchover-bandwidth >= {bandwidth_words(value)}, from which QEMU then computes the downtime"
    command = f"migrate_set_parameter avail-switchover-bandwidth {value:.0f}"
    return Remedy("avail_switchover_bandwidth", text, value, "bytes/s", command, helps=evidence.qemu != "7.2")


def _without_xbzrle(evidence: Evidence, tail: XbzrleTail) -> Remedy:
    whole_s = tail.remaining_bytes[1] / (evidence.bandwidth_peak_bytes_per_s or 1.0)
    pages = pages_words(tail.remaining_bytes[1] / evidence.page_bytes)
    ends = whole_s <= evidence.limit_s
    text = f"xbzrle off {'ends it too' if ends else 'does not help'}: {pages} sent whole take {seconds_words(whole_s)}"
    return Remedy("xbzrle", text, command=command_for(evidence.profile, "xbzrle") if ends else "", helps=ends)


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
        """Whether most pages may have travelled as deltas, which the log does not show."""
        return self.is_unclear

    @property
    def too_short(self) -> str:
        """The reason why the tail of deltas is no evidence yet; "": it is evidence, or there is none."""
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
