"""Versions of QEMU whose behaviour is modelled."""

from __future__ import annotations

import re
from typing import Literal

Version = Literal["7.2", "10.0", "10.2"]
Release = tuple[int, int]


def release(version: Version) -> Release:
    """Major and minor number of a version."""
    major, minor = version.split(".")
    return int(major), int(minor)


FLUSHES_COUNT: Release = (8, 1)
"""Since then bytes count against max-bandwidth as they are written, 32 pages at a time, and no longer as they are queued:
QEMU commit de37f8b9c21e ("qemu-file: Account for rate_limit usage on qemu_fflush()") (in v8.1).
"""
NAMED = re.compile(r"(\d{1,3})\.(\d{1,3})")


def modelled_as(named: str | None) -> Version:
    """The modelled version that sends as the version ``named`` does, such as "8.2.3" or "QEMU 6.2"; None: "10.0".

    # Model limit: of a version between two modelled ones only the bytes of a window are its own; statuses and the order of
    # QEMU's tests are those of the modelled version.
    """
    found = NAMED.search(named or "10.0")
    at = (int(found[1]), int(found[2])) if found else release("10.0")
    if at < FLUSHES_COUNT:
        return "7.2"
    return "10.2" if at >= release("10.2") else "10.0"
