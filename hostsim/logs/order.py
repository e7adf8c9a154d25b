"""Answers in the order in which they were taken, where the log has them in another order.

Lines that were sorted by their text, or merged from several files, jump back and forth in time. If a clock puts them into an
order in which no counter falls, they are of one migration. If they are of several guests, no line identifies its guest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hostsim.logs.model import Sample, broken
from hostsim.logs.split import CLOCK, begins, migrations

PARTS_MIN, ANSWERS_EACH = 3, 6
"""So many migrations of fewer answers each look like lines in disorder (assumed)."""
REGULAR = 4.0
"""Answers that a script took have no gap so many times the usual one; those of several attempts have (assumed)."""
CHAINS_MAX = 8
SORTED = "The answers stand in the log in another order than they were taken in: they were sorted by their time"


def in_order(samples: Sequence[Sample], source: str) -> tuple[list[list[Sample]], tuple[str, ...]]:
    """(the answers of each migration in ``samples``, notes). InputError where answers of several guests are mixed.

    source: file that the error names.
    """
    parts = migrations(samples)
    if len(parts) < PARTS_MIN or len(samples) > ANSWERS_EACH * len(parts):
        return parts, ()
    ordered = _by_time(samples)
    if ordered is not None:
        return [ordered], (SORTED,)
    guests = _chains(samples)
    if PARTS_MIN * guests > len(parts) or guests > CHAINS_MAX:
        return parts, ()
    got = f"answers of at least {guests} migrations in turn, without a text that shows the guest of each"
    wanted = "the guest's name before each answer, or the answers of one guest"
    raise broken(source, parts[1][0].line, "", got, wanted, 'vm1 {"return": {"status": "active", ...}}')


def _by_time(samples: Sequence[Sample]) -> list[Sample] | None:
    """``samples`` by QEMU's clock, or else by the stamps, if they are one migration that was polled regularly; else None."""
    clock = next((name for name in (CLOCK, "stamp_s") if all(name in sample.figures for sample in samples)), None)
    if clock is None:
        return None
    ordered = sorted(samples, key=lambda sample: (sample.figures[clock], sample.line))
    gaps = np.diff([sample.figures[clock] for sample in ordered])
    is_regular = bool(np.max(gaps) <= REGULAR * np.median(gaps))
    return ordered if is_regular and len(migrations(ordered)) == 1 else None


def _chains(samples: Sequence[Sample]) -> int:
    """Number of migrations, if each answer may belong to any of those begun so far in which no counter falls by it."""
    chains: list[list[Sample]] = []
    for sample in samples:
        chain = next((chain for chain in chains if not begins(chain, sample)), None)
        if chain is None:
            chains.append([sample])
        else:
            chain.append(sample)
        chains.sort(key=lambda chain: -chain[-1].figures.get(CLOCK, 0.0))
    return len(chains)
