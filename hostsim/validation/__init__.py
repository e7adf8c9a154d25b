"""Validation: every target with what was expected, what came out, and the error, as rows of one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

from hostsim.errors import InputError, Problem
from hostsim.validation.rows import Row

Progress = Callable[[str, int, int], None]
"""Called with (what is done, how many are done, how many there are)."""

SUITES: dict[str, str] = {
    "qemu": "hostsim.validation.qemu",
    "published": "hostsim.validation.published",
    "oracles": "hostsim.validation.oracles",
}
"""Name of a suite and the module whose ``rows(cases, jobs, progress)`` computes it; imported when it runs."""


def run_suites(
    names: Sequence[str] = (),
    cases: Sequence[str] | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Row]:
    """Rows of the suites ``names`` (none: all), in that order.

    cases: ids to keep (``P1`` keeps all below it), None for all; jobs: worker processes a suite may use.
    Raises InputError for a suite or case that does not exist.
    """
    wanted = list(names) or list(SUITES)
    _check("suite", wanted, list(SUITES))
    rows = [row for name in wanted for row in _suite(name)(cases, jobs, progress)]
    _check("case", _unmatched(cases or (), rows), [])
    return rows


def _suite(name: str) -> Callable[..., list[Row]]:
    module: Any = import_module(SUITES[name])
    return module.rows  # type: ignore[no-any-return]


def _check(key: str, given: Sequence[str], known: Sequence[str]) -> None:
    wanted = f"one of {', '.join(known)}" if known else "the id of a row, or the part before a slash"
    problems = [Problem("validate", key, name, wanted) for name in given if name not in known]
    if problems:
        raise InputError(problems)


def _unmatched(cases: Sequence[str], rows: Sequence[Row]) -> list[str]:
    ids = set(_with_parents(rows))
    return [case for case in cases if case not in ids]


def _with_parents(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        parts = row.id.split("/")
        yield from ("/".join(parts[: i + 1]) for i in range(len(parts)))
