"""Splitting answers into migrations: where one ends and the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hostsim.logs.model import TERMINAL, Sample
from hostsim.logs.turns import COUNTER, wraps

RUNNING = ("setup", "active", "device", "pre-switchover", "wait-unplug")
CLOCK = "total_time_ms"
MEANS_TOTAL = ("transferred_bytes", "normal_pages", "dirty_sync_count")
SLACK = 0.999
"""Printed figures are rounded: only a fall below this share of the last figure begins another migration."""


def migrations(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The answers of each migration, in the order they were taken."""
    parts: list[list[Sample]] = []
    for sample in _forwards(samples):
        if sample.status == "none" and parts and parts[-1][-1].status in TERMINAL:
            continue  # polled on after the end
        if parts and not begins(parts[-1], sample):
            parts[-1].append(sample)
        else:
            parts.append([sample])
    return [part for part in parts if _has_begun(part)] or parts[-1:]


def _forwards(samples: Sequence[Sample]) -> list[Sample]:
    """The samples in the order of time: in a log printed newest first all times fall."""
    clock = CLOCK if any(s.figures.get(CLOCK) for s in samples) else "stamp_s"
    times = [s.figures[clock] for s in samples if s.figures.get(clock)]
    falls = sum(b < a for a, b in pairwise(times))
    rises = sum(b > a for a, b in pairwise(times))
    return list(reversed(samples)) if falls >= 2 and rises == 0 else list(samples)


def _has_begun(part: Sequence[Sample]) -> bool:
    """Whether ``part`` has more than the "none" before a migration."""
    return any(s.status != "none" for s in part)


def begins(part: Sequence[Sample], sample: Sample) -> bool:
    """Whether ``sample`` is of another migration than ``part``."""
    last = part[-1]
    if sample.status == "none":
        return False
    if last.status in TERMINAL:
        return sample.status not in TERMINAL or _is_another_end(part, sample)
    if sample.status == "setup" and any(s.status not in ("setup", "none") for s in part):
        return True
    return _falls(part, sample, CLOCK) or _falls(part, sample, "t_s") or _starts_again(part, sample)


def _is_another_end(part: Sequence[Sample], sample: Sample) -> bool:
    """Two ends with different figures are two migrations; QEMU may report an end twice, at first without its figures."""
    if any(s.status in RUNNING for s in part) and sample.status != part[-1].status and not sample.figures.get(CLOCK):
        return False
    for name in (CLOCK, "downtime_ms", "transferred_bytes"):
        told, new = _last(part, name, ends=True), sample.figures.get(name)
        rounded = (1 - SLACK) * told if name == "transferred_bytes" else 0.0
        if told and new and abs(new - told) > rounded:
            return True
    return False


def _starts_again(part: Sequence[Sample], sample: Sample) -> bool:
    """Counters that fall back together; one alone is a slip of that counter."""
    falls = [_falls(part, sample, name) for name in MEANS_TOTAL]
    has_clock = CLOCK in sample.figures and bool(_last(part, CLOCK))
    told = sum(name in sample.figures for name in MEANS_TOTAL)
    return sum(falls) >= min(2 if has_clock or told > 1 else 1, max(told, 1)) and not (has_clock and told == 1)


def _falls(part: Sequence[Sample], sample: Sample, name: str) -> bool:
    now = sample.figures.get(name)
    if name == COUNTER and wraps(_last(part, name), sample.figures):
        return False
    return now is not None and (now > 0 or name != CLOCK) and now < SLACK * _last(part, name)


def _last(part: Sequence[Sample], name: str, *, ends: bool = False) -> float:
    told = (s.figures[name] for s in reversed(part) if name in s.figures and (s.status in TERMINAL or not ends))
    return next(told, 0.0)
