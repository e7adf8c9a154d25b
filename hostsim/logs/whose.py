"""The guest of each answer, where several guests are polled into one log: named by the text before it or the command."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np

from hostsim.logs.model import Sample
from hostsim.logs.split import migrations

COMMAND = re.compile(
    r"\bvirsh\b.*?\s(?:domjobinfo|domstats|qemu-monitor-command)\s+(?:--[\w-]+\s+)*(?:--domain[= ])?([\w.@:-]+)"
    r"|\bfor domain '?([^' :]+)'?|^\s*Domain: '([^']+)'"
)
STAMPS = re.compile(r"(?<![A-Za-z\d])[\d:.,+-]*\d[\d:.,+TZ-]*")
HEAD_MAX = 80
GUESTS_MAX = 64
SLIPS_MIN = 3
GROWING = ("transferred_bytes", "normal_pages", "dirty_sync_count")
"""Guests that are migrated at once have clocks alike, but not these counters."""


def domain_in(text: str) -> str:
    """The guest that a command of virsh, or an event, in ``text`` is about; "" if none is named."""
    found = COMMAND.search(text) if "virsh" in text or "omain" in text else None
    return next((name for name in found.groups() if name), "") if found else ""


def by_guest(samples: Sequence[Sample]) -> None:
    """Tag ``samples`` by their commands, or by the text before them if that gives fewer and longer migrations. In place."""
    if any(sample.tag for sample in samples) or len(samples) < 4:
        return
    if all(sample.domain for sample in samples) and 2 <= len({sample.domain for sample in samples}) <= GUESTS_MAX:
        for sample in samples:
            sample.tag = sample.domain
        return
    heads = [sample.head for sample in samples]
    names = set(heads)
    if not 2 <= len(names) <= min(GUESTS_MAX, len(samples) // 2) or "" in names:
        return
    groups = [list(group) for _, group in groupby(sorted(samples, key=lambda s: s.head), key=lambda s: s.head)]
    fewer = sum(len(migrations(group)) for group in groups) < len(migrations(samples))
    if fewer or (_slips(samples) >= SLIPS_MIN and not any(_slips(group) for group in groups)):
        for sample in samples:
            sample.tag = sample.head


def _slips(samples: Sequence[Sample]) -> int:
    """How often a counter that only grows falls from one answer to the next."""
    pairs = list(pairwise(samples))
    return sum(b.figures.get(name, np.inf) < a.figures.get(name, 0.0) for name in GROWING for a, b in pairs)


def by_memory(samples: Sequence[Sample]) -> None:
    """Tag ``samples`` by the size of the guest's memory, if that gives fewer and longer migrations. In place."""
    totals = [sample.figures.get("total_bytes", 0.0) for sample in samples]
    if any(sample.tag for sample in samples) or not all(totals):
        return
    sizes = list(dict.fromkeys(totals))
    if not 2 <= len(sizes) <= min(GUESTS_MAX, len(samples) // 2):
        return
    groups = [[sample for sample, total in zip(samples, totals, strict=True) if total == size] for size in sizes]
    if sum(len(migrations(group)) for group in groups) < len(migrations(samples)):
        for sample, total in zip(samples, totals, strict=True):
            sample.tag = f"guest-of-{total / (1 << 20):.0f}-MiB"


def head_of(text: str, domain: str) -> str:
    """The text before an object on its line, without times, which may name the guest; else ``domain``."""
    head = STAMPS.sub(lambda found: found.group(0) if len(found.group(0)) < 3 else "", text[-HEAD_MAX:])
    return " ".join(head.replace("{", "").split()).strip(" |:=<>[]()") or domain
