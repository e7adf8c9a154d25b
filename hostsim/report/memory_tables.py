"""Tables of a host that does more than run one VM: memory by VM, latencies, passes of ageing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hostsim.report.columns import Column, Grid, Role, grid_of
from hostsim.report.tables import NONE, some_rows
from hostsim.verdict.words import count_words, percent_words, seconds_words, span_words

if TYPE_CHECKING:
    from hostsim.results.latencies import Distribution
    from hostsim.results.memory import HostResult


VM = Column("vm", "VM", role=Role.KEY)
VM_COLUMNS = (
    VM,
    Column("pages", "pages", count_words, Role.SPARE),
    Column("resident_pages", "resident", count_words),
    Column("swapped_pages", "in swap", count_words),
    Column("populated", "populated", count_words, Role.SPARE),
    Column("swapped_in", "swapped in", count_words),
    Column("read_ahead", "read ahead", count_words, Role.SPARE),
    Column("swapped_out", "swapped out", count_words),
    Column("dropped", "dropped", count_words, Role.SPARE),
    Column("direct_reclaims", "direct reclaims", count_words, Role.SPARE),
    Column("async_faults", "async faults", count_words, Role.SPARE, if_any=True),
    Column("async_wait_ns", "tasks slept", span_words, Role.SPARE, if_any=True),
    Column("read_back", "read back", count_words, Role.SPARE, if_any=True),
    Column("migration_wait_ns", "migration waited", span_words, if_any=True),
    Column("stall_share", "stalled", percent_words),
    Column("guest_slowdown", "slowed by", percent_words),
)
"""Of ``memory.vms``; read back, migration waited: pages that the migration thread waited for, and how long."""
PASS_COLUMNS = (
    VM,
    Column("pass", "pass", role=Role.KEY),
    Column("start_ns", "start", lambda ns: seconds_words(ns / 1e9)),
    Column("took_ns", "took", span_words),
    Column("calls", "calls", count_words),
    Column("asked", "asked", count_words),
    Column("young", "young", count_words),
    Column("host_read", "read by host", count_words, if_any=True),
    Column("false_old", "false old", count_words),
    Column("working_set_pages", "working set", lambda pages: NONE if math.isnan(pages) else count_words(pages)),
)
"""Of ``ageing_passes``; the working set before the first pass is not known."""
PERCENTILES = (
    ("p50", "p50_ns", Role.FIGURE), ("p90", "p90_ns", Role.SPARE), ("p99", "p99_ns", Role.FIGURE),
    ("p99.9", "p99.9_ns", Role.SPARE), ("max", "max_ns", Role.FIGURE),
)  # fmt: skip
LATENCY_COLUMNS = (
    Column("what", "what", lambda what: what.replace("_", " "), Role.KEY, prose=True),
    VM,
    Column("count", "count", count_words),
    *(Column(name, heading, span_words, role) for heading, name, role in PERCENTILES),
)


def host_tables(host: HostResult) -> list[Grid]:
    """Everything that happened, in the order memory, ageing, latencies."""
    found = [] if host.memory is None else [_memory_table(host.memory)]
    if host.ageing is not None:
        passes = list(host.tables["ageing_passes"].rows())
        found.append(some_rows("Ageing", PASS_COLUMNS, passes, of=" passes"))
    return [*found, grid_of(LATENCY_COLUMNS, map(_latency_row, host.latencies), "Latencies")]


def _memory_table(memory: dict[str, Any]) -> Grid:
    marks = memory["watermarks"]
    title = (
        f"Memory: {count_words(memory['free_frames'])} of {count_words(memory['frames'])} frames free (low {marks['low']}, "
        f"high {marks['high']}), {count_words(memory['swap_used_pages'])} slots in use"
    )
    return grid_of(VM_COLUMNS, memory["vms"], title)


def _latency_row(one: Distribution) -> dict[str, Any]:
    return {"what": one.what, "vm": one.vm, "count": one.latencies.count, **one.latencies.summary()}
