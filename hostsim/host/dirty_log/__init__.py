"""Dirty trackers, each behind hostsim.mmu.dirty_tracker.DirtyTracker."""

from __future__ import annotations

from collections.abc import Callable

from hostsim.host.dirty_log.tcg import TcgTracker
from hostsim.host.knobs import Knobs
from hostsim.host.vm import Vm
from hostsim.mmu.dirty_tracker import DirtyTracker

TRACKERS: dict[str, Callable[[Vm, Knobs, int], DirtyTracker]] = {"tcg": TcgTracker}
"""Tracker by the name a scenario gives it (vm.dirty_tracking); the int is the capacity of its log of first writes."""
