"""Pictures of the pages carry what they were drawn from: data, drawing code, matplotlib; a check compares and never redraws.

A tool is a module with ``figures()``: the path of each picture under docs/, and what draws it.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hostsim.report import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOCS = Path(__file__).resolve().parents[1]
KEY = "hostsim"
"""Of the text in a PNG that holds the stamp, as JSON."""
REPORT = Path(drawing.__file__).parent
REPORT_IMPORT = re.compile(r"^\s*from hostsim\.report([\w.]*) import (\w+)", re.MULTILINE)
Figures = Mapping[str, Callable[[], "Figure"]]


def run(tool: str, figures: Callable[[], Figures]) -> int:
    """Write the pictures of ``tool``, or with ``--check`` say which are out of date and return 1."""
    if "--check" not in sys.argv[1:]:
        write(tool, figures())
        return 0
    stale = problems(tool, figures())
    for line in stale:
        print(line)
    return int(bool(stale))


def write(tool: str, figures: Figures) -> None:
    """Draw each picture, with its stamp in its metadata."""
    for name, draw in figures.items():
        figure = drawing.drawn(draw)
        stamp = json.dumps(stamp_of(tool, figure), sort_keys=True)
        (DOCS / name).write_bytes(drawing.saved(figure, "png", {"Software": None, KEY: stamp}))


def problems(tool: str, figures: Figures) -> list[str]:
    """A line for each picture that is not what ``tool`` would draw now."""
    found = []
    for name, draw in figures.items():
        kept, now = read_stamp(DOCS / name), stamp_of(tool, drawing.drawn(draw))
        changed = [what for what in now if kept.get(what) != now[what]]
        if changed:
            run_it = f"run: python docs/tools/{Path(tool).name}"
            found.append(f"docs/{name}: {', '.join(changed)} changed since it was drawn; {run_it}")
    return found


def stamp_of(tool: str, figure: Figure) -> dict[str, str]:
    """Digests of the data drawn and of the code that draws; matplotlib's version."""
    import matplotlib as mpl

    code = [Path(__file__), *drawing_code(Path(tool))]
    return {"code": _digest(path.read_bytes() for path in code), "data": data_digest(figure), "matplotlib": mpl.__version__}


def drawing_code(tool: Path) -> list[Path]:
    """``tool`` and the modules of hostsim.report that draw and that it imports, directly or not."""
    found = [tool]
    for path in found:
        imports = REPORT_IMPORT.findall(path.read_text(encoding="utf-8"))
        modules = (_module(f"{package}.{name}") or _module(package) for package, name in imports)
        drawing = (module for module in modules if module and "matplotlib" in module.read_text(encoding="utf-8"))
        found += [module for module in dict.fromkeys(drawing) if module not in found]
    return [tool, *sorted(found[1:])]


def _module(name: str) -> Path | None:
    """The file of ``hostsim.report<name>``; None if there is none, as of a name in a module."""
    path = REPORT.joinpath(*name.strip(".").split(".")).with_suffix(".py")
    return path if path.exists() else None


def read_stamp(path: Path) -> dict[str, Any]:
    """What a picture says it was drawn from; nothing if it does not, or is not there."""
    from PIL import Image

    if not path.exists():
        return {}
    with Image.open(path) as image:
        stamp: dict[str, Any] = json.loads(getattr(image, "text", {}).get(KEY, "{}"))
    return stamp


def data_digest(figure: Figure) -> str:
    """Of every line, area, mark and word in every panel; numbers to six digits, so that the last bits do not count."""
    titles = [text.get_text() for text in (*figure.texts, *(one for part in figure.legends for one in part.get_texts()))]
    return _digest(text.encode() for text in [*titles, *(part for axes in figure.axes for part in _parts(axes))])


def _parts(axes: Axes) -> Iterator[str]:
    yield from (axes.get_title(loc) for loc in ("left", "center", "right"))
    yield from (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale(), axes.get_yscale())
    for line in axes.lines:
        yield f"{line.get_label()} {line.get_color()} {line.get_linestyle()} {_numbers(line.get_xydata())}"
    for patch in axes.patches:
        corners = patch.get_patch_transform().transform(patch.get_path().vertices)
        yield f"{patch.get_facecolor()} {_numbers(corners)}"
    for collection in axes.collections:
        yield _numbers(collection.get_array())
        yield from (_numbers(path.vertices) for path in collection.get_paths())
    for text in axes.texts:
        yield f"{text.get_text()} {_numbers(text.get_position())}"
    legend = axes.get_legend()
    yield from () if legend is None else (text.get_text() for text in legend.get_texts())


def _numbers(values: Any) -> str:
    flat = np.ravel(np.ma.filled(np.ma.asarray([] if values is None else values, float), np.nan))
    return " ".join(f"{value:.6g}" for value in flat.tolist())


def _digest(parts: Any) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part + b"\0")
    return found.hexdigest()[:16]
