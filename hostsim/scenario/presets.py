"""Guests as people have them: keys of [[vm.workload]] by the name of a known program, each figure measured or assumed.

``preset = "stress-ng"`` in a workload gives the keys that the workload does not write itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from hostsim.core.constants import NS_PER_S
from hostsim.core.errors import UnitError
from hostsim.core.units import parse_bytes, parse_rate

PresetName = Literal[
    "idle", "guestperf", "mm-dirty", "mm-dirty-random", "stress-ng", "stress-ng-swap", "ycsb-a", "ycsb-b", "ycsb-c",
    "ycsb-f", "memcached", "redis",
]  # fmt: skip
GUESTPERF_SPARE = 512 << 20
"""Memory that guestperf gives its guest beside the memory that the program writes (engine.py::_get_common_args)."""


@dataclass(frozen=True)
class Preset:
    """One known load.

    says: the program, and its settings; keys: keys of [[vm.workload]] with their values.
    write_ns: time in which a vCPU writes a page at full speed [ns], 0: the rate is one of ``keys`` or of ``operations``.
    shares: page writes and page reads for each operation; operations_per_s: operations a second without the key.
    source: of the pattern and its figures; assumed: figures that no source gives, "" for none.
    """

    says: str
    keys: Mapping[str, Any]
    source: str
    assumed: str = ""
    write_ns: int = 0
    shares: tuple[float, float] = (0.0, 0.0)
    operations_per_s: int = 0


_LOOP = {"pacing": "closed", "changed_bytes": 4096}
_XOR_NS, _STORE_NS = 488, 423
"""128 ms and 111 ms a GiB: medians of 7 loops over 1 GiB, compiled by numba, one core of an AMD Zen 4 (114 to 191 ms,
97 to 123 ms)."""
_ZIPF = {"pattern": "zipf", "exponent": 0.99, "pacing": "open", "changed_bytes": 1000, "changed_place": "scattered"}
_YCSB = "YCSB workloads/workload{0}, doc/coreproperties.html: records of 1 kB, zipfian with constant 0.99, hashed order"
_YCSB_ASSUMED = "20k operations a second; pages are as popular as records; a record lies in one page"


def _ycsb(letter: str, says: str, writes: float) -> Preset:
    return Preset(
        f"YCSB workload {letter.upper()}, {says}", _ZIPF, _YCSB.format(letter), _YCSB_ASSUMED, shares=(writes, 1.0),
        operations_per_s=20_000,
    )


PRESETS: Mapping[PresetName, Preset] = {
    "idle": Preset("a guest that writes nothing", {"pattern": "idle"}, "", "no timer, no daemon writes"),
    "guestperf": Preset(
        "QEMU's guestperf: each vCPU XORs a page of random bytes over its part of memory, in a loop",
        {"pattern": "sequential", "split": True, **_LOOP},
        "QEMU 10.2 tests/migration-stress/stress.c::stressone; 512 MiB beside are not written (engine.py)",
        "128 ms a GiB for each vCPU, as measured on one AMD Zen 4 (set write_rate for your CPU)",
        write_ns=_XOR_NS,
    ),
    "mm-dirty": Preset(
        "mig_mon mm_dirty -m 2000 -r 500 -p sequential: a byte in each page in turn, 500 MiB a second",
        {"pattern": "sequential", "vcpus": [0], "size": "2000MiB", "write_rate": "128000/s", "pacing": "open",
         "changed_bytes": 1},
        "xzpeter/mig_mon README, mm_dirty.c: it writes a second's share at once, then sleeps to the end of the second",
        "full speed is ten times the nominal speed (catch_up); the share of a second comes evenly",
    ),
    "mm-dirty-random": Preset(
        "mig_mon mm_dirty -m 2000 -r 500 -p random: a byte in a page drawn anew, 500 MiB a second",
        {"pattern": "uniform", "vcpus": [0], "size": "2000MiB", "write_rate": "128000/s", "pacing": "open",
         "changed_bytes": 1},
        "xzpeter/mig_mon README, mm_dirty.c",
        "full speed is ten times the nominal speed (catch_up); the share of a second comes evenly",
    ),
    "stress-ng": Preset(
        "stress-ng --vm N --vm-bytes 256M --vm-keep, methods that go over memory in order",
        {"pattern": "sequential", "split": True, "size": "256MiB", **_LOOP},
        "stress-ng stress-vm.c: DEFAULT_VM_BYTES, the loops of write64, moving_inversion and most others",
        "111 ms a GiB for each vCPU, as measured on one AMD Zen 4; one worker on each vCPU shares the region; "
        "without --vm-keep each pass gets other pages",
        write_ns=_STORE_NS,
    ),
    "stress-ng-swap": Preset(
        "stress-ng --vm N --vm-method swap: chunks change places with chunks drawn at random",
        {"pattern": "uniform", "size": "256MiB", "pacing": "closed", "changed_bytes": 64, "changed_place": "scattered"},
        "stress-ng(1) --vm-method swap: chunks of 64 bytes", "400 ns a swap (two cache misses and their bookkeeping)",
        write_ns=400,
    ),
    "ycsb-a": _ycsb("a", "half reads, half updates", 0.5),
    "ycsb-b": _ycsb("b", "95 % reads, 5 % updates", 0.05),
    "ycsb-c": _ycsb("c", "reads alone: memory is not dirtied", 0.0),
    "ycsb-f": _ycsb("f", "half reads, half read-modify-write", 0.5),
    "memcached": Preset(
        "memcached under memtier_benchmark: one SET to ten GETs, keys uniform",
        {"pattern": "uniform", "arrivals": "poisson", "pacing": "open", "changed_bytes": 100, "changed_place": "scattered"},
        "memtier_benchmark(1): ratio 1:10, data of 32 bytes, key-pattern R:R",
        "100k operations a second; a GET dirties no page; an item lies in one page",
        shares=(1 / 11, 1.0), operations_per_s=100_000,
    ),
    "redis": Preset(
        "redis under redis-benchmark -t set -r: SETs of keys drawn at random, one thread",
        {"pattern": "uniform", "vcpus": [0], "arrivals": "poisson", "pacing": "open", "changed_bytes": 64,
         "changed_place": "scattered"},
        "redis-benchmark(1): -r keyspacelen, 50 clients",
        "100k SETs a second, one page each; no BGSAVE, whose copies dirty further pages",
        shares=(1.0, 0.0), operations_per_s=100_000,
    ),
}  # fmt: skip
assert set(PRESETS) == set(get_args(PresetName)), "each name has an entry"


def expanded(vm: Mapping[str, Any]) -> dict[str, Any]:
    """The table [vm] as written, with the keys of presets filled in; a workload whose preset is unknown stays as it is."""
    loads = vm.get("workload")
    if not isinstance(loads, Sequence) or isinstance(loads, str):
        return dict(vm)
    return {**vm, "workload": [_filled(load, vm) for load in loads]}


def _filled(load: Any, vm: Mapping[str, Any]) -> Any:
    preset = PRESETS.get(load["preset"]) if isinstance(load, Mapping) and isinstance(load.get("preset"), str) else None
    if preset is None:
        return load
    keys = {**preset.keys, **_rates(preset, load, vm), **_size(load, vm)}
    return keys | dict(load)


def _rates(preset: Preset, load: Mapping[str, Any], vm: Mapping[str, Any]) -> dict[str, Any]:
    """Rates over all vCPUs of the workload: those of a loop grow with the vCPUs, those of clients do not."""
    if preset.write_ns:
        n_vcpus = _n_vcpus(load.get("vcpus", preset.keys.get("vcpus", "all")), vm)
        return {"write_rate": f"{n_vcpus * NS_PER_S // preset.write_ns}/s"}
    per_s = _per_s(load.get("operations"), preset.operations_per_s)
    names = zip(("write_rate", "read_rate"), preset.shares, strict=True)
    return {name: f"{round(per_s * share)}/s" for name, share in names if share and per_s}


def _per_s(written: Any, default: int) -> float:
    try:
        return default if written is None else float(parse_rate(written))
    except UnitError:  # the check of the key reports it
        return default


def _n_vcpus(vcpus: Any, vm: Mapping[str, Any]) -> int:
    from hostsim.scenario.types import read_vcpus

    try:
        numbers = read_vcpus(vcpus)
    except ValueError:  # the check of the key reports it
        return 1
    n_vcpus = vm.get("vcpus", 1)
    return (n_vcpus if isinstance(n_vcpus, int) and n_vcpus > 0 else 1) if numbers == "all" else len(numbers)


def _size(load: Mapping[str, Any], vm: Mapping[str, Any]) -> dict[str, Any]:
    """Guestperf's program writes all memory but the 512 MiB that its guest has beside."""
    if load["preset"] != "guestperf":
        return {}
    try:
        written = parse_bytes(vm.get("memory")) - GUESTPERF_SPARE
    except UnitError:  # the check of the key reports it
        return {}
    return {"at": "512MiB", "size": f"{written // 4096 * 4096}B"} if written > 0 else {}


def presets_markdown() -> str:
    """The presets as a table: name, program, source, assumptions."""
    rows = [f"| `{name}` | {one.says} | {one.source} | {one.assumed} |" for name, one in PRESETS.items()]
    return "\n".join(["| preset | load | source | assumed |", "|---|---|---|---|", *rows])
