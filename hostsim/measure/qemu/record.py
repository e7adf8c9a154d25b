"""Runs of one migration as a measured case: docs/howto/compare-with-your-qemu.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.measure.kvm.host import KvmHost
from hostsim.measure.qemu.firmware import BASE_BYTES, MAILBOX, Guest
from hostsim.measure.qemu.migrate import Run
from hostsim.measure.qemu.plan import Planned
from hostsim.measure.qemu.process import MACHINE

TICK_HZ = 1000
"""The guest looks at its clock all the time, and writes its mailbox then; in a simulation so often is as good as always."""
THROTTLE = (
    "throttle-trigger-threshold", "cpu-throttle-initial", "cpu-throttle-increment", "cpu-throttle-tailslow",
    "max-cpu-throttle",
)  # fmt: skip

MECHANISMS = {
    "xbzrle_cache_size": "xbzrle-cache-size", "multifd_channels": "multifd-channels",
    "multifd_compression": "multifd-compression", "max_postcopy_bandwidth_Bps": "max-postcopy-bandwidth",
    "zero_page_detection": "zero-page-detection",
}  # fmt: skip
"""Inputs of a case that are parameters of QEMU, where it has them."""
OF_RAM = {"postcopy_requests": "postcopy-requests", "postcopy_bytes": "postcopy-bytes", "multifd_bytes": "multifd-bytes"}
OF_CACHE = {"xbzrle_bytes": "bytes", "xbzrle_pages": "pages", "xbzrle_cache_miss": "cache-miss"}
"""Figures of a case, and the members of ``query-migrate`` that have them."""
CHANGED_BYTES = 1
"""A write of the guest adds one to the page's first word: its lowest byte changes, the next one in one write of 256.

Filled pages are of pseudo-random words, which no method compresses.
"""


@dataclass(frozen=True)
class Host:
    """kvm: of the host; ram_pages: of all RAMBlocks of its QEMU; tsc_hz: of the time stamp counter."""

    kvm: KvmHost
    ram_pages: int
    tsc_hz: int


def case_of(planned: Planned, guests: Sequence[Guest], runs: Sequence[Run], on: Host) -> dict[str, Any]:
    """The case. guests: of each run; on: the host that ran them."""
    tsc_hz = on.tsc_hz
    rates = [run.start.rate_since(run.before, tsc_hz) for run in runs]
    figures = [dict(_figures(run, tsc_hz)) for run in runs]
    return {
        "id": planned.id,
        "inputs": _inputs(planned, runs[0], on, round(statistics.median(rates))),
        "status": [run.status for run in runs],
        "measured": {name: _summary([one[name] for one in figures if name in one]) for name in _names(figures)},
        "repeats": [
            {"seed": guest.seed, "seq0": guest.first, "writes_at_start": run.start.writes, "write_rate_before": rate,
             "status": run.status, "goes_on": run.goes_on, **one}
            for guest, run, rate, one in zip(guests, runs, rates, figures, strict=True)
        ],
    }  # fmt: skip


def _inputs(planned: Planned, run: Run, on: Host, rate: int) -> dict[str, Any]:
    """rate: measured before the migrations [pages/s], for a guest that has none of its own."""
    guest, parameters = planned.guest, run.parameters
    is_hot, writes = guest.pattern == "hotcold", guest.pattern != "none"
    return {
        "qemu_version": ".".join(str(run.version[part]) for part in ("major", "minor", "micro")),
        "host": {"kernel": on.kvm.version, "mmu": on.kvm.mmu, "pml": on.kvm.pml, "title": on.kvm.title},
        "accel": planned.accel, "machine": MACHINE, "transport": "unix", "vcpus": 1, "mem_mib": guest.mem_mib,
        "page_size": PAGE_BYTES, "ram_pages": on.ram_pages, "nonzero_pages": run.nonzero_pages,
        "cold_fill_start_page": BASE_BYTES // PAGE_BYTES, "cold_fill_pages": guest.fill_pages,
        "ws_start_page": guest.set_address // PAGE_BYTES, "ws_pages": guest.set_pages, "pattern": guest.pattern,
        "hot_pages": guest.hot_pages if is_hot else None, "hot_prob": guest.hot_share if is_hot else None,
        "write_rate_pages_s": (guest.rate or rate) if writes else 0, "pace": guest.pace, "spin": guest.pace == "cpu",
        "guest_tick_hz": TICK_HZ, "always_dirty_pages": [MAILBOX // PAGE_BYTES] if writes else [],
        "bytes_changed_per_write": CHANGED_BYTES, "changed_place": "start", "compression_ratio": 1.0, "thp": False,
        "max_bandwidth_Bps": planned.max_bandwidth, "link_relay_Bps": None,
        "downtime_limit_ms": planned.downtime_limit_ms, "capabilities": ["events", *planned.capabilities],
        "throttle": {name: parameters.get(name) for name in THROTTLE},
        "avail_switchover_bandwidth_Bps": parameters.get("avail-switchover-bandwidth"),
        **{key: parameters.get(name) for key, name in MECHANISMS.items()},
        "postcopy_after_syncs": planned.postcopy_after_syncs or None,
        "vcpu_dirty_limit_MBps": planned.dirty_limit_mb_s or None, "cancel_after_s": planned.cancel_after_s,
    }  # fmt: skip


def _figures(run: Run, tsc_hz: int) -> Iterator[tuple[str, float]]:
    """Figures that QEMU, KVM and the guest have of one run."""
    ram, done = run.last.get("ram", {}), run.status == "completed"
    if done:
        yield "total_time_ms", run.last["total-time"]
        yield "downtime_ms", run.last["downtime"]
    yield "transferred_bytes", ram["transferred"]
    yield "dirty_sync_count", ram["dirty-sync-count"]
    yield "normal_pages", ram["normal"]
    yield "zero_pages_sent", ram["duplicate"]
    yield from ((name, ram[field]) for name, field in OF_RAM.items() if ram.get(field))
    cache = run.last.get("xbzrle-cache", {})
    yield from ((name, cache[field]) for name, field in OF_CACHE.items() if field in cache)
    yield "max_throttle_pct", run.throttle_max
    if "pf_taken" in run.counters:
        yield "faults", run.counters["pf_taken"]
    if run.end.writes > run.start.writes:
        yield "write_rate_during", run.end.rate_since(run.start, tsc_hz)
        yield "ns_per_write_before", run.start.write_ns_since(run.before, tsc_hz)
        yield "ns_per_write_during", run.end.write_ns_since(run.start, tsc_hz)
        yield "guest_loss_percent", _loss_percent(run, tsc_hz)


def _loss_percent(run: Run, tsc_hz: int) -> float:
    """Time of the guest that its writes took longer than before the migration; 0 if neighbours slowed it before."""
    longer_ns = run.end.write_ns_since(run.start, tsc_hz) - run.start.write_ns_since(run.before, tsc_hz)
    return max(0.0, 1e-7 * longer_ns * run.end.rate_since(run.start, tsc_hz))


def _names(figures: Sequence[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for one in figures for name in one))


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {"n": len(values), "median": statistics.median(values), "min": min(values), "max": max(values)}
