"""``--set key=value``: one key of the file replaced, read as TOML where it is TOML, as a text otherwise."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

from hostsim.core.errors import Problem
from hostsim.core.units import shown
from hostsim.core.user_files import DEPTH_MAX, beyond_measure
from hostsim.scenario.problems import field_at
from hostsim.scenario.schema import Scenario

SOURCE = "--set"
EXAMPLE = "--set migration.bandwidth=25Gbit/s"
TEXT_MAX = 10_000
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+|\[\d+\])*")


def apply_overrides(table: dict[str, Any], overrides: Sequence[str]) -> tuple[frozenset[str], list[Problem]]:
    """Set each key in ``table``, in place. Returns the dotted keys set, and the problems of the texts."""
    keys: set[str] = set()
    problems: list[Problem] = []
    for text in overrides:
        parts = _parts(text)
        problem = _unreadable(text) if parts is None else _put(table, parts, _value(text, parts), text)
        if problem is not None:
            problems.append(problem)
        elif parts is not None:
            keys.add(_dotted(parts))
    return frozenset(keys), problems


def _unreadable(text: str) -> Problem:
    return Problem(SOURCE, "", shown(text), "KEY=VALUE, dots between tables", EXAMPLE)


def _parts(text: str) -> list[str] | None:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not value.strip() or len(text) > TEXT_MAX or _KEY.fullmatch(key) is None:
        return None
    parts = re.findall(r"[A-Za-z0-9_-]+", key)
    return parts if len(parts) <= DEPTH_MAX else None


def _dotted(parts: Sequence[str]) -> str:
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(parts))


def _value(text: str, parts: Sequence[str]) -> Any:
    """The value behind "=", read as TOML; as a text where it is not TOML."""
    value = text.partition("=")[2].strip()
    if "\n" in value:
        return value
    try:
        read = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return value
    if beyond_measure(read):  # a text is refused wherever it does not belong
        return value
    return value if isinstance(read, float) and _is_text(parts) else read


def _is_text(parts: Sequence[str]) -> bool:
    """Whether the key holds a text: 5.10 is a kernel then, and not 5.1."""
    field = field_at(Scenario, [part for part in parts if not part.isdigit()])
    return field is not None and field.annotation is str


def _put(table: dict[str, Any], parts: Sequence[str], value: Any, text: str) -> Problem | None:
    owner: Any = table
    for i, part in enumerate(parts[:-1]):
        owner = _step(owner, part)
        if owner is None:
            got = f"{shown(text)}: no {_dotted(parts[: i + 1])} to set a key in"
            return Problem(SOURCE, _dotted(parts), got, "a table, or the number of one that the file has", EXAMPLE)
    if isinstance(owner, list) and parts[-1].isdigit() and int(parts[-1][:6]) < len(owner):
        owner[int(parts[-1])] = value
    elif isinstance(owner, dict):
        owner[parts[-1]] = value
    else:
        return Problem(SOURCE, _dotted(parts), shown(text), "a key of a table, or the number of an entry", EXAMPLE)
    return None


def _step(owner: Any, part: str) -> Any:
    """The table or array ``part`` of ``owner``, made if there is none; None if it cannot be one."""
    if isinstance(owner, list):
        return owner[int(part)] if part.isdigit() and int(part[:6]) < len(owner) else None
    if not isinstance(owner, dict):
        return None
    inner = owner.setdefault(part, {})
    return inner if isinstance(inner, dict | list) else None
