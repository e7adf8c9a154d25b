"""What the selftest prints: the lines of dirty_log_perf_test.c in their order, and a table of what each phase cost."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.core.units import NS_PER_S
from hostsim.measure.selftest.dirty_log_perf_test import (
    CLEAR,
    DIRTY_MEMORY,
    DISABLE,
    ENABLE,
    GET,
    POPULATE,
    Phase,
    SelftestResult,
)
from hostsim.results.tables import Table

WORDS = {
    POPULATE: "Populate memory time",
    ENABLE: "Enabling dirty logging time",
    DIRTY_MEMORY: "dirty memory time",
    GET: "get dirty log time",
    CLEAR: "clear dirty log time",
    DISABLE: "Disabling dirty logging time",
}
TOTALS = {GET: "Get dirty log", CLEAR: "Clear dirty log"}
PHASE_COLUMNS = {
    "phase": "str", "took_s": "float64", "pages": "int64", "map": "int64", "track": "int64", "wp": "int64", "split": "int64",
    "spurious": "int64", "pml_full": "int64", "lock_wait_s": "float64", "lock_hold_s": "float64", "flushes": "int64",
}  # fmt: skip
"""lock_wait_s, lock_hold_s: summed over vCPUs and the thread that works on the log, so they may exceed took_s."""


def seconds(ns: int) -> str:
    """``1.000000001s``: as the selftest writes a timespec."""
    return f"{ns // NS_PER_S}.{ns % NS_PER_S:09d}s"


def selftest_lines(result: SelftestResult) -> Iterator[str]:
    """Lines to be put beside those of a real run."""
    yield f"Test iterations: {result.plan.iterations}"
    for phase in result.phases:
        yield _line(phase)
        if phase.name == ENABLE:
            yield ""
    for name, words in TOTALS.items():
        if phases := result.of(name):
            yield _total(words, [phase.duration_ns for phase in phases])


def phase_table(result: SelftestResult) -> Table:
    """One row a phase: exits by kind handled, mmu_lock, flushes."""
    return Table.of("phases", PHASE_COLUMNS, (_row(phase) for phase in result.phases))


def _line(phase: Phase) -> str:
    iteration = f"Iteration {phase.iteration} " if phase.iteration else ""
    return f"{iteration}{WORDS[phase.name]}: {seconds(phase.duration_ns)}"


def _total(words: str, times_ns: list[int]) -> str:
    n, total = len(times_ns), sum(times_ns)
    return f"{words} over {n} iterations took {seconds(total)}. (Avg {seconds(total // n)}/iteration)"


def _row(phase: Phase) -> tuple[str | int | float, ...]:
    tally = phase.tally
    name = f"{phase.name} {phase.iteration}" if phase.iteration else phase.name
    return (
        name, phase.duration_ns / 1e9, phase.pages, tally.map_faults, tally.track_faults, tally.wp_faults,
        tally.split_faults, tally.spurious, tally.pml_full, tally.wait_ns / 1e9,
        (tally.hold_ns + tally.host_hold_ns) / 1e9, tally.flushes,
    )  # fmt: skip
