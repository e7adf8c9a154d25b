"""A selftest on /dev/kvm beside the simulated one: real, simulated, ratio, phase by phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hostsim.costs.costs import sheet_names
from hostsim.measure.kvm.real_selftest import RealPhase
from hostsim.measure.selftest.dirty_log_perf_test import Phase
from hostsim.results.tables import Table

SHORT_NS = 20.0
"""Phases of less a page are calls more than pages; shown, but no measure of a sheet."""
UNPRICED_NS = 1
"""The least time of a phase: the sheet has no price for anything in it."""
COLUMNS = {
    "phase": "str", "real_ms": "float64", "simulated_ms": "float64", "ratio": "float64", "real_ns_a_page": "float64",
    "real_faults": "int64", "exits": "int64", "real_flushes": "int64", "flushes": "int64", "pages_a_fault": "float64",
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One phase, real and simulated."""

    real: RealPhase
    simulated: Phase

    @property
    def ratio(self) -> float:
        """Simulated over real."""
        return self.simulated.duration_ns / max(1.0, self.real.ns)

    @property
    def real_ns_a_page(self) -> float:
        """Nanoseconds a page of the real phase."""
        return self.real.ns / max(1, self.real.pages)


def pairs(real: Sequence[RealPhase], simulated: Sequence[Phase]) -> list[Pair]:
    """Phases of ``real`` beside those of ``simulated``, which have the same names in the same order."""
    assert [(one.name, one.iteration) for one in real] == [(one.name, one.iteration) for one in simulated]
    return [Pair(*both) for both in zip(real, simulated, strict=True)]


def beside_table(found: Sequence[Pair]) -> Table:
    """One row a phase: times, faults beside simulated exits, flushes beside flushes."""
    return Table.of("phases", COLUMNS, (tuple(row[name] for name in COLUMNS) for row in map(as_row, found)))


def as_row(pair: Pair) -> dict[str, Any]:
    """A phase in the terms of JSON."""
    real, tally = pair.real, pair.simulated.tally
    return {
        "phase": str(real), "real_ms": real.ns / 1e6, "real_least_ms": real.least_ns / 1e6,
        "real_most_ms": real.most_ns / 1e6, "simulated_ms": pair.simulated.duration_ns / 1e6,
        "ratio": pair.ratio, "real_ns_a_page": pair.real_ns_a_page, "real_faults": real.count("pf_taken"),
        "exits": tally.faults + tally.pml_full, "real_flushes": real.count("remote_tlb_flush_requests"),
        "flushes": tally.flushes, "pages_a_fault": real.pages_a_fault, "pages": real.pages,
        "real_counters": dict(real.counters),
    }  # fmt: skip


def verdict(found: Sequence[Pair], within: float = 0.2) -> Iterator[str]:
    """Lines: how many phases of ``found`` that are long enough agree, and which do not.

    within: largest deviation of simulated over real from 1.
    """
    long = [pair for pair in found if pair.real_ns_a_page >= SHORT_NS]
    far = [pair for pair in long if not 1 - within <= pair.ratio <= 1 + within]
    near = len(long) - len(far)
    yield f"{near} of {len(long)} phases of at least {SHORT_NS:g} ns a page are simulated within {within:.0%}"
    if far:
        yield "further apart, simulated over real: " + ", ".join(f"{pair.real} ({pair.ratio:.2f})" for pair in far)
    if free := [str(pair.real) for pair in found if pair.simulated.duration_ns <= UNPRICED_NS]:
        yield f"without a price in the sheet: {', '.join(free)}"


def sheet_line(sheet: str) -> Iterator[str]:
    """Which machine's costs the simulation has, where they are not this one's."""
    if sheet in sheet_names():
        yield (
            f"sheet {sheet} was measured on its own machine: hostsim calibrate --kvm --out host.toml measures this one, "
            "then --sheet host.toml"
        )
