"""Dirty trackers, each behind hostsim.core.dirty_tracker.DirtyTracker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hostsim.core.dirty_tracker import DirtyTracker
from hostsim.core.knobs import Knobs
from hostsim.kvm.live_vm import LiveVm
from hostsim.kvm.trackers.clear_dirty_log import ClearDirtyLog
from hostsim.kvm.trackers.dirty_ring import DirtyRing
from hostsim.kvm.trackers.get_dirty_log import GetDirtyLog
from hostsim.qemu.tcg import TcgTracker


def _kvm(tracker: Callable[[LiveVm], DirtyTracker]) -> Callable[[Any, Knobs, int], DirtyTracker]:
    return lambda vm, _knobs, _log_capacity: tracker(vm)


TRACKERS: dict[str, Callable[[Any, Knobs, int], DirtyTracker]] = {
    "tcg": TcgTracker,
    "get-dirty-log": _kvm(GetDirtyLog),
    "clear-dirty-log": _kvm(ClearDirtyLog),
    "initially-all-set": _kvm(ClearDirtyLog),
    "dirty-ring": _kvm(DirtyRing),
}
"""Makers of trackers by vm.dirty_tracking; each takes (a Vm for tcg, else a LiveVm; Knobs; capacity of tcg's log of first
writes).
"""
