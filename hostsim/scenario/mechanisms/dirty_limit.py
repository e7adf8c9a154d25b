"""dirty-limit in a scenario: its quota and its period, its mode, its other name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.core.errors import Finding
from hostsim.core.units import format_duration
from hostsim.qemu.mechanisms.dirty_limit import NAME, DirtyLimitParameters
from hostsim.scenario.dirty_limit_schema import limit_findings
from hostsim.scenario.mechanism import Kind, Mechanism
from hostsim.scenario.section import Section
from hostsim.scenario.types import Duration, Flag, MibPerS

if TYPE_CHECKING:
    # Circle of types: [migration] is made of the section here, whose checks get it.
    from hostsim.scenario.host_schema import Migration
    from hostsim.scenario.schema import Scenario

QEMU_DEFAULTS = DirtyLimitParameters()


class DirtyLimitKeys(Section):
    """Keys of [migration]."""

    dirty_limit: Flag = Field(
        default=QEMU_DEFAULTS.dirty_limit,
        description="capability dirty-limit (8.1, dirty rings): writers sleep at full rings, in place of auto_converge",
    )
    vcpu_dirty_limit: MibPerS = Field(
        default=QEMU_DEFAULTS.vcpu_dirty_limit, ge=1, le=1 << 20,
        description="dirty_limit: quota of each vCPU once the guest is to be held back [MiB/s]",
    )  # fmt: skip
    x_vcpu_dirty_limit_period: Duration = Field(
        default=QEMU_DEFAULTS.x_vcpu_dirty_limit_period_ms * NS_PER_MS, gt=0, le=NS_PER_S,
        description="dirty_limit: period over which a vCPU's dirty rate is measured, whole milliseconds",
    )  # fmt: skip


def _parameters(migration: Migration) -> dict[str, Any]:
    return {"x_vcpu_dirty_limit_period_ms": migration.x_vcpu_dirty_limit_period // NS_PER_MS}


def _period(migration: Migration) -> Iterator[Finding]:
    if migration.x_vcpu_dirty_limit_period % NS_PER_MS:
        key, got = "migration.x_vcpu_dirty_limit_period", format_duration(migration.x_vcpu_dirty_limit_period)
        yield Finding(key, got, "whole milliseconds", 'x_vcpu_dirty_limit_period = "500ms"')


def _limits(scenario: Scenario) -> Iterator[Finding]:
    return limit_findings(scenario.vm.dirty_limit, scenario.vm.vcpus, scenario.vm.dirty_tracking)


PART = Mechanism(
    NAME, 30, Kind.THROTTLE, "dirty_limit", DirtyLimitKeys,
    modelled=("dirty-limit",),
    aliases={"set-vcpu-dirty-limit": "dirty_limit"},
    modes={"dirty-limit": {"dirty_limit": "true"}},
    commands={"qemu": {"vcpu_dirty_limit": "migrate_set_parameter vcpu-dirty-limit {value}"}},
    needs_rings=True,
    parameters=_parameters,
    inputs=lambda scenario: tuple(limit.change() for limit in scenario.vm.dirty_limit),
    values=_period,
    beside=_limits,
)  # fmt: skip
