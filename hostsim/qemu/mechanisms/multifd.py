"""Multifd as QEMU has it: channels, compression, zero pages, zero copy, refusals; the model is hostsim.qemu.multifd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hostsim.qemu.compression import Compression
from hostsim.qemu.mechanism import Mechanism, Rule

if TYPE_CHECKING:
    from hostsim.qemu.migration import Migration

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


PART = Mechanism(
    NAME, 40, "multifd", MultifdParameters,
    rules=(
        Rule("zero_copy_send", "multifd", True, _ZERO_COPY),
        Rule("zero_copy_send", "xbzrle", False, _ZERO_COPY),
        Rule("zero_copy_send", "multifd_compression", False, _ZERO_COPY),
        Rule("multifd", "xbzrle", False, "Multifd is not compatible with xbzrle", since=(8, 2)),
    ),
    ram=_ram,
)  # fmt: skip
