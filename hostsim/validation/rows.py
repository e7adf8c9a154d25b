"""One line of the validation table: the expected figure, the simulated one, and the tolerance."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from typing import Any

Value = float | int | str | bool | None

SIGMAS = 5.0
"""A drawn figure may lie this many standard deviations from its mean: 1 chance in 1.7 million a row."""


@dataclass(frozen=True)
class Row:
    """``error`` and ``tolerance`` are in the unit of the quantity unless ``note`` says otherwise.

    ``scored`` false: shown, but no part of pass or fail of its suite; ``note`` then says why.
    """

    suite: str
    id: str
    quantity: str
    expected: Value
    got: Value
    error: float | None
    tolerance: float | None
    passed: bool
    scored: bool = True
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it; NaN and infinity become text."""
        return {key: _jsonable(value) for key, value in asdict(self).items()}

    def with_note(self, note: str) -> Row:
        """A copy of this row with ``note`` behind its own."""
        return replace(self, note=f"{self.note}; {note}" if self.note else note)

    def unscored(self, why: str) -> Row:
        """A copy of this row that is shown but not scored, with the reason."""
        return replace(self, scored=False, note=f"{self.note}; {why}" if self.note else why)


def absolute(suite: str, row_id: str, quantity: str, expected: float, got: float, tolerance: float) -> Row:
    """Passes if |got - expected| <= tolerance; a result that is not finite fails."""
    error = abs(got - expected)
    return Row(suite, row_id, quantity, expected, got, error, tolerance, bool(error <= tolerance))


def relative(suite: str, row_id: str, quantity: str, expected: float, got: float, tolerance: float) -> Row:
    """Passes if got is within the share ``tolerance`` of expected (not 0)."""
    error = abs(got - expected) / abs(expected)
    return Row(
        suite, row_id, quantity, expected, got, error, tolerance, bool(error <= tolerance),
        note="error and tolerance as share of expected",
    )  # fmt: skip


def digits(suite: str, row_id: str, quantity: str, expected: str, got: float) -> Row:
    """A row that passes if ``got`` rounds to the digits of ``expected``, a number written as it was published.

    suite, row_id, quantity: as ``Row`` has them; the tolerance is half a unit of the last digit.
    """
    decimals = len(expected.partition(".")[2])
    tolerance = 0.5 * 10.0**-decimals
    row = absolute(suite, row_id, quantity, float(expected), got, tolerance)
    return replace(row, passed=bool(row.error is not None and row.error <= tolerance * (1.0 + 1e-9)))


def exact(suite: str, row_id: str, quantity: str, expected: Value, got: Value) -> Row:
    """A row that passes if ``expected`` and ``got`` are equal.

    suite, row_id, quantity: as ``Row`` has them. ``error`` is the difference of numbers, else 0 or 1.
    """
    same = expected == got
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (expected, got))
    error = abs(float(got or 0) - float(expected or 0)) if numbers else float(not same)
    return Row(suite, row_id, quantity, expected, got, error, 0.0, same)


def sigma(suite: str, row_id: str, quantity: str, expected: float, got: float, z: float) -> Row:
    """A row that passes if the z-score ``z`` of a drawn figure is within SIGMAS.

    suite, row_id, quantity: as ``Row`` has them. expected, got: shown only; ``z`` was made of them.
    """
    return Row(
        suite, row_id, quantity, expected, got, abs(z), SIGMAS, bool(abs(z) <= SIGMAS),
        note="error and tolerance in standard deviations",
    )  # fmt: skip


def selected(rows: Iterable[Row], cases: Sequence[str] | None) -> list[Row]:
    """Rows whose id is one of ``cases`` or lies below one (``P1`` selects ``P1/10Gbps/125ms``); None: all."""
    if cases is None:
        return list(rows)
    return [row for row in rows if any(row.id == case or row.id.startswith(f"{case}/") for case in cases)]


def _jsonable(value: Value) -> Value:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def published(name: str) -> dict[str, Any]:
    """Content of ``hostsim/data/published/<name>.json``."""
    text = (files("hostsim") / "data" / "published" / f"{name}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content
