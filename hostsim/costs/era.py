"""Eras of KVM: lock modes of faults, and ways to read, clear and end a log, kernel by kernel.

The table is hostsim/data/eras.toml; each field has its source there and in ``Era.sources``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from hostsim.core.errors import InputError, Problem, UnitError
from hostsim.core.units import shown

Mode = Literal["none", "shared", "exclusive"]
Mmu = Literal["tdp", "direct", "shadow"]
MMUS: tuple[Mmu, ...] = ("tdp", "direct", "shadow")
Prefetch = Literal["none", "ended-runs", "runs", "in-order"]
ClearLock = Literal["exclusive", "each-mask", "shared"]
RecoveryFlush = Literal["spte", "each", "slot"]
PREFETCHES: tuple[Prefetch, ...] = ("none", "ended-runs", "runs", "in-order")
BY_MMU = ("faults", "log_read", "recovery", "recovery_flush", "split_on_fault", "prefetch")
"""Fields of an era that differ from MMU to MMU."""


@dataclass(frozen=True)
class FaultLocks:
    """Mode in which a fault of each kind takes mmu_lock; none: lockless."""

    map: Mode
    track: Mode
    wp: Mode
    split: Mode


@dataclass(frozen=True)
class Era:
    """One generation of KVM's MMU on x86.

    faults, log_read, recovery, recovery_flush, split_on_fault, prefetch: by MMU.
    log_read: active-walk (all active shadow pages), hybrid, rmap (dirty gfns through the rmap), tdp-tree.
    ageing: the replacement of a missing A bit.
    yields: long holds of mmu_lock that yield to waiters.
    recovery: treatment of the 4 KiB sptes of huge pages when logging stops.
    recovery_flush: one flush for each spte, for each region, or one a slot.
    clear: the TDP MMU's way to clear a bit of an spte.
    clear_lock: the way CLEAR takes mmu_lock: exclusive (once a call), each-mask (exclusive, anew for each 64 pages), shared.
    mglru_walk: MGLRU's page-table walk calls mmu notifiers.
    prefetch: sptes that a fault sets beside its own where the slot is not logged, of the aligned eight around it: none,
    ended-runs (runs without mapping that a mapped spte ends), runs (all), in-order (up to the first page that is not there).
    sources: source of each field, by its name, dotted for a field by MMU.
    """

    name: str
    kernel: str
    year: int
    lock: Literal["spinlock", "rwlock"]
    tdp_mmu: Literal["absent", "optional", "default"]
    faults: Mapping[str, FaultLocks]
    log_read: Mapping[str, Literal["active-walk", "hybrid", "rmap", "tdp-tree"]]
    ageing: Literal["zap", "access-tracking"]
    flush_when_ageing: bool
    ageing_lock: Mode
    eager_split: bool
    manual_protect: bool
    initially_all_set: bool
    clear: Literal["cmpxchg", "atomic-and"]
    clear_lock: ClearLock
    recovery: Mapping[str, Literal["none", "zap", "in-place"]]
    recovery_flush: Mapping[str, RecoveryFlush]
    split_on_fault: Mapping[str, Literal["map-one", "whole-table"]]
    prefetch: Mapping[str, Prefetch]
    pml_drain: Literal["newest-first", "oldest-first"]
    yields: tuple[str, ...]
    mglru_walk: bool
    sources: Mapping[str, str]

    def locks(self, mmu: str) -> FaultLocks:
        """Modes in which faults of ``mmu`` take mmu_lock. InputError if the MMU does not exist."""
        if mmu not in MMUS:
            raise unknown_name("mmu", mmu, MMUS)
        return self.faults[mmu]


FIELDS = tuple(field.name for field in fields(Era) if field.name not in {"name", "sources"})


def unknown_name(key: str, name: str, valid: Iterable[str]) -> InputError:
    """The error for a name that is none of ``valid``: names the nearest, or all."""
    names = list(valid)
    lower = {candidate.lower(): candidate for candidate in names}
    found = get_close_matches(name[:100].lower(), lower, n=1, cutoff=0.5)
    wanted = f"'{lower[found[0]]}' (the nearest)" if found else "one of " + ", ".join(names)
    return InputError([Problem("", key, f"'{name}'", wanted, lower[found[0]] if found else names[0])])


@cache
def _table() -> dict[str, Any]:
    text = (files("hostsim") / "data" / "eras.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def era_names() -> tuple[str, ...]:
    """Names of the eras, oldest first."""
    return tuple(_table())


def is_before(era: Era, name: str) -> bool:
    """Whether ``era`` comes before the era ``name``."""
    return era_names().index(era.name) < era_names().index(name)


@cache
def load_era(name: str) -> Era:
    """The era ``name``. InputError names the nearest if there is none."""
    if name not in era_names():
        raise unknown_name("era", name, era_names())
    entries = _entries(name)
    values = {key: entry["value"] for key, entry in entries.items()}
    return Era(
        name=name,
        sources=MappingProxyType({key: entry["source"] for key, entry in entries.items()}),
        **{field: _field(field, values) for field in FIELDS},
    )


KERNEL_EXAMPLE = "6.1"
_KERNEL = re.compile(r"[2-9]\.\d{1,3}(?:\.\d{1,3})?")


def era_wanted() -> str:
    """Text on the values that name an era."""
    return f"an era, {', '.join(era_names())}, or a kernel's release"


def read_era(value: object) -> str:
    """The name of an era, from "E4" or from a kernel's version, "6.1". UnitError for anything else."""
    if isinstance(value, str) and value in era_names():
        return value
    if not isinstance(value, str) or _KERNEL.fullmatch(value) is None:
        raise UnitError(shown(value), era_wanted(), KERNEL_EXAMPLE)
    era = era_of_kernel(value)
    if era is None:
        raise UnitError(shown(value), f"kernel {load_era(era_names()[0]).kernel} or later", KERNEL_EXAMPLE)
    return era


def with_era_names(text: str) -> str:
    """A list of eras and kernels, comma between them, as names of eras; other parts stay unchanged."""
    found = []
    for part in (part.strip() for part in text.split(",")):
        try:
            found.append(read_era(part))
        except UnitError:
            found.append(part)
    return ",".join(dict.fromkeys(found))


def era_of_kernel(version: str) -> str | None:
    """The era that kernel ``version`` ("6.1") belongs to: an era lasts until the next begins; None before the first."""
    # Model limit: a change within an era takes effect with the next era: in 6.2 to 6.12 a split fault unmaps 511 pages (E4).
    wanted = _numbers(version)
    return next((name for name in reversed(era_names()) if _numbers(first_kernel(name)) <= wanted), None)


def first_kernel(era: str) -> str:
    """The release from which ``era`` holds."""
    return load_era(era).kernel.split("-", 1)[0]


def last_kernel(era: str) -> str | None:
    """The release up to which ``era`` holds, the one before the next era's first; None for the last era."""
    later = era_names()[era_names().index(era) + 1 :]
    if not later:
        return None
    *major, minor = _numbers(first_kernel(later[0]))
    assert minor > 0, "an era that begins with x.0 needs the last release of the series before"
    return ".".join(map(str, [*major, minor - 1]))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _entries(name: str) -> dict[str, dict[str, Any]]:
    """{dotted field: {value, source}} of an era, on top of the era before."""
    own = dict(_table()[name])
    before = own.pop("after", None)
    base = _entries(before) if before else {}
    flat = {key: entry for key, entry in own.items() if key not in BY_MMU}
    by_mmu = {f"{field}.{mmu}": entry for field in BY_MMU for mmu, entry in own.get(field, {}).items()}
    return {**base, **flat, **by_mmu}


def _field(field: str, values: Mapping[str, Any]) -> Any:
    if field == "faults":
        return MappingProxyType({mmu: FaultLocks(**values[f"faults.{mmu}"]) for mmu in MMUS})
    if field in BY_MMU:
        return MappingProxyType({mmu: values[f"{field}.{mmu}"] for mmu in MMUS})
    return tuple(values[field]) if field == "yields" else values[field]
