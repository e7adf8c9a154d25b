"""XBZRLE as QEMU has it: capability and size of the cache; the model is hostsim.qemu.xbzrle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostsim.qemu.mechanism import Mechanism

if TYPE_CHECKING:
    from hostsim.core.dirty_tracker import DirtyTracker
    from hostsim.costs.host_sheet import HostSheet
    from hostsim.guest.vm import VmBase
    from hostsim.qemu.migration import Migration
    from hostsim.qemu.xbzrle import Xbzrle, XbzrleCounters

NAME = "xbzrle"


@dataclass(frozen=True)
class XbzrleParameters:
    """xbzrle_cache_size: bytes."""

    xbzrle: bool = False
    xbzrle_cache_size: int = 64 << 20


def _encoder(parameters: XbzrleParameters, vm: VmBase, tracker: DirtyTracker, sheet: HostSheet) -> Xbzrle:
    from hostsim.qemu.xbzrle import Xbzrle  # compiled loops, which only a migration needs

    n_classes, n_chunks = len(vm.guest.table.ints), len(tracker.clear_marks)
    return Xbzrle(parameters.xbzrle_cache_size, vm.memory.n_pages, vm.guest.content, n_classes, n_chunks, sheet)


def _figures(migration: Migration) -> XbzrleCounters | None:
    encoder = migration.ram.encoder
    return encoder.counters if encoder is not None else None


PART = Mechanism(NAME, 10, "xbzrle", XbzrleParameters, encoder=_encoder, figures=_figures)
