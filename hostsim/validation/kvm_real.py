"""Suite ``kvm``: phases of the dirty log measured on real KVM, beside simulations with the cost sheet of that host.

Constants of the sheet were set on a few of the configurations; rows that set one are shown, the others are scored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.costs.costs import load_costs
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.spec import MmuSpec
from hostsim.measure.selftest.walked_vm import Timed, Walk, WalkedSpec, WalkedVm
from hostsim.validation.kvm_blind import blind_rows, later_cases
from hostsim.validation.kvm_dirty_rate import dirty_rate_rows
from hostsim.validation.kvm_map_passes import map_rows
from hostsim.validation.kvm_measured import measured_rows
from hostsim.validation.kvm_migrations import ERA, SHEET, SUITE, case_rows, kvm_cases
from hostsim.validation.kvm_one_page import one_page_rows
from hostsim.validation.kvm_postcopy import postcopy_rows
from hostsim.validation.kvm_recycling import recycling_rows
from hostsim.validation.kvm_swap import swap_rows
from hostsim.validation.kvm_throttle import limit_rows, throttle_rows
from hostsim.validation.kvm_unsync import unsync_rows
from hostsim.validation.qemu.cases import load_cases
from hostsim.validation.rows import Row, absolute, relative, selected

TOLERANCE = 0.15
INTERFACES: dict[str, Interface] = {
    "get": "get-dirty-log", "clear": "clear-dirty-log", "init": "initially-all-set", "ring": "dirty-ring",
}  # fmt: skip
FIRST_TOUCH = "first touch: the host's allocation, shown only"
SHORT_NS = 20.0
"""Phases below so many ns a page are shown only: the clock of the measurement and its call are a part of them."""


@dataclass(frozen=True)
class Measured:
    """A phase on real KVM. n: accesses, pages or entries; ns_per, least, most: of one of them [ns]; ring_full: exits."""

    n: int
    ns_per: float
    least: float
    most: float
    ring_full: tuple[int, int] | None


def rows(
    only: Sequence[str] | None = None, jobs: int = 1, progress: Callable[[str, int, int], None] | None = None,
    cases: Path | None = None,
) -> list[Row]:  # fmt: skip
    """Rows of suite ``kvm``: every configuration with one spte a page, phase by phase; migrations; swap-ins.

    cases: a file of migrations that ``--measure`` has written; then these only, with the costs of the shipped sheet.
    """
    del jobs  # a configuration takes a tenth of a second
    if cases:
        return selected(measured_rows(load_cases(cases), SHEET), only)
    configs = [config for config in dirty_log_configs() if config["config"]["alias"] == 1]
    work: dict[str, Callable[[], Iterator[Row]]] = {
        name_of(config["config"]): partial(config_rows, config["config"], config["phases"]) for config in configs
    }
    work |= {"map": map_rows, "recycling": recycling_rows, "one-page": one_page_rows, "unsync": unsync_rows}
    work |= {case.id: partial(case_rows, case) for case in kvm_cases()} | {"dirty-limit": limit_rows, "swap-in": swap_rows}
    work["log_randflat_postcopy"] = postcopy_rows
    work |= {case.id: partial(blind_rows, case) for case in later_cases()}
    work |= {"auto-converge": throttle_rows, "calc-dirty-rate": dirty_rate_rows}
    found: list[Row] = []
    for i, (name, make) in enumerate(work.items()):
        found.extend(make())
        if progress is not None:
            progress(f"kvm {name}", i + 1, len(work))
    return selected(found, only)


def dirty_log_configs() -> list[dict[str, Any]]:
    """Configurations that were measured, with their phases: hostsim/data/kvm_real/dirty_log.json."""
    text = (files("hostsim") / "data" / "kvm_real" / "dirty_log.json").read_text(encoding="utf-8")
    configs: list[dict[str, Any]] = json.loads(text)["configs"]
    return configs


def name_of(config: Mapping[str, Any]) -> str:
    """Name of a configuration, ``clear-64-every2-chunk64``: mode, MiB, and settings other than the defaults."""
    parts = [config["mode"], str(config["mib"])]
    parts += [str(config["ring"])] if config["ring"] else []
    parts += [f"every{config['every']}"] if config["every"] > 1 else []
    parts += [f"chunk{config['chunk']}"] if config["chunk"] else []
    parts += ["2M"] if config["thp"] and config["gpage"] else []
    parts += ["thp"] if config["thp"] and not config["gpage"] else []
    parts += ["guest2M"] if config["gpage"] and not config["thp"] else []
    return "-".join(parts)


def config_rows(config: Mapping[str, Any], phases: Mapping[str, Any]) -> Iterator[Row]:
    """Time of each phase of a measured configuration, and exits because a ring is full.

    config: its settings. phases: phase to the measured figures, as in dirty_log.json; phases not measured have no row.
    """
    measured = {name: _measured(phase) for name, phase in phases.items()}
    where, run = name_of(config), _Run(config)
    for name, took_ns in run.phases():
        if name in measured:
            yield _time_row(where, name, measured[name], took_ns, run.entries.get(name, measured[name].n))
    for name, exits in run.ring_full.items():
        least, most = measured[name].ring_full or (0, 0)
        middle = min(max(exits, least), most)
        yield absolute(SUITE, f"log/{where}/{name}/ring_full", "exits because the ring is full", middle, exits, 1)


def _measured(phase: Mapping[str, Any]) -> Measured:
    full = phase.get("ring_full")
    return Measured(phase["n"], phase["ns_per"], phase["min"], phase["max"], tuple(full) if full else None)


def _time_row(where: str, name: str, real: Measured, took_ns: int, n: int) -> Row:
    """Within the tolerance, or between the least and the most of the repeats; n: as Measured.n, of the simulation."""
    got = took_ns / n
    row = relative(SUITE, f"log/{where}/{name}", "ns a page or entry", real.ns_per, round(got, 3), TOLERANCE)
    inside = real.least <= got <= real.most
    row = replace(row, passed=row.passed or inside, note=f"share; measured {real.least:g} to {real.most:g}")
    if f"log {where}/{name}" in load_costs(SHEET).fitted_on():
        return row.unscored("fitted")
    if name == "populate":
        return row.unscored(FIRST_TOUCH)
    return row.unscored(f"below {SHORT_NS:g} ns") if real.ns_per < SHORT_NS else row


class _Run:
    """The phases of one configuration, in the order in which they were measured."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        page_size: Any = "2MiB" if config["thp"] and config["gpage"] else "4KiB"
        mmu = MmuSpec(
            era=ERA, costs=SHEET, mmu="shadow", page_size=page_size, ring_entries=config["ring"] or 4096
        )
        pages = config["mib"] * (1 << 20) // PAGE_BYTES
        self._vm = WalkedVm(WalkedSpec(mmu, INTERFACES[config["mode"]], 1, pages))
        self.ring_full: dict[str, int] = {}
        self.entries: dict[str, int] = {}
        """Entries that each reset of the rings found."""

    def phases(self) -> Iterator[tuple[str, int]]:
        """(phase, ns that it took)."""
        yield "populate", self._took(self._vm.run(Walk()))
        yield "enable", self._took(self._vm.enable())
        for i in (1, 2):
            yield f"dirty{i}", self._dirty(f"dirty{i}")
            yield from self._harvest(i)
        yield "disable", self._took(self._vm.disable())

    def _dirty(self, name: str) -> int:
        before = self._vm.tally().ring_full
        took_ns = self._took(self._vm.run(self._vm.walk_for(self._config["every"])))
        if self._config["mode"] == "ring":
            self.ring_full[name] = self._vm.tally().ring_full - before
        return took_ns

    def _harvest(self, i: int) -> Iterator[tuple[str, int]]:
        name = "ring_reset" if self._config["mode"] == "ring" else "get"
        took_ns = self._took(self._vm.get())
        if name == "ring_reset":
            self.entries[f"{name}{i}"] = self._vm.reset_entries
        yield f"{name}{i}", took_ns
        if self._config["mode"] in ("clear", "init"):
            yield f"clear{i}", self._took(self._vm.clear(self._config["chunk"]))

    def _took(self, work: Timed) -> int:
        """Run ``work`` to its end; a guest with dirty rings has a reaper, which never ends."""
        start_ns = self._vm.env.now_ns
        self._vm.env.run(until=self._vm.env.process(work))
        assert self._vm.env.now_ns - start_ns < NS_PER_S * 100, "a phase of a second"
        return self._vm.env.now_ns - start_ns
