"""The facts of one migration that a fit uses: its rounds, its first pass, the bandwidth, and the end of its load."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hostsim.fitting.counted import counted, loose_pages
from hostsim.fitting.points import WHOLE, Exposure, Point, points_of
from hostsim.fitting.tail import with_tail
from hostsim.logs.model import MigrationLog
from hostsim.verdict.evidence import Evidence, Round
from hostsim.verdict.from_log import evidence_from_log, live_answers
from hostsim.verdict.log_rounds import rounds_of

Array = NDArray[np.float64]
CHUNK_PAGES = 1 << 18
"""QEMU clears KVM's log in chunks of 1 GiB (clear_bitmap_shift 18, migration/migration.c)."""
ALL_ROUNDS = 1 << 40
FILLS_MAX = 48
UNIFORM = 12**-0.5
"""Standard deviation of a figure that may lie anywhere in a range of 1."""
STEP_SHARE = 0.25
"""A stretch of memory ends where the share of pages that are not zero changes by more than this (assumed)."""


@dataclass(frozen=True)
class Stretch:
    """Pages that were sent after each other in the first pass. whole_pages: those that were not zero."""

    first_page: float
    pages: float
    whole_pages: float


@dataclass(frozen=True)
class Observed:
    """One migration as its log shows it.

    evidence: figures as the verdict reads them. rounds: from one sync to the next, before a switch to post-copy.
    ram_pages, filled_pages, zero_pages: all pages, and those that the first pass sent whole and as zeros.
    stretches: the layout of memory by the first pass; () if the log does not show it.
    """

    log: MigrationLog
    evidence: Evidence
    rounds: tuple[Round, ...]
    ram_pages: float
    filled_pages: float
    zero_pages: float | None
    stretches: tuple[Stretch, ...]
    whole_share: float = 1.0
    """Share of whole pages among those sent after the first pass: the others had become zero again, and use no bandwidth."""
    loose_pages: float = 0.0
    """Pages that the first round may have found fewer, or more, in a log that does not count pages: the whole range."""

    @property
    def shows_first_pass(self) -> bool:
        """Whether the first round is the pass over all memory, seen to end."""
        return self.evidence.first_pass_s is not None

    @property
    def name(self) -> str:
        """The migration among others of its file."""
        part, parts = self.log.part
        inner = [self.log.tag] * bool(self.log.tag) + [f"migration {part} of {parts}"] * (parts > 1)
        return f"{self.log.source}{': ' * bool(inner)}{', '.join(inner)}"

    def points(self, *, by_chunks: bool, circles: float = 0.0) -> tuple[Point, ...]:
        """Points of the rounds.

        by_chunks: KVM's log is cleared chunk by chunk as pages are sent, not as a whole at a sync. circles: as points_of.
        """
        first, later = self._exposures() if by_chunks else (WHOLE, WHOLE)
        points = points_of(self.rounds, self.filled_pages, first, later, circles)
        return tuple(_loosened(p, self.loose_pages) if p.visits[0].is_first else p for p in points)

    @property
    def has_chunks(self) -> bool:
        """Whether clearing by chunks and clearing as a whole differ for this guest."""
        return self.ram_pages > 1.05 * CHUNK_PAGES and len(self.stretches) > 1 and self.shows_first_pass

    @property
    def exposed_share(self) -> float:
        """Least share of the first pass for which the host's log sees writes to a page: from its chunk's clearing on."""
        if not self.has_chunks:
            return 1.0
        first, _ = self._exposures()
        return 1.0 - float(first.sent_after @ first.chunk_shares)

    def _exposures(self) -> tuple[Exposure, Exposure]:
        chunks = int(np.ceil(self.ram_pages / CHUNK_PAGES))
        edges = np.arange(chunks + 1) * float(CHUNK_PAGES)
        at = np.cumsum([0.0, *(s.pages for s in self.stretches)])
        sent = np.cumsum([0.0, *(s.whole_pages for s in self.stretches)])
        whole = np.interp(edges, at, sent)
        shares = np.diff(whole) / max(float(whole[-1]), 1.0)
        begun = whole[:-1] / max(float(whole[-1]), 1.0)  # zero pages take hardly any time
        return Exposure(begun, shares), Exposure(np.arange(chunks) / chunks, shares)


def observe(log: MigrationLog, **known: Any) -> Observed:
    """The facts of ``log``; ``known``: fields of Evidence that the caller knows better (None is ignored)."""
    loose, log = loose_pages(log), counted(log)
    evidence = evidence_from_log(log, **known)
    told = np.flatnonzero(~np.isnan(log.remaining_bytes) & ~np.isnan(log.transferred_bytes))
    live = live_answers(log, told) if len(told) else told
    rounds = rounds_of(log, live, evidence, ALL_ROUNDS, in_bursts=True)[1] if len(live) else ()
    rounds = rounds[:-1] if len(rounds) > 1 and _has_stopped(log, live) else rounds
    rounds = with_tail(log, live, evidence, rounds)
    share = _whole_share(log, live)
    rounds = tuple(replace(r, newly_dirty_pages=share * r.newly_dirty_pages) for r in rounds)
    stretches = _stretches(log, live, evidence.page_bytes)
    ram = evidence.ram_pages or 0.0
    filled = sum(s.whole_pages for s in stretches) or _filled(log, live, evidence, ram)
    return Observed(log, evidence, rounds, ram, filled, _zero_pages(log, live), _coarser(stretches), share, loose)


def _loosened(p: Point, pages: float) -> Point:
    """``p`` with the error of a count that is known within ``pages``."""
    return replace(p, off_pages=float(np.hypot(p.off_pages, pages * UNIFORM)))


def _has_stopped(log: MigrationLog, live: NDArray[np.int64]) -> bool:
    """Whether the last answer came after the last sync of all, for which QEMU had stopped the guest."""
    ended = np.array([status == "completed" for status in log.status], bool) & (log.dirty_sync_count > 0)
    return bool(ended.any()) and float(log.dirty_sync_count[live[-1]]) >= float(np.max(log.dirty_sync_count[ended]))


def _whole_share(log: MigrationLog, live: NDArray[np.int64]) -> float:
    """Share of whole pages among the pages sent after the first answer behind the first pass."""
    # Model limit: a page that a guest zeroes counts as not written, since it takes 9 bytes on the wire.
    after = live[len(_in_first_pass(log, live)) :]
    counted = after[~np.isnan(log.normal_pages[after] + log.zero_pages[after])]
    if len(counted) < 2:
        return 1.0
    whole, zero = (float(c[counted[-1]] - c[counted[0]]) for c in (log.normal_pages, log.zero_pages))
    return whole / (whole + zero) if whole > 0 and zero >= 0 else 1.0


def _in_first_pass(log: MigrationLog, live: NDArray[np.int64]) -> NDArray[np.int64]:
    return live[log.dirty_sync_count[live] <= 1] if len(live) else live


def _stretches(log: MigrationLog, live: NDArray[np.int64], page_bytes: int) -> tuple[Stretch, ...]:
    """Pieces of memory between the answers of the first pass; the rest of memory by the bytes left."""
    at = _in_first_pass(log, live)
    normal, zero = log.normal_pages[at], log.zero_pages[at]
    if not len(at) or len(at) == len(live) or bool(np.isnan(normal + zero).any()):
        return ()
    rest = live[len(at)]
    tail_zero = float(np.nan_to_num(log.zero_pages[rest])) - float(zero[-1])
    tail = max(float(log.remaining_bytes[at[-1]]) / page_bytes - max(tail_zero, 0.0), 0.0)
    whole = np.diff([0.0, *normal, float(normal[-1]) + tail])
    zeros = np.diff([0.0, *zero, float(zero[-1]) + max(tail_zero, 0.0)])
    firsts = np.cumsum([0.0, *(whole + zeros)[:-1]])
    return tuple(
        Stretch(float(f), float(w + z), float(w)) for f, w, z in zip(firsts, whole, zeros, strict=True) if w + z > 0
    )


def _coarser(stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
    """At most FILLS_MAX stretches, neighbours with about one share of whole pages as one."""
    step = STEP_SHARE
    merged = stretches
    while True:
        merged = _merge(stretches, step)
        if len(merged) <= FILLS_MAX or step > 1:
            return merged
        step *= 1.3


def _merge(stretches: tuple[Stretch, ...], step: float) -> tuple[Stretch, ...]:
    merged: list[Stretch] = []
    for one in stretches:
        last = merged[-1] if merged else None
        if last and abs(last.whole_pages / last.pages - one.whole_pages / one.pages) <= step:
            merged[-1] = Stretch(last.first_page, last.pages + one.pages, last.whole_pages + one.whole_pages)
        else:
            merged.append(one)
    return tuple(merged)


def _filled(log: MigrationLog, live: NDArray[np.int64], evidence: Evidence, ram_pages: float) -> float:
    """Pages that are not zero where the first pass does not count them: those sent whole by its end, at most all."""
    at = _in_first_pass(log, live)
    zero = _zero_pages(log, live)
    if len(at) and len(at) < len(live) and not np.isnan(log.normal_pages[at[-1]]):
        return min(ram_pages, float(log.normal_pages[at[-1]] + log.remaining_bytes[at[-1]] / evidence.page_bytes))
    return ram_pages - (zero or 0.0) if zero is not None and zero < ram_pages else ram_pages


def _zero_pages(log: MigrationLog, live: NDArray[np.int64]) -> float | None:
    """Pages that the first pass sent as zeros, or all answers where it is not seen to end; None if they are not counted."""
    after = live[len(_in_first_pass(log, live)) :][:1]
    zero = log.zero_pages[after] if len(after) else log.zero_pages
    told = zero[~np.isnan(zero)]
    return float(np.max(told)) if len(told) else None
