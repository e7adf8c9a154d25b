"""Mechanisms of QEMU's migration that hostsim does not model yet, read by errors, the page of limits and the README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hostsim.scenario.mechanism import mechanisms, modelled

MODELLED = "pre-copy with limits of bandwidth and downtime"
ALSO_MODELLED = ("avail-switchover-bandwidth", "return-path", "switchover-ack", "pause-before-switchover")
"""Beside the capabilities that the records of mechanisms name (hostsim.scenario.mechanism)."""


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
        "compression by threads", "threads of one stream compress pages (removed in QEMU 9.1)",
        ("compress", "compress-level", "compress-threads", "decompress-threads", "compress-wait-thread"),
        ("mt", "comp-mt-level", "comp-mt-threads", "comp-mt-dthreads"),
        "migration.multifd_compression compresses on the channels of multifd",
    ),
    Mechanism(
        "compression by a device", "the channels of multifd hand pages to a device that compresses them",
        ("multifd-qatzip-level",), ("qatzip", "qpl", "uadk"), "migration.multifd_compression compresses on the CPU",
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
    """(got, wanted) if the unknown ``key``, or its ``value``, names a mechanism of QEMU's migration; None otherwise."""
    by_value = _named(value) if isinstance(value, str) else None
    if by_value is None and (told := _renamed(key, value)):
        return told
    found = by_value or mechanism_of(key)
    if found is None:
        return None
    instead = f" ({found.instead})" if found.instead else ""
    return f"{found.name}, which is not modelled yet{instead}", f"what is modelled: {modelled(MODELLED, ALSO_MODELLED)}"


def _renamed(key: str, value: object) -> tuple[str, str] | None:
    """(got, wanted) if ``key`` or ``value`` is another name of a mechanism with a model."""
    names = _plain_names()
    named = [_plain(text) for text in (value, key) if isinstance(text, str) and _plain(text) in names]
    if not named:
        return None
    return f"another name of '{names[named[0]]}'", f"'{names[named[0]]}', QEMU's name with underscores"


def _plain_names() -> dict[str, str]:
    return {_plain(name): key for one in mechanisms() for name, key in one.aliases.items()}


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
