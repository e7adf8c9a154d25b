"""A whole machine, plain and slow: the answer the compiled engine must give."""

from __future__ import annotations

from typing import Any

import numpy as np
import simpy

from hostsim.machine.spec import MachineSpec
from tests.twins.clock import clock_of
from tests.twins.guest import TwinMemory, TwinVcpu, TwinWork
from tests.twins.migration import TwinMigration
from tests.twins.streams import touches

Facts = dict[str, Any]


class TwinMachine:
    def __init__(self, spec: MachineSpec, rng: np.random.Generator | None = None) -> None:
        """``rng``: draws the touches of drawn workloads."""
        self.spec, self.env = spec, simpy.Environment()
        self.memory = TwinMemory(spec.blocks)
        self.works = [
            TwinWork(self.env, self.memory, (w, vcpu), clock_of(load), touches(load, i, rng, spec.seed))
            for w, load in enumerate(spec.workloads)
            for i, vcpu in enumerate(load.vcpus)
        ]
        self.vcpus = [
            TwinVcpu(self.env, [work for work in self.works if work.who[1] == vcpu]) for vcpu in range(spec.n_vcpus)
        ]
        self.migration = None
        if spec.migration is not None:
            self.migration = TwinMigration(self.env, spec, self.memory, self.vcpus, self.works)

    def run(self) -> None:
        end = self.env.timeout(self.spec.duration_ns)
        self.env.run(until=end | self.migration.done if self.migration else end)

    def facts(self) -> Facts:
        m, now = self.migration, self.env.now
        return {
            "end_ns": now,
            "marks": m.marks,
            "syncs": m.sync_rows,
            "transitions": [(t_ns, rows) for t_ns, rows in m.transitions if rows],
            "windows": m.windows,
            "sends": m.ram.log,
            "samples": m.samples,
            "counters": m.query(),
            "last_answer": m.answer,
            "to_send": sorted(m.ram.bitmap),
            "work_ns": {work.who: work.clock.work_before(now) for work in self.works},
        }
