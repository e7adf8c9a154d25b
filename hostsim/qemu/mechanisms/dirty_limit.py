"""dirty-limit as QEMU has it: capability, quota, period, refusals; the model is hostsim.qemu.dirty_limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hostsim.qemu.mechanism import DIRTY_RING, Absent, Mechanism, Rule

if TYPE_CHECKING:
    # Circle of types: a migration calls the step, which gets that migration.
    from hostsim.qemu.dirty_limit import DirtyLimit, LimitChange
    from hostsim.qemu.migration import Migration
    from hostsim.qemu.parameters import MigrationParameters

NAME = "dirty_limit"
_NO_REMEDY_YET = "dirty-limit conflicts with auto-converge either of then available currently"


@dataclass(frozen=True)
class DirtyLimitParameters:
    """vcpu_dirty_limit: MiB/s."""

    dirty_limit: bool = False
    vcpu_dirty_limit: int = 1
    x_vcpu_dirty_limit_period_ms: int = 1000


@dataclass(frozen=True)
class LimitFigures:
    """Of query-migrate while dirty-limit holds the vCPUs back [us] (migration.c::populate_ram_info)."""

    throttle_time_per_round: int
    ring_full_time: int


def _acts(machine: Any) -> DirtyLimit | None:
    """It acts where an operator or the migration may limit the vCPUs' dirty rates."""
    changes: tuple[LimitChange, ...] = machine.spec.inputs.get(NAME, ())
    migration: MigrationParameters | None = machine.spec.migration
    if not changes and not (migration is not None and migration.dirty_limit):
        return None
    from hostsim.qemu.dirty_limit import DirtyLimit  # its loops, which only dirty rings need
    from hostsim.qemu.parameters import MigrationParameters

    limit = DirtyLimit(machine.env, machine.vm, machine.tracker, (migration or MigrationParameters()).qemu)
    limit.schedule(changes)
    return limit


def _limit_of(migration: Migration) -> DirtyLimit | None:
    return migration.acting.get(NAME)


def _figures(migration: Migration) -> LimitFigures | None:
    limit = _limit_of(migration)
    if limit is None or not limit.in_service:
        return None
    return LimitFigures(limit.throttle_time_per_round_us, limit.ring_full_time_us)


def _hold_back(migration: Migration, _dirty_bytes: int, _xfer_bytes: int) -> None:
    """migration_dirty_limit_guest: give all vCPUs the quota, once; their rates then set their sleeps."""
    limit, quota = _limit_of(migration), migration.parameters.vcpu_dirty_limit
    assert limit is not None, "a machine with the capability has it"
    if limit.in_service and (limit.quota == quota).all():
        return
    limit.period_ms = migration.parameters.x_vcpu_dirty_limit_period_ms
    limit.set(quota)
    migration.recorder.mark(migration.env.now_ns, "migration_dirty_limit_guest", quota)


def _let_go(migration: Migration) -> None:
    """migration.c::qmp_migrate_cancel calls qmp_cancel_vcpu_dirty_limit."""
    limit = _limit_of(migration)
    if limit is not None:
        limit.set(0)


PART = Mechanism(
    NAME, 30, "dirty_limit", DirtyLimitParameters,
    rules=(
        Rule("dirty_limit", "auto_converge", False, _NO_REMEDY_YET, since=(8, 1)),
        Rule(
            "dirty_limit", DIRTY_RING, True, "dirty-limit requires KVM with accelerator property 'dirty-ring-size' set",
            since=(8, 1),
        ),
    ),
    acts=_acts,
    throttle=_hold_back,
    cancelled=_let_go,
    figures=_figures,
    newer=(Absent("dirty_limit", (8, 1), "qapi/migration.json::MigrationCapability: since 8.1"),),
)  # fmt: skip
