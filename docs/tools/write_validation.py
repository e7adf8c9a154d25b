"""Write the tables of docs/background/validation.md from validation.json beside it.

``--measure`` runs `hostsim validate` first and writes validation.json anew; ``--check`` only compares the page.
A table stands between ``<!-- table: name -->`` and ``<!-- end -->``; the words around it are written by hand.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from written import write_or_compare

FOLDER = Path(__file__).resolve().parents[1] / "background"
PAGE, DATA = FOLDER / "validation.md", FOLDER / "validation.json"
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURES = {
    "total_time_ms": ("total time", "5 % (10 % for one case in ten)"),
    "transferred_bytes": ("transferred bytes", "5 % (10 % for one case in ten)"),
    "dirty_sync_count": ("number of syncs", "2, or 10 %"),
    "downtime_ms": ("downtime over a link", "30 ms, or 15 %"),
}
FORMS = {
    "P1": "forecast times of 24 migrations from a measured dirty curve: the map from one round to the next",
    "P1-fit": "the same forecast from page classes fitted to the curve",
    "P1-range": "the same forecast by guests drawn from the errors of the readings: the published time lies between",
    "P1-run": "the same by the engine's guest, harvested pass by pass",
    "P2": "bytes on the wire of two migrations in the field",
    "P3": "two migrations in the field that never complete: the working set above which they cannot",
    "P4": "share of time left by cpu-throttle, by its arithmetic",
    "P4-run": "the same by the engine's vCPU and throttle timer",
}
BLIND, SECOND, THIRD, FOURTH = "blind_", "second_", "third_", "fourth_"
"""Beginnings of the ids of cases that were measured after the model was made."""
TAIL_CASES = 20
"""Fewer cases than this have no tenth worth a number."""
Row = dict[str, Any]


def measure() -> None:
    """Run all suites and keep their rows, one a line."""
    command = [str(Path(sys.executable).with_name("hostsim")), "validate", "--json", "--jobs", "2"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    DATA.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n", encoding="utf-8")


def rows_of(suite: str) -> list[Row]:
    """Rows of ``suite`` in validation.json."""
    return [row for row in json.loads(DATA.read_text(encoding="utf-8")) if row["suite"] == suite]


def cases() -> dict[str, dict[str, Row]]:
    """Rows of suite qemu by case and quantity, without those of the second group, which have a table of their own."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows_of("qemu"):
        if row["id"].startswith(SECOND):
            continue
        found.setdefault(row["id"], {})[row["quantity"]] = row
    return found


def deviation(row: Row) -> float:
    """How far the simulated median is from the measured one, as share of it."""
    return row["got"] / row["expected"] - 1 if row["expected"] else float(row["got"] != 0)


def percent(share: float, digits: int = 2) -> str:
    """A share for people."""
    return f"{100 * share:.{digits}f} %"


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie, one of them."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def table(header: tuple[str, ...], lines: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    drawn = [header, ("---",) * len(header), *lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in drawn)


def errors_table() -> str:
    """One line a figure: how the errors of the counted cases are distributed."""
    header = ("figure", "cases", "inside the measured spread", "median error", "90 % below", "largest", "bound", "passed")
    return table(header, _error_lines())


def _error_lines() -> Iterator[tuple[str, ...]]:
    for name, (words, bound) in FIGURES.items():
        rows = [case[name] for case in cases().values() if name in case and case[name]["scored"]]
        errors = [abs(row["error"]) for row in rows]
        inside = sum(error == 0 for error in errors)
        passed = sum(row["passed"] for row in rows)
        worst = percent(max((error for error in errors if error <= 1), default=0.0), 1)
        tail = percent(quantile(errors, 0.9), 1) if len(errors) >= TAIL_CASES else ""
        yield (
            words, str(len(rows)), str(inside), percent(statistics.median(errors)), tail, worst, bound,
            f"{passed} of {len(rows)}",
        )  # fmt: skip


def deviations_table() -> str:
    """The same without the rule that what is inside the spread has no error."""
    header = ("figure", "cases", "median", "90 % below", "largest")
    return table(header, _deviation_lines())


def _deviation_lines() -> Iterator[tuple[str, ...]]:
    for name, (words, _) in list(FIGURES.items())[:3]:
        rows = [case[name] for case in cases().values() if name in case and case[name]["scored"]]
        off = [abs(deviation(row)) for row in rows]
        yield words, str(len(rows)), percent(statistics.median(off)), percent(quantile(off, 0.9), 1), percent(max(off), 1)


def cases_table() -> str:
    """One line a case."""
    header = (
        "case", "outcome", "total time, s", "got", "error", "transferred, MB", "got", "error", "syncs", "got",
        "downtime, ms", "got",
    )  # fmt: skip
    return table(header, _case_lines())


def _case_lines() -> Iterator[tuple[str, ...]]:
    for name, case in cases().items():
        counted = any(row["scored"] for row in case.values())
        yield (
            f"`{name}`" + ("" if counted else " *"),
            case["outcome"]["got"],
            *_cells(case.get("total_time_ms"), 1000, 2, error=True),
            *_cells(case.get("transferred_bytes"), 1e6, 1, error=True),
            *_cells(case.get("dirty_sync_count"), 1, 0, error=False),
            *_cells(case.get("downtime_ms"), 1, 0, error=False),
        )


def _cells(row: Row | None, unit: float, digits: int, *, error: bool) -> tuple[str, ...]:
    if row is None:
        return ("",) * (3 if error else 2)
    both = tuple(f"{row[key] / unit:.{digits if row[key] / unit % 1 else 0}f}" for key in ("expected", "got"))
    if not error:
        return both
    return (*both, "in" if row["error"] == 0 else f"{100 * row['error']:+.1f} %")


OTHERS = {
    "multifd_bytes": ("multifd", 1e6, "MB"), "postcopy_bytes": ("post-copy", 1e6, "MB"),
    "postcopy_requests": ("requests", 1, ""), "xbzrle_bytes": ("XBZRLE", 1e3, "kB"), "xbzrle_pages": ("deltas", 1, ""),
    "xbzrle_cache_miss": ("misses", 1, ""),
}  # fmt: skip
"""Figures of mechanisms: word, unit, its name."""


def blind_table() -> str:
    """One line a case of group blind of suite kvm."""
    return _later_table(BLIND)


def second_table() -> str:
    """One line a case of group second, of suites kvm and qemu."""
    return _later_table(SECOND)


def third_table() -> str:
    """One line a case of group third of suite kvm."""
    return _later_table(THIRD)


def fourth_table() -> str:
    """One line a case of group fourth, of suites kvm and qemu."""
    return _later_table(FOURTH)


def _later_table(group: str) -> str:
    header = (
        "case", "outcome", "total time, s", "got", "error", "transferred, MB", "got", "error", "syncs", "got",
        "downtime, ms", "got", "mechanism: measured, got",
    )  # fmt: skip
    return table(header, _later_lines(group))


def _later_lines(group: str) -> Iterator[tuple[str, ...]]:
    found: dict[str, dict[str, Row]] = {}
    for row in (*rows_of("kvm"), *rows_of("qemu")):
        name = row["id"].removeprefix("migration/")
        if name.startswith(group):
            found.setdefault(name.removeprefix(group), {})[row["quantity"]] = row
    for name, case in found.items():
        counted = case["transferred_bytes"]["scored"]
        yield (
            f"`{name}`" + ("" if counted else " *"),
            case["outcome"]["got"],
            *_cells(case.get("total_time_ms"), 1000, 2, error=True),
            *_cells(case.get("transferred_bytes"), 1e6, 1, error=True),
            *_cells(case.get("dirty_sync_count"), 1, 0, error=False),
            *_cells(case.get("downtime_ms"), 1, 0, error=False),
            "; ".join(_other(case[key], *words) for key, words in OTHERS.items() if key in case),
        )


def _other(row: Row, word: str, unit: float, name: str) -> str:
    digits = 0 if unit == 1 else 1
    return f"{word} {row['expected'] / unit:.{digits}f}, {row['got'] / unit:.{digits}f} {name}".rstrip()


def published_table() -> str:
    """One line a published source."""
    header = ("id", "what", "figures", "within tolerance", "shown only")
    return table(header, _group_lines("published"))


def _group_lines(suite: str) -> Iterator[tuple[str, ...]]:
    groups: dict[str, list[Row]] = {}
    for row in rows_of(suite):
        groups.setdefault(row["id"].split("/")[0], []).append(row)
    for name, rows in groups.items():
        counted = [row for row in rows if row["scored"]]
        passed = f"{sum(row['passed'] for row in counted)} of {len(counted)}"
        yield name, FORMS.get(name, FOUND.get(name, "")), str(len(rows)), passed, str(len(rows) - len(counted) or "")


FOUND = {
    "B1": "16 to 112 vCPUs populate memory while MGLRU ages it", "B2": "96 vCPUs, memory in 1 GiB pages, logged and no more",
    "B3": "96 vCPUs, eager splitting on and off", "B4": "64 vCPUs populate memory",
    "B5": "dirty log with and without CLEAR", "B6": "page requests in post-copy", "B7": "zero pages",
    "B8": "zstd by 8 channels over 10 Gbit/s", "B9": "connections over 100 Gbit/s",
}  # fmt: skip
"""Tables that were found after the model was made."""
FIRST = re.compile(r"at first sight ([0-9.e+-]+)")


def found_table() -> str:
    """One line a figure of rows B: measured, got at first sight, got now."""
    header = ("figure", "measured", "at first sight", "error", "now", "error", "within")
    return table(header, _found_lines())


def _found_lines() -> Iterator[tuple[str, ...]]:
    for row in (row for row in rows_of("published") if row["id"].split("/")[0] in FOUND):
        seen = FIRST.search(row["note"])
        first = float(seen[1]) if seen else row["got"]
        within = ("yes" if row["passed"] else "**no**") if row["scored"] else "given"
        errors = [f"{100 * (value / row['expected'] - 1):+.0f} %" for value in (first, row["got"])]
        yield (
            f"`{row['id']}`, {row['quantity']}", f"{row['expected']:.4g}", f"{first:.4g}", errors[0], f"{row['got']:.4g}",
            errors[1], within,
        )  # fmt: skip


SERIES = ("K1", "K2", "K2b", "K3", "K4", "K8")
VCPUS = ("1", "2", "4", "8", "16", "32", "64")


def series_table() -> str:
    """One line a series of K rows: its error at each number of vCPUs; of rows that set a constant in brackets."""
    return table(("series", *(f"N = {n}" for n in VCPUS)), _series_lines())


def _series_lines() -> Iterator[tuple[str, ...]]:
    found: dict[str, dict[str, str]] = {}
    for row in rows_of("published"):
        parts = row["id"].split("/")
        numbers = [part for part in parts if part in VCPUS]
        if parts[0] in SERIES and row["tolerance"] and numbers:
            name = " ".join(part for part in parts if part not in VCPUS)
            text = f"{100 * (row['got'] / row['expected'] - 1):+.1f} %"
            found.setdefault(name, {})[numbers[0]] = text if row["scored"] else f"({text})"
    for name, errors in found.items():
        yield name, *(errors.get(n, "") for n in VCPUS)


def summary_table() -> str:
    """One line a suite."""
    return table(("suite", "figures counted", "passed", "shown only"), _summary_lines())


def _summary_lines() -> Iterator[tuple[str, ...]]:
    for suite in ("qemu", "published", "kvm", "oracles", "fit"):
        rows = rows_of(suite)
        counted = [row for row in rows if row["scored"]]
        passed = sum(row["passed"] for row in counted)
        yield f"`{suite}`", str(len(counted)), str(passed), str(len(rows) - len(counted))


TABLES = {
    "summary": summary_table, "errors": errors_table, "deviations": deviations_table, "cases": cases_table,
    "published": published_table, "series": series_table, "blind": blind_table, "second": second_table,
    "third": third_table, "fourth": fourth_table, "found": found_table,
}  # fmt: skip


def page(text: str) -> str:
    """``text`` with its tables written anew."""
    return TABLE.sub(lambda match: f"{match[1]}{TABLES[match[2]]()}{match[3]}", text)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 if it is out of date."""
    if "--measure" in arguments:
        measure()
    return write_or_compare(PAGE, page(PAGE.read_text(encoding="utf-8")), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
