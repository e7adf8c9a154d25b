"""Drawn machines: tiny, and with numbers that meet in the same instants often. One integer gives one machine."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from random import Random
from typing import Any, TypeVar

import numpy as np

from hostsim.core.knobs import Knobs
from hostsim.core.memory import RamBlock, lay_out
from hostsim.core.rng import stream_key
from hostsim.costs.host_sheet import SPREADS, HostSheet
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Active, TouchTrace, Workload
from hostsim.machine.spec import MachineSpec
from hostsim.qemu.compression import Content
from hostsim.qemu.link import RECEIVE_WINDOW, Drops, LinkSpec, Outage
from hostsim.qemu.parameters import MigrationParameters, ParameterChange

MS = 1_000_000
DROPS: tuple[Drops, ...] = ("both", "both", "to-destination", "to-source")
RATES_PER_S = tuple(Fraction(r) for r in (6, 60, 240, 600, 600, 1200, 1800, 3000))
T = TypeVar("T")


SWEPT = ("sequential", "sequential", "strided", "trace", "idle")
"""Patterns whose every touch is known: the engine must equal the twin."""
RANDOM = ("uniform", "hotcold", "zipf")


def drawn_spec(seed: int, patterns: tuple[str, ...] = SWEPT) -> MachineSpec:
    """Machine number ``seed``; the patterns of its workloads are drawn from ``patterns``."""
    rng = Random(seed)
    n_vcpus = rng.choice((1, 1, 2, 3))
    blocks = _blocks(rng)
    n_pages = blocks[-1].end_gfn
    loads = tuple(_workload(rng, f"load-{i}", patterns, n_vcpus, n_pages) for i in range(rng.choice((1, 1, 2, 2, 3))))
    migration, link = _migration(rng, n_pages), _link(rng)
    duration_ns = rng.choice((1_500, 3_000, 6_000, 6_000, 12_000)) * MS
    sheet = _sheet(rng)
    return MachineSpec(blocks, loads, n_vcpus, sheet, seed, duration_ns, "tcg", _woken_late(rng, link), migration)


def drawn_multifd_spec(seed: int, patterns: tuple[str, ...] = SWEPT) -> MachineSpec:
    """Machine number ``seed`` with multifd: drawn channels, methods, finders of zero pages; a link without latency."""
    spec, rng = drawn_spec(seed, patterns), Random(f"multifd {seed}")
    assert spec.migration is not None
    compression = rng.choice(("none", "none", "zlib", "zstd"))
    migration = replace(
        spec.migration, multifd=True, multifd_channels=rng.choice((1, 2, 2, 3, 8)), multifd_compression=compression,
        multifd_zstd_level=rng.choice((1, 3)), zero_page_detection=rng.choice(("none", "legacy", "multifd", "multifd")),
        zero_copy_send=compression == "none" and rng.random() < 0.3,
    )  # fmt: skip
    sheet = replace(
        spec.sheet, queue_page_ns=rng.choice((1, 1_000, 50_000)), zlib_page_ns=rng.choice((100_000, 777_777)),
        zstd_page_ns=rng.choice((8_000, 250_000)), zero_copy_page_ns=rng.choice((1, 1_000)),
    )  # fmt: skip
    n_pages = spec.blocks[-1].end_gfn
    content = Content(rng.choice((0.3, 1.0)), rng.choice(((), ((n_pages // 4, n_pages // 4, 0.05),))))
    return replace(spec, migration=migration, sheet=sheet, content=content, link=replace(spec.link, latency_ns=0))


def drawn_wired_multifd(seed: int, patterns: tuple[str, ...] = SWEPT) -> MachineSpec:
    """Machine number ``seed`` with multifd over connections with windows, most of them on a link with faults."""
    spec, rng = drawn_multifd_spec(seed, patterns), Random(f"wired multifd {seed}")
    assert spec.migration is not None
    starts = sorted(rng.sample(range(1, 30), rng.choice((0, 1, 2, 3))))
    outages = tuple(Outage(start * 100 * MS + 7, rng.choice((1, 20, 90)) * MS, rng.choice(DROPS)) for start in starts)
    link = replace(
        spec.link, latency_ns=rng.choice((MS, 5 * MS, 20 * MS)), outages=outages, wake_bytes=0,
        bandwidth_bytes_per_s=rng.choice((0, 1_000_000, 4_104_000, 16_416_000)),
        loss=rng.choice((0.0, 0.001, 0.01, 0.05)) if outages or rng.random() < 0.5 else 0.0,
        loss_key=stream_key(seed, "link.loss"),
    )  # fmt: skip
    migration = replace(spec.migration, timeout_ns=0, switchover_ack=False, return_path=False)
    return replace(spec, migration=migration, link=link)


def drawn_knobs(seed: int) -> Knobs:
    """Speed knobs number ``seed``; they cut work into small pieces."""
    rng = Random(seed)
    windows_ns = (0, 1, 1_000, 777_777, MS, 10 * MS)
    return Knobs(rng.choice((1, 2, 3, 17, 64, 1 << 16)), rng.choice((1, 5, 64, 1 << 22)), rng.choice(windows_ns))


def _blocks(rng: Random) -> tuple[RamBlock, ...]:
    sizes = [rng.randrange(64, 400), *(rng.randrange(1, 60) for _ in range(rng.choice((0, 0, 1, 2))))]
    names = ("pc.ram", "vga.vram", "/rom@etc/acpi/tables")
    return lay_out([(name, size, _fills(rng, size)) for name, size in zip(names, sizes, strict=False)])


def _fills(rng: Random, n_pages: int) -> list[tuple[int, int]]:
    if rng.random() < 0.5:
        return [(0, n_pages)]
    at = rng.randrange(n_pages)
    return [(at, rng.randrange(n_pages - at + 1))]


def _pacing(rng: Random) -> Pacing:
    tick_ns = rng.choice((0, 0, MS, 4 * MS, 10 * MS, 3_333_333))
    if rng.random() < 0.5:
        catch_up = rng.choice((Fraction(1), Fraction(2), Fraction(10), Fraction(3, 2), Fraction(1000)))
        return Pacing(True, catch_up, tick_ns)
    late_ns = rng.choice((0, tick_ns * 2, tick_ns + tick_ns // 2)) if tick_ns else 0
    return Pacing(tick_ns=tick_ns, tick_late_ns=late_ns)


def _active(rng: Random) -> Active | None:
    if rng.random() < 0.7:
        return None
    length_ns = rng.choice((5, 50, 300)) * MS
    return Active(rng.choice((0, 7 * MS, 500 * MS)), length_ns, rng.choice((0, length_ns, 2 * length_ns, 1000 * MS)))


def _workload(rng: Random, name: str, patterns: tuple[str, ...], n_vcpus: int, n_pages: int) -> Workload:
    vcpus = tuple(sorted(rng.sample(range(n_vcpus), rng.randint(1, n_vcpus))))
    first_gfn = rng.choice((0, rng.randrange(n_pages - 8)))
    size = rng.randint(4, min(n_pages - first_gfn, rng.choice((16, 64, 600))))
    load = Workload(
        name, rng.choice(patterns), vcpus, first_gfn, size,
        rng.choice(RATES_PER_S), rng.choice((Fraction(0), Fraction(0), Fraction(60))), _pacing(rng), rng.random() < 0.4,
        stride_pages=rng.randint(1, size), start_page=rng.randrange(size), active=_active(rng),
        hot_pages=len(vcpus) * rng.randint(1, size // len(vcpus)), hot_share=rng.choice((0.5, 0.9)),
        exponent=rng.choice((0.5, 1.0)), arrivals=rng.choice(("paced", "poisson")),
    )  # fmt: skip
    return replace(load, trace=_trace(rng, load)) if load.pattern == "trace" else load


def _trace(rng: Random, load: Workload) -> TouchTrace:
    n = rng.randint(1, 2000)
    step_ns = rng.choice((1, 1000, MS))
    times = sorted(rng.randrange(6_000 * MS // step_ns) * step_ns for _ in range(n))
    vcpus = [rng.choice(load.vcpus) for _ in range(n)]
    gfns = [load.first_gfn + rng.randrange(load.n_pages) for _ in range(n)]
    writes = [rng.random() < 0.8 for _ in range(n)]
    return TouchTrace(np.array(times, np.int64), np.array(vcpus, np.int32), np.array(gfns, np.int64), np.array(writes))


def _sheet(rng: Random) -> HostSheet:
    def pick(*values: int) -> int:
        return rng.choice(values)

    sheet = HostSheet(
        page_send_ns=pick(1_000, 50_000, 250_000, 500_000, MS, 777_777),
        first_copy_ns=pick(0, 500_000, 123_456),
        zero_page_ns=pick(100, 50_000, MS),
        setup_ns=pick(1, 500_000, 5 * MS, 10 * MS),
        vm_stop_ns=pick(1, MS, 123_457),
        switchover_ns=pick(1, MS, 5 * MS),
        sleep_overshoot_ns=pick(0, 0, 60_000, MS),
        throttle_overshoot_ns=pick(0, 0, 100_000, 5 * MS),
        device_state_bytes=pick(0, 5_000, 200_000),
        throttle_timer_late_ns=pick(0, 60_000, MS),
    )
    if rng.random() < 0.6:
        return sheet
    return replace(sheet, **{spread: getattr(sheet, of) // rng.choice((1, 2)) for spread, of in SPREADS.items()})


def _link(rng: Random) -> LinkSpec:
    bytes_per_s = rng.choice((0, 0, 410_400, 1_000_000, 4_104_000, 16_416_000))
    latency_ns = rng.choice((0, 0, 100_000, 100_000, MS, MS, 20 * MS, 150 * MS))
    return LinkSpec(
        bytes_per_s, latency_ns, rng.choice((0, 4096, 20_000, 212_992, 1 << 20)),
        receive_window_bytes=rng.choice((5_000, 65_536, RECEIVE_WINDOW, RECEIVE_WINDOW)), mtu=rng.choice((576, 1500, 9000)),
        slow_start_after_idle=rng.random() < 0.7,
    )  # fmt: skip


def _woken_late(rng: Random, link: LinkSpec) -> LinkSpec:
    """``link`` whose writer waits for a share of a full buffer."""
    return replace(link, wake_bytes=link.socket_buffer_bytes * rng.choice((0, 0, 3, 4)) // 4)


def _migration(rng: Random, n_pages: int) -> MigrationParameters:
    pages_a_second = rng.choice((n_pages // 2, n_pages, 2 * n_pages, 8 * n_pages))
    auto_converge = rng.random() < 0.6
    options: dict[str, Any] = dict(
        qemu=rng.choice(("7.2", "10.0", "10.2")),
        max_bandwidth=rng.choice((0, *[pages_a_second * 4104] * 3)),
        downtime_limit_ms=rng.choice((0, 1, 20, 20, 100) if auto_converge else (0, 1, 20, 100, 300, 1000)),
        avail_switchover_bandwidth=rng.choice((0, 0, 0, 409_600)),
        return_path=rng.random() < 0.3,
        start_ns=rng.choice((0, 0, MS, 123_456_789, 1_000 * MS)),
        timeout_ns=rng.choice((0, 0, 0, 0, 1_000 * MS, 4_000 * MS, 777_777_777)),
    )
    if auto_converge:
        options |= dict(
            auto_converge=True,
            throttle_trigger_threshold=rng.choice((1, 10, 50, 90)),
            cpu_throttle_initial=rng.choice((20, 50, 75, 99)),
            cpu_throttle_increment=rng.choice((10, 25, 1)),
            cpu_throttle_tailslow=rng.random() < 0.4,
            max_cpu_throttle=rng.choice((99, 99, 80)),
        )
    return MigrationParameters(**options, **_switchover(Random(str(options)), options["qemu"]))


def _switchover(rng: Random, qemu: str) -> dict[str, Any]:
    """Draws from a generator of their own, so that the others stay as they were."""
    if rng.random() < 0.6:
        return {}
    name, values = rng.choice((("downtime_limit_ms", (0, 50, 2_000)), ("max_bandwidth", (0, 400_000, 4_000_000))))
    change = ParameterChange(rng.choice((1_234_567, 777_777_771, 2_000_000_003)), 0, ((name, rng.choice(values)),))
    return dict(
        pause_before_switchover=rng.random() < 0.5,
        continue_after_ns=rng.choice((0, 5_000_011, 700_000_001)),
        switchover_ack=qemu != "7.2" and rng.random() < 0.5,
        changes=(change,) if rng.random() < 0.5 else (),
    )
