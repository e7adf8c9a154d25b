"""Checks between the keys of one workload, and between it and its VM."""

from __future__ import annotations

from collections.abc import Iterator

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.finding import Finding
from hostsim.core.units import format_bytes, format_duration
from hostsim.scenario.complete import APPLIES, TOUCHING
from hostsim.scenario.guest_schema import SWEEPS, Vm, Workload
from hostsim.scenario.presets import PRESETS


def workload_findings(workload: Workload, vm: Vm, key: str) -> list[Finding]:
    """All findings about ``workload``, which stands at ``key``."""
    found = [*_of_preset(workload, key), *_needless(workload, key), *_needed(workload, key)]
    found += [*_vcpus(workload, vm, key), *_clock(workload, key)]
    if workload.pattern not in (*TOUCHING, "idle") and not workload.is_plugged:
        return found
    outside = list(_region(workload, vm, key))
    return [*found, *(outside or [*_parts(workload, vm, key), *_within(workload, vm, key)])]


def _keys(key: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{key}.{name}" for name in names)


def _needless(workload: Workload, key: str) -> Iterator[Finding]:
    for name in sorted(workload.model_fields_set & APPLIES.keys()):
        applies, wanted = APPLIES[name]
        given = getattr(workload, name)
        if not applies(workload) and given is not None:
            uses = _keys(key, "pattern", "pacing", "tick")
            yield Finding(f"{key}.{name}", "a key that has no effect here", wanted, "", uses)


def _of_preset(workload: Workload, key: str) -> Iterator[Finding]:
    pattern = PRESETS[workload.preset].keys["pattern"] if workload.preset else workload.pattern
    if workload.pattern != pattern:
        wanted = f"'{pattern}', the pattern of preset '{workload.preset}'; a workload of another pattern has no preset"
        yield Finding(f"{key}.pattern", f"'{workload.pattern}'", wanted, f'pattern = "{pattern}"', (f"{key}.preset",))


def _needed(workload: Workload, key: str) -> Iterator[Finding]:
    pattern = (f"{key}.pattern",)
    if workload.pattern == "trace" and workload.file is None:
        yield Finding(f"{key}.file", "nothing", "the file of the trace", 'file = "trace.csv"', pattern)
    if workload.pattern in TOUCHING and workload.write_rate == 0 and workload.read_rate == 0:
        example = 'write_rate = "50000/s"'
        rates = _keys(key, "write_rate", "read_rate")
        yield Finding(f"{key}.write_rate", "no rate at all", "write_rate or read_rate above 0", example, (*pattern, *rates))
    if workload.pattern == "strided" and workload.stride == 0:
        got, wanted = _got(workload, "stride"), "a distance of at least 4KiB"
        yield Finding(f"{key}.stride", got, wanted, 'stride = "64KiB"', pattern)
    if workload.pattern == "hotcold":
        yield from _needed_of_hotcold(workload, key)


def _got(workload: Workload, name: str) -> str:
    return format_bytes(getattr(workload, name)) if name in workload.model_fields_set else "nothing"


def _needed_of_hotcold(workload: Workload, key: str) -> Iterator[Finding]:
    pattern = (f"{key}.pattern",)
    if workload.hot_size == 0:
        got, wanted = _got(workload, "hot_size"), "the size of the hot part"
        yield Finding(f"{key}.hot_size", got, wanted, 'hot_size = "256MiB"', pattern)
    if "hot_share" not in workload.model_fields_set:
        yield Finding(f"{key}.hot_share", "nothing", "the share of touches in the hot part", 'hot_share = "90%"', pattern)


def _vcpus(workload: Workload, vm: Vm, key: str) -> Iterator[Finding]:
    beyond = [vcpu for vcpu in workload.vcpu_numbers(vm.vcpus) if vcpu >= vm.vcpus]
    if beyond:
        wanted = f"vCPUs from 0 to {vm.vcpus - 1} (vm.vcpus = {vm.vcpus})"
        yield Finding(f"{key}.vcpus", f"vCPU {beyond[0]}", wanted, 'vcpus = "all"', ("vm.vcpus",))


def _clock(workload: Workload, key: str) -> Iterator[Finding]:
    if 0 < workload.tick_late < workload.tick:
        wanted = f"at least the tick ({format_duration(workload.tick)}), or no tick earns"
        yield Finding(f"{key}.tick_late", format_duration(workload.tick_late), wanted, "", (f"{key}.tick",))
    active = workload.active
    if active is not None and 0 < active.period < active.length:
        wanted = f"at least the length of a window ({format_duration(active.length)})"
        uses = (f"{key}.active.length",)
        yield Finding(f"{key}.active.period", format_duration(active.period), wanted, 'period = "30s"', uses)


def _region(workload: Workload, vm: Vm, key: str) -> Iterator[Finding]:
    if workload.at >= vm.memory:
        wanted = f"an offset inside memory ({format_bytes(vm.memory)})"
        yield Finding(f"{key}.at", format_bytes(workload.at), wanted, 'at = "0B"', ("vm.memory",))
    elif workload.size is not None and workload.at + workload.size > vm.memory:
        got = f"{format_bytes(workload.size)} from {format_bytes(workload.at)} on"
        wanted = f"a working set inside memory ({format_bytes(vm.memory)})"
        yield Finding(f"{key}.size", got, wanted, 'size = "512MiB"', (f"{key}.at", "vm.memory"))


def _parts(workload: Workload, vm: Vm, key: str) -> Iterator[Finding]:
    k, n_pages = len(workload.vcpu_numbers(vm.vcpus)), workload.region_gfns(vm.memory)[1]
    uses = (*_keys(key, "vcpus", "at", "pattern", "split"), "vm.vcpus", "vm.memory")
    if workload.is_split and n_pages < k:
        wanted = f"at least a page for each of the {k} vCPUs, or split = false"
        yield Finding(f"{key}.size", f"{n_pages} pages", wanted, f'size = "{format_bytes(k * PAGE_BYTES)}"', uses)
    elif workload.is_split and workload.pattern not in SWEEPS and n_pages % k:
        wanted = f"pages that divide by the {k} vCPUs (split)"
        yield Finding(f"{key}.size", f"{n_pages} pages", wanted, f'size = "{format_bytes(k * PAGE_BYTES)}"', uses)
    hot_pages = workload.hot_size // PAGE_BYTES
    if workload.is_split and workload.pattern == "hotcold" and hot_pages % k:
        wanted = f"pages that divide by the {k} vCPUs (split)"
        yield Finding(f"{key}.hot_size", f"{hot_pages} pages", wanted, "", uses)


def _within(workload: Workload, vm: Vm, key: str) -> Iterator[Finding]:
    n_pages = workload.region_gfns(vm.memory)[1]
    k = len(workload.vcpu_numbers(vm.vcpus)) if workload.is_split else 1
    part, otherwise = n_pages // k, "; split = false sweeps the whole region" if k > 1 else ""
    region = format_bytes(n_pages * PAGE_BYTES)
    uses = (*_keys(key, "size", "at", "split", "vcpus"), "vm.memory", "vm.vcpus")
    if workload.hot_size > n_pages * PAGE_BYTES:
        wanted = f"at most the region ({region})"
        yield Finding(f"{key}.hot_size", format_bytes(workload.hot_size), wanted, 'hot_size = "64MiB"', uses)
    if workload.pattern == "strided" and workload.stride >= part * PAGE_BYTES:
        wanted = f"less than what a vCPU sweeps ({format_bytes(part * PAGE_BYTES)}{otherwise})"
        yield Finding(f"{key}.stride", format_bytes(workload.stride), wanted, 'stride = "64KiB"', uses)
    if workload.start_page >= part > 0:
        wanted = f"a page below {part}{otherwise}"
        yield Finding(f"{key}.start_page", str(workload.start_page), wanted, "start_page = 0", uses)
