"""Cost sheets that users bring: a TOML file, read and checked, with all its problems reported at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from hostsim.core.errors import LISTED_PROBLEMS_MAX, InputError, Problem
from hostsim.core.units import shown
from hostsim.core.user_files import SHEET, read_toml
from hostsim.costs.cost_rules import RULES
from hostsim.costs.era import unknown_name

SUFFIX = ".toml"
ENTRY_EXAMPLE = 'value = 400, source = "measured ..."'
LARGEST = 1e12
"""No number of a sheet is larger: 1000 s in ns, 1 TB in bytes."""
HEAD: dict[str, type] = {"machine": str, "pml": bool, "otherwise": str}
"""Keys of a sheet that are no numbers; ``otherwise`` names the sheet that lends missing numbers."""
SHAPES = {"value": ("value",), "total": ("total", "count"), "rule": ("rule",), "as": ("as",)}
"""Keys of an entry besides its source, by the key that identifies the shape."""


def is_path(name: str) -> bool:
    """Whether a sheet's name is a file's: it ends in .toml or lies in a folder."""
    return name.endswith(SUFFIX) or "/" in name or "\\" in name


def read_sheet(path: str, known: Collection[str], sheets: Collection[str]) -> dict[str, Any]:
    """The table of the sheet in ``path``.

    known: names that entries may have.
    sheets: names of sheets that may lend numbers.
    InputError with all problems of the file: path, key, value found, values accepted.
    """
    table = read_toml(path, SHEET)
    problems = [*_head_problems(path, table, sheets), *_number_problems(path, table, known, sheets)]
    if problems:
        raise InputError(problems)
    return table


def _head_problems(path: str, table: Mapping[str, Any], sheets: Collection[str]) -> Iterator[Problem]:
    examples = {"machine": 'machine = "Intel Cascade Lake"', "pml": "pml = false", "otherwise": 'otherwise = "cascade-lake"'}
    for key, kind in HEAD.items():
        if key not in table and key != "otherwise":
            yield Problem(path, key, "nothing", "what machine it is" if key == "machine" else "true or false", examples[key])
        elif key in table and not isinstance(table[key], kind):
            yield Problem(path, key, shown(table[key]), "true or false" if kind is bool else "a text", examples[key])
    if isinstance(lender := table.get("otherwise"), str) and lender not in sheets:
        yield _not_among(path, "otherwise", lender, sheets)


def _number_problems(
    path: str, table: Mapping[str, Any], known: Collection[str], sheets: Collection[str]
) -> Iterator[Problem]:
    unknown = 0
    for key, entry in table.items():
        if key in HEAD:
            continue
        if key not in known:
            unknown += 1
            is_listed = unknown <= LISTED_PROBLEMS_MAX  # to look for the nearest name takes 0.1 ms
            yield _not_among(path, key, key, known) if is_listed else Problem(path, key[:200], "", "as above")
        elif not isinstance(entry, dict):
            yield Problem(path, key, shown(entry), "a table with value and source", f"[{key}] {ENTRY_EXAMPLE}")
        else:
            yield from _entry_problems(path, key, entry, sheets)


def _entry_problems(path: str, key: str, entry: Mapping[str, Any], sheets: Collection[str]) -> Iterator[Problem]:
    shape = next((keys for first, keys in SHAPES.items() if first in entry), None)
    if shape is None:
        yield Problem(path, key, "no value", "value, total and count, rule, or as", ENTRY_EXAMPLE)
        return
    allowed = {*shape, "source", "fitted_on"}
    for extra in entry.keys() - allowed:
        yield Problem(path, f"{key}.{extra}", shown(entry[extra]), f"only {', '.join(sorted(allowed))}", ENTRY_EXAMPLE)
    if shape != ("as",) and not _is_text(entry.get("source")):
        yield Problem(path, f"{key}.source", shown(entry.get("source")), "where the number is from", ENTRY_EXAMPLE)
    if not _are_rows(entry.get("fitted_on", [])):
        yield Problem(path, f"{key}.fitted_on", shown(entry["fitted_on"]), "names of published rows", '["K3 on/2"]')
    if shape == ("rule",) and str(entry["rule"]) not in RULES:
        yield _not_among(path, f"{key}.rule", str(entry["rule"]), RULES)
    elif shape == ("as",) and entry["as"] not in sheets:
        yield _not_among(path, f"{key}.as", str(entry["as"]), sheets)
    elif shape[0] in {"value", "total"}:
        yield from _value_problems(path, key, entry, shape)


def _value_problems(path: str, key: str, entry: Mapping[str, Any], shape: Iterable[str]) -> Iterator[Problem]:
    for name in shape:
        got, least = entry.get(name), 0 if name != "count" else 1e-9
        is_number = isinstance(got, int | float) and not isinstance(got, bool) and math.isfinite(got)
        if not is_number or not least <= got <= LARGEST:  # type: ignore[operator]  # it is a number here
            words = "nothing" if got is None else shown(got)
            yield Problem(path, f"{key}.{name}", words, f"a number from {least:g} to {LARGEST:g}", f"{name} = 400")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_rows(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(row, str) for row in value)


def _not_among(path: str, key: str, name: str, valid: Collection[str]) -> Problem:
    (problem,) = unknown_name(key, name, valid).problems
    return Problem(path, problem.key, problem.got, problem.wanted, problem.example)
