"""Logs that logrotate or an operator has compressed: gzip, bzip2 and xz are read as the text within."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from gzip import GzipFile
from typing import IO, Protocol

from hostsim.core.user_files import LOG
from hostsim.logs.model import broken


class Unpacked(Protocol):
    """A file that is read as the text within."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes of it."""


OPENERS: tuple[tuple[bytes, Callable[[IO[bytes]], Unpacked]], ...] = (
    (b"\x1f\x8b", lambda file: GzipFile(fileobj=file)), (b"BZh", bz2.BZ2File), (b"\xfd7zXZ\x00", lzma.LZMAFile),
)  # fmt: skip
OTHERS = (
    (b"PK\x03\x04", "a ZIP archive", "unzip -p job.zip"),
    (b"\x28\xb5\x2f\xfd", "a file compressed by zstd", "zstdcat job.zst"),
)


def unpacked(content: bytes, source: str) -> bytes:
    """``content``, or the text within if it is compressed. InputError: it is broken, too large, or of another program."""
    for magic, what, command in OTHERS:
        if content.startswith(magic):
            raise broken(source, 0, "", what, "text, or a file of gzip, bzip2 or xz", f"{command} | hostsim explain -")
    opener = next((opener for magic, opener in OPENERS if content.startswith(magic)), None)
    if opener is None:
        return content
    try:
        text = opener(io.BytesIO(content)).read(LOG.bytes_max + 1)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        got = f"a compressed file that is broken: {error}"
        raise broken(source, 0, "", got, "the whole file", "gzip -t job.gz") from error
    if len(text) > LOG.bytes_max:
        got = f"a compressed file of more than {LOG.bytes_max >> 20} MiB of text"
        raise broken(source, 0, "", got, "the lines about one migration", LOG.example)
    return text
