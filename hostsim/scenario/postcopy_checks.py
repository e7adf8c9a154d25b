"""Checks of the keys of post-copy; the reasons are QEMU's (migration/options.c::migrate_caps_check)."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.core.finding import Finding
from hostsim.core.units import format_bandwidth, format_duration
from hostsim.scenario.host_schema import Migration

NEEDS_POSTCOPY = "postcopy_ram = true: {}"
LEAST_LIMIT_BYTES_PER_S = 4096


def postcopy_findings(migration: Migration) -> Iterator[Finding]:
    """Keys that need another one."""
    if not migration.postcopy_ram:
        yield from _without_capability(migration)
    if migration.postcopy_recover_after and not migration.postcopy_link_fails:
        got = format_duration(migration.postcopy_recover_after)
        wanted = "postcopy_link_fails: there is nothing to recover from"
        example, uses = 'postcopy_link_fails = "1s"', ("migration.postcopy_link_fails",)
        yield Finding("migration.postcopy_recover_after", got, wanted, example, uses)
    if 0 < migration.max_postcopy_bandwidth < LEAST_LIMIT_BYTES_PER_S:
        got = format_bandwidth(migration.max_postcopy_bandwidth)
        wanted = f"at least {format_bandwidth(LEAST_LIMIT_BYTES_PER_S)}, or unlimited"
        yield Finding("migration.max_postcopy_bandwidth", got, wanted, 'max_postcopy_bandwidth = "1Gbit/s"')


def _without_capability(migration: Migration) -> Iterator[Finding]:
    reasons = {
        "postcopy_preempt": "Postcopy preempt requires postcopy-ram",
        "postcopy_after_rounds": "Enable postcopy with migrate_set_capability before the start of migration",
        "postcopy_after": "Enable postcopy with migrate_set_capability before the start of migration",
        "postcopy_link_fails": "without post-copy a connection that breaks fails the migration, and the guest runs on",
    }
    for key, reason in reasons.items():
        value = getattr(migration, key)
        if value is not None and value is not False and not (key == "postcopy_link_fails" and value == 0):
            yield Finding(
                f"migration.{key}", str(value).lower(), NEEDS_POSTCOPY.format(reason), "postcopy_ram = true",
                ("migration.postcopy_ram",),
            )  # fmt: skip
