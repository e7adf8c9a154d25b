"""Tables of a host that does more than run one VM: memory by VM, latencies, passes of ageing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hostsim.report.columns import Grid, grid_of, shown
from hostsim.report.tables import NONE, moment_words, some_rows
from hostsim.results.ageing import PASSES
from hostsim.results.latencies import DISTRIBUTION
from hostsim.results.memory import VMS
from hostsim.verdict.words import count_words

if TYPE_CHECKING:
    from hostsim.results.memory import HostResult


VM_COLUMNS = shown(VMS)
"""Columns over ``memory.vms``; read back, migration waited: pages that the migration thread waited for, and that time."""
PASS_COLUMNS = shown(
    PASSES,
    start_ns={"words": moment_words},
    working_set_pages={"words": lambda pages: NONE if math.isnan(pages) else count_words(pages)},
)
"""Columns over ``ageing_passes``; the working set before the first pass is not known."""
LATENCY_COLUMNS = shown(DISTRIBUTION, what={"words": lambda what: what.replace("_", " "), "prose": True})


def host_tables(host: HostResult) -> list[Grid]:
    """Everything that happened, in the order memory, ageing, latencies."""
    memories = {"Memory": host.memory, "Memory of the destination": host.destination_memory}
    found = [_memory_table(title, memory) for title, memory in memories.items() if memory is not None]
    if host.ageing is not None:
        passes = list(host.tables["ageing_passes"].rows())
        found.append(some_rows("Ageing", PASS_COLUMNS, passes, of=" passes"))
    return [*found, grid_of(LATENCY_COLUMNS, (one.to_dict() for one in host.latencies), "Latencies")]


def _memory_table(what: str, memory: dict[str, Any]) -> Grid:
    marks = memory["watermarks"]
    title = (
        f"{what}: {count_words(memory['free_frames'])} of {count_words(memory['frames'])} frames free "
        f"(low {marks['low']}, high {marks['high']}), {count_words(memory['swap_used_pages'])} swap slots used"
    )
    return grid_of(VM_COLUMNS, memory["vms"], title)
