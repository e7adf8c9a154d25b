"""Output of the selftest: the lines of dirty_log_perf_test.c in their order, and a table of the cost of each phase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from hostsim.core.constants import NS_PER_S
from hostsim.costs.exits import COSTED, ExitKind
from hostsim.kvm.tally import Tally
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
from hostsim.results.columns import FLOAT, INT, STR, Column, Columns
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


class HasTally(Protocol):
    """A phase of either selftest."""

    @property
    def tally(self) -> Tally:
        """Counters of the phase."""


def exit_columns(kinds: Iterable[ExitKind]) -> Iterator[Column[HasTally]]:
    """A column a kind of exit, under the key of its cost: ``map``, ``wp``."""
    return (_exit_column(kind) for kind in kinds)


def _exit_column(kind: ExitKind) -> Column[HasTally]:
    return Column(kind.cost, INT, "exits", kind.heading, kind.meaning, lambda phase: int(getattr(phase.tally, kind.name)))


def _named(phase: Phase) -> str:
    return f"{phase.name} {phase.iteration}" if phase.iteration else phase.name


PHASE_COLUMNS: Columns[Phase] = (
    Column("phase", STR, "", "phase", "the phase, and its iteration", _named, key=True),
    Column("took_s", FLOAT, "s", "took", "how long it took", lambda phase: phase.duration_ns / NS_PER_S),
    Column("pages", INT, "pages", "pages", "written, dirty, cleared, or sptes changed", lambda phase: phase.pages),
    *exit_columns(COSTED),
    Column(
        "lock_wait_s", FLOAT, "s", "lock wait", "`mmu_lock`: waited for, summed over the vCPUs",
        lambda phase: phase.tally.wait_ns / NS_PER_S,
    ),
    Column(
        "lock_hold_s", FLOAT, "s", "lock hold", "`mmu_lock`: held, by vCPUs and the thread that works on the log",
        lambda phase: (phase.tally.hold_ns + phase.tally.host_hold_ns) / NS_PER_S,
    ),
    Column("flushes", INT, "flushes", "flushes", "remote TLB flushes", lambda phase: phase.tally.flushes),
)  # fmt: skip
"""Times of mmu_lock are summed over threads, so they may exceed took_s."""


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
    return Table.read("phases", PHASE_COLUMNS, result.phases)


def _line(phase: Phase) -> str:
    iteration = f"Iteration {phase.iteration} " if phase.iteration else ""
    return f"{iteration}{WORDS[phase.name]}: {seconds(phase.duration_ns)}"


def _total(words: str, times_ns: list[int]) -> str:
    n, total = len(times_ns), sum(times_ns)
    return f"{words} over {n} iterations took {seconds(total)}. (Avg {seconds(total // n)}/iteration)"
