"""Multifd as QEMU has it: channels, compression, zero pages, zero copy, refusals; the model is hostsim.qemu.multifd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hostsim.qemu.compression import Compression, Content
from hostsim.qemu.mechanism import Mechanism, Rule, Stream

if TYPE_CHECKING:
    # Circle of types: a migration makes its stream by the record, which gets that migration.
    from hostsim.costs.host_sheet import HostSheet
    from hostsim.qemu.migration import Migration
    from hostsim.qemu.multifd import MultifdRam
    from hostsim.qemu.parameters import MigrationParameters

NAME = "multifd"
ZeroPageDetection = Literal["none", "legacy", "multifd"]
_ZERO_COPY = "Zero copy only available for non-compressed non-TLS multifd migration"


@dataclass(frozen=True)
class MultifdParameters:
    """zero_page_detection acts without multifd, too."""

    multifd: bool = False
    multifd_channels: int = 2
    multifd_compression: Compression = "none"
    multifd_zlib_level: int = 1
    multifd_zstd_level: int = 1
    zero_page_detection: ZeroPageDetection = "multifd"
    zero_copy_send: bool = False


def _ram(migration: Migration) -> dict[str, int]:
    return {"multifd-bytes": migration.ram.channel_bytes}


def _make(*given: Any) -> MultifdRam:
    from hostsim.qemu.multifd import MultifdRam  # compiled loops, which only channels need

    return MultifdRam(*given)


def _page_bytes(parameters: MigrationParameters, content: Content) -> int:
    from hostsim.qemu.multifd import counted_page_bytes

    return counted_page_bytes(parameters, content)


def _host_bytes_per_s(sheet: HostSheet, parameters: MigrationParameters, content: Content) -> int:
    from hostsim.qemu.multifd import host_bytes_per_s

    return host_bytes_per_s(sheet, parameters, content)


PART = Mechanism(
    NAME, 40, "multifd", MultifdParameters,
    rules=(
        Rule("zero_copy_send", "multifd", True, _ZERO_COPY),
        Rule("zero_copy_send", "xbzrle", False, _ZERO_COPY),
        Rule("zero_copy_send", "multifd_compression", False, _ZERO_COPY),
        Rule("multifd", "xbzrle", False, "Multifd is not compatible with xbzrle", since=(8, 2)),
    ),
    stream=Stream(_make, lambda parameters: parameters.multifd_channels, _page_bytes, _host_bytes_per_s),
    ram=_ram,
)  # fmt: skip
