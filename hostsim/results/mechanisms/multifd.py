"""Multifd in results: facts about its channels; hostsim.results.sender has their work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostsim.qemu.mechanisms.multifd import NAME
from hostsim.results.mechanism import Mechanism

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.migration import Migration


def _facts(_machine: Machine, migration: Migration) -> dict[str, Any]:
    p = migration.parameters
    return {"multifd_channels": p.multifd_channels, "multifd_compression": p.multifd_compression}


PART = Mechanism(NAME, 40, ram=("multifd-bytes",), facts=_facts)
