"""One function a figure. Wall times are medians of three, compiled code warm."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machines
from benchmarks.machines import harvested_guest, migrating_guest
from hostsim.core.dirty_tracker import at_once
from hostsim.machine.machine import Machine

REPEATS = 3
HARVESTS = 40
HARVEST_PERIOD_NS = 100_000_000


@dataclass(frozen=True)
class Spread:
    """Of REPEATS measurements: the median, the least, the most."""

    median: float
    least: float
    most: float


def spread(measure: Callable[[], float]) -> Spread:
    """``measure``, called REPEATS times."""
    found = [measure() for _ in range(REPEATS)]
    return Spread(statistics.median(found), min(found), max(found))


def median_s(work: Callable[[], Any]) -> float:
    """Median wall time [s] of ``work``, called REPEATS times."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def simulated_per_wall_second(gib: int, make: Callable[[int], Machine] = migrating_guest) -> dict[str, float]:
    """A migration of ``gib`` GiB: simulated seconds a wall second."""
    ended: list[float] = []

    def once() -> None:
        machine = make(gib)
        machine.run()
        ended.append(machine.env.now_ns / 1e9)

    wall_s = median_s(once)
    return {"simulated_s": ended[-1], "wall_s": wall_s, "simulated_per_wall": ended[-1] / wall_s}


def harvest_cost(touches_per_s: int, gib: int = 1) -> dict[str, float]:
    """Transitions of a guest that is harvested each 100 ms, against the closed form, and wall time for each."""
    found: list[int] = []

    def once() -> None:
        machine = harvested_guest(gib, touches_per_s)
        found.append(_harvest_all(machine))

    once()
    wall_s = median_s(once)
    n_pages, writes = gib << 18, touches_per_s * HARVEST_PERIOD_NS / 1e9
    expected = HARVESTS * n_pages * -math.expm1(writes * math.log1p(-1 / n_pages))
    return {
        "transitions": found[-1], "expected": expected, "error": found[-1] / expected - 1,
        "ns_per_transition": wall_s / found[-1] * 1e9,
    }  # fmt: skip


def _harvest_all(machine: Machine) -> int:
    bmap = np.zeros(machine.vm.memory.n_pages, np.uint8)
    at_once(machine.tracker.start_log())
    total = 0
    for i in range(1, HARVESTS + 1):
        machine.env.run(until=i * HARVEST_PERIOD_NS)
        total += at_once(machine.tracker.sync(bmap)).dirtied_pages
    return total


def bytes_per_page(gib: int, *, split: bool) -> float:
    """Peak memory above an idle simulator, in a process of its own, over guest pages."""
    code = f"import json, benchmarks.measure as m; print(json.dumps(m.peak_of_migration({gib}, {split})))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    before, after = json.loads(out)
    return (after - before) / (gib << 18)


def peak_of_migration(gib: int, split: bool) -> tuple[int, int]:
    """Peak resident bytes of this process before and after a migration of ``gib`` GiB (compiled code loaded before)."""
    migrating_guest(1, split=split).run()
    before = peak_bytes()
    migrating_guest(gib, split=split).run()
    return before, peak_bytes()


def bytes_per_kvm_page(gib: int) -> float:
    """Peak memory of ``kvm_guest``'s migration above that of one of 1 GiB, over guest pages."""
    small, large = (migration_alone("kvm_guest", size)["peak"] for size in (1, gib))
    return (large - small) / ((gib - 1) << 18)


def migration_alone(make: str, gib: int) -> dict[str, float]:
    """One migration of machines.``make``(gib) in a process of its own, code compiled before: times and peak memory."""
    code = f"import json, benchmarks.measure as m; print(json.dumps(m.one_migration({make!r}, {gib})))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return json.loads(out)  # type: ignore[no-any-return]


def one_migration(make: str, gib: int) -> dict[str, float]:
    """As ``migration_alone``, in this process."""
    build = getattr(machines, make)
    build(1).run()
    machine, start = build(gib), time.perf_counter()
    machine.run()
    wall_s, simulated_s = time.perf_counter() - start, machine.env.now_ns / 1e9
    return {"simulated_s": simulated_s, "wall_s": wall_s, "simulated_per_wall": simulated_s / wall_s, "peak": peak_bytes()}


def free_bytes() -> int:
    """MemAvailable of /proc/meminfo."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024


def peak_bytes() -> int:
    """VmHWM of /proc/self/status; getrusage would count the parent's peak."""
    line = next(line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024
