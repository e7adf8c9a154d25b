"""Simulate every repeat of a case and compare the medians with QEMU's."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from hostsim.core.constants import NS_PER_MS
from hostsim.machine.machine import Machine
from hostsim.qemu.migration import Migration
from hostsim.qemu.postcopy.destination import Destination
from hostsim.validation.qemu.cases import HOST_SPEED, Case, is_scheduled
from hostsim.validation.qemu.machine import left_out, not_simulated, spec_of
from hostsim.validation.rows import Row

TOLERANCE = 0.05
SEED_SETS = 5
"""Sets of seeds by which a case that throttles its guest is simulated; all other cases have one, that of their repeats."""
SYNCS_ABSOLUTE, SYNCS_RELATIVE = 2, 0.10
UNLIKELY = 0.05
"""A share of completed runs is wrong if it would show so few or so many of the real repeats less often."""
DOWNTIME_MS, DOWNTIME_RELATIVE = 30, 0.15
XBZRLE, XBZRLE_RELATIVE = ("xbzrle_bytes", "xbzrle_cache_miss"), 0.10
OF_HOST = ("postcopy_requests", "postcopy_blocktime_ms")
"""Figures that wake-ups of threads decide: where the host's scheduler does (``is_scheduled``) they are shown only."""
POSTCOPY_TOLERANCES = {"postcopy_requests": 0.15, "postcopy_blocktime_ms": 0.25}


@dataclass(frozen=True)
class Simulated:
    """Figures of one simulated repeat; of a cancelled one, at the cancel."""

    status: str
    total_time_ms: int
    transferred_bytes: int
    dirty_sync_count: int
    downtime_ms: int
    multifd_bytes: int = 0
    xbzrle_bytes: int = 0
    xbzrle_cache_miss: int = 0
    postcopy_bytes: int = 0
    postcopy_requests: int = 0
    postcopy_blocktime_ms: float = 0.0


def simulate(case: Case, repeat: Mapping[str, Any], seed_set: int = 0, timer_late_ns: int | None = None) -> Simulated:
    """Run one repeat; ``seed_set``, ``timer_late_ns``: as in ``spec_of``."""
    machine = Machine(spec_of(case, repeat, seed_set, timer_late_ns))
    machine.run()
    assert machine.migration is not None
    state = machine.migration.state
    answer = state.last_answer or machine.migration.counters()
    cache = answer.mechanisms.get("xbzrle")
    return Simulated(
        state.status,
        answer.total_time_ms,
        answer.transferred,
        answer.dirty_sync_count,
        answer.downtime_ms,
        answer.ram.get("multifd-bytes", 0),
        cache.bytes if cache else 0,
        cache.cache_miss if cache else 0,
        answer.ram.get("postcopy-bytes", 0),
        answer.ram.get("postcopy-requests", 0),
        _blocktime_ms(machine.migration),
    )


def _blocktime_ms(migration: Migration) -> float:
    """Time for which the only vCPU was blocked, from exact times: QEMU 7.2 and 10.0 count by a clock of milliseconds.

    Each fault adds the difference of two readings. Where faults are shorter than that and come in step with the guest's tick
    of 1 ms, the sum rests on the phase of the tick, which the runs do not show; its mean over all phases is this time.
    """
    there = migration.destination
    return there.blocked_ns / NS_PER_MS if isinstance(there, Destination) else 0.0


def rows(cases: Iterable[Case], jobs: int = 1, progress: Callable[[str, int, int], None] | None = None) -> list[Row]:
    """Rows of suite ``qemu`` for ``cases``, in their order.

    jobs: worker processes. progress: called with (name, done, all) after each case.
    """
    wanted = list(cases)
    found: list[Row] = []
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        for i, some in enumerate((pool.map if pool else map)(case_rows, wanted)):
            found.extend(some)
            if progress is not None:
                progress(f"qemu {wanted[i].id}", i + 1, len(wanted))
    return found


def case_rows(case: Case, timer_late_ns: int | None = None) -> list[Row]:
    """Outcome first, then the figures that its outcome has; ``timer_late_ns``: as in ``spec_of``."""
    if not_simulated(case):
        return [left_out(case, "qemu", case.id)]
    sets = range(SEED_SETS if case.throttles else 1)
    runs = [simulate(case, repeat, seed_set, timer_late_ns) for seed_set in sets for repeat in case.repeats]
    status = Counter(run.status for run in runs).most_common(1)[0][0]
    same = [run for run in runs if run.status == status]
    measured, passed = "|".join(sorted(set(case.status))), status in case.status
    note = f"{len(same)} of {len(runs)} runs" if len(same) < len(runs) else ""
    outcome = Row("qemu", case.id, "outcome", measured, status, None, None, passed, case.scored, note)
    figures = ["transferred_bytes", "dirty_sync_count"]
    if "multifd" in case.inputs["capabilities"]:
        figures.append("multifd_bytes")
    if status == "completed":
        figures.insert(0, "total_time_ms")
        if "postcopy-ram" in case.inputs["capabilities"]:
            figures += ["postcopy_bytes", "postcopy_requests", "postcopy_blocktime_ms"]
        elif case.inputs.get("link_relay_Bps"):
            figures.append("downtime_ms")
    figures += XBZRLE
    found = [_figure(case, name, same) for name in figures if _measured(case, name)]
    return [outcome, *_share(case, runs), *found]


def _share(case: Case, runs: list[Simulated]) -> Iterator[Row]:
    """Share of the runs that complete, where real repeats ended in more than one way.

    Passes unless real repeats that complete by that share would be so few or so many less often than UNLIKELY.
    """
    if len(set(case.status)) == 1:
        return
    real, n = case.status.count("completed"), len(case.status)
    share = sum(run.status == "completed" for run in runs) / len(runs)
    chance = min(_chance(n, share, range(real + 1)), _chance(n, share, range(real, n + 1)))
    note, passed = f"{real} of {n} real repeats; so few or so many in {chance:.0%} of draws", chance >= UNLIKELY
    yield Row("qemu", case.id, "completes, share", round(real / n, 3), round(share, 3), None, None, passed, note=note)


def _chance(n: int, share: float, counts: range) -> float:
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in counts)


def _measured(case: Case, name: str) -> bool:
    return bool(case.measured.get(name, {}).get("n"))


def _figure(case: Case, name: str, runs: list[Simulated]) -> Row:
    expected = case.measured[name]
    low, high = float(expected["min"]), float(expected["max"])
    values = [float(getattr(run, name)) for run in runs]
    got = statistics.median(values)
    middle = float(expected["median"])
    miss = statistics.median(0.0 if low <= value <= high else value - middle for value in values)
    relative = miss / middle if middle else (0.0 if miss == 0 else float("inf"))
    of_host = (case.id in HOST_SPEED and name == "total_time_ms") or (name in OF_HOST and is_scheduled(case))
    scored = case.scored and not of_host
    tolerance, passed, also = _judge(name, miss, relative)
    drawn = f"; simulated {min(values):g} to {max(values):g}" if case.throttles else ""
    note = f"relative error; measured {low:g} to {high:g}{drawn}{also}"
    return Row("qemu", case.id, name, middle, got, round(relative, 6), tolerance, passed, scored, note)


def _judge(name: str, miss: float, relative: float) -> tuple[float, bool, str]:
    if name == "dirty_sync_count":
        passed = abs(miss) <= SYNCS_ABSOLUTE or abs(relative) <= SYNCS_RELATIVE
        return SYNCS_RELATIVE, passed, f"; or {SYNCS_ABSOLUTE} syncs"
    if name == "downtime_ms":
        passed = abs(miss) <= DOWNTIME_MS or abs(relative) <= DOWNTIME_RELATIVE
        return DOWNTIME_RELATIVE, passed, f"; or {DOWNTIME_MS} ms"
    if name in XBZRLE:
        return XBZRLE_RELATIVE, abs(relative) <= XBZRLE_RELATIVE, ""
    if name in POSTCOPY_TOLERANCES:
        return POSTCOPY_TOLERANCES[name], abs(relative) <= POSTCOPY_TOLERANCES[name], ""
    return TOLERANCE, abs(relative) <= TOLERANCE, ""
