"""Dirty trackers by vm.dirty_tracking, each behind hostsim.core.dirty_tracker.DirtyTracker."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from hostsim.core.dirty_tracker import DirtyTracker
from hostsim.core.knobs import Knobs
from hostsim.kvm.interfaces import INTERFACE_TRAITS
from hostsim.qemu.tcg import TcgTracker

Maker = Callable[[Any, Knobs, int], DirtyTracker]


def _of_kvm(tracker: str) -> Maker:
    """A maker of the class that "module:class" names, loaded when first made; KVM's trackers take the LiveVm alone."""
    module, name = tracker.split(":")

    def made(vm: Any, _knobs: Knobs, _log_capacity: int) -> DirtyTracker:
        kind: Callable[[Any], DirtyTracker] = getattr(import_module(f"hostsim.kvm.trackers.{module}"), name)
        return kind(vm)

    return made


TRACKERS: dict[str, Maker] = {
    "tcg": TcgTracker,
    **{name: _of_kvm(traits.tracker) for name, traits in INTERFACE_TRAITS.items()},
}
"""Each takes (a Vm for tcg, else a LiveVm; Knobs; capacity of tcg's log of first writes)."""
