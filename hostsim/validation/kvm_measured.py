"""Migrations that this host has just run, or that a file keeps, beside simulations of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hostsim.costs.era import with_era_names
from hostsim.measure.qemu.dirty_rate import DirtyRate
from hostsim.validation.kvm_migrations import SHIPPED, SUITE, Under, case_rows
from hostsim.validation.qemu.cases import Case
from hostsim.validation.qemu.machine import VERSIONS
from hostsim.validation.rows import Row

SHOWN = ("max_throttle_pct", "faults", "guest_loss_percent")
"""Figures that are shown, not scored."""
NOT_BESIDE = "not simulated beside it"

Progress = Callable[[str], None]


def case_of(raw: Mapping[str, Any]) -> Case:
    """A measured case, as ``hostsim.measure.qemu.record`` makes it or its line of a file says it."""
    return Case(raw["id"], raw["inputs"], tuple(raw["status"]), raw["measured"], tuple(raw["repeats"]))


def measured_rows(cases: Sequence[Case], sheet: str, progress: Progress = lambda _about: None) -> Iterator[Row]:
    """Rows of each case: real is expected, simulated is got.

    sheet: name or path of the costs of the host that ran them.
    progress: called with the name of each finished case.
    """
    for case in cases:
        yield from _simulated(case, sheet)
        progress(case.id)


def _simulated(case: Case, sheet: str) -> Iterator[Row]:
    inputs, version = case.inputs, modelled_version(str(case.inputs["qemu_version"]))
    other = replace(case, inputs={**inputs, "qemu_version": version})
    for row in case_rows(other, under_of(case, sheet), SHOWN):
        told = replace(row, id=row.id.replace("migration/", "measured/", 1))
        is_other = not str(inputs["qemu_version"]).startswith(version)
        yield replace(told, note=f"{told.note}; QEMU {inputs['qemu_version']} simulated as {version}") if is_other else told


def modelled_version(version: str) -> str:
    """The newest modelled version of QEMU that is not newer than ``version``, else the oldest."""
    number = _number(version)
    older = [name for name in VERSIONS if _number(name) <= number]
    return max(older, key=_number) if older else min(VERSIONS, key=_number)


def _number(version: str) -> tuple[int, int]:
    major, minor, *_ = (int(part) for part in version.split("."))
    return major, minor


def under_of(case: Case, sheet: str) -> Under:
    """KVM of the host that ran ``case``, where the case says it."""
    host = case.inputs.get("host")
    if not host:
        return replace(SHIPPED, sheet=sheet)
    return Under(sheet, with_era_names(str(host["kernel"])), host["mmu"], "pml" if host["pml"] else "write-protect")


def rate_rows(rates: Sequence[DirtyRate]) -> Iterator[Row]:
    """The rate that calc-dirty-rate reports, beside the pages that the guest wrote."""
    for rate in rates:
        where, said = f"measured/calc-dirty-rate/{rate.mode}", rate.reported_mib_s
        why = f"{NOT_BESIDE}; the guest wrote {rate.distinct_mib_s:.1f} MiB/s of distinct pages"
        yield Row(SUITE, where, "MiB/s", said, None, None, None, passed=False).unscored(why)
