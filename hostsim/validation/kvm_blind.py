"""Suite ``kvm``, groups ``blind``, ``second``, ``third``, ``fourth``: migrations measured after the model was made.

docs/tools/measure_blind.py has the plan of the first group and measures it again; hostsim/data/kvm_real/README.md and
hostsim/data/qemu/README.md say how they ran.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from importlib.resources import as_file, files

from hostsim.validation.kvm_migrations import SUITE, simulated
from hostsim.validation.qemu.cases import Case, fourth_cases, is_scheduled, load_cases, second_cases, third_cases
from hostsim.validation.rows import Row

TOLERANCES = {
    "total_time_ms": 0.05, "transferred_bytes": 0.05, "dirty_sync_count": 0.10, "multifd_bytes": 0.05,
    "postcopy_bytes": 0.05, "xbzrle_bytes": 0.10, "xbzrle_pages": 0.10, "xbzrle_cache_miss": 0.10, "postcopy_requests": 0.50,
}  # fmt: skip
"""Share of the measured median by which a figure may leave the range of the repeats; syncs may also be 2 off."""
SYNCS_ABSOLUTE = 2
OF_COMPLETED = ("total_time_ms", "downtime_ms")
HOST_SPEED = {
    "blind_zero_rand_3000": "the speed of the host: zero pages cost a page fault each, and three threads share two CPUs",
    "blind_multifd_zlib_hotcold": "the speed of the host: zlib, its opposite and a guest that spins share two CPUs",
    "second_v10_multifd4_zstd": "the speed of the host: packets count when sent, and four compressors share two CPUs",
    "third_postcopy_at_once_rand": "the speed of the host: post-copy without a limit sends nine tenths of the bytes",
}
"""Cases whose pace the processors set: shown only."""
SHOWN = {
    "downtime_ms": "rate-limited: the speed of the host",
}
"""Figures that are shown only, and why."""
SCHEDULED = "the order in which a host with two cores wakes threads"
"""Why requests of post-copy are shown only where the scheduler decides about them."""


def blind_cases() -> list[Case]:
    """The migrations: hostsim/data/kvm_real/blind.jsonl.gz."""
    with as_file(files("hostsim") / "data" / "kvm_real" / "blind.jsonl.gz") as path:
        return load_cases(path)


def later_cases() -> list[Case]:
    """All groups, of those under KVM alone."""
    found = (*blind_cases(), *second_cases(), *third_cases(), *fourth_cases())
    return [case for case in found if str(case.inputs["accel"]).startswith("kvm")]


def blind_rows(case: Case) -> Iterator[Row]:
    """Outcome, then each figure that was measured: the median of the simulated repeats."""
    answers = [simulated(case, repeat) for repeat in case.repeats]
    status = Counter(status for status, _ in answers).most_common(1)[0][0]
    row_id, measured = f"migration/{case.id}", "|".join(sorted(set(case.status)))
    yield Row(SUITE, row_id, "outcome", measured, status, None, None, status in case.status)
    names = [*TOLERANCES, *SHOWN]
    for name in names if status == "completed" else [name for name in names if name not in OF_COMPLETED]:
        if case.measured.get(name, {}).get("median"):
            values = [figures[name] for found, figures in answers if found == status]
            yield _row(case, name, statistics.median(values))


def _row(case: Case, name: str, got: float) -> Row:
    real, tolerance = case.measured[name], TOLERANCES.get(name)
    middle, low, high = float(real["median"]), float(real["min"]), float(real["max"])
    error = 0.0 if low <= got <= high else (got - middle) / middle
    passed = tolerance is not None and abs(error) <= tolerance
    passed = passed or (name == "dirty_sync_count" and abs(got - middle) <= SYNCS_ABSOLUTE)
    note = f"relative error beyond the repeats; measured {low:g} to {high:g}"
    row = Row(SUITE, f"migration/{case.id}", name, middle, got, round(error, 6), tolerance, passed, note=note)
    why = SHOWN.get(name) or HOST_SPEED.get(case.id)
    if name == "postcopy_requests" and is_scheduled(case):
        why = SCHEDULED
    return row.unscored(why) if why else row
