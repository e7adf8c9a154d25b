"""A result of each kind that has a report, made up: names that try to break out of the page stand in each."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from hostsim.core.latency import Latencies
from hostsim.report.html.page import Content
from hostsim.report.html.registry import run_content
from hostsim.results.latencies import Distribution
from hostsim.results.memory import HostResult
from hostsim.results.tables import RunResult, Table
from tests.helpers.answers import answer_contents
from tests.helpers.kvm_synthetic import kvm_migration
from tests.helpers.synthetic import migration, run_result

EVIL = "</script><img src=x onerror=alert(1)>&{{ 7 * 7 }}"
ORIGIN = {"hostsim": "0.1.0", "python": "3.11.7", "libraries": {"numpy": "2.0"}, "seeds": [1, 2], "git": EVIL}
VERDICT: dict[str, Any] = {
    "outcome": "not converging", "headline": f"not converging: {EVIL}", "findings": ["Why: the guest dirties more."],
    "remedies": [
        {"text": "downtime limit of 1.2 s", "command": "virsh migrate-setmaxdowntime DOMAIN 1200", "confirmed": True},
        {"text": "more CPUs", "helps": False},
    ],
    "confidence": {"level": "high", "reason": "the guest is known"}, "converged": False, "numbers": {"floor_bytes": 6.5e8},
}  # fmt: skip


def waits(scale: float = 1.0) -> Latencies:
    """A thousand latencies around 50 us times ``scale``."""
    found = Latencies()
    for i in range(1000):
        found.record(int(scale * 1000 * (10 + (i * 37) % 97) ** 1.2))
    return found


def host() -> HostResult:
    """Two VMs over a second, two passes of ageing."""
    t_ns, vms = np.repeat(np.arange(11) * 100_000_000, 2), np.tile(["vm", "neighbour[0]"], 11)
    zeros = np.zeros(22, np.int64)
    series = Table("memory_series", {
        "t_ns": t_ns, "vm": vms, "free_frames": zeros + 300, "swap_used_pages": zeros, "resident_pages": zeros + 4096,
        "swapped_in_pages": zeros + 7, "swapped_out_pages": zeros + 9, "guest_slowdown": np.linspace(0, 0.3, 22),
    })  # fmt: skip
    passes = Table("ageing_passes", {
        "vm": np.array(["vm", "vm"]), "pass": np.array([0, 1]), "start_ns": np.array([0, 500_000_000]),
        "took_ns": np.array([9, 9]), "calls": np.array([9, 9]), "asked": np.array([9, 9]), "young": np.array([9, 9]),
        "host_read": np.array([0, 0]), "in_use": np.array([0, 0]), "false_old": np.array([0.0, 0.1]),
        "working_set_pages": np.array([np.nan, 8.0]),
    })  # fmt: skip
    ages = Table("age_map", {
        "vm": np.repeat("vm", 8), "pass": np.repeat([0, 1], 4), "first_gfn": np.tile(np.arange(4) * 128, 2),
        "end_gfn": np.tile(np.arange(1, 5) * 128, 2), "mean_age_passes": np.linspace(0, 1, 8), "young_share": np.ones(8),
    })  # fmt: skip
    kinds = ("fault_major", "swap_read", "notifier_clear_young", "lock_wait_vcpu", "lock_wait_host")
    found = tuple(Distribution(what, "vm", waits(scale)) for scale, what in enumerate(kinds, start=1))
    tables = {table.name: table for table in (series, passes, ages)}
    return HostResult(None, None, None, found, tables)


def run() -> RunResult:
    """Two migrations, one of them under KVM, on a host with neighbours."""
    one = run_result(kvm_migration(), migration(rounds=90, shrink=0.9, status="cancelled", throttled=True), name=EVIL)
    return replace(one, host=host(), verdicts=(VERDICT, VERDICT | {"outcome": "completed", "converged": True}))


def long_run(n_samples: int = 100_000) -> RunResult:
    """A migration with so many samples, which no compression makes small."""
    one = migration(rounds=40, status="cancelled")
    at, rng = np.arange(n_samples), np.random.default_rng(7)
    columns = {
        name: np.full(n_samples, values[min(2, len(values) - 1)], values.dtype)
        for name, values in one.series.columns.items()
    }
    columns |= {
        "t_ns": at * 100_000_000 + rng.integers(0, 90_000_000, n_samples),
        "remaining_bytes": rng.integers(1, 1 << 34, n_samples),
        "bandwidth_bytes_per_s": rng.random(n_samples) * 1.25e9, "dirtied_pages_per_s": rng.random(n_samples) * 3e5,
        "guest_speed": rng.random(n_samples),
    }  # fmt: skip
    return run_result(replace(one, series=Table("series", columns)), name="long")


def spread(mean: float, **more: Any) -> dict[str, Any]:
    return {"n": 3, "mean": mean, "low": 0.9 * mean, "high": 1.1 * mean, **more}


def compared(first: str, values: list[str]) -> dict[str, Any]:
    """compare.json over ``values`` and three limits; the last combination does not converge."""
    limits, combinations = ["100ms", "300ms", "1s"], []
    for i, value in enumerate(values):
        for k, limit in enumerate(limits):
            against = {
                "ratio": 1.0 + i,
                "difference": 1.0,
                "low": -1.0,
                "high": 2.0,
                "effect": ("more", "within noise")[k % 2],
            }
            ends = i + k == len(values) + 1
            figures = {"total_time_ms": None if ends else spread(5000.0 / (1 + i), against_baseline=against),
                       "downtime_ms": None if ends else spread(100.0 * (1 + k), against_baseline=None)}  # fmt: skip
            status = "cancelled" if ends else "completed"
            combinations.append({"settings": {first: value, "migration.downtime_limit": limit}, "statuses": [status] * 3,
                                 "converges": not ends, "figures": figures})  # fmt: skip
    axes = [{"key": first, "values": values}, {"key": "migration.downtime_limit", "values": limits}]
    figures = {"status": "completed", "total_time_ms": 5}
    runs = [{"settings": combinations[0]["settings"], "seed": 1, "key": "k", "figures": figures},
            {"settings": combinations[0]["settings"], "seed": 2, "key": "l", "figures": None, "error": EVIL}]  # fmt: skip
    best = {"figure": "total_time_ms", "value": 1250.0, "settings": combinations[0]["settings"], "within_noise": ["x"]}
    return {"name": EVIL, "axes": axes, "combinations": combinations, "runs": runs, "seeds": [1, 2, 3], "best": [best],
            "interval": "95% confidence interval", "verdict": ["VERDICT: 8 of 9 converge.", f"Sent: {EVIL}."]}  # fmt: skip


def cases(names: tuple[str, ...], ages: tuple[str, ...] = ("",)) -> list[dict[str, Any]]:
    return [
        {"settings": {"policy": policy} | ({"age": age} if age else {}), "verdict": EVIL, "migrations_completed": None,
         "figures": {name: spread(10.0 * (1 + i)) for name in names}}
        for i, (policy, age) in enumerate((policy, age) for policy in ("idle", "mglru") for age in ages)
    ]  # fmt: skip


def distribution_table(what: str) -> Table:
    ends, counts = waits().buckets()
    n = len(ends)
    return Table("latencies", {"row": np.zeros(n, np.int64), "what": np.full(n, what), "latency_ns": ends, "count": counts})


def claims() -> tuple[dict[str, Any], Table]:
    x = np.array([0.01, 0.1, 1.0])
    found = [
        {"number": i, "says": f"claim {EVIL}", "who": "Graf", "verdict": "holds if", "condition": "fewer than 56 %",
         "crossings": [{"what": "list = rmap", "measured": 0.5, "computed": 0.5, "unit": "of pages", "formula": "a"}],
         "panel": {"log_x": True, "log_y": True, "crosses": True, "levels": ["level"]}}
        for i in (1, 2)
    ]  # fmt: skip
    table = Table("curves", {
        "claim": np.repeat([1, 2], 6), "x_label": np.full(12, "share"), "y_label": np.full(12, "one flush [us]"),
        "line": np.tile(np.repeat(["rmap", "level"], 3), 2), "x": np.tile(x, 4), "y": np.tile([1.0, 20.0, 500.0], 4),
    })  # fmt: skip
    return {"claims": found, "verdict": ["VERDICT: 2 of 2 hold"], "machine": EVIL, "options": {"sheet": "haswell"}}, table


def validated() -> dict[str, Any]:
    rows = [
        {"suite": "qemu", "id": f"case-{i}", "quantity": "total time", "expected": 10.0 * (1 + i), "got": 10.2 * (1 + i),
         "error": 0.02, "tolerance": 0.05, "passed": i != 3, "scored": i != 4, "note": EVIL}
        for i in range(6)
    ]  # fmt: skip
    return {"rows": rows, "command": "hostsim validate --suite qemu"}


PHASES = [
    {"phase": f"phase {i}", "real_ms": 2.0 + i, "real_least_ms": 1.9 + i, "real_most_ms": 2.5 + i, "simulated_ms": 2.1 + i,
     "ratio": 1.05, "pages": 16384, "real_counters": {"pf_taken": 3}}
    for i in range(3)
]  # fmt: skip
CHAINS = [
    {"work": work, "sptes_a_page": k, "real_ns": 30.0 * k, "rmap_ns": 28.0 * k, "form_ns": 29.0 * k, "low_ns": 27.0 * k,
     "high_ns": 33.0 * k}
    for work in ("enable", "get") for k in (1, 2, 8)
]  # fmt: skip
CALIBRATED: dict[str, Any] = {
    "file": "my.toml", "machine": EVIL, "date": "2020-01-01", "base": "haswell", "noisy": ["l2_ns"], "notes": [EVIL],
    "numbers": [{"name": "l1_ns", "value": 1.2, "repetitions": 5, "spread": 0.02, "source": EVIL},
                {"name": "ipi_ns", "value": 900.0, "repetitions": 0, "spread": None, "source": "assumed"}],
    "curve": [{"footprint_bytes": 4096 << i, "load_ns": 1.0 + i} for i in range(8)], "not_told_apart": [],
}  # fmt: skip


@cache
def contents() -> dict[str, Content]:
    """A content by name; each kind of the registry is among them."""
    debated, curves = claims()
    studies = {
        "options": {"budget": "p99=2ms,slowdown=1%"},
        "seeds": [1, 2],
        "interval": None,
        "verdict": [f"VERDICT: {EVIL}"],
    }
    age = cases(("pass_mean_ns", "vcpu_slowdown_percent", "used_pages", "false_old_pages", "working_set_pages"))
    reclaim = cases(
        ("cold_bytes", "reclaimed_bytes", "refaults_per_s", "slowdown_percent", "stall_p99_ns"), ("1s", "2s", "5s")
    )
    told = {
        "compare": (compared("link.bandwidth", ["5Gbit/s", "10Gbit/s", "25Gbit/s"]), {}),
        "age": (studies | {"rows": age}, {"latencies": distribution_table("guest fault")}),
        "reclaim": (studies | {"rows": reclaim}, {"latencies": distribution_table("stall")}),
        "debate": (debated, {"curves": curves}), "validate": (validated(), {}),
        "chains": ({"rows": CHAINS, "host": EVIL}, {}),
        "selftest": ({"phases": PHASES, "lines": [EVIL], "options": {"vcpus": 1}, "host": EVIL}, {}),
        "explain": ({"verdicts": [VERDICT | {"format": "qmp", "scenario": EVIL}]}, {}), "calibrate": (CALIBRATED, {}),
        "unfinished": ({"runs": [{"key": EVIL, "status": "completed", "total_time_ms": 5.0}]}, {}),
    }  # fmt: skip
    made = {kind: Content(kind, main, tables, origin=ORIGIN) for kind, (main, tables) in told.items()}
    names = Content("compare", compared("modes", ["precopy", EVIL, "postcopy"]), origin=ORIGIN)
    return {"run": run_content(run(), []), "compare names": names, **made, **answer_contents(EVIL, ORIGIN)}
