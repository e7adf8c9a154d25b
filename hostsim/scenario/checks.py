"""Checks between the keys of a scenario; each key by itself is right when these run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

from hostsim.core.constants import NS_PER_MS, PAGE_BYTES
from hostsim.core.errors import Finding, moved
from hostsim.core.units import format_bandwidth, format_bytes, format_duration
from hostsim.costs.host_sheet import SPREADS
from hostsim.kvm.interfaces import with_rings
from hostsim.qemu import capabilities
from hostsim.qemu.capabilities import Rule
from hostsim.scenario.checkpoint_schema import checkpoint_findings
from hostsim.scenario.complete import APPLIES, TOUCHING, vms_of, workload_name
from hostsim.scenario.dirty_rate_schema import rate_findings
from hostsim.scenario.guest_schema import SWEEPS, Vm, Workload
from hostsim.scenario.host_schema import Host, Link, Migration
from hostsim.scenario.kvm_checks import kvm_findings
from hostsim.scenario.mechanism import mechanisms
from hostsim.scenario.memory_checks import memory_findings
from hostsim.scenario.presets import PRESETS

if TYPE_CHECKING:
    # Circle of types: the schema calls the checks, which get the whole scenario.
    from hostsim.scenario.schema import Scenario

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


BANDWIDTH_MIN_BYTES_PER_S = 4096
"""A page a second; below 10 bytes/s QEMU's quota of a window would be 0, which means no limit."""
MAIN_BLOCK = "pc.ram"


def cross_findings(scenario: Scenario) -> list[Finding]:
    """All findings between keys."""
    found = [*_of_vm(scenario.vm), *_link(scenario.link)]
    for i, workload in enumerate(scenario.vm.workload):
        found.extend(workload_findings(workload, scenario.vm, f"vm.workload[{i}]"))
    if scenario.migration is not None:
        found.extend(_migration(scenario.migration, scenario.duration))
        found.extend(_capabilities(scenario.migration, scenario.vm))
        found.extend(_mechanisms(scenario.migration))
    found.extend(_beside(scenario))
    for key, vm in vms_of(scenario)[1:]:
        loads = [one for i, load in enumerate(vm.workload) for one in workload_findings(load, vm, f"vm.workload[{i}]")]
        found.extend(moved(finding, "vm", key) for finding in [*_of_vm(vm), *loads])
    found.extend([*_latenesses(scenario.host), *rate_findings(scenario)])
    return [*found, *_until(scenario), *memory_findings(scenario), *checkpoint_findings(scenario)]


def _latenesses(host: Host) -> Iterator[Finding]:
    """A thread never runs early, so its lateness spreads no further than its mean."""
    sheet = host.sheet()
    for key, of in SPREADS.items():
        spread_ns, mean_ns = getattr(sheet, key), getattr(sheet, of)
        if spread_ns > mean_ns:
            wanted = f"at most host.{of} ({mean_ns})"
            yield Finding(f"host.{key}", str(spread_ns), wanted, f"{key} = {mean_ns}", (f"host.{of}",))


def _until(scenario: Scenario) -> Iterator[Finding]:
    """A run that waits for the end of the work needs work that ends."""
    if scenario.until != "work":
        return
    example, wanted = 'active = { length = "10s" }', "one window of work, or `writes`, whose end until = 'work' waits for"
    works = [(i, load) for i, load in enumerate(scenario.vm.workload) if load.pattern != "idle"]
    if not works:
        yield Finding("until", "'work' without a workload that works", "[[vm.workload]] with an active window", example)
    for i, load in works:
        key = f"vm.workload[{i}]"
        if load.window is None or load.window.period:
            got = "nothing" if load.window is None else "windows without end"
            yield Finding(f"{key}.active", got, wanted, example, ("until",))


def _of_vm(vm: Vm) -> list[Finding]:
    return [*_fills(vm), *_blocks(vm), *_names(vm), *kvm_findings(vm)]


def _fills(vm: Vm) -> Iterator[Finding]:
    yield from _filled(vm)
    ends: list[tuple[int, int, int]] = []
    for i, fill in enumerate(vm.fill):
        key, end = f"vm.fill[{i}]", fill.at + fill.size
        if end > vm.memory:
            wanted = f"a range inside memory ({format_bytes(vm.memory)})"
            uses = (f"{key}.at", "vm.memory")
            yield Finding(f"{key}.size", f"an end at {format_bytes(end)}", wanted, 'size = "1GiB"', uses)
        ends.append((fill.at, end, i))
    ends.sort()
    for (_, end, i), (at, _, j) in pairwise(ends):
        if at < end:
            got = f"a start at {format_bytes(at)}, inside vm.fill[{i}]"
            wanted = "ranges that do not overlap"
            yield Finding(f"vm.fill[{j}].at", got, wanted, f'at = "{format_bytes(end)}"', (f"vm.fill[{i}]", f"vm.fill[{j}]"))


def _filled(vm: Vm) -> Iterator[Finding]:
    if vm.fill and "filled" in vm.model_fields_set and vm.filled != "list":
        yield Finding("vm.filled", f"'{vm.filled}'", "'list', since there is [[vm.fill]]", 'filled = "list"', ("vm.fill",))
    if not vm.fill and vm.filled == "list":
        yield Finding("vm.filled", "'list' without [[vm.fill]]", "at least one [[vm.fill]]", 'filled = "all"', ("vm.fill",))


def _blocks(vm: Vm) -> Iterator[Finding]:
    names = [MAIN_BLOCK]
    for i, block in enumerate(vm.ramblock):
        key = f"vm.ramblock[{i}]"
        if block.name in names:
            yield Finding(f"{key}.name", f"'{block.name}' again", "a name of its own", 'name = "pc.bios"')
        if block.size > vm.memory:
            wanted = f"at most vm.memory ({format_bytes(vm.memory)}): the main RAMBlock is the largest"
            yield Finding(f"{key}.size", format_bytes(block.size), wanted, 'size = "16MiB"', ("vm.memory",))
        pages = block.size // PAGE_BYTES
        if block.filled_pages > pages:
            yield Finding(f"{key}.filled_pages", str(block.filled_pages), f"at most its {pages} pages", "", (f"{key}.size",))
        names.append(block.name)


def _names(vm: Vm) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for i, workload in enumerate(vm.workload):
        name = workload_name(workload, i)
        if name in seen:
            wanted = "a name of its own: it is the key of the workload's draws"
            other = f"vm.workload[{seen[name]}]"
            got, example = f"'{name}', as {other}", f'name = "{name}-2"'
            yield Finding(f"vm.workload[{i}].name", got, wanted, example, (f"{other}.name",))
        seen[name] = i


def _link(link: Link) -> Iterator[Finding]:
    if 0 < link.bandwidth < BANDWIDTH_MIN_BYTES_PER_S:
        yield _too_slow("link.bandwidth", link.bandwidth)
    faults = [key for key, has in (("link.outage", link.outage), ("link.loss", link.loss)) if has]
    if faults and link.latency == 0:
        wanted = f"a round trip, which TCP needs to find what is lost ({' and '.join(faults)})"
        yield Finding("link.latency", "0s", wanted, 'latency = "100us"', tuple(faults))
    for (i, one), (j, after) in pairwise(sorted(enumerate(link.outage), key=lambda pair: pair[1].start)):
        end = one.start + one.length
        if after.start < end:
            got = f"a start at {format_duration(after.start)}, inside link.outage[{i}]"
            yield Finding(f"link.outage[{j}].start", got, "outages that do not overlap", f'start = "{format_duration(end)}"')


def _changes(migration: Migration) -> Iterator[Finding]:
    """Each [[migration.set]] has one moment and at least one parameter."""
    for i, one in enumerate(migration.set):
        key, example = f"migration.set[{i}]", 'after = "30s"'
        if (one.after is None) == (one.after_round is None):
            got = "neither after nor after_round" if one.after is None else "both after and after_round"
            yield Finding(f"{key}.after", got, "one of the two: a time, or the number of a sync", example)
        if not one.change().values:
            wanted = "at least one of bandwidth, downtime_limit, avail_switchover_bandwidth, max_cpu_throttle"
            yield Finding(f"{key}.downtime_limit", "no parameter that changes", wanted, 'downtime_limit = "2s"')
        if (one.downtime_limit or 0) % NS_PER_MS:
            got = format_duration(one.downtime_limit or 0)
            yield Finding(f"{key}.downtime_limit", got, "whole milliseconds", 'downtime_limit = "300ms"')
        if 0 < (one.bandwidth or 0) < BANDWIDTH_MIN_BYTES_PER_S:
            yield _too_slow(f"{key}.bandwidth", one.bandwidth or 0)


def _capabilities(migration: Migration, vm: Vm) -> Iterator[Finding]:
    """Capabilities and parameters that QEMU refuses, or that this version of QEMU does not have."""
    values = dict(migration)
    for entry in capabilities.absent({name: values[name] for name in migration.model_fields_set}, migration.qemu):
        wanted = f'qemu = "10.0" or later: {migration.qemu} has no such parameter'
        got = _written(entry.name, values[entry.name])
        yield Finding(f"migration.{entry.name}", got, wanted, 'qemu = "10.2"', ("migration.qemu",))
    values[capabilities.DIRTY_RING] = vm.dirty_tracking in with_rings()
    for rule in capabilities.refused(values, migration.qemu):
        yield _refused(rule, values)


def _mechanisms(migration: Migration) -> Iterator[Finding]:
    """Findings of each mechanism about its keys beside other keys; the last in [migration] first, as capabilities.RULES."""
    for one in reversed(mechanisms()):
        if one.findings is not None:
            yield from one.findings(migration)


def _beside(scenario: Scenario) -> Iterator[Finding]:
    """Findings of each mechanism about its keys beside other tables."""
    for one in mechanisms():
        if one.beside is not None:
            yield from one.beside(scenario)


def _refused(rule: Rule, values: Mapping[str, object]) -> Finding:
    key = f"migration.{rule.capability}"
    if rule.other == capabilities.DIRTY_RING:
        wanted, other = f"vm.dirty_tracking = 'dirty-ring' beside it ({rule.reason})", "vm.dirty_tracking"
        return Finding(key, "true", wanted, 'dirty_tracking = "dirty-ring" under [vm]', (other,))
    needed = "true" if rule.needs else _off(rule.other)
    got = f"true beside {rule.other} = {_written(rule.other, values.get(rule.other))}"
    wanted = f"{rule.other} = {needed} beside it (QEMU: {rule.reason})"
    return Finding(key, got, wanted, f"{rule.other} = {needed}", (f"migration.{rule.other}",))


def _off(key: str) -> str:
    """The value that turns ``key`` off, as a scenario file writes it."""
    values = {name: value for one in mechanisms() for name, value in one.off.items()}
    return "false" if values.get(key, "false") == "false" else f'"{values[key]}"'


def _written(key: str, value: object) -> str:
    """``value`` as a scenario file writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return format_bandwidth(value) if isinstance(value, int) and key.endswith("bandwidth") else f"'{value}'"


def _too_slow(key: str, bandwidth: int) -> Finding:
    wanted = f"at least {format_bandwidth(BANDWIDTH_MIN_BYTES_PER_S)}, or unlimited"
    return Finding(key, format_bandwidth(bandwidth), wanted, 'bandwidth = "10Gbit/s"')


def _migration(migration: Migration, duration_ns: int) -> Iterator[Finding]:
    if migration.start >= duration_ns:
        wanted = f"a start before the end of the run ({format_duration(duration_ns)})"
        yield Finding("migration.start", format_duration(migration.start), wanted, 'start = "10s"', ("duration",))
    if 0 < migration.bandwidth < BANDWIDTH_MIN_BYTES_PER_S:
        yield _too_slow("migration.bandwidth", migration.bandwidth)
    if migration.downtime_limit % NS_PER_MS:
        got = format_duration(migration.downtime_limit)
        yield Finding("migration.downtime_limit", got, "whole milliseconds", 'downtime_limit = "300ms"')
    for one in mechanisms():
        yield from () if one.values is None else one.values(migration)
    yield from _changes(migration)
    if migration.cpu_throttle_initial > migration.max_cpu_throttle:
        wanted = f"at most max_cpu_throttle ({migration.max_cpu_throttle})"
        got, key = str(migration.cpu_throttle_initial), "migration.cpu_throttle_initial"
        yield Finding(key, got, wanted, "cpu_throttle_initial = 20", ("migration.max_cpu_throttle",))
