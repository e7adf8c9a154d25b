"""The nearest valid name for an invalid name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LISTED_MAX = 30
LONGEST = 100
"""Only so many characters are compared: the time grows with the square of the length."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The valid name most like ``name``, "" if no name is similar."""
    by_lower = {candidate.lower(): candidate for candidate in valid}
    wanted = name[:LONGEST].lower().replace("-", "_")
    found = get_close_matches(wanted, by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def wanted_name(name: str, valid: Iterable[str]) -> str:
    """Words for the valid name wanted in place of ``name``: the nearest, else the first LISTED_MAX."""
    names = list(valid)
    found = nearest(name, names)
    return f"'{found}' (the nearest valid key)" if found else "one of " + ", ".join(names[:LISTED_MAX])
