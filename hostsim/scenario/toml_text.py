"""A scenario's table as the text of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def scenario_text(table: Mapping[str, Any]) -> str:
    """``table`` as TOML: keys, then a heading for each table, and for each entry of an array of tables."""
    return "\n".join(_lines(table, "")).strip() + "\n"


def toml_text(value: Any) -> str:
    """``value`` as TOML writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {toml_text(inner)}' for key, inner in value.items())}}}"
    return str(value)


def _lines(table: Mapping[str, Any], name: str) -> Iterator[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping) or _is_array_of_tables(value)}
    yield from (f"{key} = {toml_text(value)}" for key, value in table.items() if key not in inner)
    for key, value in inner.items():
        full = f"{name}.{key}" if name else key
        for one in [value] if isinstance(value, Mapping) else value:
            lines = list(_lines(one, full))
            heading = f"[{full}]" if isinstance(value, Mapping) else f"[[{full}]]"
            # A table of nothing but tables needs no heading.
            yield from lines if isinstance(value, Mapping) and lines[:1] == [""] else ("", heading, *lines)


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)
