"""``python -m benchmarks``: every figure once, as a table and, with --json FILE, as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import measure, twin
from benchmarks.machines import migrating_guest

Figure = tuple[str, str, str]


def main() -> None:
    """Measure and print."""
    console = Console()
    with console.status("compiling"):
        migrating_guest(1).run()
    table = Table("what", "measured", "wanted", title=f"hostsim on {platform.machine()}, {os.cpu_count()} cores")
    figures: dict[str, Any] = {}
    for name, work in WORK.items():
        with console.status(name):
            figures[name], lines = work()
        for line in lines:
            table.add_row(*line)
    console.print(table)
    if "--json" in sys.argv:
        Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps(figures, indent=1), encoding="utf-8")


def _against_twin() -> tuple[Any, list[Figure]]:
    f = twin.accesses_per_second()
    return f, [
        ("accesses represented a second, engine", f"{f['engine_per_s']:.3g}", ""),
        ("accesses simulated a second, SimPy twin", f"{f['twin_per_s']:.3g}", ""),
        ("ratio", f"{f['engine_per_s'] / f['twin_per_s']:.3g} x", ""),
    ]


def _speed() -> tuple[Any, list[Figure]]:
    f = measure.simulated_per_wall_second(64)
    text = f"{f['simulated_per_wall']:.2f} ({f['simulated_s']:.2f} s in {f['wall_s']:.2f} s)"
    return f, [("64 GiB, 16 vCPUs, uniform, 0.7 of 100 Gbit/s: simulated s per wall s", text, ">= 1, aim 5")]


def _memory() -> tuple[Any, list[Figure]]:
    f = {"shared": measure.bytes_per_page(64, split=False), "disjoint": measure.bytes_per_page(64, split=True)}
    return f, [(f"simulator bytes per guest page, {name} regions", f"{value:.1f}", "<= 24") for name, value in f.items()]


def _scale() -> tuple[Any, list[Figure]]:
    f = {gib: measure.simulated_per_wall_second(gib) for gib in (1, 4, 16, 64, 256)}
    per_gib = {gib: one["wall_s"] / gib for gib, one in f.items()}
    return f, [(f"wall s per GiB, {gib} GiB", f"{value:.4f}", "linear") for gib, value in per_gib.items()]


def _laws() -> tuple[Any, list[Figure]]:
    slow, fast = measure.harvest_cost(1_000_000), measure.harvest_cost(1_000_000_000)
    lines = [
        (f"transitions at {rate} touches/s against the closed form", f"{f['error']:+.2e}", "0 within 5 sigma")
        for rate, f in (("1e6", slow), ("1e9", fast))
    ]
    cost = f"{slow['ns_per_transition']:.1f} and {fast['ns_per_transition']:.1f} ns"
    ratio = max(slow["ns_per_transition"], fast["ns_per_transition"]) / min(
        slow["ns_per_transition"], fast["ns_per_transition"]
    )
    return {"1e6": slow, "1e9": fast}, [*lines, ("wall time a transition, 1e6 and 1e9 touches/s", f"{cost}: {ratio:.2f} x", "<= 1.5 x")]


WORK = {"twin": _against_twin, "speed": _speed, "memory": _memory, "scale": _scale, "laws": _laws}

if __name__ == "__main__":
    main()
