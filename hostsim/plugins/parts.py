"""Parts of hostsim that are found by their folder: each module there has a record that consumers go through."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any


@cache
def parts_in(package: str) -> tuple[Any, ...]:
    """The record ``PART`` of each module in the folder of ``package``, by its ``place``, then by name."""
    folder = importlib.import_module(package)
    names = sorted(found.name for found in pkgutil.iter_modules(folder.__path__))
    parts = [importlib.import_module(f"{package}.{name}").PART for name in names]
    return tuple(sorted(parts, key=lambda part: part.place))
