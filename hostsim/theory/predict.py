"""Forecast of a pre-copy migration from a dirty curve, pass by pass, without an engine."""

from __future__ import annotations

import math

from hostsim.core.constants import PAGE_HEADER_BYTES, PAGE_WIRE_BYTES
from hostsim.theory.dirty_curve import DirtyCurve
from hostsim.theory.precopy_map import PrecopyOutcome, iterate_precopy


def predict_precopy(
    curve: DirtyCurve,
    normal_pages: int,
    zero_pages: int,
    bandwidth_bytes_per_s: float,
    downtime_limit_s: float = math.inf,
    give_up_s: float = 3600.0,
    page_bytes: int = PAGE_WIRE_BYTES,
    zero_page_bytes: int = PAGE_HEADER_BYTES,
) -> PrecopyOutcome:
    """Passes until the next would take at most ``downtime_limit_s``; the next pass runs with the VM stopped.

    Zero pages cost ``zero_page_bytes`` on the first pass only; ``give_up_s`` bounds the total. ``curve``
    should be cut off at ``normal_pages``. Source: QEMU patch series "Migration time prediction using
    calc-dirty-rate", scripts/predict_migration.py (qemu-devel, 2023).
    """
    first_bytes = normal_pages * page_bytes + zero_pages * zero_page_bytes
    return iterate_precopy(
        curve,
        normal_pages,
        page_bytes / bandwidth_bytes_per_s,
        downtime_limit_s,
        first_pass_s=first_bytes / bandwidth_bytes_per_s,
        give_up_s=give_up_s,
    )
