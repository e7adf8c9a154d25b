"""Parts of all pictures: colours for colour-blind readers, styles of lines, axes with ticks in words, files."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hostsim.core.errors import MissingExtraError
from hostsim.verdict.words import bytes_words, span_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
GREY, INK, OLIVE = "#9aa0a8", "#22262b", "#9a8c00"
"""Okabe and Ito's palette, its yellow darkened to be seen on white."""
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK, OLIVE)
MARKERS = "osD^vPX*"
DASHES: tuple[Any, ...] = 2 * ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)))
"""Dashes of lines, in the order of COLOURS."""
DECADES_MIN = 2
"""Values that span more powers of ten than this are drawn on a logarithmic axis."""
TICKS_MAX = 7
Words = Callable[[float], str]
Which = Literal["x", "y"]

STYLE: dict[str, Any] = {
    "svg.hashsalt": "hostsim",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def has_plots() -> bool:
    """Whether the extra that draws is installed."""
    return find_spec("matplotlib") is not None


def pictures_of(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """``png`` and ``svg`` of the figure that ``draw`` makes, without the date. MissingExtraError without matplotlib."""
    if not has_plots():
        raise MissingExtraError("matplotlib", "report", "pip install 'hostsim[report]'")
    without: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}
    figure = drawn(draw)
    return {kind: saved(figure, kind, metadata) for kind, metadata in without.items()}


def drawn(draw: Callable[[], Figure]) -> Figure:
    """The figure in the style of all pictures."""
    import matplotlib as mpl

    style: Any = STYLE
    with mpl.rc_context(style):
        return draw()


def saved(figure: Figure, kind: str, metadata: Mapping[str, Any], dpi: int = 130) -> bytes:
    """The bytes of a file of ``kind``. dpi: pixels an inch, of a PNG and of areas that are kept as pixels."""
    import matplotlib as mpl

    style: Any = STYLE
    buffer = io.BytesIO()
    with mpl.rc_context(style):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=dict(metadata))
    return buffer.getvalue()


def titled(figure: Figure, question: str) -> None:
    """The question that a picture answers, above its panels."""
    figure.suptitle(question, x=0.012, ha="left", fontsize=13, fontweight="bold")


def spans_decades(values: Iterable[float]) -> bool:
    """Whether values above 0 lie so far apart that a linear axis would hide the small ones."""
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    return bool(positive) and max(positive) > 10.0**DECADES_MIN * min(positive)


def log_axis(
    axes: Axes, which: Which, values: Iterable[Any], words: Words, limits: tuple[float, float] | None = None,
    ticks_max: int = TICKS_MAX,
) -> None:  # fmt: skip
    """A logarithmic axis around ``values`` (array-likes), or within ``limits``; its ticks in ``words``."""
    flat = np.concatenate([np.empty(0), *(np.ravel(np.asarray(some, float)) for some in values)])
    flat = flat[np.isfinite(flat) & (flat > 0)]
    low, high = limits or ((flat.min() / 1.5, 1.5 * flat.max()) if len(flat) else (0.9, 11.0))
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    label_ticks(axes, which, log_ticks(low, high, ticks_max), words)


def label_ticks(axes: Axes, which: Which, ticks: Sequence[float], words: Words) -> None:
    """Ticks in ``words``, and none between."""
    from matplotlib.ticker import NullLocator

    (axes.set_xticks if which == "x" else axes.set_yticks)(list(ticks), [words(tick) for tick in ticks])
    (axes.xaxis if which == "x" else axes.yaxis).set_minor_locator(NullLocator())


def log_ticks(low: float, high: float, most: int = TICKS_MAX) -> list[float]:
    """At most ``most`` ticks from ``low`` to ``high``: as many multiples of powers of ten as fit, or each n-th power."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]


def short_words(value: float) -> str:
    """0.001 -> "0.001", 20000 -> "20k"."""
    from hostsim.verdict.words import count_words

    return count_words(value) if value >= 1000 else f"{value:.12g}"


def ns_axis(axes: Axes, which: Which, values: Iterable[Any]) -> None:
    """A logarithmic axis of times [ns]: 1 us, 10 us, 100 us."""
    log_axis(axes, which, values, span_words)


def bytes_axis(axes: Axes, which: Which, values: Iterable[Any]) -> None:
    """A logarithmic axis of bytes: 100 MB, 1 GB."""
    log_axis(axes, which, values, bytes_words)
