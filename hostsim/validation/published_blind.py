"""Rows B of suite ``published``: tables that were found when the model existed, met by scenarios written from their text.

Each row keeps the figure that the model gave at first sight, before it was changed for what these rows had shown.
"""

from __future__ import annotations

from typing import Any

from hostsim.validation.data import published
from hostsim.validation.rows import Row


def blind(key: str) -> dict[str, Any]:
    """The published figures of ``key``."""
    row: dict[str, Any] = published("blind")[key]
    return row


def first_seen(row: Row) -> Row:
    """``row`` with the figure at first sight in its note."""
    seen = published("blind")["at_first_sight"].get(row.id)
    return row if seen is None else row.with_note(f"at first sight {seen:g}")
