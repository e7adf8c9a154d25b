"""Validation: every target with expected and simulated value and the error, as rows of one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from hostsim.core.errors import InputError, Problem
from hostsim.validation.rows import Row

Progress = Callable[[str, int, int], None]
"""Called with (name of the finished step, steps done, steps in all)."""

SUITES: dict[str, str] = {
    "qemu": "hostsim.validation.qemu",
    "published": "hostsim.validation.published",
    "kvm": "hostsim.validation.kvm_real",
    "oracles": "hostsim.validation.oracles",
    "fit": "hostsim.validation.fit",
}
"""Name of a suite and the module whose ``rows(only, jobs, progress)`` computes it; imported when it runs."""


def run_suites(
    names: Sequence[str] = (),
    only: Sequence[str] | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    cases: Path | None = None,
) -> list[Row]:
    """Rows of the suites ``names`` (none: all), in that order.

    only: ids to keep (``P1`` keeps all below it), None for all; jobs: worker processes a suite may use; cases: another
    file of measured migrations for suite ``qemu``, for ``kvm`` where that is the only suite. Raises InputError for a suite
    or id that does not exist.
    """
    wanted = list(names) or list(SUITES)
    _check("--suite", wanted, list(SUITES))
    more = {"kvm" if wanted == ["kvm"] else "qemu": {"cases": cases}} if cases else {}
    rows = [row for name in wanted for row in _suite(name)(only, jobs, progress, **more.get(name, {}))]
    _check("id", _unmatched(only or (), rows), [])
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
