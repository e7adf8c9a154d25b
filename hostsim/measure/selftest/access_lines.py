"""Output of access_tracking_perf_test: its lines in their order, and a table of the cost of each phase."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hostsim.core.constants import NS_PER_S
from hostsim.costs.exits import COSTED, MAP, SPURIOUS, TRACK
from hostsim.kvm.tally import Tally
from hostsim.measure.selftest.access_tracking_perf_test import AGEING, MARK_IDLE, POPULATE, AccessPhase, AccessResult
from hostsim.measure.selftest.lines import exit_columns, seconds
from hostsim.results.columns import FLOAT, INT, STR, Column, Columns
from hostsim.results.tables import Table

WIDTH = 30


class NamedPhase(NamedTuple):
    """A phase and its name."""

    name: str
    phase: AccessPhase

    @property
    def tally(self) -> Tally:
        """Counters of the phase."""
        return self.phase.tally


PHASE_COLUMNS: Columns[NamedPhase] = (
    Column("phase", STR, "", "phase", "the phase, and for ages its interface", lambda row: row.name, key=True),
    Column("took_s", FLOAT, "s", "took", "how long it took", lambda row: row.phase.duration_ns / NS_PER_S),
    Column("pages", INT, "pages", "pages", "accessed, or asked about", lambda row: row.phase.pages),
    Column("young", INT, "pages", "young", "of those asked about", lambda row: row.phase.young),
    *exit_columns(kind for kind in COSTED if kind.number in {MAP, TRACK, SPURIOUS}),
    Column(
        "lock_wait_s", FLOAT, "s", "lock wait", "`mmu_lock`: waited for, by vCPUs and ageing threads",
        lambda row: (row.tally.wait_ns + row.tally.host_wait_ns) / NS_PER_S,
    ),
    Column(
        "lock_hold_s", FLOAT, "s", "lock hold", "`mmu_lock`: held, by vCPUs and ageing threads",
        lambda row: (row.tally.hold_ns + row.tally.host_hold_ns) / NS_PER_S,
    ),
    Column("flushes", INT, "flushes", "flushes", "remote TLB flushes", lambda row: row.tally.flushes),
)  # fmt: skip
"""Times of mmu_lock are summed over threads, so they may exceed took_s."""


def access_lines(result: AccessResult) -> Iterator[str]:
    """Lines to be put beside those of a real run."""
    if result.plan.during_populate:
        yield "Running lru_gen benchmark..."
        yield from (_benchmark_line(phase) for phase in result.phases)
        return
    yield from (_line(_named(result, phase), seconds(phase.duration_ns)) for phase in result.phases)


def access_table(result: AccessResult) -> Table:
    """One row a phase."""
    phases = [NamedPhase(_named(result, phase), phase) for phase in result.phases]
    return Table.read("phases", PHASE_COLUMNS, phases)


def _line(what: str, told: str) -> str:
    return f"{what:<{WIDTH}}: {told}"


def _named(result: AccessResult, phase: AccessPhase) -> str:
    """MGLRU ages by itself, user space marks pages idle through page_idle."""
    return f"{phase.name} ({'lru_gen' if result.plan.mglru else 'page_idle'})" if phase.name == MARK_IDLE else phase.name


def _benchmark_line(phase: AccessPhase) -> str:
    if phase.name == POPULATE:
        return _line("vcpu wall time", seconds(phase.duration_ns))
    assert phase.name == AGEING
    mean, total = seconds(phase.duration_ns // phase.passes), seconds(phase.duration_ns)
    return _line("lru_gen avg pass duration", f"{mean}, (passes:{phase.passes}, total:{total})")
