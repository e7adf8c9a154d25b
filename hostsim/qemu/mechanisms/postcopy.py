"""Post-copy as QEMU has it: capabilities, parameters, acts of the operator; the model is hostsim.qemu.postcopy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from hostsim.core.constants import PAGE_BYTES
from hostsim.qemu.mechanism import Mechanism, Rule, Switch

if TYPE_CHECKING:
    # Circle of types: a migration switches by the record, which gets that migration.
    from hostsim.qemu.migration import Migration, Step
    from hostsim.qemu.postcopy.destination import Blocktime, Destination

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


class BlocktimeFigures(NamedTuple):
    """in_ns: counted in nanoseconds, with latencies (>= 10.1)."""

    found: Blocktime
    in_ns: bool


def _blocktime(migration: Migration) -> BlocktimeFigures | None:
    there, in_ns = cast("Destination | None", migration.destination), migration.behaviour.blocktime_ns
    if there is None or not migration.parameters.postcopy_blocktime:
        return None
    return BlocktimeFigures(there.blocktime(in_ns), in_ns)


def _ram(migration: Migration) -> dict[str, int]:
    there = migration.destination
    if there is None:
        return {}
    after_bytes = migration.ram.stream_bytes - migration.state.precopy_bytes
    return {"postcopy-requests": there.requests, "postcopy-bytes": after_bytes}


def _is_asked(migration: Migration) -> bool:
    """Whether an operator has issued migrate-start-postcopy, by the rounds or the time that the parameters say.

    # Model limit: the operator acts at once; the command is honoured at the next migration_iteration_run, as in QEMU.
    """
    p, m = migration.parameters, migration.state
    by_rounds = p.postcopy_after_rounds >= 0 and m.dirty_sync_count > p.postcopy_after_rounds
    return by_rounds or (p.postcopy_after_ns >= 0 and migration.env.now_ns >= m.start_ns + p.postcopy_after_ns)


def _begin(migration: Migration) -> Step:
    from hostsim.qemu.postcopy import steps  # compiled loops, which only a switch needs

    return migration.traced("postcopy_start", steps.switch(migration))


def _run(migration: Migration) -> Step:
    from hostsim.qemu.postcopy import steps

    return migration.traced("postcopy", steps.run(migration))


PART = Mechanism(
    NAME, 50, "postcopy_ram", PostcopyParameters,
    rules=(
        Rule(
            "postcopy_ram", "multifd", False, "Postcopy is not yet compatible with multifd", since=(8, 0), before=(10, 1)
        ),
        Rule("postcopy_preempt", "postcopy_ram", True, "Postcopy preempt requires postcopy-ram"),
    ),
    figures=_blocktime,
    ram=_ram,
    switch=Switch(_is_asked, lambda migration: migration.behaviour.postcopy_first, _begin, _run),
    moved=MOVED,
)  # fmt: skip
