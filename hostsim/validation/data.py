"""Published figures carried in the package: JSON files with source and units."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def published(name: str) -> dict[str, Any]:
    """Content of ``hostsim/data/published/<name>.json``."""
    text = (files("hostsim") / "data" / "published" / f"{name}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content
