"""Checks between the keys of multifd: what QEMU refuses together, and keys that would be without effect."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.core.finding import Finding
from hostsim.scenario.host_schema import Migration

CHANNEL_KEYS = ("multifd_channels", "multifd_compression", "multifd_zlib_level", "multifd_zstd_level")


def multifd_findings(migration: Migration) -> Iterator[Finding]:
    """All findings about multifd, compression, zero pages and zero-copy-send."""
    yield from _needless(migration)
    yield from _levels(migration)
    yield from _zero_copy(migration)
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


def _zero_copy(migration: Migration) -> Iterator[Finding]:
    """migration/options.c::migrate_caps_check: zero copy only for multifd without compression and TLS."""
    if not migration.zero_copy_send:
        return
    key = "migration.zero_copy_send"
    if not migration.multifd:
        wanted = "multifd = true: QEMU sends without copying on the channels of multifd alone"
        yield Finding(key, "true without multifd", wanted, "multifd = true", ("migration.multifd",))
    elif migration.multifd_compression != "none":
        wanted = "multifd_compression = \"none\": a page that is compressed is no longer in the guest's memory"
        got, uses = f"true with multifd_compression = '{migration.multifd_compression}'", ("migration.multifd_compression",)
        yield Finding(key, got, wanted, 'multifd_compression = "none"', uses)
