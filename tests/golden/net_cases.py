"""Scenarios whose results are kept by hash: a fixed set that reaches each mechanism of the model at least once.

A case is a scenario as text would give it. Rules that refuse a combination are kept as well: a refused case keeps the
keys of its findings, so that two places that judge the same combination cannot drift apart unseen.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from hostsim.costs.era import era_names
from hostsim.kvm.interfaces import INTERFACES
from hostsim.kvm.spec import INDEXES, MEASURED
from hostsim.memory.policies.registry import policy_names
from hostsim.memory.swap_sheet import swap_names

Table = dict[str, Any]

WRITE_TRACKING = ("write-protect", "pml", "d-bit")
PAGE_SIZES = ("4KiB", "2MiB", "1GiB")
MODES = ("tdp", "direct", "shadow")
UNDER_C_BITS = ("book3s-hv", "book3s-pr")
"""Indexes that go with get-dirty-log alone, which is what every case with an index uses."""


def cases() -> dict[str, Table]:
    """Every case by its name; the order is that of the kept file."""
    found = dict(_all())
    assert len(found) > 120, "the set has shrunk"
    return found


def small_cases() -> dict[str, Table]:
    """Cases that plain Python, without the JIT, gets through in seconds."""
    return dict(_small())


def _all() -> Iterator[tuple[str, Table]]:
    yield from _trackers()
    yield from _indexes()
    yield from _eras()
    yield from _ageing()
    yield from _memory()
    yield from _guests()
    yield from _migrations()
    yield from _small()


def _kvm(memory: str = "16MiB", load: Table | None = None, mmu: Table | None = None, **vm: Any) -> Table:
    """A guest of two vCPUs under KVM, migrated at 64 MiB/s so that a few rounds find dirty pages."""
    uniform = {"pattern": "uniform", "size": "4MiB", "write_rate": "20000/s", "read_rate": "10000/s", "split": False}
    table = {"memory": memory, "vcpus": 2, "dirty_tracking": "get-dirty-log", "workload": [load or uniform], **vm}
    if mmu:
        table["mmu"] = mmu
    return {"seed": 3, "duration": "20s", "vm": table, "migration": {"bandwidth": "64MiB/s", "downtime_limit": "20ms"}}


def _trackers() -> Iterator[tuple[str, Table]]:
    """Every tracker x write tracking x page size; 1 GiB pages need a guest of that size, idle but for one region."""
    for tracker, tracking, page_size in product(INTERFACES, WRITE_TRACKING, PAGE_SIZES):
        memory = {"4KiB": "16MiB", "2MiB": "32MiB", "1GiB": "1GiB"}[page_size]
        sweep = {"pattern": "sequential", "size": "4MiB", "write_rate": "8000/s", "split": False}
        case = _kvm(memory, sweep, {"write_tracking": tracking, "page_size": page_size}, dirty_tracking=tracker)
        case["migration"]["bandwidth"] = {"1GiB": "2GiB/s"}.get(page_size, "64MiB/s")
        if page_size == "1GiB":
            case["vm"] |= {"filled": "list", "fill": [{"size": "32MiB"}]}
        yield f"tracker {tracker} {tracking} {page_size}", case
    for tracker in INTERFACES:
        lazy = {"page_size": "2MiB", "eager_split": False}
        yield f"tracker {tracker} split on fault", _kvm("32MiB", None, lazy, dirty_tracking=tracker)
    yield "tracker ring of 128", _kvm(mmu={"ring_entries": 128}, dirty_tracking="dirty-ring")


def _indexes() -> Iterator[tuple[str, Table]]:
    for index in INDEXES:
        if index != MEASURED:
            mmu = {"index": index, "mode": "direct", "era": "E0"}
            yield f"index {index}", _kvm("8MiB", None, mmu)
    aged = {"policy": "scan", "period": "100ms", "call_pages": 1}
    for index in ("rmap", "slot-list", "tdp", "book3s-hv"):
        yield f"index {index} aged", _kvm("8MiB", None, {"index": index, "mode": "direct"}) | {"ageing": aged}


def _eras() -> Iterator[tuple[str, Table]]:
    for era, mode in product(era_names(), MODES):
        case = _kvm("8MiB", None, {"era": era, "mode": mode, "page_size": "2MiB"})
        yield f"era {era} {mode}", case | {"ageing": {"policy": "scan", "period": "200ms", "call_pages": 64}}
    for era in era_names():
        yield f"era {era} pml", _kvm("8MiB", None, {"era": era, "write_tracking": "pml"})
    # A log that is over leaves regions partly mapped: faults without a log prefetch there.
    sparse = {"pattern": "uniform", "size": "8MiB", "write_rate": "1000/s", "read_rate": "1000/s", "split": False}
    for mode in ("direct", "shadow"):
        case = _kvm("8MiB", sparse, {"era": "E1", "mode": mode, "page_size": "2MiB"})
        case["vm"]["calc_dirty_rate"] = [{"calc_time": "200ms", "mode": "dirty-bitmap"}]
        case["migration"]["start"] = "700ms"
        yield f"prefetch {mode}", case


def _ageing() -> Iterator[tuple[str, Table]]:
    for policy in policy_names("ageing"):
        for a_bits in (True, False):
            ageing = {"policy": policy, "period": "100ms"}
            yield f"ageing {policy} a_bits={a_bits}", _kvm("8MiB", None, {"a_bits": a_bits}) | {"ageing": ageing}
    flushed = {"policy": "scan", "period": "100ms", "call_pages": 512, "flush": True}
    yield "ageing scan flush", _kvm("8MiB", None) | {"ageing": flushed}


def _pressed(**memory: Any) -> Table:
    """Two VMs whose pages do not fit the host's frames."""
    load = {"pattern": "hotcold", "hot_size": "4MiB", "hot_share": "90%", "write_rate": "4000/s", "read_rate": "8000/s"}
    vm = {"memory": "16MiB", "vcpus": 2, "dirty_tracking": "get-dirty-log", "workload": [load]}
    host = {"memory": {"size": "22MiB", "swap": "nvme", "swap_size": "64MiB", **memory}}
    neighbour = {"memory": "12MiB", "vcpus": 1, "workload": [load], "dirty_tracking": "get-dirty-log"}
    return {"seed": 5, "duration": "1200ms", "vm": vm, "host": host, "neighbour": [neighbour]}


def _reclaimed(policy: str) -> Table:
    """One VM whose idle pages go by the clock."""
    table = _pressed(size="48MiB", reclaim={"policy": policy, "age": "200ms", "scan": "100ms", "warm_up": "150ms"})
    del table["neighbour"]
    return table


def _memory() -> Iterator[tuple[str, Table]]:
    moved = {"migration": {"bandwidth": "32MiB/s", "start": "200ms"}, "duration": "6s"}
    for swap in swap_names():
        yield f"memory swap {swap}", _pressed(swap=swap)
    for policy in policy_names("memory"):
        yield f"memory policy {policy}", _pressed(policy=policy)
    yield "memory migrated", _pressed() | moved
    yield "memory migrated hdd", _pressed(swap="hdd") | moved
    yield "memory proactive", _pressed(size="32MiB", proactive="200ms")
    yield "memory async faults", _pressed(async_page_faults=True)
    yield "memory one page at a time", _pressed(page_cluster=0)
    for policy in policy_names("reclaim"):
        yield f"memory reclaim {policy}", _reclaimed(policy)
    yield "memory reclaim migrated", _reclaimed("idle") | moved
    limited = _pressed(size="64MiB")
    limited["vm"]["memory_limit"] = "12MiB"
    yield "memory limit of a group", limited
    fills = {"pattern": "sequential", "write_rate": "30000/s", "split": False}
    empty = {"memory": "24MiB", "vcpus": 1, "filled": "none", "dirty_tracking": "get-dirty-log", "workload": [fills]}
    host = {"memory": {"size": "16MiB", "swap": "hdd", "swap_size": "64MiB"}}
    yield "memory direct reclaim", {"seed": 6, "duration": "2s", "vm": empty, "host": host}
    for name, keys in (("no swap", {"swap": "none"}), ("little swap", {"swap": "zram", "swap_size": "2MiB"})):
        short = {"memory": {"size": "16MiB", **keys}}
        yield f"memory out of memory {name}", {"seed": 6, "duration": "2s", "vm": empty, "host": short}


def _guests() -> Iterator[tuple[str, Table]]:
    """Each pattern, pacing and arrival, with tcg and under KVM."""
    loads: dict[str, Table] = {
        "idle": {"pattern": "idle"},
        "sequential": {"pattern": "sequential", "size": "4MiB", "write_rate": "6000/s", "split": False},
        "sequential split": {"pattern": "sequential", "size": "4MiB", "write_rate": "6000/s", "split": True},
        "strided": {"pattern": "strided", "size": "8MiB", "stride": "16KiB", "write_rate": "3000/s", "split": False},
        "uniform": {"pattern": "uniform", "size": "4MiB", "write_rate": "9000/s", "split": False},
        "uniform poisson": {"pattern": "uniform", "size": "4MiB", "write_rate": "9000/s", "arrivals": "poisson"},
        "hotcold": {"pattern": "hotcold", "hot_size": "1MiB", "hot_share": "80%", "write_rate": "9000/s"},
        "zipf": {"pattern": "zipf", "size": "4MiB", "exponent": 0.9, "write_rate": "9000/s"},
        "open": {"pattern": "uniform", "size": "4MiB", "write_rate": "9000/s", "pacing": "open", "catch_up": 4.0},
        "tick": {"pattern": "uniform", "size": "4MiB", "write_rate": "9000/s", "tick": "10ms", "tick_late": "20ms"},
        "active": {"pattern": "uniform", "size": "4MiB", "write_rate": "9000/s",
                   "active": {"length": "100ms", "period": "300ms"}},
        "active by work": {"pattern": "uniform", "size": "4MiB", "write_rate": "9000/s",
                           "active": {"length": "100ms", "period": "300ms", "clock": "work"}},
    }  # fmt: skip
    for name, load in loads.items():
        case = _kvm("16MiB", load)
        case["vm"]["dirty_tracking"] = "tcg"
        yield f"guest {name} tcg", case
        yield f"guest {name} kvm", _kvm("16MiB", load)


def _tcg(load: Table, link: Table | None = None, **migration: Any) -> Table:
    vm = {"memory": "32MiB", "vcpus": 2, "workload": [load]}
    found = {"seed": 9, "duration": "30s", "vm": vm, "migration": {"bandwidth": "32MiB/s", **migration}}
    return found | ({"link": link} if link else {})


def _migrations() -> Iterator[tuple[str, Table]]:
    hot = {"pattern": "uniform", "size": "16MiB", "write_rate": "60000/s", "split": False}
    for qemu in ("7.2", "10.0", "10.2"):
        yield f"migration auto-converge {qemu}", _tcg(hot, qemu=qemu, auto_converge=True, downtime_limit="50ms")
        yield f"migration timeout {qemu}", _tcg(hot, qemu=qemu, timeout="3s")
    tailslow = {"auto_converge": True, "cpu_throttle_tailslow": True, "cpu_throttle_initial": 50}
    yield "migration tailslow", _tcg(hot, downtime_limit="50ms", **tailslow)
    yield "migration return path", _tcg(hot | {"write_rate": "500/s"}, return_path=True)
    cool = hot | {"write_rate": "2000/s"}
    slow = {"bandwidth": "200Mbit/s", "latency": "2ms", "socket_buffer": "256KiB"}
    yield "migration over a slow link", _tcg(cool, slow, bandwidth="unlimited")
    yield "migration switchover bandwidth", _tcg(cool, avail_switchover_bandwidth="16MiB/s")
    for profile in ("qemu", "libvirt", "nova", "kubevirt", "proxmox"):
        yield f"migration profile {profile}", _tcg(cool, profile=profile)
    yield from _over_links_that_fail(cool)
    auto = _kvm() | {"duration": "10s"}
    auto["vm"]["workload"][0]["write_rate"] = "90000/s"
    auto["migration"] |= {"auto_converge": True, "cpu_throttle_initial": 40, "bandwidth": "16MiB/s"}
    yield "migration auto-converge kvm", auto


def _over_links_that_fail(load: Table) -> Iterator[tuple[str, Table]]:
    """Each mechanism with more than one connection, and pre-copy, in an outage and with losses."""
    mechanisms: dict[str, Table] = {
        "pre-copy": {},
        "multifd": {"multifd": True, "multifd_channels": 3},
        "post-copy": {"postcopy_ram": True, "postcopy_after": "300ms", "postcopy_blocktime": True},
        "preempt": {"postcopy_ram": True, "postcopy_after": "300ms", "postcopy_preempt": True},
    }
    out = {"outage": [{"start": "400ms", "length": "700ms"}, {"start": "2s", "length": "50ms", "drops": "to-source"}]}
    faults: dict[str, Table] = {"outages": out, "loss": {"loss": "1%", "latency": "5ms"}}
    for (name, keys), (fault, link) in product(mechanisms.items(), faults.items()):
        yield f"link that fails: {name}, {fault}", _tcg(load, {"bandwidth": "500Mbit/s", **link}, **keys)


def _small() -> Iterator[tuple[str, Table]]:
    tiny = {"pattern": "uniform", "size": "512KiB", "write_rate": "3000/s", "read_rate": "1000/s", "split": False}
    for tracker in ("tcg", *INTERFACES):
        case = _kvm("2MiB", tiny, dirty_tracking=tracker) | {"duration": "1200ms"}
        case["migration"]["bandwidth"] = "8MiB/s"
        yield f"small {tracker}", case
    ageing = {"policy": "scan", "period": "50ms", "call_pages": 16}
    yield "small aged", _kvm("2MiB", tiny) | {"duration": "800ms", "ageing": ageing}
    pressed = _pressed(size="2MiB", swap_size="8MiB") | {"duration": "500ms"}
    for vm in (pressed["vm"], pressed["neighbour"][0]):
        vm |= {"memory": "2MiB", "workload": [tiny]}
    yield "small pressed", pressed
    yield "small index", _kvm("1MiB", tiny | {"size": "256KiB"}, {"index": "rmap", "mode": "direct"}) | {"duration": "200ms"}
