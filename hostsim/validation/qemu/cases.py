"""Measured QEMU migrations: reading the case files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from hostsim.errors import InputError, Problem

NOT_MODELLED = frozenset({"xbzrle", "multifd", "postcopy-ram"})
"""Capabilities whose cases are left out until they are modelled."""

LEFT_OUT = frozenset({"v10_link_rand150_asb16"})

CALIBRATION = frozenset({"idle_f128", "v10_idle_f128", "idle_unlimited", "idle_zero_m512", "ac_rand300_spin"})
"""Cases a constant of the host sheet qemu-tcg-2core was set on: reported, not counted."""

HOST_SPEED = frozenset({"idle_zero_m512", "idle_unlimited"})
"""Cases whose times are the speed of the machine they ran on."""


@dataclass(frozen=True)
class Case:
    """One case: inputs, outcome of each repeat, median/min/max of each figure, repeats in detail."""

    id: str
    inputs: Mapping[str, Any]
    status: tuple[str, ...]
    measured: Mapping[str, Mapping[str, Any]]
    repeats: tuple[Mapping[str, Any], ...]

    @property
    def modelled(self) -> bool:
        """Whether every mechanism that the case needs is there."""
        return self.id not in LEFT_OUT and not NOT_MODELLED & set(self.inputs["capabilities"])

    @property
    def scored(self) -> bool:
        """Whether the case counts: no constant was set on it and it does not time the host."""
        return self.id not in CALIBRATION | HOST_SPEED


def load_cases(path: Path | None = None) -> list[Case]:
    """Cases of a .jsonl or .jsonl.gz file, or those that come with hostsim. InputError with file and line."""
    name = str(path) if path else "hostsim/data/qemu/cases.jsonl.gz"
    try:
        raw = (
            path.read_bytes()
            if path
            else (files("hostsim") / "data" / "qemu" / "cases.jsonl.gz").read_bytes()
        )
        text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(
            [Problem(name, "file", str(error), "a readable .jsonl or .jsonl.gz of cases")]
        ) from error
    return [_case(name, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _case(name: str, number: int, line: str) -> Case:
    try:
        raw = json.loads(line)
        return Case(raw["id"], raw["inputs"], tuple(raw["status"]), raw["measured"], tuple(raw["repeats"]))
    except (ValueError, KeyError, TypeError) as error:
        wanted = "an object with id, inputs, status, measured, repeats"
        raise InputError([Problem(f"{name}:{number}", "line", repr(error), wanted)]) from error
