"""Rows B of suite ``published``: tables that were found when the model existed, met by scenarios written from their text.

Each row keeps the figure that the model gave at first sight, before these rows led to changes of the model. B1-B4:
passes, CLEARs and ageing with 16 to 112 vCPUs. B5-B9: migrations: dirty log and chunks, post-copy, zero pages, compression,
connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.memory import RamBlock, lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.costs.postcopy_sheet import load_postcopy
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Workload
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.spec import MmuSpec
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.measure.selftest.access_tracking_perf_test import POPULATE, AccessPlan, run_access_test
from hostsim.measure.selftest.dirty_log_perf_test import CLEAR, DIRTY_MEMORY, DISABLE, ENABLE, Plan, run_selftest
from hostsim.measure.selftest.walked_vm import WalkedSpec
from hostsim.qemu.compression import Content
from hostsim.qemu.link import LinkSpec
from hostsim.qemu.mechanisms.postcopy import NAME
from hostsim.qemu.parameters import MigrationParameters
from hostsim.validation.kvm_machine import time_row
from hostsim.validation.published_kvm import ERAS, RUN_PAGES, populate_times
from hostsim.validation.rows import Row, published, relative


def blind(key: str) -> dict[str, Any]:
    """The published figures of ``key``."""
    row: dict[str, Any] = published("blind")[key]
    return row


def first_seen(row: Row) -> Row:
    """``row`` with the figure at first sight in its note."""
    seen = published("blind")["at_first_sight"].get(row.id)
    return row if seen is None else row.with_note(f"at first sight {seen:g}")


PASS_SHRINK = 16
"""A run has so many times less memory: all memory is alike, and its times grow with it."""
CASCADE, SKYLAKE = "cascade-lake", "skylake"
GARDON = {"tdp": ("E3", "tdp"), "direct": ("E3", "direct"), "in-place": ("E5", "tdp")}
"""B2: era and MMU of each series. The series of patches recovers huge pages in place and flushes once, as 6.13 does."""
MATLACK: dict[str, tuple[Interface, bool]] = {
    "all-set/lazy": ("initially-all-set", False), "all-set/eager": ("initially-all-set", True),
    "protect/lazy": ("clear-dirty-log", False), "protect/eager": ("clear-dirty-log", True),
}  # fmt: skip
POPULATED = {"tdp": ("E3", "tdp"), "direct": ("E3", "direct")}


def many_vcpu_rows() -> Iterator[Row]:
    """B1-B4, each row with the figure at first sight."""
    for rows in (_ageing_rows, _disabling_rows, _splitting_rows, _populating_rows):
        yield from map(first_seen, rows())


def _ageing_rows() -> Iterator[Row]:
    data = blind("B1")
    times = populate_times(data)
    for series in ERAS:
        for vcpus, wall_s in data["seconds"][series].items():
            where, (wall, aged) = f"B1/{series}/{vcpus}", times[series, vcpus]
            yield _row(CASCADE, where, f"{vcpus} vCPUs populate 1 GiB each, s", wall_s, wall, data)
            if series in data["pass_seconds"]:
                pass_s = data["pass_seconds"][series][vcpus]
                yield _row(CASCADE, f"{where}/pass", "a pass of ageing meanwhile, s", pass_s, aged, data)


def _disabling_rows() -> Iterator[Row]:
    data = blind("B2")
    for series, (era, mmu) in GARDON.items():
        spec = MmuSpec(era=era, costs=SKYLAKE, mmu=mmu, page_size="1GiB", write_tracking="pml", eager_split=False)
        got = _phases(data, spec, "initially-all-set", 2)
        yield from _phase_rows("B2", SKYLAKE, series, data, got)


def _splitting_rows() -> Iterator[Row]:
    data = blind("B3")
    for series, (interface, eager) in MATLACK.items():
        spec = MmuSpec(era="E4", costs=CASCADE, page_size="1GiB", write_tracking="pml", eager_split=eager)
        yield from _phase_rows("B3", CASCADE, series, data, _phases(data, spec, interface, 3))


def _populating_rows() -> Iterator[Row]:
    data = blind("B4")
    for series, (era, mmu) in POPULATED.items():
        plan = AccessPlan(MmuSpec(era=era, costs=CASCADE, mmu=mmu), data["vcpus"], RUN_PAGES, True, True, False)
        scale = data["pages_per_vcpu"] / RUN_PAGES / 1e9
        got = run_access_test(plan).of(POPULATE)[0].duration_ns * scale
        yield _row(CASCADE, f"B4/{series}", "64 vCPUs populate 1 GiB each, s", data["seconds"][series], got, data)


def _phases(data: dict[str, Any], mmu: MmuSpec, interface: Interface, iterations: int) -> dict[str, float]:
    """Seconds of each phase of dirty_log_perf_test, by its short name and iteration."""
    spec = WalkedSpec(mmu, interface, data["vcpus"], data["pages_per_vcpu"] // PASS_SHRINK)
    result = run_selftest(spec, Plan(iterations))
    names = {ENABLE: "enable", DISABLE: "disable", DIRTY_MEMORY: "dirty", CLEAR: "clear"}
    known = [phase for phase in result.phases if phase.name in names]
    return {f"{names[one.name]}{one.iteration or ''}": PASS_SHRINK * one.duration_ns / 1e9 for one in known}


def _phase_rows(key: str, sheet: str, series: str, data: dict[str, Any], got: dict[str, float]) -> Iterator[Row]:
    for phase, seconds in data["seconds"][series].items():
        what = f"{phase}, {data['vcpus']} vCPUs, s"
        yield _row(sheet, f"{key}/{series}/{phase}", what, seconds, got[phase], data)


def _row(sheet: str, row_id: str, what: str, expected: float, got: float, data: dict[str, Any]) -> Row:
    row = time_row(sheet, row_id, what, expected, got, data["tolerance"])
    return row.with_note(data["tolerance_note"]) if "tolerance_note" in data else row


MIB = 1 << 20
GIB_PAGES = 1024 * MIB // PAGE_BYTES
SHRINK, SHRUNK_PAGES = 4, 4 * GIB_PAGES
"""B6, B8 and B9 send so many times less, B7 at most so many pages: the time to send all pages grows with their number."""
LATENCY_NS, SOCKET_BYTES = 100_000, 2_621_440
"""Of the network: the defaults of [link]; B8's sockets are smaller, since the bytes in them at the end are sent, too."""
INTERFACES = {"get": "get-dirty-log", "clear": "clear-dirty-log"}


def stream_rows() -> Iterator[Row]:
    """B5-B9, each row with the figure at first sight."""
    for rows in (_clear_rows, _postcopy_rows, _zero_rows, _compressed_rows, _connection_rows):
        yield from map(first_seen, rows())


def _clear_rows() -> Iterator[Row]:
    """B5: at the bandwidth that the table states, and at that with which the run without CLEAR takes the measured time."""
    data = blind("B5")
    for link, rate in (("stated", data["stated_bytes_per_s"]), ("paced", data["paced_bytes_per_s"])):
        for name, interface in INTERFACES.items():
            took_s = _log_run_s(data, interface, rate)
            row = _stream_row(f"B5/{link}/{name}", "total time, s", data["seconds"][name], took_s, data)
            yield row.unscored("it set the speed of the stream") if (link, name) == ("paced", "get") else row


def _log_run_s(data: dict[str, Any], interface: str, bytes_per_s: int) -> float:
    pages = data["written_gib"] * GIB_PAGES
    writes = Fraction(data["writes_mib_per_s"] * MIB, PAGE_BYTES)
    load = Workload("mig_mon", "uniform", (0,), 0, pages, writes, arrivals="poisson", pacing=Pacing(open_loop=True))
    blocks = lay_out([("pc.ram", data["vm_gib"] * GIB_PAGES, [(0, pages)])])
    parameters = MigrationParameters(qemu="7.2", max_bandwidth=bytes_per_s, downtime_limit_ms=data["downtime_limit_ms"])
    spec = replace(_idle(blocks, parameters, LinkSpec()), workloads=(load,), dirty_tracking=interface)
    machine = Machine(replace(spec, mmu=MmuSpec(era="E2", mmu="direct", page_size="2MiB")))
    machine.run()
    return _total_ms(machine) / 1000


def _postcopy_rows() -> Iterator[Row]:
    """B6: time in post-copy over requests; the one thread waits for each of them in turn."""
    data = blind("B6")
    for name, expected in data["latency_ms"].items():
        got = _request_ms(data, preempt=name == "preempt")
        yield _stream_row(f"B6/{name}", "a page request, ms", expected, got, data)


def _request_ms(data: dict[str, Any], *, preempt: bool) -> float:
    pages = data["written_gib"] * GIB_PAGES // SHRINK
    load = Workload("writer", "uniform", (0,), 0, pages, Fraction(1_000_000))
    blocks = lay_out([("pc.ram", data["vm_gib"] * GIB_PAGES // SHRINK, [(0, pages)])])
    parameters = MigrationParameters(
        qemu="7.2", max_bandwidth=0, postcopy_ram=True, postcopy_preempt=preempt, postcopy_after_rounds=1
    )
    link = LinkSpec(data["link_bytes_per_s"], LATENCY_NS, SOCKET_BYTES)
    spec = replace(_idle(blocks, parameters, link), workloads=(load,), n_vcpus=data["vcpus"])
    machine = Machine(replace(spec, inputs={NAME: load_postcopy("generic", {})}))
    machine.run()
    assert machine.migration is not None
    found = machine.migration.counters()
    sent_s = found.ram["postcopy-bytes"] / data["link_bytes_per_s"]
    return float(sent_s * 1000 / found.ram["postcopy-requests"])


def _zero_rows() -> Iterator[Row]:
    """B7: an idle guest that is almost all zeros, over sockets that do not hold it up."""
    data = blind("B7")
    for guest, times in data["total_ms"].items():
        pages = data["pages"][guest]
        for way, expected in times.items():
            yield _stream_row(f"B7/{guest}/{way}", "total time, ms", expected, _zero_ms(pages, way), data)


def _zero_ms(pages: dict[str, int], way: str) -> float:
    total, normal = sum(pages.values()), pages["normal"]
    shrink = max(1, total // SHRUNK_PAGES)
    blocks = lay_out([("pc.ram", total // shrink, [(0, normal // shrink)] if normal else [])])
    machine = Machine(_idle(blocks, _zero_parameters(way), LinkSpec()))
    machine.run()
    return _unshrunk_ms(machine, shrink)


def _zero_parameters(way: str) -> MigrationParameters:
    """precopy: one connection. main-thread: multifd, tested by the migration thread. channels-N: tested by N channels."""
    if way == "precopy":
        return MigrationParameters(qemu="7.2", max_bandwidth=0)
    channels = int(way.rpartition("-")[2]) if way[-1].isdigit() else 4 if way == "main-thread" else 16
    return MigrationParameters(
        qemu="10.0", max_bandwidth=0, multifd=True, multifd_channels=channels,
        zero_page_detection="legacy" if way == "main-thread" else "multifd",
    )  # fmt: skip


def _compressed_rows() -> Iterator[Row]:
    data = blind("B8")
    sent = {name: data["mbps"][name] * ms for name, ms in data["total_ms"].items()}
    for name, expected in data["total_ms"].items():
        got = _filled_ms(data, name, sent["zstd"] / sent["none"])
        row = _stream_row(f"B8/{name}", "total time, ms", expected, got, data)
        yield row.with_note(f"of compressed pages {sent['zstd'] / sent['none']:.3f} of the bytes are left, as measured")


def _filled_ms(data: dict[str, Any], method: str, ratio: float) -> float:
    filled = data["filled_gib"] * GIB_PAGES // SHRINK
    blocks = lay_out([("pc.ram", data["vm_gib"] * GIB_PAGES // SHRINK, [(0, filled)])])
    parameters = MigrationParameters(
        qemu="10.0", max_bandwidth=0, multifd=True, multifd_channels=data["channels"],
        multifd_compression="zstd" if method == "zstd" else "none",
    )  # fmt: skip
    link = LinkSpec(data["link_bytes_per_s"], LATENCY_NS, SOCKET_BYTES // SHRINK)
    machine = Machine(replace(_idle(blocks, parameters, link), content=Content(ratio)))
    machine.run()
    return _unshrunk_ms(machine, SHRINK)


def _connection_rows() -> Iterator[Row]:
    data = blind("B9")
    pages = data["vm_gib"] * GIB_PAGES // SHRINK
    for channels, expected in data["mib_per_s"].items():
        parameters = MigrationParameters(qemu="10.0", max_bandwidth=0, multifd=True, multifd_channels=int(channels))
        link = LinkSpec(data["link_bytes_per_s"], LATENCY_NS, SOCKET_BYTES)
        machine = Machine(_idle(lay_out([("pc.ram", pages, [(0, pages)])]), parameters, link))
        machine.run()
        got = pages * PAGE_BYTES / MIB / (_total_ms(machine) / 1000)
        yield _stream_row(f"B9/{channels}", "MiB/s", expected, got, data)


def _idle(blocks: tuple[RamBlock, ...], parameters: MigrationParameters, link: LinkSpec) -> MachineSpec:
    """A guest on the generic host that does nothing."""
    return MachineSpec(
        blocks=blocks, workloads=(), n_vcpus=4, sheet=load_sheet("generic"), duration_ns=600 * NS_PER_S, link=link,
        migration=parameters,
    )  # fmt: skip


def _total_ms(machine: Machine) -> int:
    assert machine.migration is not None
    return int(machine.migration.counters().total_time_ms)


def _unshrunk_ms(machine: Machine, shrink: int) -> float:
    """Total time of ``shrink`` times as many pages; setup, stop and switchover do not grow with them."""
    sheet = machine.spec.sheet
    fixed_ms = (sheet.setup_ns + sheet.vm_stop_ns + sheet.switchover_ns) / 1e6
    return (_total_ms(machine) - fixed_ms) * shrink + fixed_ms


def _stream_row(row_id: str, what: str, expected: float, got: float, data: dict[str, Any]) -> Row:
    row = relative("published", row_id, what, expected, round(got, 4), data["tolerance"])
    row = row.with_note(data["tolerance_note"]) if "tolerance_note" in data else row
    return row.unscored("it set a time of the generic host") if row_id in data.get("set_on", ()) else row
