"""Real logs of migrations, as files in the forms that hostsim reads."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from hostsim.validation.qemu.cases import Case, load_cases

FOLDER = Path(__file__).resolve().parents[1] / "data" / "fitting"
STEP_S = 0.05


@cache
def cases() -> dict[str, Case]:
    return {case.id: case for case in load_cases()}


@cache
def _series() -> dict[str, dict[str, Any]]:
    lines = gzip.decompress((FOLDER / "qemu_series.jsonl.gz").read_bytes()).decode().splitlines()
    return {one["id"]: one for one in map(json.loads, lines)}


def qemu_log(case_id: str, folder: Path) -> Path:
    """The polled repeat of a case as lines of query-migrate, its end from the case's figures."""
    case, kept = cases()[case_id], _series()[case_id]
    repeat = next(r for r in case.repeats if r["rep"] == kept["repeat"])
    rows = [dict(zip(kept["columns"], row, strict=True)) for row in kept["series"]]
    total = case.inputs["ram_total_bytes"]
    lines = [_answer(row, total) for row in rows if row["status"] != "completed"]
    if repeat["status"] == "completed":
        zeros = int(case.measured["zero_pages_sent"]["median"])
        lines.append(_end(repeat, total, rows[-1]["t"] + STEP_S, zeros))
    path = folder / f"{case_id}.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


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


@cache
def _polls() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for line in gzip.decompress((FOLDER / "kvm_postgres_polls.jsonl.gz").read_bytes()).decode().splitlines():
        one = json.loads(line)
        found.setdefault(f"{one['scenario']}_{one['run']}", []).append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def postgres_names() -> tuple[str, ...]:
    return tuple(_polls())


def postgres_log(name: str, folder: Path) -> Path:
    """A run of the PostgreSQL guest, as it was polled."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(f"{line}\n" for line in _polls()[name]))
    return path
