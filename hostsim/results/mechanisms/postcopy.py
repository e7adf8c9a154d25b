"""Post-copy in results: facts about its phase (hostsim.results.postcopy)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostsim.qemu.mechanisms.postcopy import NAME
from hostsim.results.mechanism import Mechanism
from hostsim.results.postcopy import postcopy_facts

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.migration import Migration


def _facts(_machine: Machine, migration: Migration) -> dict[str, Any]:
    return postcopy_facts(migration)


PART = Mechanism(NAME, 50, facts=_facts)
