"""Capabilities that QEMU refuses: together, without another capability, or because the version does not have them.

The rules are QEMU's, as data. A rule holds as soon as a scenario has the keys that the rule names. What QEMU has and hostsim
does not (background-snapshot, mapped-ram, x-ignore-shared, RDMA, TLS, COLO) has no rule here: the loader refuses those
names by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hostsim.qemu.parameters import Version

DIRTY_RING = "dirty-ring-size"
"""The property of the accelerator that dirty-limit needs; no capability, so the caller of ``refused`` adds it."""
Release = tuple[int, int]


@dataclass(frozen=True)
class Rule:
    """One refusal of migrate_caps_check.

    capability: key that QEMU refuses.
    other: key on which the refusal depends.
    needs: True: ``other`` has to be on as well; False: the two exclude each other.
    reason: words of QEMU's error.
    source: where QEMU refuses.
    since, before: releases with the rule, ``before`` excluded; None: until today.
    """

    capability: str
    other: str
    needs: bool
    reason: str
    source: str = "migration/options.c::migrate_caps_check"
    since: Release = (0, 0)
    before: Release | None = None

    def breaks(self, values: Mapping[str, object], qemu: Version) -> bool:
        """Whether QEMU of this version refuses ``values``."""
        has_rule = self.since <= release(qemu) and (self.before is None or release(qemu) < self.before)
        return has_rule and is_on(values.get(self.capability)) and is_on(values.get(self.other)) is not self.needs


@dataclass(frozen=True)
class Absent:
    """A capability or parameter that earlier versions do not have; ``since``: the first release with it."""

    name: str
    since: Release
    source: str


_ZERO_COPY = "Zero copy only available for non-compressed non-TLS multifd migration"
_NO_REMEDY_YET = "dirty-limit conflicts with auto-converge either of then available currently"

RULES: tuple[Rule, ...] = (
    Rule(
        "postcopy_ram", "multifd", False, "Postcopy is not yet compatible with multifd", since=(8, 0), before=(10, 1)
    ),
    Rule("postcopy_preempt", "postcopy_ram", True, "Postcopy preempt requires postcopy-ram"),
    Rule("zero_copy_send", "multifd", True, _ZERO_COPY),
    Rule("zero_copy_send", "xbzrle", False, _ZERO_COPY),
    Rule("zero_copy_send", "multifd_compression", False, _ZERO_COPY),
    Rule("multifd", "xbzrle", False, "Multifd is not compatible with xbzrle", since=(8, 2)),
    Rule(
        "switchover_ack", "return_path", True, "Capability 'switchover-ack' requires capability 'return-path'",
        since=(8, 1),
    ),
    Rule("dirty_limit", "auto_converge", False, _NO_REMEDY_YET, since=(8, 1)),
    Rule(
        "dirty_limit", DIRTY_RING, True, "dirty-limit requires KVM with accelerator property 'dirty-ring-size' set",
        since=(8, 1),
    ),
)  # fmt: skip
"""migration/migration.c (7.2.0), migration/options.c (10.0.13, 10.2); the reasons are QEMU's, misspellings included."""

NEWER: tuple[Absent, ...] = (
    Absent("switchover_ack", (8, 1), "qapi/migration.json::MigrationCapability: since 8.1"),
    Absent("dirty_limit", (8, 1), "qapi/migration.json::MigrationCapability: since 8.1"),
    Absent("avail_switchover_bandwidth", (8, 2), "qapi/migration.json::MigrationParameters: since 8.2"),
)


def refused(values: Mapping[str, object], qemu: Version) -> Iterator[Rule]:
    """Rules that ``values`` break: values of capabilities and parameters by key."""
    return (rule for rule in RULES if rule.breaks(values, qemu))


def absent(written: Mapping[str, object], qemu: Version) -> Iterator[Absent]:
    """Entries of NEWER that ``written`` turns on and that QEMU of this version does not have."""
    return (entry for entry in NEWER if entry.since > release(qemu) and is_on(written.get(entry.name)))


def is_on(value: object) -> bool:
    """Whether a capability is on, a number is not 0, a method is not "none"."""
    return value not in (None, False, 0, "none")


def release(version: Version) -> Release:
    """Major and minor number of a version."""
    major, minor = version.split(".")
    return int(major), int(minor)
