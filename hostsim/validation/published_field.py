"""P2-P4: bytes on the wire, migrations that never completed, and the share of time that cpu-throttle leaves a vCPU."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.floor import converges
from hostsim.theory.precopy import never_completes_above_pages, page_seconds, transferred_bytes
from hostsim.theory.throttle import run_fraction
from hostsim.validation.data import published
from hostsim.validation.rows import Row, absolute, digits, exact

THROTTLES_PERCENT = (1, 20, 50, 75, 90, 99)
BESIDE = 0.02
"""The map is tried at this share below and above the critical working set."""


def wire_byte_rows() -> Iterator[Row]:
    """P2: transferred KiB from page counts, within 10 KiB."""
    data = published("wire_bytes")
    for run in data["migrations"]:
        sent = transferred_bytes(run["normal_pages"], run["duplicate_pages"], run["skipped_pages"])
        expected = run["transferred_kib"]
        what = "transferred, KiB"
        yield absolute("published", f"P2/{run['id']}", what, expected, sent / 1024, data["tolerance_kib"])


def never_completes_rows() -> Iterator[Row]:
    """P3: working sets above which uniform writes explain that a migration never completed."""
    data = published("never_completes")
    for run in data["migrations"]:
        ratio = run["dirty_pages_per_s"] * PAGE_BYTES / run["sent_bytes_per_s"]
        yield digits("published", f"P3/{run['id']}/ratio", "bytes dirtied / bytes sent", run["ratio"], ratio)
        limits_s = [limit_ms / 1000.0 for limit_ms in data["limits_ms"]]
        critical = [_critical_pages(run, limit_s) for limit_s in limits_s]
        yield from _working_set_rows(run, limits_s, critical)


def run_fraction_rows(measured: Mapping[int, float] | None = None, tolerance: float = 1e-12) -> Iterator[Row]:
    """P4: share of time a CPU-bound vCPU runs under each throttle percentage, 1 - p.

    measured: percent to share, as an engine run gives it; None: the duty cycle's closed form.
    """
    shares = {p: float(run_fraction(p)) for p in THROTTLES_PERCENT} if measured is None else measured
    kind = "P4" if measured is None else "P4-run"
    for percent, share in shares.items():
        what = "share of time run under throttle"
        yield absolute("published", f"{kind}/{percent}%", what, 1.0 - percent / 100.0, share, tolerance)


def _critical_pages(run: dict[str, Any], limit_s: float) -> float:
    return never_completes_above_pages(
        run["dirty_pages_per_s"], page_seconds(run["sent_bytes_per_s"]), limit_s
    )


def _working_set_rows(run: dict[str, Any], limits_s: list[float], critical: list[float]) -> Iterator[Row]:
    for limit_s, pages in zip(limits_s, critical, strict=True):
        where = f"P3/{run['id']}/{limit_s * 1000:.0f}ms"
        gib = pages * PAGE_BYTES / 2**30
        yield exact(
            "published", where, f"2% below / above a working set of {gib:.2f} GiB",
            "completes / never", _beside(run, limit_s, pages),
        )  # fmt: skip
    grows = all(low < high for low, high in pairwise(critical))
    what = "critical working set exists and grows with the limit"
    yield exact("published", f"P3/{run['id']}/grows", what, True, grows and math.isfinite(critical[-1]))
    if run["vm_bytes"] is not None:
        fits = _critical_pages(run, run["limit_ms"] / 1000.0) * PAGE_BYTES <= run["vm_bytes"]
        what = "critical working set at the limit used fits into the VM"
        yield exact("published", f"P3/{run['id']}/fits", what, True, fits)


def _beside(run: dict[str, Any], limit_s: float, pages: float) -> str:
    page_s = page_seconds(run["sent_bytes_per_s"])
    below, above = (
        DirtyCurve.uniform(round(pages * scale), run["dirty_pages_per_s"])
        for scale in (1.0 - BESIDE, 1.0 + BESIDE)
    )
    return " / ".join(
        "completes" if converges(curve, page_s, limit_s) else "never" for curve in (below, above)
    )
