"""Guest of a measured case: pages of its memory that are not zero, and its writes. No function here reads an outcome."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from hostsim.core.constants import NS_PER_MS
from hostsim.core.memory import RamBlock, lay_out
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Active, Workload
from hostsim.validation.qemu.cases import Case

WRITE_NS = 200
"""One write of the guest's loop: tens of TCG instructions at some 10^8 a second (assumed). It bounds how fast work that is
paced by the clock catches up; the 5 % of a core that the guest takes (README of the runs) are its 1000 wake-ups a second."""
TICK_LATE_NS = 1_900_000
"""A tick later than 1.9 ms after the last earns nothing with pace `cpu` (README of the runs)."""
BIOS_LOW_GFN, BIOS_LOW_PAGES = 216, 41
"""Non-zero pages below 1 MiB, from page 0xd8: 41 of them were sent in the first window of the traces."""
PATTERNS = {"seq": "sequential", "rand": "uniform", "hotcold": "hotcold"}
COUNTER_BYTES = 8
"""A write to one of the three pages that each tick of the guest writes: a counter of a machine word (assumed)."""


def blocks_of(case: Case, repeat: Mapping[str, Any]) -> tuple[RamBlock, ...]:
    """RAMBlocks of the guest when `migrate` is issued, with the pages that are not zero."""
    inputs = case.inputs
    main = int(inputs["mem_mib"]) * 256
    fill = int(inputs["cold_fill_pages"])
    is_filled = inputs.get("ws_filled") is not False
    working_set = int(inputs["ws_pages"]) * _parts(inputs) if is_filled else 0
    other = int(inputs["nonzero_pages"]) - fill - working_set
    low = min(BIOS_LOW_PAGES, max(other, 0))
    rest = int(inputs["ram_pages"]) - main
    fills = [
        (BIOS_LOW_GFN, low),
        (int(inputs["cold_fill_start_page"]), fill),
        *([(int(inputs["ws_start_page"]), working_set)] if is_filled else _written_before(case, repeat)),
    ]
    return lay_out([("pc.ram", main, fills), ("pc.bios", rest, [(0, min(other - low, rest))])])


def _parts(inputs: Mapping[str, Any]) -> int:
    """Working sets that the guest writes in turn, one behind the other."""
    return int(inputs.get("ws_parts") or 1)


def _written_before(case: Case, repeat: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(page, 1) of each page that a guest whose working set was not filled has written when `migrate` is issued."""
    inputs, written = case.inputs, int(repeat.get("writes_at_start") or 0)
    n_pages, first = int(inputs["ws_pages"]), int(inputs["ws_start_page"])
    if inputs["pattern"] == "seq":
        pages = (int(repeat.get("seq0") or 0) + np.arange(min(written, n_pages))) % n_pages
    else:
        pages = np.unique(np.random.default_rng(int(repeat["seed"])).integers(n_pages, size=written))
    return [(first + page, 1) for page in pages.tolist()]


def _pacing(inputs: Mapping[str, Any]) -> Pacing:
    tick_ns = round(1e9 / float(inputs["guest_tick_hz"]))
    if inputs["pace"] == "wall":
        rate = max(1, int(inputs["write_rate_pages_s"]))
        return Pacing(open_loop=True, catch_up=Fraction(1_000_000_000, WRITE_NS * rate), tick_ns=tick_ns)
    if inputs["spin"]:
        return Pacing()
    return Pacing(tick_ns=tick_ns, tick_late_ns=TICK_LATE_NS)


def workloads_of(case: Case, repeat: Mapping[str, Any]) -> list[Workload]:
    """Writes of the guest: pages that each tick of its timer writes, then its working set, part by part."""
    inputs = case.inputs
    tick_rate = Fraction(float(inputs["guest_tick_hz"])).limit_denominator(1_000_000)
    loads = [
        Workload(
            f"tick-{gfn}", "sequential", (0,), int(gfn), 1, tick_rate, pacing=_pacing(inputs), changed_bytes=COUNTER_BYTES,
            changed_place="same",
        )
        for gfn in inputs["always_dirty_pages"] or ()
    ]
    rate = repeat.get("write_rate_before") or inputs["write_rate_pages_s"]
    if inputs["pattern"] == "none" or not rate:
        return loads
    pages_per_s = Fraction(float(rate)).limit_denominator(1000)
    each = [(part, vcpus) for part in range(_parts(inputs)) for vcpus in _together(inputs)]
    return [*loads, *(_writer(case, repeat, pages_per_s, part, vcpus) for part, vcpus in each)]


def _together(inputs: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """The vCPUs of each workload. Sweeps of several vCPUs begin at one page, side by side: each is a workload."""
    vcpus = tuple(range(int(inputs["vcpus"])))
    return [(vcpu,) for vcpu in vcpus] if inputs["pattern"] == "seq" else [vcpus]


def _writer(case: Case, repeat: Mapping[str, Any], rate: Fraction, part: int, vcpus: tuple[int, ...]) -> Workload:
    """The writes of ``vcpus`` to working set number ``part``; rate: of all vCPUs of the guest [pages/s]."""
    inputs = case.inputs
    names = ["writer", *([str(part)] if part else []), *([f"vcpu{vcpus[0]}"] if vcpus[0] else [])]
    n_pages, active = int(inputs["ws_pages"]), _active(inputs, repeat, part)
    return Workload(
        "-".join(names), PATTERNS[inputs["pattern"]], vcpus, int(inputs["ws_start_page"]) + part * n_pages, n_pages,
        rate * len(vcpus) / int(inputs["vcpus"]), pacing=_pacing(inputs),
        hot_pages=int(inputs["hot_pages"] or 0), hot_share=float(inputs["hot_prob"] or 0.0),
        start_page=_start_phase(case, repeat) % n_pages, active=active,
        changed_bytes=int(inputs.get("bytes_changed_per_write") or 1), changed_place=inputs.get("changed_place") or "same",
    )  # fmt: skip


def _active(inputs: Mapping[str, Any], repeat: Mapping[str, Any], part: int) -> Active | None:
    """Windows of the host's clock, 0 at `migrate`, in which the guest writes to working set ``part``: it reads the TSC."""
    if not inputs.get("busy_ms"):
        return None
    turn_ms, n_parts = int(inputs["busy_ms"]) + int(inputs.get("rest_ms") or 0), _parts(inputs)
    phase_ns = round(float(repeat.get("phase_ms") or 0) * NS_PER_MS) % (n_parts * turn_ms * NS_PER_MS)
    start_ns, period_ns = part * turn_ms * NS_PER_MS - phase_ns, n_parts * turn_ms * NS_PER_MS
    return Active(start_ns, int(inputs["busy_ms"]) * NS_PER_MS, period_ns, is_of_host=True)


def _start_phase(case: Case, repeat: Mapping[str, Any]) -> int:
    """Page of the sweep when `migrate` is issued; where the count was not read, the other repeats' typical one."""
    written = repeat.get("writes_at_start")
    if written is None:
        known = [r["writes_at_start"] for r in case.repeats if r.get("writes_at_start")]
        written = int(statistics.median(known)) if known else 0
    return int(repeat.get("seq0") or 0) + int(written)
