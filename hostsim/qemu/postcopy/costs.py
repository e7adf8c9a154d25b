"""Costs of post-copy on the hosts of a migration."""

from __future__ import annotations

from hostsim.costs.postcopy_sheet import PostcopyCosts, load_postcopy
from hostsim.qemu.mechanisms.postcopy import NAME
from hostsim.qemu.migration import Migration


def costs_of(migration: Migration) -> PostcopyCosts:
    """The costs that the machine was given, else those of the generic machine."""
    found: PostcopyCosts | None = migration.inputs.get(NAME)
    return found or load_postcopy("generic")
