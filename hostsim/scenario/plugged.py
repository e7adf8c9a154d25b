"""Plug-ins of a scenario: which it names, its workloads as the engine has them, and ``[[daemon]]``."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BeforeValidator, Field, WithJsonSchema

from hostsim.core.constants import NS_PER_S
from hostsim.core.units import shown
from hostsim.guest.pacing import Pacing
from hostsim.guest.workload import Active, TouchTrace, Workload
from hostsim.memory.policies.registry import POLICIES
from hostsim.plugins.registry import Plugin, find, installed
from hostsim.plugins.workload import PageClass, Touches, classes_or_touches, draws_key, region_of
from hostsim.scenario import guest_schema
from hostsim.scenario.section import Section
from hostsim.scenario.types import Options, refused

if TYPE_CHECKING:
    # Circle of types: the schema has a plug-in's keys, and plug-ins are looked up in the scenario.
    from hostsim.scenario.schema import Scenario

DENOMINATOR_MAX = 1_000_000


def _read_daemon(value: object) -> str:
    names = [*installed("daemon")]
    if not isinstance(value, str) or value not in names:
        wanted = f"an installed daemon: {', '.join(names)}" if names else "an installed daemon, of which there is none"
        raise refused(shown(value), wanted)
    return value


DaemonName = Annotated[
    str, BeforeValidator(_read_daemon), WithJsonSchema({"type": "string", "description": "name of its entry point"})
]


class Daemon(Section):
    """[[daemon]]: a process of the host that a plug-in brings."""

    name: DaemonName = Field(description="name of its entry point in the group hostsim.daemons")
    options: Options | None = Field(default=None, description="keys of its own; see [plug-ins](../howto/plug-in.md)")


def plugins_of(scenario: Scenario) -> tuple[Plugin, ...]:
    """The plug-ins that ``scenario`` names, each once."""
    loads = [load for vm in (scenario.vm, *scenario.neighbour) for load in vm.workload if load.is_plugged]
    found = [find("workload", load.pattern) for load in loads]
    if scenario.ageing is not None and scenario.ageing.policy not in POLICIES:
        found.append(find("policy", scenario.ageing.policy))
    found += [find("daemon", one.name) for one in scenario.daemon]
    return tuple(dict.fromkeys(found))


def pacing_of(load: guest_schema.Workload) -> Pacing:
    """How the vCPUs of ``load`` keep time."""
    burst, sleep = (load.think.work, load.think.sleep) if load.think else (0, 0)
    return Pacing(load.pacing == "open", Fraction(load.catch_up), load.tick, load.tick_late, burst, sleep)


def plugged_workloads(
    scenario: Scenario, key: str, vm: guest_schema.Vm, load: guest_schema.Workload
) -> tuple[Workload, ...]:  # fmt: skip
    """The workloads that a plug-in makes of ``load`` of the VM at ``key``. PluginError."""
    first_gfn, n_pages = load.region_gfns(vm.memory)
    vcpus = load.vcpu_numbers(vm.vcpus)
    plugin, draws = find("workload", load.pattern), draws_key(scenario.seed, f"{key}.{load.name}")
    region = region_of(plugin, n_pages, vcpus, load.options or {}, draws, scenario.duration)
    found = classes_or_touches(plugin, region)
    if isinstance(found, Touches):
        return (_of_touches(load, vcpus, first_gfn, n_pages, found),)
    return tuple(_of_class(load, vcpus, first_gfn, i, one) for i, one in enumerate(found))


def _of_class(load: guest_schema.Workload, vcpus: tuple[int, ...], first_gfn: int, number: int, one: PageClass) -> Workload:
    start_ns, length_ns, period_ns = (round(value * NS_PER_S) for value in (one.start_s, one.length_s, one.period_s))
    return Workload(
        name=f"{load.name}/{number}", pattern="uniform", vcpus=vcpus, first_gfn=first_gfn + int(one.first_page),
        n_pages=int(one.n_pages), write_rate_per_s=_rate(one.write_rate_per_s), read_rate_per_s=_rate(one.read_rate_per_s),
        pacing=pacing_of(load), active=Active(start_ns, length_ns, period_ns) if length_ns else None,
        changed_bytes=load.changed_bytes, changed_place=load.changed_place,
    )  # fmt: skip


def _rate(per_s: float) -> Fraction:
    return Fraction(per_s).limit_denominator(DENOMINATOR_MAX)


def _of_touches(
    load: guest_schema.Workload, vcpus: tuple[int, ...], first_gfn: int, n_pages: int, found: Touches
) -> Workload:  # fmt: skip
    pages = np.asarray(found.page, np.int64) + first_gfn
    trace = TouchTrace(
        np.asarray(found.time_ns, np.int64), np.asarray(found.vcpu, np.int32), pages, np.asarray(found.is_write, np.bool_)
    )
    return Workload(
        name=str(load.name), pattern="trace", vcpus=vcpus, first_gfn=first_gfn, n_pages=n_pages, pacing=pacing_of(load),
        trace=trace, changed_bytes=load.changed_bytes, changed_place=load.changed_place,
    )  # fmt: skip
