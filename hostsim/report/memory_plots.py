"""Pictures of a host whose memory runs short: latencies by waiter, time that guests lost, ages of their memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.latency import PERCENTILES, Latencies, merged
from hostsim.report.drawing import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILION,
    label_ticks,
    ns_axis,
    pictures_of,
    titled,
)
from hostsim.results.columns import labels
from hostsim.results.memory import MEMORY_SERIES
from hostsim.verdict.words import bytes_words, count_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hostsim.results.memory import HostResult
    from hostsim.results.tables import Table

KINDS = {
    "fault_populate": ("vCPU, first touch", GREEN, "-"), "fault_minor": ("vCPU, in the swap cache", GREY, "-"),
    "fault_major": ("vCPU, swapped in", VERMILION, "-"), "direct_reclaim": ("vCPU, direct reclaim", INK, "-"),
    "async_fault_major": ("task asleep, swapped in", VERMILION, (0, (4, 2))),
    "migration_fault_minor": ("migration thread, in the swap cache", GREY, (0, (1, 1.5))),
    "migration_fault_major": ("migration thread, swapped in", VERMILION, (0, (1, 1.5))),
    "migration_direct_reclaim": ("migration thread, direct reclaim", INK, (0, (1, 1.5))),
    "swap_read": ("swap device, read", INK, (0, (2, 2))), "swap_write": ("swap device, write", PURPLE, (0, (4, 2))),
    "exit_track_faults": ("access-tracking fault", GREEN, (0, (1, 1.5))),
    "notifier_clear_young": ("clear_young", BLUE, (0, (1, 1.5))),
    "notifier_clear_flush_young": ("clear_flush_young", BLUE, "-"),
}  # fmt: skip
"""Kinds of waits that are drawn, all VMs together: label, which names the waiter of a fault, colour, dashes."""
LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE)
"""Colours of VMs, in the order of the host; further VMs are grey."""
MARKS = ("o", "s", "^", "D")
"""Markers of PERCENTILES."""
LABELS = labels(MEMORY_SERIES)
VMS_DRAWN = 4


def host_pictures(host: HostResult, name: str) -> dict[str, bytes]:
    """``png`` and ``svg`` of each picture, by file name: stall, latencies if a drawn kind occurred, age_map with ageing."""
    draws = {"stall": draw_stall}
    if any(one.what in KINDS for one in host.latencies):
        draws["latencies"] = draw_latencies
    if "age_map" in host.tables and len(host.tables["age_map"]):
        draws["age_map"] = draw_age_map
    return {
        f"{stem}.{kind}": content
        for stem, draw in draws.items()
        for kind, content in pictures_of(lambda draw=draw: draw(host, name)).items()  # type: ignore[misc]
    }


def draw_latencies(host: HostResult, name: str) -> Figure:
    """Distributions of waits: the share of longer waits over time, on logarithmic axes."""
    figure, (axes,) = _panels(name, "Latencies: share of all that took longer", 1, 5.4)
    for what, look in KINDS.items():
        parts = [one.latencies for one in host.latencies if one.what == what]
        if parts:
            _survival(axes, merged(parts), *look)
    survival_axes(axes)
    axes.set_xlabel("time waited")
    axes.set_ylabel("share that waited longer")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    _name_marks(axes)
    return figure


def _survival(axes: Axes, latencies: Latencies, label: str, color: str, dashes: Any) -> None:
    ends_ns, counts = latencies.buckets()
    longer = 1 - np.cumsum(counts) / latencies.count
    x = np.concatenate([[max(1, ends_ns[0])], np.maximum(ends_ns, 1)])
    y = np.maximum(np.concatenate([[1.0], longer]), 1e-9)
    label = f"{label} ({count_words(latencies.count)})"
    # Two lines may lie on each other: the solid one is the wider, and lies below.
    look: dict[str, Any] = {"linewidth": 3.0, "zorder": 2} if dashes == "-" else {"linewidth": 1.6, "zorder": 3}
    axes.plot(x, y, color=color, linestyle=dashes, drawstyle="steps-post", label=label, **look)
    for percent, marker in zip(PERCENTILES, MARKS, strict=True):
        if latencies.count * (100 - percent) >= 100:
            at_ns = max(1, latencies.percentile_ns(percent))
            axes.plot([at_ns], [1 - percent / 100], marker=marker, markersize=5, color=color, linestyle="none", zorder=4)


def survival_axes(axes: Axes) -> None:
    """Times [ns] across, the share of waits that took longer up, both logarithmic with labelled ticks."""
    ns_axis(axes, "x", [line.get_xdata() for line in axes.lines])
    axes.set_yscale("log")
    axes.grid(visible=True, axis="both")
    axes.set_ylim(1e-4, 1.3)
    label_ticks(axes, "y", [1, 0.5, 0.1, 0.01, 0.001, 0.0001], lambda share: "all" if share == 1 else f"{100 * share:g} %")


def _name_marks(axes: Axes) -> None:
    words = "   ".join(f"{symbol} p{percent:g}" for symbol, percent in zip("●■▲◆", PERCENTILES, strict=True))
    axes.annotate(words, (1.0, 1.01), xycoords="axes fraction", ha="right", va="bottom", fontsize=8.5)


def draw_stall(host: HostResult, name: str) -> Figure:
    """Time that guests lost, over the run, with free frames and the pages swapped out and in."""
    series = host.tables["memory_series"]
    has_frames = host.memory is not None
    count, height = (3, 7.0) if has_frames else (1, 3.4)
    figure, panels = _panels(name, "What guests lost, and memory meanwhile", count, height)
    _slowdowns(panels[0], series)
    if has_frames:
        _frames(panels[1], host, series)
        _swapped(panels[2], series)
    for axes in panels:
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=5, borderaxespad=0.2, handlelength=1.6)
        axes.set_xlim(0, max(1e-9, float(series["t_ns"].max(initial=0)) / 1e9))
    panels[-1].set_xlabel("simulated time [s]")
    if host.out_of_memory is not None:
        _end_mark(panels[0], host.out_of_memory[0] / 1e9)
    return figure


def _slowdowns(axes: Axes, series: Table) -> None:
    for number, vm in enumerate(_vms(series)):
        mine = series["vm"] == vm
        color = LINES[number] if number < len(LINES) else GREY
        t_s, lost = series["t_ns"][mine] / 1e9, 100 * series["guest_slowdown"][mine]
        axes.plot(t_s, lost, color=color, linestyle=DASHES[number % len(DASHES)], drawstyle="steps-pre", label=vm)
    axes.set_ylim(min(0.0, 105 * float(series["guest_slowdown"].min(initial=0.0))), None)
    axes.set_ylabel("work not done [%]")


def _frames(axes: Axes, host: HostResult, series: Table) -> None:
    assert host.memory is not None
    first = series["vm"] == series["vm"][0]
    t_s, free = series["t_ns"][first] / 1e9, series["free_frames"][first]
    axes.plot(t_s, free, color=INK, drawstyle="steps-pre", label=LABELS["free_frames"])
    for mark, dashes in (("high", (0, (6, 2))), ("low", (0, (3, 2))), ("min", (0, (1, 1.5)))):
        level = host.memory["watermarks"][mark]
        axes.axhline(level, color=VERMILION, linewidth=0.9, linestyle=dashes, label=mark)
    axes.set_yscale("symlog", linthresh=max(1, host.memory["watermarks"]["min"]))
    axes.set_ylim(0, None)
    axes.set_ylabel("frames")
    _count_ticks(axes, [0, *host.memory["watermarks"].values(), host.memory["frames"]])


def _swapped(axes: Axes, series: Table) -> None:
    times = np.unique(series["t_ns"])
    by_time = np.searchsorted(times, series["t_ns"])
    spans_s = np.maximum(np.diff(times, prepend=times[:1]), 1) / 1e9
    for column, color in (("swapped_out_pages", GREY), ("swapped_in_pages", BLUE)):
        rates = np.bincount(by_time, series[column]) / spans_s
        rates[0] = 0
        axes.plot(times / 1e9, rates, color=color, drawstyle="steps-pre", label=LABELS[column])
    axes.set_ylim(0, None)
    axes.set_ylabel("pages per second")
    _count_ticks(axes, None)


def _count_ticks(axes: Axes, levels: Sequence[int] | None) -> None:
    """Counts in words: at ``levels`` that do not stand on each other, or where the axis has its ticks."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    if levels is not None:
        top = max(levels)
        kept = [level for level in (0, levels[1], top // 10, top) if level == 0 or level >= levels[1]]
        axes.set_yticks(sorted(set(kept)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: count_words(value) if value >= 0 else f"{value:g}"))


def _end_mark(axes: Axes, t_s: float) -> None:
    axes.axvline(t_s, color=VERMILION, linewidth=1.2)
    axes.annotate("out of memory ", (t_s, 0.5), xycoords=("data", "axes fraction"), ha="right", color=VERMILION)


def draw_age_map(host: HostResult, name: str) -> Figure:
    """A panel a VM: time over guest memory, the darker the longer no pass has found the memory young."""
    table = host.tables["age_map"]
    vms = _vms(table)[:VMS_DRAWN]
    title, height = "Mean age of memory, in passes that did not find it young", 1.2 + 2.9 * len(vms)
    figure, panels = _panels(name, title, len(vms), height)
    oldest = max(1.0, float(np.nanmax(table["mean_age_passes"], initial=1.0)))
    passes = host.tables["ageing_passes"]
    mesh = [_heat(axes, table, passes, vm, oldest) for axes, vm in zip(panels, vms, strict=True)][-1]
    panels[-1].set_xlabel("simulated time [s]")
    bar = figure.colorbar(mesh, ax=list(panels), shrink=0.9, pad=0.015)
    bar.set_label("mean age [passes]")
    bar.outline.set_visible(False)
    return figure


def _heat(axes: Axes, table: Table, passes: Table, vm: str, oldest: float) -> Any:
    mine, of_vm = table["vm"] == vm, passes["vm"] == vm
    n_passes = int(table["pass"][mine].max()) + 1
    ages = table["mean_age_passes"][mine].reshape(n_passes, -1)
    edges = np.append(table["first_gfn"][mine][: ages.shape[1]], table["end_gfn"][mine][-1]) * PAGE_BYTES
    starts_s = passes["start_ns"][of_vm] / 1e9
    last_s = starts_s[-1] + (starts_s[-1] - starts_s[-2] if n_passes > 1 else starts_s[-1])
    look: dict[str, Any] = {"cmap": "cividis_r", "vmin": 0, "vmax": oldest, "rasterized": True}
    mesh = axes.pcolormesh(np.append(starts_s, last_s), edges, ages.T, **look)
    axes.set_ylabel(f"memory of {vm}, by guest address")
    axes.yaxis.set_major_formatter(lambda value, _: bytes_words(value))
    axes.grid(visible=False)
    return mesh


def _vms(table: Table) -> list[str]:
    return list(dict.fromkeys(table["vm"].tolist()))


def _panels(name: str, title: str, count: int, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, height), layout="constrained")
    panels = list(figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0])
    titled(figure, name)
    panels[0].set_title(title, loc="left", fontsize=9.5)
    return figure, panels
