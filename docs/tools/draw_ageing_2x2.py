"""Draw docs/background/ageing-2x2.png from ageing-2x2.json; `--run` simulates that anew before, `--check` only compares."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pictures import DOCS, Figures, run

from hostsim.report.drawing import BLUE, DASHES, GREEN, INK, PURPLE, VERMILION, log_axis, ns_axis, titled
from hostsim.study.ageing.two_by_two import FAST, SLOW, Cell, cell_guest, run_all, run_cell
from hostsim.verdict.words import count_words

KEPT = DOCS / "background" / "ageing-2x2.json"
SIZES, PAGES, VCPUS, SEED = (512, 1024, 2048), 2048, 2, 1
LOOKS = {
    (True, FAST): (BLUE, "o"), (True, SLOW): (VERMILION, "s"), (False, FAST): (GREEN, "D"), (False, SLOW): (PURPLE, "^"),
}  # fmt: skip


def name_of(a_bits: bool, index: str) -> str:
    """``bit, rmap``."""
    return f"{'bit' if a_bits else 'no bit'}, {index}"


def simulated() -> dict[str, Any]:
    """Cells of the script, and those without a migration by the pages of the VM."""
    cells = run_all(PAGES, VCPUS, SEED)
    small = {n: [run_cell(cell_guest(a, i, n, VCPUS), SEED, migrates=False) for a, i in LOOKS] for n in SIZES if n != PAGES}
    by_size = {**small, PAGES: [cell for cell in cells if not cell.migrates]}
    sizes = {n: [asdict(cell) for cell in some] for n, some in by_size.items()}
    return {"cells": [asdict(cell) for cell in cells], "by_size": sizes}


def kept() -> tuple[list[Cell], dict[int, list[Cell]]]:
    """The cells, and those of each size."""
    content = json.loads(KEPT.read_text(encoding="utf-8"))
    by_size = {int(n): [Cell(**cell) for cell in some] for n, some in content["by_size"].items()}
    return [Cell(**cell) for cell in content["cells"]], by_size


def draw() -> Figure:
    """Three panels."""
    cells, by_size = kept()
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    growth, faults, migration = figure.subplots(1, 3)
    _growth(growth, by_size)
    bars(faults, [cell for cell in cells if not cell.migrates], "faults", "faults of the guest a pass")
    moved = [cell for cell in cells if cell.migrates]
    bars(migration, moved, "migration_s", "a migration takes [s]")
    plain_s = moved[0].plain_migration_s or 0.0
    migration.axhline(plain_s, color=INK, linestyle="--", linewidth=1.2, label=f"not aged: {plain_s:.3g} s")
    migration.legend(loc="upper left")
    titled(figure, "With a referenced bit or without: is a fast index needed to age a guest's pages?")
    return figure


def _growth(axes: Any, by_size: dict[int, list[Cell]]) -> None:
    """What a pass takes over the size; of lines that lie on each other the first is the widest."""
    for number, ((a_bits, index), (colour, marker)) in enumerate(LOOKS.items()):
        mine = [cell for some in by_size.values() for cell in some if (cell.a_bits, cell.index) == (a_bits, index)]
        look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": DASHES[number]}
        look |= {"linewidth": 3.4 - 0.6 * number, "markersize": 9 - 1.5 * number, "zorder": 2 + number}
        axes.plot(list(by_size), [cell.pass_ns for cell in mine], label=name_of(a_bits, index), **look)
    log_axis(axes, "x", [list(by_size)], count_words, (420, 2500))
    axes.set_xticks(list(by_size), [str(n) for n in by_size])
    ns_axis(axes, "y", [[cell.pass_ns for some in by_size.values() for cell in some]])
    axes.set_xlabel("pages of the VM")
    axes.set_ylabel("time of a pass")
    axes.legend(loc="upper left", fontsize=8)


def bars(axes: Any, cells: list[Cell], field: str, title: str) -> None:
    """A bar a cell, with its figure."""
    values = [getattr(cell, field) for cell in cells]
    drawn = axes.bar(np.arange(len(cells)), values, color=[LOOKS[cell.a_bits, cell.index][0] for cell in cells])
    axes.bar_label(drawn, [f"{value:.3g}" for value in values], padding=2, fontsize=8)
    names = [name_of(cell.a_bits, cell.index).replace(", ", ",\n") for cell in cells]
    axes.set_xticks(np.arange(len(cells)), names, fontsize=8)
    axes.set_ylabel(title)


def figures() -> Figures:
    """By place under docs/."""
    if "--run" in sys.argv[1:]:
        KEPT.write_text(json.dumps(simulated(), indent=1) + "\n", encoding="utf-8")
    return {"background/ageing-2x2.png": draw}


if __name__ == "__main__":
    sys.exit(run(__file__, figures))
