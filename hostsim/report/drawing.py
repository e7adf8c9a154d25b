"""Parts of all pictures: colours for colour-blind readers, styles of lines, axes with ticks in words, files."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

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


@cache
def _import_figures() -> None:
    """Import matplotlib.figure without the help of ``set`` of each artist, which takes a third of the time of the import."""
    help_of_set = "_update_set_signature_and_docstring"
    if "matplotlib.artist" in sys.modules:
        return
    from matplotlib import artist

    wrote: Any = vars(artist.Artist).get(help_of_set)
    if wrote is None:  # private to matplotlib: another version may have no such method
        return
    setattr(artist.Artist, help_of_set, classmethod(lambda _cls: None))
    try:
        import matplotlib.figure  # noqa: F401
    finally:
        setattr(artist.Artist, help_of_set, wrote)


def drawn(draw: Callable[[], Figure]) -> Figure:
    """The figure in the style of all pictures."""
    _import_figures()
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


def label_ticks(axes: Axes, which: Which, ticks: Sequence[float], words: Words) -> None:
    """Set ``ticks`` on one axis of ``axes``, "x" or "y" by ``which``, labelled by ``words``, and no minor ticks."""
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
