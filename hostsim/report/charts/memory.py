"""Charts of a host whose memory runs short: time that guests lost, memory, latencies by waiter, ages of their memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.latency import Latencies, merged
from hostsim.report.charts.chart import (
    COLOURS,
    N_DASHES,
    Array,
    Axis,
    Chart,
    Colour,
    HeatMap,
    Line,
    Marks,
    Panel,
    spans_decades,
)
from hostsim.results.columns import labels
from hostsim.results.memory import MEMORY_SERIES
from hostsim.verdict.words import count_words

if TYPE_CHECKING:
    from hostsim.results.memory import HostResult
    from hostsim.results.tables import Table

KINDS: dict[str, tuple[str, Colour, int]] = {
    "fault_populate": ("vCPU, first touch", "green", 0), "fault_minor": ("vCPU, in the swap cache", "grey", 0),
    "fault_major": ("vCPU, swapped in", "vermilion", 0), "direct_reclaim": ("vCPU, direct reclaim", "ink", 0),
    "async_fault_major": ("task asleep, swapped in", "vermilion", 1),
    "migration_fault_minor": ("migration thread, in the swap cache", "grey", 2),
    "migration_fault_major": ("migration thread, swapped in", "vermilion", 2),
    "migration_direct_reclaim": ("migration thread, direct reclaim", "ink", 2),
    "swap_read": ("swap device, read", "ink", 1), "swap_write": ("swap device, write", "purple", 1),
    "exit_track_faults": ("access-tracking fault", "green", 2),
    "notifier_clear_young": ("clear_young", "blue", 2),
    "notifier_clear_flush_young": ("clear_flush_young", "blue", 0),
}  # fmt: skip
"""Kinds of waits that are drawn, all VMs together: label, which names the waiter of a fault, colour, dash."""
LOCK_KINDS: dict[str, tuple[str, Colour, int]] = {
    "lock_wait_vcpu": ("vCPUs waited", "vermilion", 0), "lock_hold_vcpu": ("vCPUs held", "green", 1),
    "lock_wait_host": ("threads of the host waited", "blue", 2),
}  # fmt: skip
SHARES = tuple((share, "all" if share == 1 else f"{100 * share:g} %") for share in (1, 0.5, 0.1, 0.01, 0.001, 0.0001))
LABELS = labels(MEMORY_SERIES)
SWAP_LOOKS: dict[str, Colour] = {"swapped_out_pages": "purple", "swapped_in_pages": "blue"}
VMS_DRAWN = 4
LEAST_SHARE = 1e-9


def host_charts(host: HostResult) -> list[Chart]:
    """All charts for which ``host`` has figures."""
    found = [memory_over_time(host)] if len(host.tables.get("memory_series", ())) else []
    found += [waits(host)] if any(one.what in KINDS for one in host.latencies) else []
    found += [lock_waits(host)] if any(one.what in LOCK_KINDS for one in host.latencies) else []
    return [*found, age_map(host)] if len(host.tables.get("age_map", ())) else found


def waits(host: HostResult) -> Chart:
    """Distributions of waits: the share of longer waits over time."""
    return _survivals("latencies", "Waits: the share that took longer than the time below", host, KINDS)


def lock_waits(host: HostResult) -> Chart:
    """Distributions of waits for mmu_lock, and of the time that vCPUs held it."""
    return _survivals("mmu-lock-waits", "mmu_lock: waits for the lock, and how long vCPUs held it", host, LOCK_KINDS)


def _survivals(name: str, title: str, host: HostResult, kinds: dict[str, tuple[str, Colour, int]]) -> Chart:
    lines = []
    for what, (label, colour, dash) in kinds.items():
        parts = [one.latencies for one in host.latencies if one.what == what]
        if parts:
            whole = merged(parts)
            lines.append(survival(f"{label} ({count_words(whole.count)})", whole, colour, dash))
    return distributions(name, title, lines)


def distributions(name: str, title: str, lines: Sequence[Line], rules: Sequence[float] = ()) -> Chart:
    """A chart of ``survival`` lines; rules: times [ns] that stand out."""
    panel = Panel(Axis("share that took longer", "plain", True, 1e-4, 1.3, SHARES), tuple(lines), 1.7, rules=tuple(rules))
    lead = "Where a line crosses 1 % at 100 us, one wait in a hundred took longer: the p99. Both axes are logarithmic."
    return Chart(name, title, Axis("time waited", "ns", log=True), (panel,), lead=lead)


def survival(name: str, latencies: Latencies, colour: Colour, dash: int = 0) -> Line:
    """The line ``name``: the share of waits in ``latencies`` (at least one) that took longer, over time [ns].

    colour: of the line, as ``Colour``. dash: number of its pattern, 0: solid.
    """
    ends_ns, counts = latencies.buckets()
    longer = 1 - np.cumsum(counts) / latencies.count
    x = np.concatenate([[max(0.5, 0.75 * ends_ns[0])], np.maximum(ends_ns, 1)]).astype(float)
    y = np.maximum(np.concatenate([[1.0], longer]), LEAST_SHARE)
    return Line(name, x, y, colour, "after", dash)


def memory_over_time(host: HostResult) -> Chart:
    """Time that guests lost, over the run, with free frames and the pages swapped out and in."""
    series = host.tables["memory_series"]
    panels = [_slowdowns(series)]
    memories = [memory for memory in (host.memory, host.destination_memory) if memory is not None]
    if memories:
        panels += [_frames(memories, series), _swapped(memories, series), _resident(series)]
    x = Axis("simulated time", "s", low=0.0, high=max(1e-9, float(series["t_ns"].max(initial=0)) / 1e9))
    title = "Work that guests did not do, and the memory of their hosts"
    return Chart("stall", title, x, tuple(panels), _ended(host), group="host")


def _ended(host: HostResult) -> tuple[Marks, ...]:
    if host.out_of_memory is None:
        return ()
    return (Marks("out of memory", np.array([host.out_of_memory[0] / 1e9]), colour="vermilion"),)


def _slowdowns(series: Table) -> Panel:
    lines = [
        Line(vm, _of(series, vm, "t_ns") / 1e9, 100 * _of(series, vm, "guest_slowdown"), *_look(number), "before", dash)
        for number, (vm, dash) in enumerate(_dashed(series))
    ]
    return Panel(Axis("work not done", "%"), tuple(lines))


def _look(number: int) -> tuple[Colour]:
    return (COLOURS[number] if number < len(COLOURS) else "grey",)


def _dashed(table: Table) -> list[tuple[str, int]]:
    return [(vm, number % N_DASHES) for number, vm in enumerate(vms_of(table))]


def _of(table: Table, vm: str, column: str) -> Array:
    found: Array = table[column][table["vm"] == vm]
    return found


def _frames(memories: Sequence[dict[str, Any]], series: Table) -> Panel:
    """Free frames and watermarks of each host, the source first."""
    looks: tuple[tuple[Colour, Colour], ...] = (("ink", "vermilion"), ("blue", "purple"))
    lines, drawn = [], set[float]()
    for memory, (colour, mark_colour) in zip(memories, looks, strict=False):
        first = memory["vms"][0]["vm"]
        of = f", {first}" if len(memories) > 1 else ""
        t_s = _of(series, first, "t_ns") / 1e9
        free = _of(series, first, "free_frames").astype(float)
        lines.append(Line(LABELS["free_frames"] + of, t_s, free, colour, "before"))
        for number, mark in enumerate(("high", "low", "min"), start=1):
            level = float(memory["watermarks"][mark])
            both = all(level == other["watermarks"][mark] for other in memories)
            if not (both and level in drawn):  # two equal hosts have one line, not two of which one hides the other
                name, at = f"watermark {mark}{'' if both else of}", np.full(2, level)
                lines.append(Line(name, t_s[[0, -1]], at, mark_colour, "level", number))
            drawn.add(level)
    is_log = spans_decades(np.concatenate([line.y for line in lines]).tolist())
    return Panel(Axis("free frames", "", is_log), tuple(lines))


def _swapped(memories: Sequence[dict[str, Any]], series: Table) -> Panel:
    """Rates of all VMs of a host together; two hosts are sampled at times of their own."""
    lines = []
    for number, memory in enumerate(memories):
        names = [row["vm"] for row in memory["vms"]]
        is_mine = np.isin(series["vm"], names) if len(memories) > 1 else np.ones(len(series["t_ns"]), np.bool_)
        of = f", {names[0]}" if len(memories) > 1 else ""
        lines += _swap_rates({name: series[name][is_mine] for name in ("t_ns", *SWAP_LOOKS)}, of, 2 * number)
    return Panel(Axis("pages swapped", "/s", low=0.0), tuple(lines))


def _swap_rates(columns: dict[str, Array], of: str, dash: int) -> list[Line]:
    times = np.unique(columns["t_ns"])
    by_time = np.searchsorted(times, columns["t_ns"])
    spans_s = np.maximum(np.diff(times, prepend=times[:1]), 1) / 1e9
    lines = []
    for more, (column, colour) in enumerate(SWAP_LOOKS.items()):
        rates = np.bincount(by_time, columns[column]) / spans_s
        rates[0] = 0
        lines.append(Line(LABELS[column] + of, times / 1e9, rates, colour, "before", dash + more))
    return lines


def _resident(series: Table) -> Panel:
    lines = [
        Line(vm, _of(series, vm, "t_ns") / 1e9, PAGE_BYTES * _of(series, vm, "resident_pages").astype(float),
             *_look(number), "before", dash)
        for number, (vm, dash) in enumerate(_dashed(series))
    ]  # fmt: skip
    return Panel(Axis("in memory", "bytes", low=0.0), tuple(lines))


def age_map(host: HostResult) -> Chart:
    """A panel a VM: time over guest memory, the darker the longer no pass has found the memory young."""
    table, passes = host.tables["age_map"], host.tables["ageing_passes"]
    oldest = max(1.0, float(np.nanmax(table["mean_age_passes"], initial=1.0)))
    maps = tuple(_map(table, passes, vm, oldest) for vm in vms_of(table)[:VMS_DRAWN])
    x = Axis("simulated time", "s", low=float(maps[0].x_edges[0]), high=float(max(one.x_edges[-1] for one in maps)))
    lead = "The darker a cell, the longer no pass of ageing has found this part of memory young."
    return Chart("age_map", "Mean age of memory, in passes that did not find it young", x, maps, group="ages", lead=lead)


def _map(table: Table, passes: Table, vm: str, oldest: float) -> HeatMap:
    n_passes = int(_of(table, vm, "pass").max()) + 1
    ages = _of(table, vm, "mean_age_passes").reshape(n_passes, -1)
    edges = np.append(_of(table, vm, "first_gfn")[: ages.shape[1]], _of(table, vm, "end_gfn")[-1]) * PAGE_BYTES
    starts_s = _of(passes, vm, "start_ns") / 1e9
    last_s = starts_s[-1] + (starts_s[-1] - starts_s[-2] if n_passes > 1 else starts_s[-1])
    y = Axis("by guest address", "bytes", low=float(edges[0]), high=float(edges[-1]))
    return HeatMap(y, np.append(starts_s, last_s), edges, ages, "mean age in passes", title=f"memory of {vm}", top=oldest)


def vms_of(table: Table) -> list[str]:
    """VMs in the order of the host."""
    return list(dict.fromkeys(table["vm"].tolist()))
