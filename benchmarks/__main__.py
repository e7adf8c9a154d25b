"""``python -m benchmarks [NAME ...]``: every figure once, or those named, as a table and, with --json FILE, as JSON.

--before FILE shows the rows of such a file of another state of hostsim beside those of this one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import ageing, commands, exit_parts, exits, growth, indexes, measure, mechanisms, parts, twin
from benchmarks.exits import NS_PER_S
from benchmarks.machines import kvm_guest, migrating_guest, multifd_guest, scaled_guest

TIB_NEEDS_BYTES = 12 << 30
AGED_NEEDS_BYTES = 3 << 30
COMMANDS_WANTED = {
    "kvm_write_protect.toml, empty cache": "<= 12, aim 5", "kvm_write_protect.toml": "",
    "precopy_convergence.toml": "<= 1.9, aim 1", "--help": "",
}  # fmt: skip
EXITS = {
    "4_gib": ("4 GiB, 16 vCPUs, exclusive lock, drawn writes", ">= 80 x"),
    "64_gib": ("64 GiB, drawn writes", ">= 70 x"),
    "4_gib_walk": ("4 GiB, a walk", ">= 120 x"),
    "64_gib_walk": ("64 GiB, a walk", ">= 120 x"),
    "64_gib_strides": ("64 GiB in strides of 521 pages", ""),
}
Figure = tuple[str, str, str]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(WORK))
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures and the rows there")
    parser.add_argument("--before", type=Path, metavar="FILE", help="rows to show beside these, written by --json")
    asked = parser.parse_args()
    before: dict[str, str] = json.loads(asked.before.read_text(encoding="utf-8"))["rows"] if asked.before else {}
    if unknown := set(asked.names) - set(WORK):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(WORK)}")
    console = Console(width=None if sys.stdout.isatty() else 110)
    with console.status("compiling"):
        migrating_guest(1).run()
    heads = ("what", *(["before"] if asked.before else []), "measured", "wanted")
    table = Table(*heads, title=f"hostsim on {platform.machine()}, {os.cpu_count()} cores")
    figures: dict[str, Any] = {}
    rows: dict[str, str] = {}
    for name in asked.names or WORK:
        with console.status(name):
            figures[name], lines = WORK[name]()
        for what, measured, wanted in lines:
            rows[what] = measured
            table.add_row(what, *([before.get(what, "")] if asked.before else []), measured, wanted)
    console.print(table)
    if asked.json:
        asked.json.write_text(json.dumps({"figures": figures, "rows": rows}, indent=1), encoding="utf-8")


def _against_twin() -> tuple[Any, list[Figure]]:
    f = twin.accesses_per_second()
    ratio = f["engine_per_s"] / f["twin_per_s"]
    return f, [
        ("SimPy twin: accesses a second", f"{f['twin_per_s']:.3g}", ""),
        ("engine, same guest (5e4 touches/s): accesses represented a second", f"{f['engine_per_s']:.3g}", ""),
        ("engine over twin", f"{ratio:.3g} x", ""),
        ("engine, guest of 1e9 touches/s: accesses represented a second", f"{f['engine_fast_per_s']:.3g}", ""),
    ]


def _speed() -> tuple[Any, list[Figure]]:
    f = measure.simulated_per_wall_second(64)
    two = measure.simulated_per_wall_second(64, multifd_guest)
    return {"stream": f, "multifd": two}, [
        ("64 GiB, 16 vCPUs, uniform, 0.7 of 100 Gbit/s: simulated s per wall s", _ratio(f), ">= 1, aim 5"),
        ("the same with two channels of multifd", _ratio(two), ">= half of that"),
    ]


def _mechanisms() -> tuple[Any, list[Figure]]:
    f = mechanisms.all_modes()
    return f, [
        (f"64 GiB, 0.7 of 100 Gbit/s, {mode}: simulated s per s of CPU; over pre-copy", _beside(f, mode), ">= 0.5 x")
        for mode in f
    ]


def _beside(found: dict[str, Any], mode: str) -> str:
    one = found[mode]
    if one is None:
        return "this guest cannot have it"
    times = f"{one['simulated_s']:.2f} s in {one['cpu_s']:.2f} s"
    return f"{one['ratio']:.2f} ({times}); {one['ratio'] / found['precopy']['ratio']:.2f} x"


def _memory() -> tuple[Any, list[Figure]]:
    f = {"shared": measure.bytes_per_page(64, split=False), "disjoint": measure.bytes_per_page(64, split=True)}
    lines = [(f"simulator bytes per guest page, {name} regions", f"{value:.1f}", "<= 24") for name, value in f.items()]
    f["kvm"] = measure.bytes_per_kvm_page(64)
    return f, [*lines, ("simulator bytes per guest page, 64 GiB under KVM with its log", f"{f['kvm']:.1f}", "<= 16, aim 8")]


def _scale() -> tuple[Any, list[Figure]]:
    f = {gib: measure.simulated_per_wall_second(gib, scaled_guest) for gib in (1, 4, 16, 64, 256)}
    return f, [
        (f"{gib} GiB in {one['simulated_s']:.1f} simulated s: wall s per GiB", f"{one['wall_s'] / gib:.4f}", "linear")
        for gib, one in f.items()
    ]


def _exits() -> tuple[Any, list[Figure]]:
    f = exits.exits_per_second()
    simpy = f["simpy"]
    text = f"{simpy.median:.3g} ({simpy.least:.3g} to {simpy.most:.3g})"
    lines = [("SimPy process per exit, simpy.Resource as mmu_lock: exits a second", text, "")]
    for name, (what, wanted) in EXITS.items():
        one = f[name]
        ns, least_ns, most_ns = (NS_PER_S / rate for rate in (one.median, one.most, one.least))
        ratio = f"{one.median / simpy.median:.3g} x"
        lines.append((f"{what}: ns an exit, over SimPy", f"{ns:.0f} ({least_ns:.0f} to {most_ns:.0f}): {ratio}", wanted))
    return {name: asdict(one) for name, one in f.items()}, lines


def _kvm() -> tuple[Any, list[Figure]]:
    f = {"64_gib": measure.simulated_per_wall_second(64, kvm_guest)}
    what = "64 GiB under KVM, E4, 4 KiB pages, CLEAR, 0.7 of 100 Gbit/s: simulated s per wall s"
    lines = [(what, _ratio(f["64_gib"]), ">= 3, aim 4")]
    what = "1 TiB under KVM, 2 MiB pages split eagerly, 0.1 of 100 Gbit/s"
    if measure.free_bytes() < TIB_NEEDS_BYTES:
        return f, [*lines, (what, "left out: less than 12 GiB of memory free", ">= 5, <= 3 GiB")]
    f["1_tib"] = measure.migration_alone("huge_kvm_guest", 1024)
    peak = f"{f['1_tib']['peak'] / (1 << 30):.2f} GiB"
    lines += [(f"{what}: simulated s per wall s", _ratio(f["1_tib"]), ">= 5"), (f"{what}: peak memory", peak, "<= 3 GiB")]
    return f, lines


def _ratio(f: dict[str, float]) -> str:
    return f"{f['simulated_per_wall']:.2f} ({f['simulated_s']:.2f} s in {f['wall_s']:.2f} s)"


def _laws() -> tuple[Any, list[Figure]]:
    slow, fast = measure.harvest_cost(1_000_000), measure.harvest_cost(1_000_000_000)
    lines = [
        (f"transitions at {rate} touches/s against the closed form", f"{f['error']:+.2e}", "0 within 5 sigma")
        for rate, f in (("1e6", slow), ("1e9", fast))
    ]
    costs = sorted(f["ns_per_transition"] for f in (slow, fast))
    text = f"{slow['ns_per_transition']:.1f} and {fast['ns_per_transition']:.1f} ns: {costs[1] / costs[0]:.2f} x"
    return {"1e6": slow, "1e9": fast}, [*lines, ("wall time a transition, 1e6 and 1e9 touches/s", text, "<= 1.5 x")]


def _indexes() -> tuple[Any, list[Figure]]:
    f = indexes.all_designs()
    steps = ("map", "age", "harvest", "unmap")
    rates = {name: " / ".join(f"{one[step]:.1e}" for step in steps) for name, one in f.items()}
    what = "sptes mapped / aged / harvested / unmapped a second, over twin"
    return f, [(f"{name}: {what}", f"{rates[name]}: {one['ratio']:.3g} x", "") for name, one in f.items()]


def _ageing() -> tuple[Any, list[Figure]]:
    f: dict[str, Any] = {"locked": ageing.pages_per_second()}
    per_s, ratio = f["locked"]["walker_per_s"], f["locked"]["ratio"]
    what = "4 GiB, 16 vCPUs, E4, a call a page under mmu_lock: pages aged a second, over processes"
    lines = [(what, f"{per_s:.3g} ({1e9 / per_s:.0f} ns): {ratio:.3g} x", ">= 50 x")]
    for page_size, pattern in (("4KiB", "sequential"), ("2MiB", "sequential"), ("4KiB", "uniform")):
        what = f"256 GiB of {page_size} pages aged each 30 s, E6, 64 vCPUs, {pattern} reads"
        if measure.free_bytes() < AGED_NEEDS_BYTES:
            lines.append((what, "left out: less than 3 GiB of memory free", ">= 10"))
            continue
        f[f"{page_size} {pattern}"] = one = ageing.aged_host(page_size, pattern)
        wanted = ">= 10" if pattern == "sequential" else ">= 15, aim 30"
        lines.append((f"{what}, {one['young']:.1%} young a pass: simulated s per wall s", _ratio(one), wanted))
        lines.append((f"{what}: peak memory", f"{one['peak'] / (1 << 30):.2f} GiB", ""))
    return f, lines


def _parts() -> tuple[Any, list[Figure]]:
    f = parts.all_parts()
    lines = [(f"alone: {name}", f"{ns:.1f} ns", "") for name, ns in f.items()]
    by_gib = {gib: exit_parts.all_parts(gib) for gib in (4, 64)}
    for gib, found in by_gib.items():
        lines += [(f"of a drawn exit, {gib} GiB: {name}", f"{ns:.1f} ns", "") for name, ns in found.items()]
    return f | {f"{gib}_gib": by_gib[gib] for gib in by_gib}, lines


def _growth() -> tuple[Any, list[Figure]]:
    f = growth.all_costs()
    lines = []
    for one in f:
        what = f"{one['kind']}, {one['gib']} GiB, {one['vcpus']} vCPUs: {one['exits']:.3g} exits"
        lines.append((what, f"{one['seconds']:.3g} s", "linear"))
    return f, lines


def _commands() -> tuple[Any, list[Figure]]:
    found = commands.all_commands()
    spent = {name: f"{one.median:.2f} ({one.least:.2f} to {one.most:.2f})" for name, one in found.items()}
    lines = [(f"hostsim {name}: s of CPU, least to most", spent[name], COMMANDS_WANTED[name]) for name in found]
    return {name: asdict(one) for name, one in found.items()}, lines


WORK = {
    "twin": _against_twin, "speed": _speed, "memory": _memory, "scale": _scale, "laws": _laws, "exits": _exits,
    "mechanisms": _mechanisms, "kvm": _kvm, "indexes": _indexes, "ageing": _ageing, "commands": _commands, "parts": _parts,
    "growth": _growth,
}  # fmt: skip

if __name__ == "__main__":
    main()
