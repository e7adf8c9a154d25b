"""Capabilities that QEMU refuses: together, without another capability, or because the version does not have them.

The rules are QEMU's, as data; most stand in the records of mechanisms (hostsim.qemu.mechanism). A rule holds as soon as a
scenario has the keys that the rule names. Capabilities that hostsim lacks (background-snapshot, mapped-ram,
x-ignore-shared, RDMA, TLS, COLO) have no rule: the loader refuses those names by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hostsim.qemu.mechanism import DIRTY_RING, GENERAL, Absent, Rule, is_on, mechanisms
from hostsim.qemu.version import Version, release

__all__ = ["DIRTY_RING", "NEWER", "RULES", "Absent", "Rule", "absent", "refused"]

GENERAL_RULES = (
    Rule(
        "switchover_ack", "return_path", True, "Capability 'switchover-ack' requires capability 'return-path'",
        since=(8, 1),
    ),
)  # fmt: skip
GENERAL_NEWER = (
    Absent("switchover_ack", (8, 1), "qapi/migration.json::MigrationCapability: since 8.1"),
    Absent("avail_switchover_bandwidth", (8, 2), "qapi/migration.json::MigrationParameters: since 8.2"),
)
_PLACES = sorted([(one.place, one.rules, one.newer) for one in mechanisms()] + [(GENERAL, GENERAL_RULES, GENERAL_NEWER)],
                 key=lambda of: of[0], reverse=True)  # fmt: skip
RULES: tuple[Rule, ...] = tuple(rule for _, rules, _ in _PLACES for rule in rules)
"""migration/migration.c (7.2.0), migration/options.c (10.0.13, 10.2); the reasons are QEMU's, misspellings included."""
NEWER: tuple[Absent, ...] = tuple(sorted((one for *_, newer in _PLACES for one in newer), key=lambda one: one.since))


def refused(values: Mapping[str, object], qemu: Version) -> Iterator[Rule]:
    """Rules that ``values`` break: values of capabilities and parameters by key."""
    return (rule for rule in RULES if rule.breaks(values, qemu))


def absent(written: Mapping[str, object], qemu: Version) -> Iterator[Absent]:
    """Entries of NEWER that ``written`` turns on and that QEMU of this version does not have."""
    return (entry for entry in NEWER if entry.since > release(qemu) and is_on(written.get(entry.name)))
