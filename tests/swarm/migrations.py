"""Migrations drawn from a seed: mechanism x workload x link x faults x memory pressure."""

from __future__ import annotations

from typing import Any

import numpy as np

from hostsim.core.errors import InputError
from hostsim.kvm.interfaces import INTERFACES
from hostsim.memory.swap_sheet import swap_names
from hostsim.scenario import Scenario
from hostsim.study.compare.modes import MODES, keys_of
from tests.swarm.configs import one

Draw = np.random.Generator
TRIES = 200
VERSIONS = ("7.2", "10.0", "10.2")
MECHANISMS = (*MODES, "postcopy@0", "postcopy@3", "remus", "kemari")
FAULTS = ("none", "outages", "loss", "cancelled", "suspended", "parameters changed", "postcopy link breaks")


def drawn_migration(seed: int) -> Scenario:
    """The scenario of ``seed``: the first of its draws whose keys may stand together.

    The mechanism is drawn from the seed alone, so that a mechanism with many rules against it is not drawn less often.
    """
    mechanism = one(np.random.default_rng((seed, 1)), MECHANISMS)
    for number in range(TRIES):
        try:
            return Scenario.model_validate(_table(np.random.default_rng((seed, 2, number)), seed, mechanism))
        except InputError:
            continue
    raise AssertionError(f"seed {seed}: {TRIES} draws of {mechanism}, and none of them is a scenario")


def _table(draw: Draw, seed: int, mechanism: str) -> dict[str, Any]:
    kib = 4 * int(draw.integers(256, 2048))
    tracking = one(draw, ("tcg", *INTERFACES))
    table: dict[str, Any] = {
        "seed": seed, "duration": f"{draw.integers(2, 6)}s", "vm": _vm(draw, kib, tracking),
        "migration": _migration(draw, mechanism), "link": _link(draw),
        "host": {"setup_ns": int(draw.choice([100_000, 3_000_000])), "vm_stop_ns": int(draw.choice([10_000, 1_000_000]))},
    }  # fmt: skip
    if mechanism in ("remus", "kemari"):
        table["checkpoints"] = _checkpoints(draw, mechanism)
    _faults(draw, table)
    if tracking != "tcg" and draw.random() < 0.2:
        table["host"]["memory"] = _pressure(draw, kib)
        table["duration"] = f"{draw.integers(200, 600)}ms"
    return table


def _pressure(draw: Draw, kib: int) -> dict[str, Any]:
    """A host that pages: each swapped page is an event of the clock, so these runs are short."""
    size_kib = max(1024, int(kib / draw.uniform(0.8, 1.6)) // 4 * 4)
    return {"size": f"{size_kib}KiB", "swap": one(draw, swap_names()), "swap_size": f"{4 * kib}KiB"}


def _vm(draw: Draw, kib: int, tracking: str) -> dict[str, Any]:
    vcpus = int(draw.choice([1, 2, 4]))
    pages = kib // 4
    return {
        "memory": f"{kib}KiB", "vcpus": vcpus, "dirty_tracking": tracking, "filled": one(draw, ("all", "none")),
        "compression_ratio": float(round(draw.uniform(0.05, 1.0), 2)),
        "workload": [_workload(draw, number, pages) for number in range(int(draw.integers(1, 3)))],
    }  # fmt: skip


def _workload(draw: Draw, number: int, pages: int) -> dict[str, Any]:
    pattern = one(draw, ("uniform", "hotcold", "zipf", "sequential"))
    found: dict[str, Any] = {
        "name": f"w{number}", "pattern": pattern, "write_rate": f"{int(10 ** draw.uniform(2, 5))}/s",
        "changed_bytes": int(draw.choice([8, 200, 4096])), "changed_place": one(draw, ("same", "scattered")),
        "pacing": one(draw, ("closed", "open")),
    }  # fmt: skip
    if draw.random() < 0.4:
        found["read_rate"] = f"{int(10 ** draw.uniform(2, 5))}/s"
    if pattern == "hotcold":
        found |= {"hot_size": f"{pages // 8 * 4}KiB", "hot_share": "90%"}
    return found | ({"exponent": 0.99} if pattern == "zipf" else {})


def _link(draw: Draw) -> dict[str, Any]:
    found: dict[str, Any] = {"bandwidth": one(draw, ("100Mbit/s", "1Gbit/s", "25Gbit/s", "unlimited"))}
    return found | {"latency": one(draw, ("0us", "50us", "2ms", "40ms")), "socket_buffer": one(draw, ("208KiB", "2.5MiB"))}


def _migration(draw: Draw, mechanism: str) -> dict[str, Any]:
    keys: dict[str, Any] = {} if mechanism in ("remus", "kemari") else {
        key: value == "true" if value in ("true", "false") else value for key, value in keys_of(mechanism).items()
    }  # fmt: skip
    if "postcopy_after_rounds" in keys:
        keys["postcopy_after_rounds"] = int(keys["postcopy_after_rounds"])
    found = {
        **keys, "qemu": one(draw, VERSIONS), "start": f"{draw.integers(0, 300)}ms",
        "bandwidth": one(draw, ("1MB/s", "8MB/s", "125MB/s", "unlimited")),
        "downtime_limit": f"{draw.choice([1, 30, 300])}ms", "return_path": bool(draw.random() < 0.3),
        "zero_page_detection": one(draw, ("none", "legacy", "multifd")),
    }  # fmt: skip
    if keys.get("xbzrle"):
        found["xbzrle_cache_size"] = one(draw, ("64KiB", "1MiB", "64MiB"))
    if keys.get("postcopy_ram"):
        found |= {"postcopy_blocktime": bool(draw.random() < 0.5), "host_page": one(draw, ("4KiB", "4KiB", "2MiB"))}
    if draw.random() < 0.2:
        found |= {"pause_before_switchover": True, "continue_after": one(draw, ("5ms", "300ms"))}
    return found


def _checkpoints(draw: Draw, policy: str) -> dict[str, Any]:
    epoch = {"epoch": f"{draw.choice([5, 40, 200])}ms"} if policy == "remus" else {}
    fails = {"fails_at": f"{draw.integers(500, 2000)}ms"} if draw.random() < 0.5 else {}
    return {"policy": policy, "output_rate": f"{draw.choice([10, 200, 2000])}/s", **epoch, **fails}


def _faults(draw: Draw, table: dict[str, Any]) -> None:
    """At most one kind of fault, at a drawn time."""
    fault, migration, link = one(draw, FAULTS), table["migration"], table["link"]
    at_ms = int(draw.integers(1, 2000))
    if fault == "outages":
        link["outage"] = [{"start": f"{at_ms}ms", "length": f"{int(draw.choice([50, 400, 1500]))}ms"}]
        migration |= {"retries": int(draw.integers(0, 3)), "keepalive": one(draw, ("never", "300ms"))}
    elif fault == "loss":
        link["loss"] = one(draw, ("0.001%", "0.1%", "1%"))
    elif fault == "cancelled":
        migration |= {"timeout": f"{at_ms}ms", "retries": int(draw.integers(0, 3)), "retry_after": "200ms"}
    elif fault == "suspended":
        migration["suspend_after"] = f"{at_ms}ms"
    elif fault == "parameters changed":
        changed = one(draw, ("bandwidth", "downtime_limit"))
        migration["set"] = [{"after": f"{at_ms}ms", changed: "20MB/s" if changed == "bandwidth" else "500ms"}]
    elif fault == "postcopy link breaks" and migration.get("postcopy_ram"):
        migration["postcopy_link_fails"] = f"{int(draw.choice([0, 1, 20, 300]))}ms"
        migration["postcopy_recover_after"] = one(draw, ("never", "10ms", "1s"))
        _outage_in_the_recovery(np.random.default_rng((table["seed"], 3)), link)


def _outage_in_the_recovery(draw: Draw, link: dict[str, Any]) -> None:
    """The network drops packets for many short times in half of the cases; drawn apart, so that it moves no other key."""
    if draw.random() < 0.5:
        starts_ms = range(int(draw.integers(300, 500)), 5000, 211)
        drops = one(draw, ("both", "to-destination", "to-source"))
        link["outage"] = [{"start": f"{start}ms", "length": "40ms", "drops": drops} for start in starts_ms]
