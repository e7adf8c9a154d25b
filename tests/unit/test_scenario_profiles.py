from __future__ import annotations

from typing import get_args

import pytest

from hostsim.scenario import PROFILES, Migration, Scenario
from hostsim.scenario.mechanism import mechanisms
from hostsim.scenario.profiles import REMEDIES

VM = {"memory": "3GiB"}


def migration_of(**keys: object) -> Migration:
    migration = Scenario.model_validate({"vm": VM, "migration": keys}).migration
    assert migration is not None
    return migration


@pytest.mark.parametrize(
    ("profile", "bandwidth", "downtime_ms", "auto_converge", "timeout_s"),
    [
        ("qemu", 128 << 20, 300, False, 0),
        ("libvirt", 0, 300, False, 0),
        ("nova", 0, 500, False, 2400),
        ("kubevirt", 0, 300, False, 450),
        ("proxmox", 0, 100, True, 0),
    ],
)
def test_a_profile_gives_defaults(
    profile: str, bandwidth: int, downtime_ms: int, auto_converge: bool, timeout_s: int
) -> None:
    migration = migration_of(profile=profile)
    assert migration.bandwidth == bandwidth
    assert migration.downtime_limit == downtime_ms * 10**6
    assert migration.auto_converge is auto_converge
    assert migration.timeout == timeout_s * 10**9


@pytest.mark.parametrize("profile", ["libvirt", "nova", "kubevirt"])
def test_libvirt_sets_optional_capabilities_beside_those_that_need_them(profile: str) -> None:
    plain, postcopy = migration_of(profile=profile), migration_of(profile=profile, postcopy_ram=True)
    assert (plain.postcopy_preempt, postcopy.postcopy_preempt) == (False, True)
    assert plain.pause_before_switchover
    assert (plain.return_path, plain.switchover_ack) == (True, True)
    tunnelled = migration_of(profile=profile, return_path=False)
    assert (tunnelled.return_path, tunnelled.switchover_ack) == (False, False)
    older = migration_of(profile=profile, qemu="7.2", postcopy_ram=True)
    assert (older.switchover_ack, older.postcopy_preempt) == (False, True)


def test_a_capability_that_is_written_off_stays_off() -> None:
    assert not migration_of(profile="libvirt", postcopy_ram=True, postcopy_preempt=False).postcopy_preempt
    assert not migration_of(profile="proxmox", xbzrle=False).xbzrle
    assert not migration_of(profile="qemu", postcopy_ram=True).postcopy_preempt


@pytest.mark.parametrize(("memory", "mib"), [("8GiB", 1024), ("10GiB", 1024), ("1280MiB", 128), ("1284MiB", 256)])
def test_proxmox_sends_differences_from_a_cache_of_a_tenth_of_memory(memory: str, mib: int) -> None:
    migration = Scenario.model_validate({"vm": {"memory": memory}, "migration": {"profile": "proxmox"}}).migration
    assert migration is not None
    assert (migration.xbzrle, migration.xbzrle_cache_size) == (True, mib << 20)


def test_proxmox_keeps_a_written_cache_and_gives_way_to_channels() -> None:
    assert migration_of(profile="proxmox", xbzrle_cache_size="64MiB").xbzrle_cache_size == 64 << 20
    assert not migration_of(profile="proxmox", multifd=True).xbzrle
    assert migration_of(profile="proxmox", multifd=True, qemu="7.2").xbzrle, "7.2 allows both"
    assert migration_of(profile="libvirt").xbzrle_cache_size == 64 << 20


def test_what_is_written_wins() -> None:
    migration = migration_of(profile="nova", bandwidth="1MiB/s", downtime_limit="1s", timeout="never", auto_converge=True)
    assert (migration.bandwidth, migration.downtime_limit, migration.timeout) == (1 << 20, 10**9, 0)
    assert migration.auto_converge


@pytest.mark.parametrize(("written", "version"), [("7.2", "7.2"), (7.2, "7.2"), (10.0, "10.0"), (10.2, "10.2")])
def test_a_version_may_be_written_as_a_number(written: object, version: str) -> None:
    assert migration_of(qemu=written).qemu == version


def test_a_small_guest_of_nova_has_two_gib_worth_of_time() -> None:
    assert PROFILES["nova"].timeout_s(1 << 20) == 1600


def test_every_profile_can_be_chosen_and_says_where_its_figures_are_from() -> None:
    assert set(get_args(Migration.model_fields["profile"].annotation)) == set(PROFILES)
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert set(profile.commands) <= set(REMEDIES)
        assert {"downtime_limit", "bandwidth", "auto_converge"} <= set(profile.commands)
        assert all(default.source for default in profile.defaults.values())
        assert bool(profile.timeout_source) is (profile.timeout_per_gib_s > 0)


@pytest.mark.parametrize(
    ("profile", "remedy", "value", "command"),
    [
        ("qemu", "downtime_limit", 1200, "migrate_set_parameter downtime-limit 1200"),
        ("libvirt", "bandwidth", 512 << 20, "virsh migrate-setspeed DOMAIN 512"),
        ("nova", "bandwidth", 512 << 20, "nova.conf [libvirt] live_migration_bandwidth = 512"),
        ("proxmox", "downtime_limit", 1200, "qm set VMID --migrate_downtime 1.2"),
        ("proxmox", "post_copy", None, ""),
        ("libvirt", "bandwidth", (512 << 20) + 1000, "virsh migrate-setspeed DOMAIN 513"),
        ("qemu", "timeout", 2.2, ""), ("libvirt", "timeout", 2.2, "virsh migrate --live DOMAIN URI"),
        ("nova", "timeout", 2.2, "nova.conf [libvirt] live_migration_completion_timeout = 3 divided by GIB, rounded up"),
        ("qemu", "downtime_limit", 290.00000000000003, "migrate_set_parameter downtime-limit 290"),
    ],
)
def test_commands_have_the_unit_their_program_wants(profile: str, remedy: str, value: float | None, command: str) -> None:
    assert PROFILES[profile].command(remedy, value) == command


def test_no_command_keeps_a_place_for_a_figure() -> None:
    of_mechanisms = {remedy for one in mechanisms() for commands in one.commands.values() for remedy in commands}
    remedies = (*REMEDIES, *of_mechanisms)
    filled = [profile.command(remedy, 1000.0) for profile in PROFILES.values() for remedy in remedies]
    assert not [command for command in filled if "{value}" in command or "{mib" in command or "{sec" in command]


def test_no_remedy_of_time_cancels_or_suspends() -> None:
    for profile in PROFILES.values():
        command = profile.command("timeout", 77)
        assert "migrate_cancel" not in command
        assert "--timeout" not in command
