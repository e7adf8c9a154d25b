"""Management layers as data: defaults for the keys of [migration] that are not written, and the commands of remedies.

Each default carries its source. Capitals in a command (DOMAIN, VMID, POLICY, GIB) stand for values that the reader fills in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from hostsim.qemu.capabilities import absent, refused
from hostsim.qemu.version import Version
from hostsim.scenario.mechanism import Default, command_of, defaults_of

GIB = 1 << 30
REMEDIES = ("downtime_limit", "bandwidth", "auto_converge", "timeout")
"""Kinds of changes that a command applies, beside those of the records of mechanisms (hostsim.scenario.mechanism)."""
NOTHING: Mapping[str, object] = MappingProxyType({})
_POLICY = "kubectl patch migrationpolicy POLICY --type merge -p "


@dataclass(frozen=True)
class Profile:
    """One management layer.

    general: defaults of keys of no mechanism; those of mechanisms are in their records.
    timeout_per_gib_s: migration time allowed per GiB of guest memory [s], 0: none.
    """

    name: str
    general: Mapping[str, Default]
    commands: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    timeout_per_gib_s: int = 0
    timeout_gib_min: int = 0
    timeout_source: str = ""

    @property
    def defaults(self) -> dict[str, Default]:
        """Defaults by key."""
        return {**self.general, **defaults_of(self.name)}

    def values(self, qemu: Version, written: Mapping[str, object] = NOTHING) -> dict[str, str | bool]:
        """Defaults that hold beside ``written``, keys of [migration]: those that this version of QEMU has, and allows.

        A manager asks QEMU for its capabilities first, and never sets one that QEMU refuses beside the others.
        """
        values = {key: default.value for key, default in self.defaults.items() if not default.memory_share}
        dropped = {entry.name for entry in absent(values, qemu)}
        values = {key: value for key, value in values.items() if key not in dropped}
        while broken := list(refused({**values, **written}, qemu)):
            named = {key for rule in broken for key in (rule.capability, rule.other)} - set(written)
            if named.isdisjoint(values):
                break  # the scenario itself asks for keys that QEMU refuses: the loader reports them
            values = {key: value for key, value in values.items() if key not in named}
        return values

    def command(self, remedy: str, value: float | None = None) -> str:
        """The command that applies ``remedy``; "" if there is none here.

        value: milliseconds for "downtime_limit", bytes/s for "bandwidth", percent for "auto_converge", bytes for
        a cache, seconds for "timeout". {value} is replaced by it, {mib_per_s} and {seconds} by it in that unit. Whole
        numbers are rounded up: ``value`` is the least that helps.
        """
        template = self.commands.get(remedy) or command_of(remedy, self.name)
        if value is None:
            return template
        texts = {"{value}": _up(value), "{mib_per_s}": _up(value / (1 << 20)), "{seconds}": f"{value / 1000:g}"}
        for place, text in texts.items():
            template = template.replace(place, text)
        return template

    def timeout_s(self, memory_bytes: int) -> int:
        """Seconds after which the layer gives up a migration of a guest of that size, 0: never."""
        return self.timeout_per_gib_s * max(self.timeout_gib_min, -(-memory_bytes // GIB))


def _up(value: float) -> str:
    return str(math.ceil(value - 1e-6))


_QAPI = "QEMU 10.2 qapi/migration.json::MigrationParameters, migration/options.c::migration_properties"
_LIBVIRT = "libvirt qemu_domain.h::QEMU_DOMAIN_MIG_BANDWIDTH_MAX = INT64_MAX / 1 MiB: no limit"
_CAPABILITIES = "libvirt 11.3 src/qemu/qemu_migration_params.c"
_BY_FLAG = f"{_CAPABILITIES}::qemuMigrationParamsFlagMap"
_BY_LIBVIRT = {
    "pause_before_switchover": Default(True, f"{_CAPABILITIES}::qemuMigrationParamsAlwaysOn, on the source"),
    "return_path": Default(True, f"{_BY_FLAG}: on unless tunnelled"),
    "switchover_ack": Default(True, f"{_BY_FLAG}: with return_path, if both sides have it"),
    "keepalive": Default("30s", "libvirt qemu.conf: keepalive_interval 5, keepalive_count 5, of a peer-to-peer migration"),
}
"""Set by every manager that migrates by way of libvirt."""
_NOVA = "nova/conf/libvirt.py"
_KUBEVIRT = "KubeVirt pkg/virt-config/configuration.go"
_PVE = "qemu-server QemuServer.pm"

QEMU = Profile(
    "qemu",
    {
        "bandwidth": Default("128MiB/s", f"{_QAPI}: max-bandwidth 134217728"),
        "downtime_limit": Default("300ms", f"{_QAPI}: downtime-limit 300"),
        "auto_converge": Default(False, f"{_QAPI}: capabilities are off until set"),
    },
    {
        "downtime_limit": "migrate_set_parameter downtime-limit {value}",
        "bandwidth": "migrate_set_parameter max-bandwidth {value}B",
        "auto_converge": "migrate_set_capability auto-converge on; migrate_set_parameter max-cpu-throttle {value}",
        # QEMU has no time-out: the tool that runs migrate_cancel has to wait.
        "timeout": "",
    },
)

LIBVIRT = Profile(
    "libvirt",
    {
        "bandwidth": Default("unlimited", _LIBVIRT),
        "downtime_limit": Default("300ms", f"libvirt leaves QEMU's default: {_QAPI}"),
        "auto_converge": Default(False, "libvirt virsh(1): off without --auto-converge"),
        **_BY_LIBVIRT,
    },
    {
        "downtime_limit": "virsh migrate-setmaxdowntime DOMAIN {value}",
        "bandwidth": "virsh migrate-setspeed DOMAIN {mib_per_s}",
        "auto_converge": "virsh migrate --live --auto-converge DOMAIN URI",
        # --timeout N suspends the guest after N seconds (--timeout-postcopy switches): without it virsh waits.
        "timeout": "virsh migrate --live DOMAIN URI",
    },
)

NOVA = Profile(
    "nova",
    {
        "bandwidth": Default("unlimited", f"{_NOVA}: live_migration_bandwidth 0, libvirt's default"),
        # Model limit: nova raises the downtime limit in steps; here live_migration_downtime holds from the start.
        "downtime_limit": Default("500ms", f"{_NOVA}: live_migration_downtime 500"),
        "auto_converge": Default(False, f"{_NOVA}: live_migration_permit_auto_converge False"),
        **_BY_LIBVIRT,
    },
    {
        "downtime_limit": "nova.conf [libvirt] live_migration_downtime = {value}",
        "bandwidth": "nova.conf [libvirt] live_migration_bandwidth = {mib_per_s}",
        "auto_converge": "nova.conf [libvirt] live_migration_permit_auto_converge = true",
        "timeout": "nova.conf [libvirt] live_migration_completion_timeout = {value} divided by GIB, rounded up",
    },
    timeout_per_gib_s=800,
    timeout_gib_min=2,
    timeout_source=f"{_NOVA}: live_migration_completion_timeout 800 s per GiB, at least 2 GiB",
)

KUBEVIRT = Profile(
    "kubevirt",
    {
        "bandwidth": Default("unlimited", f"{_KUBEVIRT}: BandwidthPerMigrationDefault 0Mi (64Mi in early releases)"),
        "downtime_limit": Default("300ms", "KubeVirt sets none: QEMU's default"),
        "auto_converge": Default(False, f"{_KUBEVIRT}: MigrationAllowAutoConverge false"),
        **_BY_LIBVIRT,
    },
    {
        # No field of MigrationConfiguration sets the downtime limit; libvirt inside the launcher pod does.
        "downtime_limit": "kubectl exec POD -c compute -- virsh migrate-setmaxdowntime DOMAIN {value}",
        "bandwidth": _POLICY + '\'{"spec":{"bandwidthPerMigration":"{value}"}}\'',
        "auto_converge": _POLICY + '\'{"spec":{"allowAutoConverge":true}}\'',
        "timeout": _POLICY + '"{\\"spec\\":{\\"completionTimeoutPerGiB\\":$(({value} / GIB + 1))}}"',
    },
    # Model limit: KubeVirt's progressTimeout (150 s without a new low of remaining bytes) does not cancel.
    timeout_per_gib_s=150,
    timeout_source=f"{_KUBEVIRT}: MigrationCompletionTimeoutPerGiB 150 (800 before kubevirt PR 12848)",
)

PROXMOX = Profile(
    "proxmox",
    {
        "bandwidth": Default("unlimited", f"{_PVE}: migrate_speed 0, no limit"),
        # Model limit: Proxmox VE raises the downtime limit step by step if the end does not converge; here it stays.
        "downtime_limit": Default("100ms", f"{_PVE}: migrate_downtime 0.1 s"),
        "auto_converge": Default(True, "qemu-server PVE/QemuMigrate/Helpers.pm::set_migration_caps: auto-converge 1"),
    },
    {
        "downtime_limit": "qm set VMID --migrate_downtime {seconds}",
        "bandwidth": "qm set VMID --migrate_speed {mib_per_s}",
        "auto_converge": "qm monitor VMID: migrate_set_parameter max-cpu-throttle {value} (auto-converge is on)",
        "timeout": "",
    },
)

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (QEMU, LIBVIRT, NOVA, KUBEVIRT, PROXMOX)}
