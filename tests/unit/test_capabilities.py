"""Capabilities that QEMU refuses: the registry, and the errors of the loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostsim.core.errors import InputError
from hostsim.qemu.capabilities import DIRTY_RING, RULES, absent, refused
from hostsim.qemu.version import Version
from hostsim.scenario.load import load_scenario

FILE = '[vm]\nmemory = "4MiB"\n[migration]\n'

REFUSED: tuple[tuple[dict[str, object], Version, str], ...] = (
    ({"switchover_ack": True}, "10.2", "Capability 'switchover-ack' requires capability 'return-path'"),
    ({"multifd": True, "xbzrle": True}, "10.2", "Multifd is not compatible with xbzrle"),
    ({"postcopy_ram": True, "multifd": True}, "10.0", "Postcopy is not yet compatible with multifd"),
    ({"postcopy_preempt": True}, "10.2", "Postcopy preempt requires postcopy-ram"),
    ({"zero_copy_send": True}, "7.2", "Zero copy only available for non-compressed non-TLS multifd migration"),
    (
        {"zero_copy_send": True, "multifd": True, "multifd_compression": "zstd"}, "10.2",
        "Zero copy only available for non-compressed non-TLS multifd migration",
    ),
    (
        {"dirty_limit": True, "auto_converge": True, DIRTY_RING: True}, "10.2",
        "dirty-limit conflicts with auto-converge either of then available currently",
    ),
    ({"dirty_limit": True}, "10.0", "dirty-limit requires KVM with accelerator property 'dirty-ring-size' set"),
)  # fmt: skip
ALLOWED: tuple[tuple[dict[str, object], Version], ...] = (
    ({"switchover_ack": True, "return_path": True}, "10.2"),
    ({"switchover_ack": False}, "10.2"),
    ({"multifd": True, "xbzrle": True}, "7.2"),
    ({"postcopy_ram": True, "multifd": True}, "10.2"),
    ({"postcopy_ram": True, "multifd": True}, "7.2"),
    ({"zero_copy_send": True, "multifd": True, "multifd_compression": "none"}, "10.2"),
    ({"dirty_limit": True, DIRTY_RING: True}, "10.2"),
)


@pytest.mark.parametrize(("values", "qemu", "reason"), REFUSED)
def test_qemu_refuses_with_its_own_words(values: dict[str, object], qemu: Version, reason: str) -> None:
    assert [rule.reason for rule in refused(values, qemu)] == [reason]


@pytest.mark.parametrize(("values", "qemu"), ALLOWED)
def test_qemu_accepts(values: dict[str, object], qemu: Version) -> None:
    assert not list(refused(values, qemu))


def test_every_rule_can_be_broken_and_kept() -> None:
    for rule in RULES:
        qemu: Version = "10.0" if rule.before else "10.2"
        assert rule.breaks({rule.capability: True, rule.other: not rule.needs}, qemu)
        assert not rule.breaks({rule.capability: True, rule.other: rule.needs}, qemu)
        assert not rule.breaks({rule.other: not rule.needs}, qemu)


def test_an_older_qemu_does_not_have_newer_parameters() -> None:
    written: dict[str, object] = {"avail_switchover_bandwidth": 1, "switchover_ack": False, "auto_converge": True}
    assert [entry.name for entry in absent(written, "7.2")] == ["avail_switchover_bandwidth"]
    assert not list(absent(written, "10.0"))


def test_the_loader_names_key_got_wanted_and_example(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text(FILE + 'qemu = "7.2"\navail_switchover_bandwidth = "1GB/s"\n')
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    [problem] = caught.value.problems
    assert (problem.key, problem.got) == ("migration.avail_switchover_bandwidth", "8Gbit/s")
    assert '"10.0" or later' in problem.wanted
    assert problem.example == 'qemu = "10.2"'
