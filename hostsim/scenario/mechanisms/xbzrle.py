"""XBZRLE in a scenario: its keys, the size of its cache, what a write changes, its commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hostsim.core.errors import Finding
from hostsim.core.units import format_bytes
from hostsim.qemu.mechanisms.xbzrle import NAME, XbzrleParameters
from hostsim.scenario.mechanism import Default, Kind, Mechanism
from hostsim.scenario.section import Section
from hostsim.scenario.types import Bytes, Count, Flag, constant

if TYPE_CHECKING:
    from hostsim.scenario.schema import Scenario

CACHE = "xbzrle_cache"
"""Kind of the remedy that enlarges the cache."""
CACHE_MAX = 1 << 42
QEMU_DEFAULTS = XbzrleParameters()


class XbzrleKeys(Section):
    """Keys of [migration]."""

    xbzrle: Flag = Field(
        default=QEMU_DEFAULTS.xbzrle, description="capability xbzrle: a page that was sent before travels as the difference"
    )
    xbzrle_cache_size: Bytes = Field(
        default=QEMU_DEFAULTS.xbzrle_cache_size, gt=0, le=CACHE_MAX,
        description="xbzrle-cache-size: memory for copies of sent pages, a power of two", examples=["64MiB"],
    )  # fmt: skip


class XbzrleConstants(Section):
    """Keys of [host]."""

    xbzrle_encode_ns: Count | None = constant("XBZRLE: CPU time of encoding a page that is in the cache [ns]")
    xbzrle_run_ns: Count | None = constant("XBZRLE: further CPU time for each run of changed bytes [ns]")
    xbzrle_insert_ns: Count | None = constant("XBZRLE: CPU time of copying a page into the cache [ns]")


def _cache(migration: XbzrleKeys) -> Iterator[Finding]:
    from hostsim.qemu.xbzrle import is_cache_size

    size = migration.xbzrle_cache_size
    if not is_cache_size(size):
        got, wanted = format_bytes(size), "a power of two no less than the target page size, 4KiB (QEMU)"
        yield Finding("migration.xbzrle_cache_size", got, wanted, 'xbzrle_cache_size = "64MiB"')


def _larger_than_the_guest(scenario: Scenario) -> Iterator[str]:
    """A warning of a cache with slots that no page of the guest is put into (page_cache.c::cache_get_cache_pos)."""
    keys: Any = scenario.migration
    size: int = keys.xbzrle_cache_size
    guest = scenario.vm.memory + sum(block.size for block in scenario.vm.ramblock)
    if size >= 2 * guest:
        yield (
            f"migration.xbzrle_cache_size = {format_bytes(size)}: the guest has {format_bytes(guest)}, so a part of this "
            "cache, which QEMU keeps in the memory of the source host, never holds a page"
        )


def _contents(scenario: Scenario) -> Iterator[str]:
    """What a write changes decides what XBZRLE sends."""
    for i, load in enumerate(scenario.vm.workload):
        writes = load.write_rate > 0 or load.pattern == "trace"
        if writes and not {"changed_bytes", "changed_place"} & load.model_fields_set:
            key, where = f"vm.workload.{i}", "anywhere" if load.changed_place == "scattered" else "at the same place"
            yield (
                f"a write of {key} changes {load.changed_bytes} bytes in a row {where} in its page; XBZRLE sends more or "
                f"less if it changes others (--set {key}.changed_bytes=..., --set {key}.changed_place=...)"
            )


COMMANDS = {
    "qemu": {
        "xbzrle": "migrate_set_capability xbzrle on",
        CACHE: "migrate_set_parameter xbzrle-cache-size {value}",
    },
    "libvirt": {
        "xbzrle": "virsh migrate --live --compressed --comp-methods xbzrle DOMAIN URI",
        CACHE: "virsh migrate --live --compressed --comp-methods xbzrle --comp-xbzrle-cache {value} DOMAIN URI",
    },
}
PROXMOX = {
    "xbzrle": Default(True, "qemu-server PVE/QemuMigrate/Helpers.pm::set_migration_caps: xbzrle 1"),
    "xbzrle_cache_size": Default(
        "", "qemu-server PVE/QemuMigrate.pm::phase2, ::round_powerof2: up to a power of two", memory_share=0.1
    ),
}
PART = Mechanism(
    NAME, 10, Kind.STREAM, "xbzrle", XbzrleKeys,
    host=XbzrleConstants,
    modelled=("XBZRLE",),
    aliases={"compressed": "xbzrle", "xbzrle": "xbzrle", "comp-xbzrle-cache": "xbzrle_cache_size"},
    modes={"xbzrle": {"xbzrle": "true"}},
    remedy="xbzrle",
    commands=COMMANDS,
    profiles={"proxmox": PROXMOX},
    findings=_cache,
    warnings=_larger_than_the_guest,
    assumptions=_contents,
    warm_up={"xbzrle": True},
)  # fmt: skip
