"""Post-copy as QEMU has it: capabilities, parameters, acts of the operator; the model is hostsim.qemu.postcopy."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.core.constants import PAGE_BYTES
from hostsim.qemu.mechanism import Mechanism, Rule

NAME = "postcopy"
PAUSED = "postcopy-paused"
MOVED = ("postcopy-active", PAUSED, "postcopy-recover", "postcopy-device", "postcopy-recover-setup")
"""qapi/migration.json::MigrationStatus; "postcopy-recover-setup" since 9.1, "postcopy-device" since 10.2."""


@dataclass(frozen=True)
class PostcopyParameters:
    """max_postcopy_bandwidth: bytes/s, 0: none.

    postcopy_after_rounds: migrate-start-postcopy once that many rounds are over (MIGRATION_PASS of the next); -1: never.
    postcopy_after_ns: migrate-start-postcopy that long after the start; -1: never.
    postcopy_link_fails_ns: the connection breaks that long after the switch; 0: never.
    postcopy_recover_after_ns: migrate-recover that long after the break; 0: never.
    host_page_bytes: page size of the destination's memory backend, which post-copy requests and places whole.
    """

    postcopy_ram: bool = False
    postcopy_preempt: bool = False
    postcopy_blocktime: bool = False
    max_postcopy_bandwidth: int = 0
    postcopy_after_rounds: int = -1
    postcopy_after_ns: int = -1
    postcopy_link_fails_ns: int = 0
    postcopy_recover_after_ns: int = 0
    host_page_bytes: int = PAGE_BYTES


PART = Mechanism(
    NAME, 50, "postcopy_ram", PostcopyParameters,
    rules=(
        Rule(
            "postcopy_ram", "multifd", False, "Postcopy is not yet compatible with multifd", since=(8, 0), before=(10, 1)
        ),
        Rule("postcopy_preempt", "postcopy_ram", True, "Postcopy preempt requires postcopy-ram"),
    ),
    moved=MOVED,
)  # fmt: skip
