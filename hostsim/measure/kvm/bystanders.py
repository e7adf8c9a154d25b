"""Processor time that other processes take while this one measures, from /proc/stat."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hostsim.measure.kvm.device import refusal
from hostsim.measure.kvm.rules import BUSY_SHARE, foreign_share

IDLE, IOWAIT, GUEST = 3, 4, 8
"""Fields of the line ``cpu`` that are no work, or counted before (guest time is also user time); proc(5)."""
LOOK_S = 0.4


def busy_s(stat: str) -> float:
    """Seconds that all processors have worked, steal included."""
    ticks = [int(field) for field in stat.splitlines()[0].split()[1:]]
    return (sum(ticks[:GUEST]) - ticks[IDLE] - ticks[IOWAIT]) / os.sysconf("SC_CLK_TCK")


class Bystanders:
    """Watches from its making on."""

    def __init__(self) -> None:
        self._from = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """(s of all processors, of this process and the children that it has waited for, of the clock)."""
        own = os.times()
        own_s = own.user + own.system + own.children_user + own.children_system
        return busy_s(Path("/proc/stat").read_text(encoding="ascii")), own_s, time.monotonic()

    def share(self) -> float:
        """Of all processors' time since then, the part that others took."""
        busy, own, elapsed = (now - before for now, before in zip(self._now(), self._from, strict=True))
        return foreign_share(busy, own, elapsed, os.cpu_count() or 1)


def check_quiet(share: float, *, accept: bool) -> None:
    """KvmError if other processes took a ``share`` of the processors above BUSY_SHARE, unless ``accept``."""
    if share > BUSY_SHARE and not accept:
        reason = f"other processes took {share:.0%} of the processors' time, more than {BUSY_SHARE:.0%}"
        raise refusal("the machine is busy", reason, "measure while nothing else runs, or accept it with --busy")


def look_first(*, accept: bool) -> None:
    """As ``check_quiet``, before any work, so that a busy machine is refused at once."""
    if not accept:
        before = Bystanders()
        time.sleep(LOOK_S)
        check_quiet(before.share(), accept=False)
