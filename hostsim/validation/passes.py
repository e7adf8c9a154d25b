"""Textbook pre-copy on the simulated guest: send a whole pass at constant speed, harvest, stop when the next is short.

The closed forms describe this pre-copy (Clark et al., "Live Migration of Virtual Machines", NSDI 2005), not QEMU's. The
guest, its clocks and its dirty log are the engine's own.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hostsim.core.constants import NS_PER_S
from hostsim.core.dirty_tracker import at_once
from hostsim.core.memory import lay_out
from hostsim.costs.host_sheet import load_sheet
from hostsim.guest.workload import Workload
from hostsim.machine.machine import Machine
from hostsim.machine.spec import MachineSpec
from hostsim.theory.precopy import PrecopyOutcome


@dataclass(frozen=True)
class PassPlan:
    """page_s: seconds a page takes; first_pass_s: that of all memory; limit_s: a pass this short is the last."""

    page_s: float
    first_pass_s: float
    limit_s: float
    give_up_s: float = 3600.0
    max_passes: int = 400


@dataclass
class Passes:
    """Pages that each pass sent, and when it ended."""

    pages: list[int] = field(default_factory=list)
    ends_ns: list[int] = field(default_factory=list)

    def outcome(self, plan: PassPlan) -> PrecopyOutcome:
        """Pre-copy by ``plan``, whose limit is at least that of the run: up to its stop the passes are those of the run."""
        short = (n for n, pages in enumerate(self.pages) if n and pages * plan.page_s <= plan.limit_s)
        last = 0 if math.isinf(plan.limit_s) else next(short, None)
        pages = self.pages if last is None else self.pages[: last + 1]
        total_s = self.ends_ns[len(pages) - 1] / NS_PER_S
        pass_s = pages[-1] * plan.page_s if len(pages) > 1 else plan.first_pass_s
        return PrecopyOutcome(last is not None, len(pages), total_s, pass_s, sum(pages), False)


def guest_machine(workloads: tuple[Workload, ...], n_pages: int, seed: int = 1, n_vcpus: int = 1) -> Machine:
    """A machine that runs ``workloads`` without a migration: all ``n_pages`` filled, constants of the generic sheet.

    seed: of all draws. n_vcpus: of the guest, at least those that the workloads name.
    """
    blocks = lay_out([("pc.ram", n_pages, [(0, n_pages)])])
    return Machine(MachineSpec(blocks, workloads, n_vcpus, load_sheet("generic"), seed=seed, duration_ns=1 << 61))


def run_passes(machine: Machine, plan: PassPlan) -> PrecopyOutcome:
    """Pre-copy of the machine's guest, pass by pass."""
    return passes_of(machine, plan).outcome(plan)


def passes_of(machine: Machine, plan: PassPlan) -> Passes:
    """The passes of pre-copy by ``plan``."""
    log = Passes()
    machine.env.run(until=machine.env.process(_passes(machine, plan, log)))
    return log


def _passes(machine: Machine, plan: PassPlan, log: Passes) -> Generator[Any, Any, None]:
    bmap = np.zeros(machine.vm.memory.n_pages, np.uint8)
    at_once(machine.tracker.start_log())
    log.pages.append(machine.vm.memory.n_pages)
    yield machine.env.timeout(round(plan.first_pass_s * NS_PER_S))
    log.ends_ns.append(machine.env.now_ns)
    if math.isinf(plan.limit_s):
        return
    while len(log.pages) < plan.max_passes and machine.env.now_ns < plan.give_up_s * NS_PER_S:
        bmap[:] = 0
        dirty = at_once(machine.tracker.sync(bmap)).newly_dirty_pages
        log.pages.append(dirty)
        last = dirty * plan.page_s <= plan.limit_s
        yield machine.env.timeout(round(dirty * plan.page_s * NS_PER_S))
        log.ends_ns.append(machine.env.now_ns)
        if last:
            return


def harvest_counts(machine: Machine, period_ns: int, times: int) -> list[int]:
    """Pages harvested each ``period_ns``, ``times`` times over."""
    bmap = np.zeros(machine.vm.memory.n_pages, np.uint8)
    at_once(machine.tracker.start_log())
    found = []
    for _ in range(times):
        machine.env.run(until=machine.env.now_ns + period_ns)
        found.append(at_once(machine.tracker.sync(bmap)).dirtied_pages)
    return found
