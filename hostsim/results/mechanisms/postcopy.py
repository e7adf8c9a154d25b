"""Post-copy in results: its phase, its blocktime, a VM that was lost (hostsim.results.postcopy)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hostsim.qemu.mechanisms.postcopy import NAME, PAUSED
from hostsim.results.mechanism import End, Mechanism
from hostsim.results.postcopy import blocktime_fields, compared, postcopy_facts

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.migration import Migration


def _facts(_machine: Machine, migration: Migration) -> dict[str, Any]:
    return postcopy_facts(migration)


PART = Mechanism(
    NAME, 50,
    answer=blocktime_fields,
    ram=("postcopy-requests", "postcopy-bytes"),
    facts=_facts,
    ends=(End(PAUSED, "VM lost in post-copy"),),
    spans={"postcopy-active": "purple", PAUSED: "orange", "postcopy-recover": "olive"},
    compared=compared,
)  # fmt: skip
