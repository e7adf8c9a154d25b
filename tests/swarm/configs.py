"""Hosts drawn from a seed: VMs that do not fit, ageing, reclaim and a migration, all at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from hostsim.core.errors import InputError
from hostsim.costs.era import era_names
from hostsim.kvm.interfaces import INTERFACES
from hostsim.kvm.spec import INDEXES
from hostsim.memory.policies.registry import policy_names
from hostsim.memory.swap_sheet import swap_names
from hostsim.scenario import Scenario

Draw = np.random.Generator
KIB = 1024
TRIES = 200


def drawn_scenario(seed: int) -> Scenario:
    """The scenario of ``seed``: the first of its draws whose keys may stand together."""
    for number in range(TRIES):
        try:
            return Scenario.model_validate(_table(np.random.default_rng((seed, number)), seed))
        except InputError:
            continue
    raise AssertionError(f"seed {seed}: {TRIES} draws, and none of them is a scenario")


def _table(draw: Draw, seed: int) -> dict[str, Any]:
    vms = [_vm(draw) for _ in range(int(draw.choice([1, 2, 3], p=[0.5, 0.35, 0.15])))]
    table: dict[str, Any] = {"seed": seed, "duration": f"{draw.integers(4, 20)}ms", "vm": vms[0], "neighbour": vms[1:]}
    table["vm"] |= {"dirty_tracking": one(draw, INTERFACES), "mmu": _mmu(draw)}
    if draw.random() < 0.5:
        table["ageing"] = _ageing(draw)
    if draw.random() < 0.5:
        table["migration"] = _migration(draw)
    if "migration" in table:
        table["migration"] |= _multifd(np.random.default_rng((seed, 77)))
    host: dict[str, Any] = {"setup_ns": 100_000, "vm_stop_ns": 10_000, "switchover_ns": 100_000}
    table["host"] = host | ({"memory": _memory(draw, vms)} if draw.random() < 0.9 else {})
    if "memory" not in table["host"] and "ageing" not in table:
        table["vm"]["mmu"] |= {"write_tracking": "write-protect", "index": one(draw, INDEXES)}
    if "memory" in table["host"] and len(vms) == 1 and draw.random() < 0.4:
        table["host"]["memory"] = _reclaimed(draw, table["host"]["memory"])
        vms[0].pop("memory_limit", None)
    return table


def _reclaimed(draw: Draw, memory: dict[str, Any]) -> dict[str, Any]:
    """A host of one VM that has frames for all of it, and pages out by the clock."""
    scan_us, scans = int(draw.choice([200, 1000, 3000])), int(draw.integers(1, 4))
    swap = one(draw, swap_names()) if memory["swap"] == "none" else memory["swap"]
    reclaim = {"policy": one(draw, policy_names("reclaim")), "age": f"{scan_us * scans}us", "scan": f"{scan_us}us",
               "warm_up": one(draw, ("0s", "3ms"))}  # fmt: skip
    kept = {key: value for key, value in memory.items() if key not in ("policy", "proactive")}
    return {**kept, "size": "8MiB", "swap": swap, "swap_size": "4MiB", "reclaim": reclaim}


def _memory(draw: Draw, vms: list[dict[str, Any]]) -> dict[str, Any]:
    """Up to twice as much is promised as there is."""
    total_kib = sum(int(vm["memory"].removesuffix("KiB")) for vm in vms)
    size_kib = max(1024, int(total_kib / draw.uniform(0.8, 2.0)) // 4 * 4)
    swap = one(draw, ("none", *swap_names()))
    found = {"size": f"{size_kib}KiB", "swap": swap, "policy": one(draw, policy_names("memory"))}
    found["proactive"] = draw.choice(["off", "off", "off", "5ms"])
    if swap != "none":
        room_kib = int(total_kib * draw.choice([0.3, 1.0, 4.0])) // 4 * 4
        more = {"swap_size": f"{max(64, room_kib)}KiB", "page_cluster": int(draw.integers(0, 5))}
        found |= {**more, "async_page_faults": bool(draw.random() < 0.3)}
    if draw.random() < 0.3:
        vm = vms[int(draw.integers(len(vms)))]
        limit_kib = int(int(vm["memory"].removesuffix("KiB")) * draw.uniform(0.4, 1.1)) // 4 * 4
        vm["memory_limit"] = f"{max(1024, limit_kib)}KiB"
    return found


def _mmu(draw: Draw) -> dict[str, Any]:
    found: dict[str, Any] = {"era": one(draw, era_names()), "mode": one(draw, ("tdp", "tdp", "direct", "shadow"))}
    found["write_tracking"] = one(draw, ("write-protect", "write-protect", "pml", "d-bit"))
    if found["write_tracking"] == "write-protect":
        found["a_bits"] = bool(draw.random() < 0.7)
    return found


def _vm(draw: Draw) -> dict[str, Any]:
    vcpus = int(draw.choice([1, 2, 4, 12], p=[0.4, 0.3, 0.2, 0.1]))
    kib = 4 * int(draw.integers(256, 512))
    workloads = [_workload(draw, i, kib, vcpus) for i in range(int(draw.integers(1, 4)))]
    return {"memory": f"{kib}KiB", "vcpus": vcpus, **_filled(draw, kib), "workload": workloads}


def _filled(draw: Draw, kib: int) -> dict[str, Any]:
    how = one(draw, ("all", "none", "list"))
    return {"filled": how} | ({"fill": [{"size": f"{kib // 8 * 4}KiB"}]} if how == "list" else {})


def _workload(draw: Draw, number: int, kib: int, vcpus: int) -> dict[str, Any]:
    pattern = one(draw, ("uniform", "hotcold", "zipf", "sequential", "strided"))
    rate = int(10 ** draw.uniform(4, 5))
    found: dict[str, Any] = {"name": f"w{number}", "pattern": pattern, "write_rate": f"{rate}/s"}
    if draw.random() < 0.5:
        found["read_rate"] = f"{int(10 ** draw.uniform(4, 5))}/s"
    if draw.random() < 0.3:
        found["vcpus"] = [int(draw.integers(vcpus))]
    if draw.random() < 0.3:
        found["at"] = f"{int(draw.integers(1, kib // 8)) * 4}KiB"
    if draw.random() < 0.3:
        found["pacing"] = "open"
    return found | _of_pattern(draw, pattern, kib)


def _of_pattern(draw: Draw, pattern: str, kib: int) -> dict[str, Any]:
    if pattern == "hotcold":
        return {"hot_size": f"{kib // 32 * 4}KiB", "hot_share": float(round(draw.uniform(0.5, 0.99), 3))}
    if pattern == "zipf":
        return {"exponent": float(round(draw.uniform(0.5, 1.5), 3))}
    return {"stride": "12KiB"} if pattern == "strided" else {}


def _ageing(draw: Draw) -> dict[str, Any]:
    policy = one(draw, ("scan", "scan", "idle", "two-list", "mglru"))
    calls = {"call_pages": int(draw.choice([1, 8, 64]))} if policy == "scan" else {}
    return {"policy": policy, "period": f"{draw.integers(3, 12)}ms", "flush": bool(draw.random() < 0.5), **calls}


def _migration(draw: Draw) -> dict[str, Any]:
    return {
        "start": f"{draw.integers(0, 3)}ms", "bandwidth": f"{draw.choice([50, 200, 2000])}MB/s",
        "downtime_limit": f"{draw.choice([1, 20, 300])}ms", "auto_converge": bool(draw.random() < 0.2),
    }  # fmt: skip


def _multifd(draw: Draw) -> dict[str, Any]:
    """Channels in one migration of three; drawn apart, so that they move no other key."""
    if draw.random() < 2 / 3:
        return {}
    return {
        "multifd": True, "multifd_channels": int(draw.choice([1, 2, 8])),
        "multifd_compression": one(draw, ("none", "zlib", "zstd")),
        "zero_page_detection": one(draw, ("none", "legacy", "multifd")),
    }  # fmt: skip


def one(draw: Draw, names: tuple[str, ...]) -> str:
    return names[int(draw.integers(len(names)))]
