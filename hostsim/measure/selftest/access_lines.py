"""What access_tracking_perf_test prints: its lines in their order, and a table of what each phase cost."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.measure.selftest.access_tracking_perf_test import AGEING, MARK_IDLE, POPULATE, AccessPhase, AccessResult
from hostsim.measure.selftest.lines import seconds
from hostsim.results.tables import Table

WIDTH = 30
PHASE_COLUMNS = {
    "phase": "str", "took_s": "float64", "pages": "int64", "young": "int64", "map": "int64", "track": "int64",
    "spurious": "int64", "lock_wait_s": "float64", "lock_hold_s": "float64", "flushes": "int64",
}  # fmt: skip
"""pages: accessed, or asked about; young: of those asked about; lock times are summed over vCPUs and ageing threads."""


def access_lines(result: AccessResult) -> Iterator[str]:
    """Lines to be put beside those of a real run."""
    if result.plan.during_populate:
        yield "Running lru_gen benchmark..."
        yield from (_benchmark_line(phase) for phase in result.phases)
        return
    yield from (_line(_named(result, phase), seconds(phase.duration_ns)) for phase in result.phases)


def access_table(result: AccessResult) -> Table:
    """One row a phase."""
    return Table.of("phases", PHASE_COLUMNS, (_row(_named(result, phase), phase) for phase in result.phases))


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


def _row(name: str, phase: AccessPhase) -> tuple[str | int | float, ...]:
    tally = phase.tally
    return (
        name, phase.duration_ns / 1e9, phase.pages, phase.young, tally.map_faults, tally.track_faults, tally.spurious,
        (tally.wait_ns + tally.host_wait_ns) / 1e9, (tally.hold_ns + tally.host_hold_ns) / 1e9, tally.flushes,
    )  # fmt: skip
