"""The nearest valid name for one that is not."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LISTED_MAX = 30
LONGEST = 100
"""Longer names are not compared: nobody mistypes that much, and comparing takes their square."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The valid name most like ``name``, "" if none is like it."""
    by_lower = {candidate.lower(): candidate for candidate in valid}
    wanted = name[:LONGEST].lower().replace("-", "_")
    found = get_close_matches(wanted, by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def wanted_name(name: str, valid: Iterable[str]) -> str:
    """What was wanted in place of ``name``: the nearest, or all of them."""
    names = list(valid)
    found = nearest(name, names)
    return f"'{found}' (the nearest valid key)" if found else "one of " + ", ".join(names[:LISTED_MAX])
