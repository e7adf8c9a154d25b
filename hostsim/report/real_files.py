"""Files of what this host's KVM did, beside the simulation: JSON and the charts of its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hostsim.report.html.pictures import pictures_of
from hostsim.report.html.registry import folder_content
from hostsim.results.aside import write_files
from hostsim.results.encode import json_bytes


def write_real(out: Path, kind: str, name: str, told: dict[str, Any]) -> list[Path]:
    """Write <name>.json and, with matplotlib, <name>.png and .svg beside it; their paths. OutputError.

    kind: of the report, selftest or chains.
    """
    return write_files(out, {f"{name}.json": json_bytes(told)} | pictures_of(folder_content(kind, told, {}), name))
