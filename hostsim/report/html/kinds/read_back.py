"""Objects of predictions, solutions and fits, read back from what their JSON says: pages share the words of the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hostsim.study.predict.margins import Margin
from hostsim.study.predict.prediction import Estimate
from hostsim.study.solve.solution import Cell, Change
from hostsim.study.statistics import Median, Share, Spread

Told = Mapping[str, Any]


def estimates_in(told: Mapping[str, Told]) -> dict[str, Estimate]:
    """Estimates by figure."""
    return {name: _estimate(name, one) for name, one in told.items()}


def share_in(told: Told) -> Share:
    """How many runs did it, with the interval."""
    return Share(told["k"], told["n"], told["low"], told["high"])


def margin_in(told: Told) -> Margin:
    """Where the answer flips."""
    return Margin(**_known(Margin, told) | {"seeds": tuple(told["seeds"])})


def cell_in(told: Told) -> Cell:
    """A pair of link and downtime limit."""
    return Cell(**_known(Cell, told))


def change_in(told: Told) -> Change:
    """A change, and what runs showed."""
    reached = None if told["reached"] is None else share_in(told["reached"])
    got = {"reached": reached, "estimates": estimates_in(told["figures"]), "seeds": tuple(told["seeds"])}
    return Change(**_known(Change, told) | got)


def _estimate(name: str, told: Told) -> Estimate:
    n = told["n"]
    median = Median(n, told["median"], told["median_low"], told["median_high"])
    return Estimate(name, Spread(n, told["mean"], told["low"], told["high"]), median, told["p95"])


def _known(form: type, told: Told) -> dict[str, Any]:
    return {one.name: told[one.name] for one in fields(form) if one.name in told}
