"""Write docs/reference/eras.md and cost-sheets.md from hostsim/data/eras.toml and costs/*.toml; `--check` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

from written import write_or_compare

from hostsim.costs.costs import Number, load_costs, sheet_names
from hostsim.costs.era import BY_MMU, FIELDS, MMUS, Era, era_names, era_of_kernel, first_kernel, last_kernel, load_era

FOLDER = Path(__file__).resolve().parents[1] / "reference"
LONG_TERM = ("3.2", "3.10", "3.16", "4.4", "4.9", "4.14", "4.19", "5.4", "5.10", "5.15", "6.1", "6.6", "6.12")
"""Long-term releases (kernel.org, "Active kernel releases" and its archive)."""
ERAS_HEADER = """\
# Eras of KVM

Which kernels took `mmu_lock` how, and how they read, cleared and ended a dirty log. Written by
`python docs/tools/write_kvm_tables.py` from `hostsim/data/eras.toml`; in Python `hostsim.costs.era.load_era("E4")`.

A fault is *none* (lockless), *shared* or *exclusive*, in the order map / access-track / write-protection / split. *tdp* is
the TDP MMU, before E2 the direct MMU that did its work; *direct* is two-dimensional paging through rmaps (`tdp_mmu=N`);
*shadow* is shadow paging. An era goes on until the next: *releases* says from which kernel to which,
*kernel* whose source was read. `--era` and `era =` take an era, `E4`, or a kernel, `6.1`. What is *assumed* was recalled,
not read in a source.
"""
COSTS_HEADER = """\
# Cost sheets

What the operations of KVM's MMU cost, machine by machine. Written by `python docs/tools/write_kvm_tables.py` from
`hostsim/data/costs/*.toml`; in Python `hostsim.costs.costs.load_costs("cascade-lake")`. Eras: [eras of KVM](eras.md).
A sheet of your own machine: [how to](../howto/calibrate.md).

A number is given, or computed from others of its sheet (`=`), or another machine's (*assumed: as ...*; only its value is
shown here, the rest on that sheet). *Set on* lists the published rows behind it, directly or through what it is computed
from: against those rows it is no prediction. *Rests on* lists assumed numbers it is computed from.
"""


def eras_page() -> str:
    """The whole page of eras."""
    eras = [load_era(name) for name in era_names()]
    rows = [["releases", *map(_releases, eras)]]
    rows += [[field, *(_plain(era, field) for era in eras)] for field in _fields()]
    sources = [part for before, era in zip([None, *eras], eras, strict=False) for part in _sources(before, era)]
    return "\n".join([ERAS_HEADER, *_table(["", *(era.name for era in eras)], rows), "", "## Sources", "", *sources, ""])


def _fields() -> list[str]:
    return [part for field in FIELDS for part in ([f"{field}.{mmu}" for mmu in MMUS] if field in BY_MMU else [field])]


def _releases(era: Era) -> str:
    """From which release to which the era holds, and the long-term ones among them."""
    long_term = [release for release in LONG_TERM if era_of_kernel(release) == era.name]
    last = last_kernel(era.name)
    span = f"{first_kernel(era.name)} on" if last is None else f"{first_kernel(era.name)} to {last}"
    return f"{span} (long-term: {', '.join(long_term)})" if long_term else span


def _plain(era: Era, dotted: str) -> str:
    field, _, mmu = dotted.partition(".")
    value = getattr(era, field)[mmu] if mmu else getattr(era, field)
    if field == "faults":
        return " / ".join(astuple(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(value) or "nothing") if isinstance(value, tuple) else str(value)


def _sources(before: Era | None, era: Era) -> list[str]:
    """Sources of what is new in ``era``."""
    new = [key for key in era.sources if before is None or era.sources[key] != before.sources[key]]
    return [f"**{era.name}**", "", *(f"- `{key}`: {era.sources[key]}" for key in new), ""]


def costs_page() -> str:
    """The whole page of cost sheets."""
    return "\n".join([COSTS_HEADER, *(line for name in sheet_names() for line in _sheet(name))])


def _sheet(name: str) -> list[str]:
    sheet = load_costs(name)
    own = [number for number in sheet.numbers.values() if not number.source.startswith("assumed: as ")]
    others = [number for number in sheet.numbers.values() if number not in own]
    table = _table(["number", "value", "source", "set on", "rests on"], [_row(number) for number in own])
    taken = [f"- `{number.name}` {number.value:.6g}: {number.source.partition(' (')[0]}" for number in others]
    pml = "with" if sheet.has_pml else "without"
    return [f"## {name}", "", f"{sheet.machine}, {pml} PML.", "", *table, "", *taken, *([""] if taken else [])]


def _row(number: Number) -> list[str]:
    how = f"; `= {number.how}`" if number.how else ""
    rests = ", ".join(f"`{guess}`" for guess in number.rests_on)
    return [f"`{number.name}`", f"{number.value:.6g}", number.source + how, ", ".join(number.fitted_on), rests]


def _table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


PAGES = {"eras.md": eras_page, "cost-sheets.md": costs_page}


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` return 1 if one is out of date."""
    remedy = "python docs/tools/write_kvm_tables.py"
    return max([write_or_compare(FOLDER / name, page(), arguments, remedy) for name, page in PAGES.items()])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
