"""Post-copy in a scenario: its keys, keys that need another one, modes, commands, other names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from hostsim.core.errors import Finding
from hostsim.core.units import format_bandwidth, format_duration, parse_bytes
from hostsim.costs.postcopy_sheet import load_postcopy
from hostsim.qemu.mechanisms.postcopy import NAME, PostcopyParameters
from hostsim.scenario.mechanism import Default, Kind, Mechanism
from hostsim.scenario.section import Section
from hostsim.scenario.types import Bandwidth, Count, Duration, DurationOrNever, Flag

if TYPE_CHECKING:
    # Circle of types: [migration] is made of the section here, whose checks get it.
    from hostsim.scenario.host_schema import Migration
    from hostsim.scenario.schema import Scenario

QEMU_DEFAULTS = PostcopyParameters()
AFTER_ROUNDS = "postcopy_after_rounds"


class PostcopyKeys(Section):
    """Keys of [migration]."""

    postcopy_ram: Flag = Field(default=QEMU_DEFAULTS.postcopy_ram, description="capability postcopy-ram")
    postcopy_preempt: Flag = Field(
        default=QEMU_DEFAULTS.postcopy_preempt,
        description="capability postcopy-preempt: requested pages on a channel of their own",
    )
    postcopy_blocktime: Flag = Field(
        default=QEMU_DEFAULTS.postcopy_blocktime, description="capability postcopy-blocktime of the destination"
    )
    max_postcopy_bandwidth: Bandwidth = Field(
        default=QEMU_DEFAULTS.max_postcopy_bandwidth, description="max-postcopy-bandwidth, of the background stream"
    )
    postcopy_after_rounds: Count | None = Field(
        default=None,
        ge=0,
        description="number of rounds after which migrate-start-postcopy is sent (at MIGRATION_PASS of the next)",
    )
    postcopy_after: Duration | None = Field(
        default=None, description="time after the start at which migrate-start-postcopy is sent", examples=["10s"]
    )
    postcopy_link_fails: DurationOrNever = Field(
        default=0, description="time after the switch at which the connection breaks, or never"
    )
    postcopy_recover_after: DurationOrNever = Field(
        default=0,
        description="time from a break to migrate-recover, which waits for the end of an outage; never: the VM is lost",
    )  # fmt: skip
    host_page: Literal["4KiB", "2MiB"] = Field(
        default="4KiB", description="page of the destination's memory backend, which post-copy requests and places whole"
    )


def _parameters(migration: Migration) -> dict[str, Any]:
    return {
        "host_page_bytes": parse_bytes(migration.host_page),
        "postcopy_link_fails_ns": migration.postcopy_link_fails,
        "postcopy_recover_after_ns": migration.postcopy_recover_after,
        "postcopy_after_ns": -1 if migration.postcopy_after is None else migration.postcopy_after,
        "postcopy_after_rounds": -1 if migration.postcopy_after_rounds is None else migration.postcopy_after_rounds,
    }


NEEDS_POSTCOPY = "postcopy_ram = true: {}"
LEAST_LIMIT_BYTES_PER_S = 4096


def _findings(migration: Migration) -> Iterator[Finding]:
    """Keys that need another one."""
    if not migration.postcopy_ram:
        yield from _without_capability(migration)
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


def _recovery(scenario: Scenario) -> Iterator[Finding]:
    """A recovery needs a connection that may break."""
    migration = scenario.migration
    if migration is None or not migration.postcopy_recover_after:
        return
    if not migration.postcopy_link_fails and not scenario.link.outage:
        got, key = format_duration(migration.postcopy_recover_after), "migration.postcopy_recover_after"
        wanted = "postcopy_link_fails, or [[link.outage]]: there is nothing to recover from"
        yield Finding(key, got, wanted, 'postcopy_link_fails = "1s"', ("migration.postcopy_link_fails", "link.outage"))


def _beside(scenario: Scenario) -> Iterator[Finding]:
    from hostsim.scenario.postcopy_checks import destination_findings  # it reads tables that have these keys beside them

    yield from _recovery(scenario)
    yield from destination_findings(scenario)


def _memory_after_the_switch(scenario: Scenario) -> Iterator[str]:
    """A warning of a host that is short of memory, or ages it, beside post-copy to a destination that does neither."""
    if scenario.destination is None and (scenario.host.memory is not None or scenario.ageing is not None):
        yield (
            "after the switch to post-copy the destination neither swaps nor ages memory, as [destination.memory] is not "
            "given: real vCPUs may wait longer for their pages than this run says"
        )


def _is_asked(migration: Migration) -> bool:
    return migration.postcopy_after_rounds is not None or migration.postcopy_after is not None


ALIASES = {
    "postcopy": "postcopy_ram", "allow-post-copy": "postcopy_ram", "live-migration-permit-post-copy": "postcopy_ram",
    "postcopy-bandwidth": "max_postcopy_bandwidth", "start-postcopy": AFTER_ROUNDS,
}  # fmt: skip
_ON = {"postcopy_ram": "true", AFTER_ROUNDS: "1"}
COMMANDS = {
    "qemu": "migrate_set_capability postcopy-ram on; migrate -d URI; migrate_start_postcopy",
    "libvirt": "virsh migrate --live --postcopy --postcopy-after-precopy DOMAIN URI",
    "nova": "nova.conf [libvirt] live_migration_permit_post_copy = true",
    "kubevirt": 'kubectl patch migrationpolicy POLICY --type merge -p \'{"spec":{"allowPostCopy":true}}\'',
}
COMMANDS_NOW = {"qemu": "migrate_start_postcopy", "libvirt": "virsh migrate-postcopy DOMAIN"}
"""They switch a migration that began with the capability on."""
LIBVIRT = {
    "postcopy_preempt": Default(
        True,
        "libvirt 11.3 src/qemu/qemu_migration_params.c::qemuMigrationParamsFlagMap: with postcopy_ram, if both sides have "
        "it (libvirt >= 10.0)",
    )
}  # fmt: skip
PART = Mechanism(
    NAME, 50, Kind.SWITCH, "postcopy_ram", PostcopyKeys,
    modelled=("post-copy with preempt and blocktime",),
    aliases=ALIASES,
    modes={"postcopy": _ON, "postcopy-preempt": {**_ON, "postcopy_preempt": "true"}},
    options=("postcopy_blocktime",),
    at=AFTER_ROUNDS,
    remedy="post_copy",
    commands={
        profile: {"post_copy": command, **({"post_copy_now": COMMANDS_NOW[profile]} if profile in COMMANDS_NOW else {})}
        for profile, command in COMMANDS.items()
    },
    profiles=dict.fromkeys(("libvirt", "nova", "kubevirt"), LIBVIRT),
    parameters=_parameters,
    inputs=lambda scenario: load_postcopy(scenario.host.machine),
    values=_findings,
    beside=_beside,
    warnings=_memory_after_the_switch,
    always_ends=_is_asked,
    is_forecast=True,
    warm_up={"postcopy_ram": True, "postcopy_after": "0s"},
)  # fmt: skip
