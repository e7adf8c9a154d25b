"""Measured QEMU migrations: reading the case files."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from hostsim.core.errors import InputError, Problem
from hostsim.core.units import shown
from hostsim.core.user_files import CASES, as_text, read_bytes

CALIBRATION = frozenset(
    {
        "idle_f128", "v10_idle_f128", "idle_unlimited", "idle_zero_m512", "ac_rand300_spin", "postcopy_n3_bw0",
        "v10_postcopy_n3", "v10_postcopy_n3_preempt",
    }
)  # fmt: skip
"""Cases on which a constant of the host sheet qemu-tcg-2core or of its post-copy was set: reported, not counted."""

HOST_SPEED = frozenset({"idle_zero_m512", "idle_unlimited"})
"""Cases whose times measure the speed of the machine on which they ran."""


@dataclass(frozen=True)
class Case:
    """One case: inputs, outcome of each repeat, median/min/max of each figure, repeats in detail."""

    id: str
    inputs: Mapping[str, Any]
    status: tuple[str, ...]
    measured: Mapping[str, Mapping[str, Any]]
    repeats: tuple[Mapping[str, Any], ...]

    @property
    def throttles(self) -> bool:
        """Whether cpu-throttle may hold the guest back."""
        return "auto-converge" in self.inputs["capabilities"]

    @property
    def scored(self) -> bool:
        """Whether the case counts: no constant was set on it and it does not time the host."""
        return self.id not in CALIBRATION | HOST_SPEED


def second_cases() -> list[Case]:
    """Cases that were measured after the model was made, under KVM and under TCG: hostsim/data/qemu/README.md."""
    return _group("second")


def third_cases() -> list[Case]:
    """Cases under KVM of guests that rest, move on, fill zero pages or have more vCPUs: hostsim/data/qemu/README.md."""
    return _group("third")


def fourth_cases() -> list[Case]:
    """Cases that ran while nothing else did, most under KVM, one under TCG: hostsim/data/qemu/README.md."""
    return _group("fourth")


def is_scheduled(case: Case) -> bool:
    """Whether the host's scheduler decides how many pages the destination of post-copy asks for.

    Other programs ran meanwhile; or a sweep follows the stream page by page on two cores. The preempt of 8.0 and later has a
    thread of its own at each end.
    """
    inputs = case.inputs
    has_threads = "postcopy-preempt" in inputs["capabilities"] and not str(inputs["qemu_version"]).startswith("7.")
    return bool(inputs.get("busy_host")) or (inputs["pattern"] == "seq" and not has_threads)


def _group(name: str) -> list[Case]:
    with as_file(files("hostsim") / "data" / "qemu" / f"{name}.jsonl.gz") as path:
        return load_cases(path)


def load_cases(path: Path | None = None) -> list[Case]:
    """Cases of a .jsonl or .jsonl.gz file, None: hostsim's own. InputError with file and line."""
    own = files("hostsim") / "data" / "qemu" / "cases.jsonl.gz"
    name = str(path) if path else "hostsim/data/qemu/cases.jsonl.gz"
    raw = read_bytes(path, CASES) if path else own.read_bytes()
    text = as_text(_unpacked(raw, name) if name.endswith(".gz") else raw, name, CASES)
    return [_case(name, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _unpacked(raw: bytes, name: str) -> bytes:
    try:
        with gzip.open(io.BytesIO(raw)) as file:
            return file.read(CASES.bytes_max)
    except (OSError, EOFError, zlib.error):
        got = "a gzip file that is cut or damaged"
        raise InputError([Problem(name, "file", got, CASES.wanted, CASES.example)]) from None


def _case(name: str, number: int, line: str) -> Case:
    wanted = "a JSON object with id, inputs (and capabilities in it), status, measured, repeats"
    problem = Problem(f"{name}:{number}", "line", shown(line), wanted)
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError([problem]) from None
    if not _is_case(raw):
        raise InputError([problem])
    return Case(raw["id"], raw["inputs"], tuple(raw["status"]), raw["measured"], tuple(raw["repeats"]))


def _is_case(raw: Any) -> bool:
    shapes = {"id": str, "inputs": dict, "status": list, "measured": dict, "repeats": list}
    is_object = isinstance(raw, dict) and all(isinstance(raw.get(key), kind) for key, kind in shapes.items())
    return is_object and isinstance(raw["inputs"].get("capabilities"), list)
