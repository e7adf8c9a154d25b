"""Mechanisms of QEMU's migration that hostsim does not model yet, read by errors, the page of limits and the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MODELLED = (
    "pre-copy with limits of bandwidth and downtime, auto-converge, avail-switchover-bandwidth, return-path, "
    "switchover-ack, pause-before-switchover"
)


@dataclass(frozen=True)
class Mechanism:
    """A mechanism of QEMU's migration without a model.

    name: the usual name.
    does: its effect on a migration.
    parameters: QEMU's capabilities and parameters (QEMU 10.2 migration/options.c; 7.2 for removed names).
    also: names in libvirt, Nova, KubeVirt or HMP.
    instead: advice for the meantime, part of the error.
    """

    name: str
    does: str
    parameters: tuple[str, ...]
    also: tuple[str, ...] = ()
    instead: str = ""


UNMODELLED = (
    Mechanism(
        "post-copy", "the guest runs at the destination and fetches the pages that it misses",
        ("postcopy-ram", "postcopy-preempt", "postcopy-blocktime", "max-postcopy-bandwidth"),
        ("postcopy", "allow-post-copy", "live-migration-permit-post-copy", "postcopy-bandwidth", "start-postcopy"),
        "a verdict tells for how long the guest would need both hosts",
    ),
    Mechanism(
        "multifd", "several connections and threads send pages",
        ("multifd", "multifd-channels", "multifd-compression", "multifd-zlib-level", "multifd-zstd-level",
         "multifd-qatzip-level", "x-multifd"),
        ("parallel", "parallel-connections", "channels"),
        "host.page_send_ns is what one thread needs for a page",
    ),
    Mechanism(
        "XBZRLE", "a page that was sent before travels as the difference",
        ("xbzrle", "xbzrle-cache-size"), ("comp-xbzrle-cache", "comp-methods", "compressed"),
    ),
    Mechanism(
        "dirty-limit", "vCPUs are held back each by its own dirty rate",
        ("dirty-limit", "vcpu-dirty-limit", "x-vcpu-dirty-limit-period"), ("set-vcpu-dirty-limit",),
        "migration.auto_converge holds all vCPUs back",
    ),
    Mechanism("zero-copy", "the kernel sends pages without copying them", ("zero-copy-send",)),
    Mechanism(
        "compression", "pages are compressed before they are sent (zlib, zstd, QAT)",
        ("compress", "compress-level", "compress-threads", "decompress-threads", "compress-wait-thread"),
        ("compression", "zlib", "zstd", "qatzip", "qpl", "uadk"),
    ),
    Mechanism(
        "zero-page-detection", "which thread looks for pages of zeros; here it is the migration thread",
        ("zero-page-detection",),
    ),
    Mechanism("mapped-ram", "each page has its place in a file", ("mapped-ram", "direct-io"), ("fixed-ram",)),
    Mechanism(
        "COLO", "primary and secondary VM run side by side, with checkpoints", ("x-colo", "x-checkpoint-delay"), ("colo",)
    ),
    Mechanism(
        "TLS", "the stream is encrypted",
        ("tls-creds", "tls-hostname", "tls-authz"), ("live-migration-with-native-tls",),
    ),
    Mechanism("RDMA", "the network card writes to the destination's memory", ("rdma-pin-all",), ("rdma",)),
    Mechanism("CPR", "QEMU is replaced on the host on which the guest is", ("mode", "cpr-exec-command"), ("cpr",)),
    Mechanism(
        "background-snapshot", "a snapshot is written while the guest runs",
        ("background-snapshot",), ("snapshot",),
    ),
    Mechanism(
        "disks", "disks are copied along with memory",
        ("block", "block-incremental", "block-bitmap-mapping", "dirty-bitmaps"), ("copy-storage-all", "copy-storage-inc"),
    ),
    Mechanism(
        "VFIO", "a passed-through device has state of its own to send",
        ("x-migration-multifd-transfer", "enable-migration"), ("vfio",),
        "host.device_state_bytes is sent while the guest is stopped",
    ),
    Mechanism(
        "shared memory", "memory that the destination has already is not sent", ("x-ignore-shared",), ("ignore-shared",)
    ),
    Mechanism(
        "announcing", "the destination sends gratuitous ARPs; the network learns where the guest is",
        ("announce-initial", "announce-max", "announce-rounds", "announce-step"),
    ),
    Mechanism(
        "further capabilities", "they move no time that is modelled",
        ("events", "release-ram", "late-block-activate", "validate-uuid"),
    ),
)  # fmt: skip
STEM_MIN = 6
"""Shorter names are matched as a whole: "mode" is in "model"."""


def refusal(key: str, value: object) -> tuple[str, str] | None:
    """(got, wanted) if the unknown ``key``, or its ``value``, names a mechanism without a model; None otherwise."""
    found = (_named(value) if isinstance(value, str) else None) or mechanism_of(key)
    if found is None:
        return None
    instead = f" ({found.instead})" if found.instead else ""
    return f"{found.name}, which is not modelled yet{instead}", f"what is modelled: {MODELLED}"


def mechanism_of(text: str) -> Mechanism | None:
    """The mechanism that ``text`` names, by any of its names, with hyphens, underscores or neither."""
    return _named(text) or next((one for one in UNMODELLED if _has_stem(_plain(text), one)), None)


def limit_lines() -> Iterator[str]:
    """A line for each mechanism, for the page of limits."""
    for one in UNMODELLED:
        parameters = ", ".join(f"`{name}`" for name in one.parameters)
        yield f"- **{one.name}**: {one.does} ({parameters})"


def _named(text: str) -> Mechanism | None:
    """The mechanism of which ``text`` is a name, whole."""
    return next((one for one in UNMODELLED if _plain(text) in set(map(_plain, _names(one)))), None)


def _names(one: Mechanism) -> tuple[str, ...]:
    return (one.name, *one.parameters, *one.also)


def _has_stem(name: str, one: Mechanism) -> bool:
    """Whether ``name`` contains a longer name of ``one``: "live_migration_permit_post_copy", "multifd-foo"."""
    return any(stem in name for stem in map(_plain, _names(one)) if len(stem) >= STEM_MIN)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text[:200].lower())
