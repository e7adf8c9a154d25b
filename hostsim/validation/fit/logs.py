"""Logs of real migrations that guests are fitted to, as lines of query-migrate: hostsim/data/fitting."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.resources import files
from typing import Any

from hostsim.logs.model import MigrationLog
from hostsim.logs.sniff import parse_logs
from hostsim.validation.qemu.cases import Case, load_cases

STEP_S = 0.05
"""Time between two polls of a QEMU case."""


@cache
def cases() -> dict[str, Case]:
    """The cases of suite ``qemu`` by their ids."""
    return {case.id: case for case in load_cases()}


def qemu_text(case_id: str) -> str:
    """The polled repeat of a case, its end from the case's figures."""
    case, kept = cases()[case_id], _series()[case_id]
    repeat = next(r for r in case.repeats if r["rep"] == kept["repeat"])
    rows = [dict(zip(kept["columns"], row, strict=True)) for row in kept["series"]]
    total = case.inputs["ram_total_bytes"]
    lines = [_answer(row, total) for row in rows if row["status"] != "completed"]
    if repeat["status"] == "completed":
        zeros = int(case.measured["zero_pages_sent"]["median"])
        lines.append(_end(repeat, total, rows[-1]["t"] + STEP_S, zeros))
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def postgres_text(name: str) -> str:
    """A run of the PostgreSQL guest, as it was polled."""
    return "".join(f"{line}\n" for line in _polls()[name])


def log_of(text: str, name: str) -> MigrationLog:
    """The only migration in ``text``."""
    (log,) = parse_logs(text, f"{name}.jsonl")
    return log


@cache
def _series() -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in map(json.loads, _lines("qemu_series.jsonl.gz"))}


@cache
def _polls() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for line in _lines("kvm_postgres_polls.jsonl.gz"):
        one = json.loads(line)
        found.setdefault(f"{one['scenario']}_{one['run']}", []).append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def _lines(name: str) -> list[str]:
    packed = (files("hostsim") / "data" / "fitting" / name).read_bytes()
    return gzip.decompress(packed).decode().splitlines()


def _answer(row: dict[str, Any], total: int) -> dict[str, Any]:
    info: dict[str, Any] = {"status": row["status"], "total-time": int(row["t"] * 1000)}
    if row["remaining"] is not None:
        info["ram"] = {
            "transferred": row["transferred"], "remaining": row["remaining"], "total": total, "normal": row["normal"],
            "duplicate": row["duplicate"], "dirty-pages-rate": row["dirty_pages_rate"] or 0, "mbps": row["mbps"],
            "dirty-sync-count": row["dirty_sync_count"], "page-size": 4096,
            "postcopy-requests": row["postcopy_requests"] or 0,
        }  # fmt: skip
    if row["expected_downtime_ms"]:
        info["expected-downtime"] = row["expected_downtime_ms"]
    if row["throttle_pct"]:
        info["cpu-throttle-percentage"] = row["throttle_pct"]
    return {"t": row["t"], "info": info}


def _end(repeat: Any, total: int, t: float, zeros: int) -> dict[str, Any]:
    ram = {
        "transferred": repeat["transferred_bytes"], "remaining": 0, "total": total, "normal": repeat["normal_pages"],
        "duplicate": zeros, "dirty-sync-count": repeat["dirty_sync_count"], "page-size": 4096, "mbps": 0,
        "dirty-pages-rate": 0,
    }  # fmt: skip
    info = {"status": "completed", "total-time": repeat["total_time_ms"], "downtime": repeat["downtime_ms"], "ram": ram}
    return {"t": t, "info": info}
