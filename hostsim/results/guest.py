"""Work of a guest: the columns of ``guest``, and the record that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hostsim.core.constants import NS_PER_S
from hostsim.guest.pacing import work_at
from hostsim.results.columns import FLOAT, INT, STR, Column, Columns
from hostsim.results.tables import Table

if TYPE_CHECKING:
    from hostsim.guest.workload import Workload
    from hostsim.machine.machine import Machine


class Work(NamedTuple):
    """A workload on one of its vCPUs; work_ns: done by the end."""

    load: Workload
    vcpu: int
    work_ns: int

    @property
    def seconds(self) -> float:
        """The vCPU's share of the workload's time [s]: the rates of a workload are those of all its vCPUs together."""
        return self.work_ns / NS_PER_S / len(self.load.vcpus)


GUEST: Columns[Work] = (
    Column("workload", STR, "", "", "name of the workload", lambda work: work.load.name, key=True),
    Column("vcpu", INT, "", "", "the vCPU", lambda work: work.vcpu, key=True),
    Column("pattern", STR, "", "", "pattern of the workload", lambda work: work.load.pattern),
    Column(
        "pacing", STR, "", "", "`closed`: a vCPU that stalls does less; `open`: it catches up",
        lambda work: "open" if work.load.pacing.open_loop else "closed",
    ),
    Column("work_ns", INT, "ns", "", "nominal work done", lambda work: work.work_ns),
    Column(
        "write_touches", FLOAT, "touches", "", "writes expected for that work",
        lambda work: float(work.load.write_rate_per_s) * work.seconds,
    ),
    Column(
        "read_touches", FLOAT, "touches", "", "reads expected for that work",
        lambda work: float(work.load.read_rate_per_s) * work.seconds,
    ),
)  # fmt: skip
"""Columns of ``guest``: a row a (workload, vCPU)."""


def guest_table(machine: Machine) -> Table:
    """Work of each vCPU for each workload."""
    guest, now_ns = machine.vm.guest, machine.env.now_ns
    each = zip(machine.work_clocks, guest.clock_vcpu, guest.clock_workload, strict=True)
    work = [Work(guest.workloads[w], int(vcpu), int(work_at(clock, now_ns))) for clock, vcpu, w in each]
    return Table.read("guest", GUEST, work)
