"""A made-up migration under KVM: counters that grow from sync to sync by simple rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hostsim.kvm.tally import Tally, exits_of
from hostsim.results.columns import names
from hostsim.results.kvm import KVM_ROUNDS, kvm_costs
from hostsim.results.series import SERIES
from hostsim.results.tables import MigrationResult, Table
from tests.helpers.synthetic import migration

WP_NS = 1_200
N_BUSY = 2


def kvm_migration(
    rounds: int = 10, wp_faults: int = 100_000, sync_ns: int = 7_000_000, **options: object
) -> MigrationResult:
    """``migration`` whose every round has ``wp_faults`` faults of ``WP_NS``, one flush, and a sync of ``sync_ns``."""
    plain = migration(rounds=rounds, **options)  # type: ignore[arg-type]
    ends_ns = [0, *plain.rounds["end_ns"].tolist()]
    tallies = [_tally(i, end_ns, wp_faults, sync_ns) for i, end_ns in enumerate(ends_ns)]
    costs = kvm_costs(tallies[:-1], tallies[-1], N_BUSY)
    rounds_table = plain.rounds.beside(Table.of_dicts("rounds", KVM_ROUNDS, costs.rounds))
    stall_share = np.full(len(plain.series), wp_faults * WP_NS * rounds / (ends_ns[-1] * N_BUSY))
    series = {**plain.series.columns, "guest_speed": 1 - stall_share, "guest_slowdown": stall_share}
    assert [*plain.series.columns] == names(SERIES)
    return replace(plain, kvm=costs, rounds=rounds_table, series=Table("series", series))


def _tally(i: int, now_ns: int, wp_faults: int, sync_ns: int) -> Tally:
    return Tally(
        now_ns=now_ns, exits=exits_of(map_faults=1000, wp_faults=i * wp_faults),
        wait_ns=i * 50_000, hold_ns=i * wp_faults * 300,
        host_hold_ns=i * sync_ns // 2, flushes=1 + i, flush_ns=(1 + i) * 3_000, sync_ns=(1 + i) * sync_ns,
        stall_ns=1_000_000 + i * wp_faults * WP_NS,
    )  # fmt: skip
