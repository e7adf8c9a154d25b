"""Draw docs/background/ageing-2x2.png: what a pass and a migration take in each cell, and how a pass grows with memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hostsim.report.plots import BLUE, GREEN, VERMILION, pictures_of
from hostsim.study.ageing.two_by_two import FAST, SLOW, Cell, cell_case, run_all, run_cell

OUT = Path(__file__).resolve().parents[1] / "background" / "ageing-2x2.png"
SIZES, PAGES, VCPUS, SEED = (512, 1024, 2048), 2048, 2, 1
LOOKS = {
    (True, FAST): (BLUE, "o"), (True, SLOW): (VERMILION, "s"), (False, FAST): (GREEN, "D"), (False, SLOW): ("#cc79a7", "^"),
}  # fmt: skip


def name_of(a_bits: bool, index: str) -> str:
    """``bit, rmap``."""
    return f"{'bit' if a_bits else 'no bit'}, {index}"


def draw(by_size: dict[int, list[Cell]], cells: list[Cell]) -> Figure:
    """Three panels."""
    figure = Figure(figsize=(11.0, 3.9), layout="constrained")
    growth, faults, migration = figure.subplots(1, 3)
    for (a_bits, index), (colour, marker) in LOOKS.items():
        mine = [cell for some in by_size.values() for cell in some if (cell.a_bits, cell.index) == (a_bits, index)]
        took_ms, label = [cell.pass_ns / 1e6 for cell in mine], name_of(a_bits, index)
        growth.loglog(list(by_size), took_ms, color=colour, marker=marker, label=label)
    growth.set_xlabel("pages of the VM")
    growth.set_ylabel("a pass takes [ms]")
    growth.legend(fontsize=7.5)
    bars(faults, [cell for cell in cells if not cell.migrates], "faults", 1.0, "faults of the guest a pass")
    moved = [cell for cell in cells if cell.migrates]
    bars(migration, moved, "migration_s", 1.0, "a migration takes [s]")
    migration.axhline(moved[0].plain_migration_s or 0.0, color="#22262b", linestyle="--", linewidth=1.0)
    migration.text(3.45, moved[0].plain_migration_s or 0.0, "not aged", ha="right", va="bottom", fontsize=8)
    return figure


def bars(axes: object, cells: list[Cell], field: str, scale: float, title: str) -> None:
    """A bar a cell."""
    values = [getattr(cell, field) / scale for cell in cells]
    colours = [LOOKS[cell.a_bits, cell.index][0] for cell in cells]
    axes.bar(np.arange(len(cells)), values, color=colours)  # type: ignore[attr-defined]
    names = [name_of(cell.a_bits, cell.index).replace(", ", ",\n") for cell in cells]
    axes.set_xticks(np.arange(len(cells)), names, fontsize=8)  # type: ignore[attr-defined]
    axes.set_ylabel(title)  # type: ignore[attr-defined]


def main() -> None:
    """Run the cells and write the picture."""
    cells = run_all(PAGES, VCPUS, SEED)
    small = {n: [run_cell(cell_case(a, i, n, VCPUS), SEED, migrates=False) for a, i in LOOKS] for n in SIZES if n != PAGES}
    by_size = {**small, PAGES: [cell for cell in cells if not cell.migrates]}
    OUT.write_bytes(pictures_of(lambda: draw(by_size, cells))["png"])
    print(OUT)


if __name__ == "__main__":
    main()
