"""Checks between the keys of multifd: keys that would be without effect; hostsim.qemu.capabilities has QEMU's rules."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.core.finding import Finding
from hostsim.scenario.host_schema import Migration

CHANNEL_KEYS = ("multifd_channels", "multifd_compression", "multifd_zlib_level", "multifd_zstd_level")


def multifd_findings(migration: Migration) -> Iterator[Finding]:
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
            wanted = "multifd = true, or no such key"
            yield Finding(f"migration.{name}", "a key without meaning here", wanted, "multifd = true",
            ("migration.multifd",))


def _is_changed(migration: Migration, name: str) -> bool:
    """Whether ``name`` has another value than by default; a scenario as resolved names all keys."""
    return bool(getattr(migration, name) != type(migration).model_fields[name].default)


def _levels(migration: Migration) -> Iterator[Finding]:
    for method in ("zlib", "zstd"):
        key = f"multifd_{method}_level"
        if _is_changed(migration, key) and migration.multifd and migration.multifd_compression != method:
            got, wanted = "a key without meaning here", f'multifd_compression = "{method}", or no such key'
            example, uses = f'multifd_compression = "{method}"', ("migration.multifd_compression",)
            yield Finding(f"migration.{key}", got, wanted, example, uses)
