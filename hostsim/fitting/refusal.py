"""Reasons why a log does not identify its guest: which numbers stay free, and the measurement that would fix them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hostsim.core.errors import HostsimError
from hostsim.fitting.observed import Observed
from hostsim.fitting.points import Point
from hostsim.verdict.dirty_rate import no_migration_yet
from hostsim.verdict.evidence import Round
from hostsim.verdict.other_jobs import not_a_migration
from hostsim.verdict.words import count_words, seconds_words

MEASURE = "poll query-migrate each second over 4 rounds, or run calc-dirty-rate at 1 s and 5 s"
APART = 1.4
"""Lengths of rounds that differ by less than this factor hold the dirty curve at one place only (assumed)."""
MANY = 1.5
"""A first pass sends no page twice: more pages than this many memories are of another unit (assumed)."""
ONCE = 1.0005
"""A guest that does nothing has its counters of devices written again (assumed)."""
UNEXPLAINED = 0.25
"""A fit whose typical round is off by more than this share explains nothing (assumed)."""


class NotIdentifiedError(HostsimError):
    """No log determines the guest; ``reasons``: a sentence for each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("\n".join(f"no fit: {reason}" for reason in reasons))


def refusal_of(one: Observed) -> str:
    """The reason why the log of ``one`` says nothing about its guest, alone or with others; "" if it does."""
    other = not_a_migration(one.log)
    if other is not None:
        return f"{one.name}: {other.headline}; there is no guest's memory to fit"
    if no_migration_yet(one.log, None) is not None:
        return f"{one.name}: no dirty rate was measured; {MEASURE}"
    if one.log.status[-1].startswith("postcopy") and not one.rounds:
        return f"{one.name}: the log begins after the switch to post-copy, when no page is dirtied any more; {MEASURE}"
    return _without_figures(one)


def _without_figures(one: Observed) -> str:
    """The reason why figures of RAM are missing, or cannot be; "" if the log has usable ones."""
    if np.nan_to_num(one.log.transferred_bytes).any() and np.isnan(one.log.remaining_bytes).all():
        return f"{one.name}: the log has the bytes sent but not those remaining, so no round is known; {MEASURE}"
    if not len(one.log) or not _live(one).any():
        return f"{one.name}: no answer with figures of RAM was taken while the migration ran; {MEASURE}"
    if _sent_once(one) > MANY * one.ram_pages > 0:
        return (
            f"{one.name}: {count_words(_sent_once(one))} pages were sent in the first pass of a memory of "
            f"{count_words(one.ram_pages)}: bytes and pages of the log do not belong together, as where bytes are KiB"
        )
    if one.evidence.bandwidth_bytes_per_s is None or not one.ram_pages:
        missing = "bandwidth" if one.ram_pages else "size of memory"
        return f"{one.name}: no {missing} in the log, so hostsim cannot find its rounds; {MEASURE}"
    return ""


def _live(one: Observed) -> NDArray[np.bool_]:
    ended = np.array([status == "completed" for status in one.log.status], bool)
    return ~ended & ~np.isnan(one.log.remaining_bytes)


def _sent_once(one: Observed) -> float:
    """Pages that the log counts until its first pass is over."""
    sent = np.nan_to_num(one.log.normal_pages) + np.nan_to_num(one.log.zero_pages)
    return float(np.max(sent[one.log.dirty_sync_count <= 1], initial=0.0))


def timed(one: Observed) -> list[Round]:
    """Rounds whose length the log shows."""
    return [r for r in one.rounds if r.timing_off < 1]


def too_few(one: Observed) -> str:
    """The reason why the rounds of ``one`` alone do not identify its guest; "" if they do."""
    if is_idle(one):
        return ""
    name, seconds = one.name, seconds_words(one.rounds[0].duration_s) if one.rounds else ""
    if np.isnan(one.log.dirty_sync_count).all():
        return (
            f"{name}: the log does not count bitmap syncs (dirty-sync-count of query-migrate, Iteration of virsh domjobinfo "
            f"since libvirt 1.3), so no round is known; {MEASURE}"
        )
    if not one.rounds:
        return (
            f"{name}: no bitmap sync lies between two answers with figures of RAM, so no round is known: dirty rate and "
            f"working set are free; {MEASURE}"
        )
    if len(timed(one)) < 2:
        return (
            f"{name}: one round only ({seconds}): rate and working set cannot be separated; poll a second round, or run "
            "calc-dirty-rate at 1 s and 5 s"
        )
    return ""


def is_idle(one: Observed) -> bool:
    """Whether the log of a completed migration counts no page twice: no page was written after it was sent."""
    if one.rounds or one.log.status[-1] != "completed":
        return False
    at_end = float(one.log.normal_pages[-1] + one.log.zero_pages[-1])
    return 0 < at_end <= ONCE * one.ram_pages


def one_length(points: Sequence[Point]) -> str:
    """The reason why ``points`` of about one length do not identify a guest; "" if their lengths differ."""
    lengths = [p.t_s for p in points]
    if len(points) > 1 and max(lengths) >= APART * min(lengths):
        return ""
    count = sum(p.rounds for p in points)
    return (
        f"all {count} rounds took about {seconds_words(float(np.mean(lengths)))}: the dirty curve is known at one "
        f"time only, so "
        f"rate and working set cannot be separated; {MEASURE}"
    )


def unexplained(found: Sequence[float], expected: Sequence[float]) -> str:
    """The reason why a fit is refused that does not agree with the rounds; "" if it agrees.

    found, expected: newly dirty pages of each round, in the log and by the fit.
    """
    off = float(np.median(np.abs(np.asarray(found) / np.maximum(np.asarray(expected), 1.0) - 1.0)))
    if off <= UNEXPLAINED:
        return ""
    return (
        f"no guest with a steady load explains the rounds: half of them are off by more than {100 * off:.0f} %. "
        "The load changed on the way, or something else held the guest back; cut the log to a part of one load"
    )
