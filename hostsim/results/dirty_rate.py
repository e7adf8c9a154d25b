"""calc-dirty-rate: the columns of ``calc_dirty_rate``, by the names of QMP ``query-dirty-rate`` where it has them."""

from __future__ import annotations

from typing import Any

from hostsim.core.constants import NS_PER_MS, PAGE_BYTES
from hostsim.machine.machine import Machine
from hostsim.qemu.calc_dirty_rate import DirtyRate
from hostsim.results.columns import FLOAT, INT, JSON, STR, Column, Columns, read_row

RATES: Columns[DirtyRate] = (
    Column("start_ns", INT, "ns", "begins", "when the period began", lambda row: row.start_ns, key=True),
    Column("mode", STR, "", "mode", "how QEMU finds dirtied pages", lambda row: row.command.mode),
    Column("calc_time_ms", INT, "ms", "period", "actual length of the period", lambda row: row.calc_time_ms),
    Column(
        "sample_pages", INT, "pages", "", "pages drawn for each GiB, 0 in other modes than page-sampling",
        lambda row: row.command.sample_pages if row.command.mode == "page-sampling" else 0,
    ),
    Column("dirty_rate", INT, "MiB/s", "reported", "QEMU's answer", lambda row: row.dirty_rate),
    Column(
        "vcpu_dirty_rate", JSON, "MiB/s", "", "QEMU's answer for each vCPU, empty without rings",
        lambda row: list(row.vcpu_dirty_rates),
    ),
    Column(
        "written_rate", FLOAT, "MiB/s", "written", "distinct pages that the guest wrote in the period, a second",
        lambda row: row.written_pages * PAGE_BYTES / (1 << 20) / (row.calc_time_ms / 1000),
    ),
    Column("written_pages", INT, "pages", "", "distinct pages written in the period", lambda row: row.written_pages),
    Column("lost_ns", INT, "ns", "guest lost", "time of vCPUs out of the guest for exits", lambda row: row.lost_ns),
    Column(
        "lost_share", FLOAT, "share", "of the time", "the same as a share of the period of one vCPU",
        lambda row: row.lost_ns / (row.calc_time_ms * NS_PER_MS) if row.calc_time_ms else 0.0,
    ),
)  # fmt: skip
"""Columns of ``calc_dirty_rate``: a row a measurement that is over."""


def rates_of(machine: Machine) -> tuple[dict[str, Any], ...]:
    """Measurements that are over, in the order of time."""
    answers = [] if machine.dirty_rates is None else machine.dirty_rates.answers
    return tuple(read_row(RATES, answer) for answer in answers)
