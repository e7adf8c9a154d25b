"""Pictures of what this host's KVM did, beside the simulation: phases of a selftest, chains of sptes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostsim.report.drawing import BLUE, GREEN, GREY, VERMILION, has_plots, ns_axis, pictures_of, titled
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hostsim.measure.kvm.beside import Pair
    from hostsim.measure.kvm.chain_costs import ChainCosts

REAL: dict[str, Any] = {"color": BLUE, "marker": "o", "markersize": 5, "capsize": 3}
SIMULATED: dict[str, Any] = {"color": VERMILION, "marker": "D", "markersize": 5, "markerfacecolor": "none"}
FORM: dict[str, Any] = {"color": GREEN, "linestyle": "--", "linewidth": 1.0}
WORK_TITLES = {"enable": "enabling a log", "get": "GET that protects", "unmap": "unmapping"}


def write_real(out: Path, name: str, told: dict[str, Any], draw: Callable[[], Figure]) -> list[Path]:
    """Write <name>.json and, with matplotlib, <name>.png and .svg beside it; their paths. OutputError."""
    files = {f"{name}.json": json_bytes(told)}
    if has_plots():
        files |= {f"{name}.{kind}": data for kind, data in pictures_of(draw).items()}
    return write_files(out, files)


def around(middle: Sequence[float], low: Sequence[float], high: Sequence[float]) -> list[list[float]]:
    """Lengths of error bars below and above ``middle``."""
    return [
        [max(0.0, at - least) for at, least in zip(middle, low, strict=True)],
        [max(0.0, most - at) for at, most in zip(middle, high, strict=True)],
    ]


def draw_phases(found: Sequence[Pair], host: str) -> Figure:
    """A line a phase: the real time of a page, from the least to the most of the runs, and the simulated one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 1.4 + 0.34 * len(found)), layout="constrained")
    axes, at = figure.subplots(), list(range(len(found)))
    real = [_a_page(pair, pair.real.ns) for pair in found]
    low = [_a_page(pair, pair.real.least_ns) for pair in found]
    high = [_a_page(pair, pair.real.most_ns) for pair in found]
    simulated = [_a_page(pair, pair.simulated.duration_ns) for pair in found]
    axes.errorbar(real, at, xerr=around(real, low, high), linestyle="none", label="real: median, least, most", **REAL)
    axes.plot(simulated, at, linestyle="none", label="simulated", zorder=5, **SIMULATED)
    axes.hlines(at, [min(*both) for both in zip(real, simulated, strict=True)],
                [max(*both) for both in zip(real, simulated, strict=True)], color=GREY, linewidth=0.8, zorder=0)  # fmt: skip
    axes.set_yticks(at, [str(pair.real) for pair in found])
    axes.invert_yaxis()
    ns_axis(axes, "x", [real, low, high, simulated])
    axes.set_xlabel("time of a page")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    figure.supxlabel(host, fontsize=8)
    titled(figure, "dirty_log_perf_test, real and simulated")
    return figure


def _a_page(pair: Pair, ns: float) -> float:
    return ns / max(1, pair.real.pages)


def draw_chains(found: ChainCosts) -> Figure:
    """A panel a work: the time of a page by its sptes, real with its middle half, modelled, by the closed form."""
    from matplotlib.figure import Figure

    works = [work for work in WORK_TITLES if any(work == key[0] for key in found.real)]
    figure = Figure(figsize=(1.2 + 3.4 * max(1, len(works)), 3.9), layout="constrained")
    for axes, work in zip(figure.subplots(1, max(1, len(works)), squeeze=False).ravel(), works, strict=False):
        lengths = [length for key, length in found.real if key == work]
        real = [found.real[work, k] for k in lengths]
        bounds = zip(*(found.spread[work, k] for k in lengths), strict=True)
        axes.errorbar(lengths, real, yerr=around(real, *bounds), label="real: median, middle half", **REAL)
        axes.plot(lengths, [found.modelled[work, k] for k in lengths], label="modelled rmap", **SIMULATED)
        axes.plot(lengths, [found.form[work, k] for k in lengths], label="closed form", **FORM)
        axes.set(xlabel="sptes of a page", ylabel="ns a page", xticks=lengths, ylim=(0, None))
        axes.set_title(WORK_TITLES[work], loc="left", fontsize=9.5)
        axes.legend(fontsize=7.5, loc="upper left")
    figure.supxlabel(found.host.told, fontsize=8)
    titled(figure, "What a spte of a page costs")
    return figure
