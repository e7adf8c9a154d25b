"""Multifd in a scenario: its keys, keys that would be without effect, assumed compression, modes, commands, other names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from hostsim.core.errors import Finding
from hostsim.qemu.compression import ASSUMED_RATIO, IN_HARDWARE, Compression, Content
from hostsim.qemu.mechanisms.multifd import NAME, MultifdParameters, ZeroPageDetection
from hostsim.scenario.mechanism import Kind, Mechanism
from hostsim.scenario.section import Section
from hostsim.scenario.types import Count, Flag, constant, refused

if TYPE_CHECKING:
    # Circle of types: [migration] is made of the section here, whose checks get it.
    from hostsim.costs.host_sheet import HostSheet
    from hostsim.scenario.host_schema import Migration
    from hostsim.scenario.schema import Scenario

QEMU_DEFAULTS = MultifdParameters()


def _without_hardware(value: object) -> object:
    if isinstance(value, str) and value in IN_HARDWARE:
        got = f"'{value}', which compresses on {IN_HARDWARE[value]}: a device without a model here"
        raise refused(got, "'none', 'zlib' or 'zstd', which compress on the CPU", 'multifd_compression = "zstd"')
    return value


class MultifdKeys(Section):
    """Keys of [migration]."""

    multifd: Flag = Field(
        default=QEMU_DEFAULTS.multifd, description="capability multifd: RAM goes over several connections, a thread each"
    )
    multifd_channels: Count = Field(
        default=QEMU_DEFAULTS.multifd_channels,
        ge=1,
        le=255,
        description="connections of multifd (virsh --parallel-connections)",
    )
    multifd_compression: Annotated[Compression, BeforeValidator(_without_hardware)] = Field(
        default=QEMU_DEFAULTS.multifd_compression,
        description="method by which the channels compress pages; vm.compression_ratio gives the ratio",
    )
    multifd_zlib_level: Count = Field(
        default=QEMU_DEFAULTS.multifd_zlib_level, ge=1, le=9, description="level of zlib; 1 is the fastest"
    )
    multifd_zstd_level: Count = Field(
        default=QEMU_DEFAULTS.multifd_zstd_level, ge=1, le=20, description="level of zstd; 1 is the fastest"
    )
    zero_page_detection: ZeroPageDetection = Field(
        default=QEMU_DEFAULTS.zero_page_detection,
        description="10.x: the thread that looks for pages of zeros: none, the migration thread (legacy), or the channels "
        "(multifd; without multifd as legacy)",
    )
    zero_copy_send: Flag = Field(
        default=QEMU_DEFAULTS.zero_copy_send,
        description="capability zero-copy-send: the network card reads the pages in place; with multifd, uncompressed",
    )


class MultifdConstants(Section):
    """Keys of [host]."""

    queue_page_ns: Count | None = constant("multifd: CPU time of the migration thread per page that a channel sends [ns]")
    zlib_page_ns: Count | None = constant("multifd: CPU time of a channel to compress a page, zlib level 1 [ns]")
    zstd_page_ns: Count | None = constant("multifd: CPU time of a channel to compress a page, zstd level 1 [ns]")
    zero_copy_page_ns: Count | None = constant("zero_copy_send: CPU time of a channel per page [ns]")


CHANNEL_KEYS = ("multifd_channels", "multifd_compression", "multifd_zlib_level", "multifd_zstd_level")


def _findings(migration: Migration) -> Iterator[Finding]:
    """All findings about multifd, compression and zero pages."""
    yield from _needless(migration)
    yield from _levels(migration)
    if migration.qemu == "7.2" and migration.zero_page_detection == "none":
        yield Finding(
            "migration.zero_page_detection", "'none'",
            'qemu = "10.0" or later: in 7.2 the migration thread always looks for pages of zeros', 'qemu = "10.2"',
            ("migration.qemu",),
        )  # fmt: skip


def _needless(migration: Migration) -> Iterator[Finding]:
    for name in CHANNEL_KEYS:
        if _is_changed(migration, name) and not migration.multifd:
            wanted = "multifd = true, or the table without this key"
            yield Finding(
                f"migration.{name}", "a key that has no effect here", wanted, "multifd = true", ("migration.multifd",)
            )


def _is_changed(migration: Migration, name: str) -> bool:
    """Whether ``name`` has another value than by default; a scenario as resolved names all keys."""
    return bool(getattr(migration, name) != type(migration).model_fields[name].default)


def _levels(migration: Migration) -> Iterator[Finding]:
    for method in ("zlib", "zstd"):
        key = f"multifd_{method}_level"
        if _is_changed(migration, key) and migration.multifd and migration.multifd_compression != method:
            got, wanted = "a key that has no effect here", f'multifd_compression = "{method}", or the table without this key'
            example, uses = f'multifd_compression = "{method}"', ("migration.multifd_compression",)
            yield Finding(f"migration.{key}", got, wanted, example, uses)


def _compression(scenario: Scenario) -> Iterator[str]:
    """Pages that a migration compresses, and of which the scenario does not say how well they compress."""
    migration = scenario.migration
    assert migration is not None, "only a migration that has channels is asked"
    if migration.multifd_compression != "none" and scenario.vm.compression_ratio is None:
        yield (
            f"{migration.multifd_compression} is assumed to compress pages to {100 * ASSUMED_RATIO:.3g} % of their size, as "
            "in one published measurement; the ratio of your guest decides the bandwidth (--set vm.compression_ratio=0.5)"
        )


def _slow_threads(scenario: Scenario) -> Iterator[str]:
    """Warnings of channels, or of a migration thread that feeds them, whose speed is an assumption the answer rests on."""
    from hostsim.scenario.plausible import bits_words, range_ns, sent_by  # it reads the keys, which this makes

    migration = scenario.migration
    assert migration is not None, "only a migration that has channels is asked"
    sheet, machine = scenario.host.sheet(), scenario.host.machine
    sent = _sent_by_channels(scenario, sheet)
    for name, streams in (("page_send_ns", migration.multifd_channels), ("queue_page_ns", 1)):
        used_ns = getattr(sheet, name)
        slowest_ns = range_ns(machine, name, used_ns)[1]
        is_used = name == "queue_page_ns" or (migration.multifd_compression == "none" and not migration.zero_copy_send)
        if is_used and slowest_ns and sent > streams * sent_by(slowest_ns):
            who = "the migration thread is" if name == "queue_page_ns" else f"{streams} channels are"
            yield (
                f"multifd sends up to {bits_words(sent)} here, and {who} only sure of "
                f"{bits_words(streams * sent_by(slowest_ns))} (host.{name} = {slowest_ns}, the slow end of what is "
                f"assumed): the answer rests on host.{name} = {used_ns}"
            )


def _sent_by_channels(scenario: Scenario, sheet: HostSheet) -> int:
    """Most bytes/s that QEMU counts, by the tightest of link, max-bandwidth and threads."""
    assert scenario.migration is not None
    from hostsim.qemu.ram_stream import host_bytes_per_s  # compiled loops

    content = Content(scenario.vm.compression_ratio or ASSUMED_RATIO)
    host = host_bytes_per_s(sheet, scenario.migration.parameters(), content)
    return min(limit for limit in (scenario.link.bandwidth, scenario.migration.bandwidth, host) if limit)


ALIASES = {
    "x-multifd": "multifd", "parallel": "multifd", "parallel-connections": "multifd_channels",
    "channels": "multifd_channels", "zero-copy": "zero_copy_send", "zerocopy": "zero_copy_send",
    "comp-zlib-level": "multifd_zlib_level", "comp-zstd-level": "multifd_zstd_level", "zlib": "multifd_compression",
    "zstd": "multifd_compression", "compression": "multifd_compression",
}  # fmt: skip
PART = Mechanism(
    NAME, 40, Kind.STREAM, "multifd", MultifdKeys,
    host=MultifdConstants,
    modelled=("multifd with zlib, zstd and zero-copy-send", "zero-page-detection"),
    aliases=ALIASES,
    modes={
        "multifd": {"multifd": "true"},
        "multifd-zlib": {"multifd": "true", "multifd_compression": "zlib"},
        "multifd-zstd": {"multifd": "true", "multifd_compression": "zstd"},
        "zero-copy": {"multifd": "true", "zero_copy_send": "true"},
    },
    remedy="multifd",
    remedy_value=QEMU_DEFAULTS.multifd_channels,
    commands={
        "qemu": {"multifd": "migrate_set_capability multifd on; migrate_set_parameter multifd-channels {value}"},
        "libvirt": {"multifd": "virsh migrate --live --parallel --parallel-connections {value} DOMAIN URI"},
    },
    findings=_findings,
    assumptions=_compression,
    warnings=_slow_threads,
    sure_streams=lambda keys: 0 if keys["multifd_compression"] != "none" else keys["multifd_channels"],
    is_forecast=True,
    warm_up={"multifd": True},
)  # fmt: skip
