"""Versions of QEMU whose behaviour is modelled."""

from __future__ import annotations

from typing import Literal

Version = Literal["7.2", "10.0", "10.2"]
Release = tuple[int, int]


def release(version: Version) -> Release:
    """Major and minor number of a version."""
    major, minor = version.split(".")
    return int(major), int(minor)
