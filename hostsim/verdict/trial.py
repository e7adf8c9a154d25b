"""A scenario run again with some keys changed, to confirm a verdict: did it complete, in what time, at what cost.

The limit of a trial's work is in pages, exits and sleeps, never in seconds, so that all machines give equal answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hostsim.core.trace import muted
from hostsim.machine.machine import Machine
from hostsim.results.work import EXIT_WORK, SLEEP_WORK, SYNC_SHARE, WINDOW_NS, WINDOW_WORK
from hostsim.scenario import Scenario
from hostsim.scenario.build import build
from hostsim.scenario.schema import SEED_MAX
from hostsim.verdict.mechanism import Changes


@dataclass(frozen=True)
class Trial:
    """seed: of its draws; status: as QEMU's, "stopped" if the work ran out first; work: as ``counted``.

    total_s, downtime_s: of a completed migration; lost_share: of the guest's work while it was migrated; throttle_percent:
    the greatest.
    """

    seed: int
    status: str
    work: int
    total_s: float = 0.0
    downtime_s: float = 0.0
    lost_share: float = 0.0
    throttle_percent: int = 0

    @property
    def completed(self) -> bool:
        """Whether the migration ended by itself."""
        return self.status == "completed"


class _WorkSpentError(Exception):
    """Ends a run whose work is spent; SimPy creates the exception anew where it leaves the clock."""


def changed(scenario: Scenario, changes: Changes, seed: int) -> Scenario:
    """``scenario`` with ``seed`` and with ``changes``, each of which is valid."""
    tables: dict[str, dict[str, Any]] = {}
    update: dict[str, Any] = {"seed": seed}
    for dotted, value in changes.items():
        table, _, key = dotted.rpartition(".")
        (tables.setdefault(table, {}) if table else update)[key] = value
    update |= {table: getattr(scenario, table).model_copy(update=keys) for table, keys in tables.items()}
    return scenario.model_copy(update=update)


def seeds_of(scenario: Scenario, count: int) -> list[int]:
    """The seed of ``scenario`` and the next ones, ``count`` in all."""
    return [(scenario.seed + i) % (SEED_MAX + 1) for i in range(count)]


def try_out(scenario: Scenario, changes: Changes, seed: int, work_most: float, sent_most: float = float("inf")) -> Trial:
    """Run ``scenario`` with ``changes`` until it ends or its work is spent. InvariantError.

    work_most: of all its work. sent_most: of its work without the sleeps of a throttle, which a migration with more vCPUs
    has more of though it is as near to its end.
    """
    machine = Machine(build(changed(scenario, changes, seed)))

    def look(now_ns: int, _info: Mapping[str, Any]) -> None:
        work = _work(machine, now_ns)
        if work > work_most or work - SLEEP_WORK * _sleeps(machine) > sent_most:
            raise _WorkSpentError

    try:
        with muted():
            machine.run(look)
    except _WorkSpentError:
        return Trial(seed, "stopped", _work(machine, machine.env.now_ns))
    return _outcome(machine, seed)


def _outcome(machine: Machine, seed: int) -> Trial:
    migration, work = machine.migration, _work(machine, machine.env.now_ns)
    assert migration is not None, "a trial is a migration"
    state, status = migration.state, migration.state.status
    if status != "completed":
        return Trial(seed, status, work)
    throttle = max((sample.throttle_percent for sample in migration.recorder.samples), default=0)
    downtime_s, total_s = (state.downtime_ms or 0) / 1000, (state.total_time_ms or 0) / 1000
    return Trial(seed, status, work, total_s, downtime_s, _lost_share(machine), throttle)


def _lost_share(machine: Machine) -> float:
    """Share of the nominal work between the first sample and the last that the guest did not do."""
    clocks = len(machine.vm.guest.clocks)
    assert machine.migration is not None, "a trial is a migration"
    samples = machine.migration.recorder.samples
    nominal = clocks * (samples[-1].t_ns - samples[0].t_ns) if samples else 0
    return max(0.0, 1 - (samples[-1].work_ns - samples[0].work_ns) / nominal) if nominal > 0 else 0.0


def _work(machine: Machine, now_ns: int) -> int:
    migration = machine.migration
    assert migration is not None, "a trial is a migration"
    ram, recorder = migration.ram, migration.recorder
    exits = recorder.tallies[-1].faults if recorder.tallies else 0
    harvested = sum(sync.dirtied_pages for sync in recorder.syncs)
    pages = ram.normal_pages + ram.zero_pages + harvested
    return counted(pages, exits, len(recorder.syncs), len(ram.bmap), now_ns, _sleeps(machine))


def _sleeps(machine: Machine) -> int:
    assert machine.migration is not None, "a trial is a migration"
    return machine.migration.throttle.sleeps


def counted(pages: float, exits: int, syncs: int, ram_pages: float, simulated_ns: int, sleeps: float = 0) -> int:
    """Work of a run.

    pages: sent and harvested.
    exits: of logged memory.
    syncs: of the dirty bitmap.
    ram_pages: of the guest.
    simulated_ns: from the begin of the run.
    sleeps: of throttled vCPUs.
    """
    waits = SLEEP_WORK * sleeps + WINDOW_WORK * simulated_ns // WINDOW_NS
    return int(pages + EXIT_WORK * exits + SYNC_SHARE * syncs * ram_pages + waits)
