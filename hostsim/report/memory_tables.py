"""Tables of a host that does more than run one VM: memory by VM, latencies, passes of ageing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hostsim.report.tables import ROWS_MAX, evenly, titled_table
from hostsim.verdict.words import count_words, seconds_words, span_words

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from hostsim.results.latencies import Distribution
    from hostsim.results.memory import HostResult
    from hostsim.results.tables import Table

VM_COLUMNS = (
    ("pages", "pages"), ("resident", "resident_pages"), ("in swap", "swapped_pages"), ("populated", "populated"),
    ("swapped in", "swapped_in"), ("read ahead", "read_ahead"), ("swapped out", "swapped_out"), ("dropped", "dropped"),
    ("direct reclaims", "direct_reclaims"),
)  # fmt: skip
"""Heading, key of ``memory.vms``; pages, but for the last."""
IF_ANY = (
    ("async faults", "async_faults"), ("tasks slept", "async_wait_ns"),
    ("read back", "read_back"), ("migration waited", "migration_wait_ns"),
)
"""Shown where any VM has some: tasks that slept until their page came, and pages that the migration thread waited for."""
PERCENTILES = (("p50", "p50_ns"), ("p90", "p90_ns"), ("p99", "p99_ns"), ("p99.9", "p99.9_ns"), ("max", "max_ns"))


def host_tables(host: HostResult) -> list[RichTable]:
    """Everything that happened, in the order memory, ageing, latencies."""
    found = [] if host.memory is None else [_memory_table(host.memory)]
    found += [_passes_table(host.tables["ageing_passes"])] if host.ageing is not None else []
    return [*found, _latency_table(host.latencies)]


def _memory_table(memory: dict[str, Any]) -> RichTable:
    marks = memory["watermarks"]
    columns = (*VM_COLUMNS, *(column for column in IF_ANY if any(row[column[1]] for row in memory["vms"])))
    title = (
        f"Memory: {count_words(memory['free_frames'])} of {count_words(memory['frames'])} frames free (low {marks['low']}, "
        f"high {marks['high']}), {count_words(memory['swap_used_pages'])} slots in use"
    )
    table = titled_table(title, ["VM", *(heading for heading, _ in columns), "stalled", "slowed by"])
    for row in memory["vms"]:
        shares = (_percent(row["stall_share"]), _percent(row["guest_slowdown"]))
        table.add_row(row["vm"], *(_cell(key, row[key]) for _, key in columns), *shares)
    return table


def _cell(key: str, value: int) -> str:
    return span_words(value) if key.endswith("_ns") else count_words(value)


def _passes_table(passes: Table, most: int = ROWS_MAX) -> RichTable:
    """At most ``most`` passes of all VMs."""
    rows = list(passes.rows())
    shown = evenly(len(rows), most)
    left_out = f" ({len(shown)} of {len(rows)} passes)" if len(shown) < len(rows) else ""
    has_reads = bool(passes["host_read"].any())
    reads = ["read by host"] if has_reads else []
    headings = ["VM", "pass", "start", "took", "calls", "asked", "young", *reads, "false old", "working set"]
    table = titled_table(f"Ageing{left_out}", headings)
    for row in (rows[index] for index in shown):
        true = row["working_set_pages"]
        table.add_row(
            row["vm"], str(row["pass"]), seconds_words(row["start_ns"] / 1e9), span_words(row["took_ns"]),
            count_words(row["calls"]), count_words(row["asked"]), count_words(row["young"]),
            *([count_words(row["host_read"])] if has_reads else []), count_words(row["false_old"]),
            "" if math.isnan(true) else count_words(true),
        )  # fmt: skip
    return table


def _latency_table(found: tuple[Distribution, ...]) -> RichTable:
    table = titled_table("Latencies", ["what", "VM", "count", *(heading for heading, _ in PERCENTILES)], left=2)
    for one in found:
        summary = one.latencies.summary()
        spans = (span_words(summary[key]) for _, key in PERCENTILES)
        table.add_row(one.what.replace("_", " "), one.vm, count_words(one.latencies.count), *spans)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
