"""dirty-limit in results: its fields of query-migrate, and the limits of the vCPUs at the end of a run.

The columns of ``vcpu_dirty_limit`` have the names of QMP ``query-vcpu-dirty-limit`` where it has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hostsim.qemu.mechanisms.dirty_limit import NAME, LimitFigures
from hostsim.results.columns import FLOAT, INT, Column, Columns
from hostsim.results.mechanism import Mechanism, OfRun
from hostsim.results.tables import Table

if TYPE_CHECKING:
    from hostsim.machine.machine import Machine
    from hostsim.qemu.dirty_limit import DirtyLimit


class Limited(NamedTuple):
    """A vCPU at the end of the run. held_back_ns: time that its thread slept at full rings; end_ns: length of the run."""

    limit: DirtyLimit
    vcpu: int
    held_back_ns: int
    end_ns: int


LIMITS: Columns[Limited] = (
    Column("cpu_index", INT, "", "vCPU", "the vCPU", lambda row: row.vcpu, key=True),
    Column(
        "limit_rate", INT, "MiB/s", "limit", "quota, 0 without a limit", lambda row: int(row.limit.quota[row.vcpu])
    ),
    Column(
        "current_rate", INT, "MiB/s", "dirties", "dirty rate in the last period", lambda row: int(row.limit.rates[row.vcpu])
    ),
    Column(
        "throttle_us", INT, "us", "sleep at a full ring", "sleep of the vCPU at each full ring",
        lambda row: int(row.limit.throttle_us[row.vcpu]),
    ),
    Column("held_back_ns", INT, "ns", "slept", "total time of these sleeps", lambda row: row.held_back_ns),
    Column(
        "held_back_share", FLOAT, "share", "of the time", "the same as a share of the run",
        lambda row: row.held_back_ns / row.end_ns if row.end_ns else 0.0,
    ),
)  # fmt: skip
"""Columns of ``vcpu_dirty_limit``: a row a vCPU, of a run that may limit dirty rates."""


def _limits(machine: Machine) -> Table | None:
    """Limits at the end of the run; None if the run could set none."""
    limit = machine.acting.get(NAME)
    if limit is None:
        return None
    vcpus, end_ns = machine.live_vms[0].vcpus, machine.env.now_ns
    rows = [Limited(limit, i, vcpu.held_back_ns, end_ns) for i, vcpu in enumerate(vcpus)]
    return Table.read("vcpu_dirty_limit", LIMITS, rows)


def _answer(figures: LimitFigures) -> dict[str, int]:
    return {
        "dirty-limit-throttle-time-per-round": figures.throttle_time_per_round,
        "dirty-limit-ring-full-time": figures.ring_full_time,
    }


OF_RUN = OfRun(
    "vcpu_dirty_limit", "Dirty limit", "Limits of the vCPUs", LIMITS, _limits,
    units={"limit_rate": "MiB/s", "current_rate": "MiB/s"}, spans_us=("throttle_us",),
)  # fmt: skip
PART = Mechanism(NAME, 30, answer=_answer, of_run=OF_RUN)
