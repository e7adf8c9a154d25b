"""A scenario from the figures that people know of a VM: memory, dirty rate, working set, bandwidth, downtime limit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from hostsim.core.constants import NS_PER_S, PAGE_BYTES
from hostsim.core.errors import InputError, Problem, UnitError
from hostsim.core.units import (
    BYTES_WANTED,
    DURATION_WANTED,
    SAID_BANDWIDTH_WANTED,
    SAID_DIRTY_WANTED,
    format_bandwidth,
    format_bytes,
    format_duration,
    format_rate,
    parse_bytes,
    parse_duration,
    parse_said_bandwidth,
    parse_said_dirty_rate,
)
from hostsim.scenario.overrides import apply_overrides
from hostsim.scenario.schema import DURATION_MAX_NS, Scenario, Vm
from hostsim.study.compare.modes import check_mode, is_throttle, keys_of, needs_rings
from hostsim.study.predict.forecast import first_pass_s, forecast
from hostsim.study.predict.logged import TRACKING
from hostsim.study.predict.work_ahead import computed_work

EXAMPLE = "--ram 64GiB --bandwidth 10Gbit --dirty-rate 6.5Gbit --working-set 8GiB"
PATIENCE, LEAST_S, THROTTLED_S = 4, 120, 900
"""A migration is given up after the time that sending all memory so many times takes, at least LEAST_S seconds; where a
mechanism slows the guest step by step, at least THROTTLED_S (assumed).
"""
LESS_PATIENCE, RUN_WORK, ROOM = (2.5, 1.5), 600_000_000, 1.5
"""Passes after which a guest is given up whose run would be more work than RUN_WORK [pages] with more of them, but never
before ROOM times the total time that the computation gives (assumed). A pass over 1 TiB is 268 million pages.
"""
VCPUS = 4
OPTION_OF: Mapping[str, str] = MappingProxyType(
    {
        "vm.memory": "--ram", "vm.vcpus": "--vcpus", "vm.workload[0].write_rate": "--dirty-rate",
        "vm.workload[0].size": "--working-set", "link.bandwidth": "--bandwidth",
        "migration.downtime_limit": "--downtime-limit", "migration.profile": "--profile",
        "vm.dirty_tracking": "--tracking", "seed": "--seed",
    }
)  # fmt: skip
"""The option that writes a key of the scenario."""


@dataclass(frozen=True)
class Guest:
    """Options as they were typed; "" or None: not given."""

    ram: str = ""
    bandwidth: str = ""
    dirty_rate: str = ""
    working_set: str = ""
    downtime_limit: str = ""
    vcpus: int | None = None
    profile: str = ""
    tracking: str = ""
    mode: str = ""

    @property
    def of_a_vm(self) -> tuple[str, ...]:
        """The given options that describe a guest, which a scenario file describes already."""
        options = {"--ram": self.ram, "--dirty-rate": self.dirty_rate, "--working-set": self.working_set,
                   "--vcpus": self.vcpus}  # fmt: skip
        return tuple(option for option, value in options.items() if value not in ("", None))


def scenario_of(guest: Guest, overrides: Sequence[str] = (), seed: int | None = None) -> tuple[Scenario, dict[str, Any]]:
    """The scenario of ``guest``, and its table as a file would have it. InputError with all problems.

    overrides: texts of --set.
    """
    table = table_of(guest)
    keys, problems = apply_overrides(table, [*mode_overrides(guest.mode), *overrides])
    if problems:
        raise InputError(problems)
    if seed is not None:
        table["seed"] = seed
    try:
        scenario = Scenario.model_validate(table)
        return (scenario, table) if "duration" in keys else _with_time(scenario, table, guest.mode)
    except InputError as error:
        told = [_placed(problem, keys) for problem in error.problems]
        raise InputError(told) from None


def table_of(guest: Guest) -> dict[str, Any]:
    """The table of a scenario file. InputError with all problems of the options themselves."""
    if problems := [*_missing(guest), *_unreadable(guest)]:
        raise InputError(problems)
    memory, bandwidth = parse_bytes(guest.ram), parse_said_bandwidth(guest.bandwidth)
    working_set = _whole_pages(parse_bytes(guest.working_set)) if guest.working_set else memory
    if working_set > memory:
        got = f"{guest.working_set}, more than --ram {guest.ram}"
        raise InputError([Problem("--working-set", "", got, f"at most {guest.ram}", f"--working-set {guest.ram}")])
    rate = parse_said_dirty_rate(guest.dirty_rate)
    migration = {"profile": guest.profile or "libvirt", "bandwidth": "unlimited",
                 "downtime_limit": guest.downtime_limit or "300ms"}  # fmt: skip
    load = {"pattern": "uniform", "size": format_bytes(working_set), "write_rate": format_rate(Fraction(round(rate)))}
    return {
        "name": "vm",
        "duration": format_duration(give_up_ns(memory / bandwidth, guest.mode)),
        "vm": {
            "memory": format_bytes(memory), "vcpus": guest.vcpus or VCPUS, **_tracking(guest),
            "workload": [load] if rate else [],
        },
        "migration": migration,
        "link": {"bandwidth": format_bandwidth(bandwidth)},
        "host": {"lateness": "drawn"},
    }  # fmt: skip


def assumed(guest: Guest) -> tuple[str, ...]:
    """Sentences on values that ``guest`` leaves open and on which an answer depends. Its options must be valid."""
    vcpus = guest.vcpus or VCPUS
    where = guest.working_set or "all memory"
    writes = (
        f"a dirty rate of {guest.dirty_rate} is taken as writes of {vcpus} vCPUs, as fast as their CPU time allows, to "
        f"pages drawn evenly from {where}; a guest that writes some of these pages more often than others dirties fewer, "
        "and converges sooner"
    )
    whole = "the working set is all memory, as --working-set is not given; a smaller one converges sooner"
    if not parse_said_dirty_rate(guest.dirty_rate):
        return ()
    return (writes,) if guest.working_set else (writes, whole)


def mode_overrides(mode: str) -> list[str]:
    """Texts of --set that switch on mode ``mode``, and all other mechanisms off; none for "". InputError."""
    if not mode:
        return []
    check_mode(mode)
    return [f"migration.{key}={value}" for key, value in keys_of(mode).items()]


def give_up_ns(pass_s: float, mode: str = "", passes: float = PATIENCE) -> int:
    """Simulated time [ns] after which a migration that has not completed counts as one that does not converge.

    pass_s: time in which all memory is sent once; passes: times that it is sent.
    """
    least_s = THROTTLED_S if is_throttle(mode) else LEAST_S
    whole_s = math.ceil(passes * pass_s / 10) * 10
    return min(DURATION_MAX_NS, max(least_s, whole_s) * NS_PER_S)


def _with_time(scenario: Scenario, table: dict[str, Any], mode: str) -> tuple[Scenario, dict[str, Any]]:
    """With the time that the migration needs: host, latency or --set may be slower than the link that was named."""
    duration = max(scenario.duration, _duration_ns(scenario, mode, PATIENCE))
    if scenario.migration is not None and not is_throttle(mode) and _is_dear(scenario, duration):
        less = [max(_duration_ns(scenario, mode, passes), _computed_ns(scenario)) for passes in LESS_PATIENCE]
        duration = min(duration, next((one for one in less if not _is_dear(scenario, one)), less[-1]))
    return scenario.model_copy(update={"duration": duration}), table | {"duration": format_duration(duration)}


def _duration_ns(scenario: Scenario, mode: str, passes: float) -> int:
    start_ns = scenario.migration.start if scenario.migration else 0
    return start_ns + give_up_ns(first_pass_s(scenario), mode, passes)


def _is_dear(scenario: Scenario, duration_ns: int) -> bool:
    return computed_work(scenario.model_copy(update={"duration": duration_ns})) > RUN_WORK


def _computed_ns(scenario: Scenario) -> int:
    """ROOM times the computed end of the migration; 0 where it has none."""
    found = forecast(scenario)
    if found is None or scenario.migration is None or math.isinf(found.total_s):
        return 0
    return min(DURATION_MAX_NS, scenario.migration.start + math.ceil(ROOM * found.total_s) * NS_PER_S)


def tracking_of(mode: str) -> str:
    """The dirty log of a guest of ``mode`` that names none; "": the scenario's default.

    Under TCG a sync waits until throttled vCPUs wake (tcg_log_global_after_sync), up to a second; KVM's does not.
    """
    return "dirty-ring" if needs_rings(mode) else TRACKING if is_throttle(mode) else ""


def tracking_overrides(vm: Vm, mode: str) -> list[str]:
    """Texts of --set that give ``vm`` the dirty log of ``mode``; none where ``vm`` names one."""
    name = "" if "dirty_tracking" in vm.model_fields_set else tracking_of(mode)
    return [f"vm.dirty_tracking={name}"] if name else []


def _tracking(guest: Guest) -> dict[str, str]:
    name = guest.tracking or tracking_of(guest.mode)
    return {"dirty_tracking": name} if name else {}


def _whole_pages(size: int) -> int:
    return max(PAGE_BYTES, size // PAGE_BYTES * PAGE_BYTES)


def _missing(guest: Guest) -> Iterator[Problem]:
    wanted = {"--ram": guest.ram, "--bandwidth": guest.bandwidth, "--dirty-rate": guest.dirty_rate}
    for option, value in wanted.items():
        if not value:
            yield Problem(option, "", "nothing", "a value, or a scenario file in place of these options", EXAMPLE)


def _unreadable(guest: Guest) -> Iterator[Problem]:
    read = (
        ("--ram", guest.ram, parse_bytes, BYTES_WANTED), ("--working-set", guest.working_set, parse_bytes, BYTES_WANTED),
        ("--bandwidth", guest.bandwidth, parse_said_bandwidth, SAID_BANDWIDTH_WANTED),
        ("--dirty-rate", guest.dirty_rate, parse_said_dirty_rate, SAID_DIRTY_WANTED),
        ("--downtime-limit", guest.downtime_limit, parse_duration, DURATION_WANTED),
    )  # fmt: skip
    for option, text, parse, (wanted, example) in read:
        try:
            found: Any = parse(text) if text else 1
        except UnitError as error:
            yield Problem(option, "", error.got, error.wanted, f"{option} {error.example}")
            continue
        if not found and option in ("--ram", "--working-set"):
            yield Problem(option, "", repr(text), f"{wanted}, more than 0", f"{option} {example}")


def _placed(problem: Problem, set_keys: frozenset[str]) -> Problem:
    """``problem`` at the option that wrote its key."""
    if problem.key in set_keys:
        return Problem("--set", problem.key, problem.got, problem.wanted, problem.example)
    option = OPTION_OF.get(problem.key)
    if option is None:
        return problem
    example = re.sub(r"^[a-z_]+ = |\"", "", problem.example)
    return Problem(option, "", problem.got, problem.wanted, f"{option} {example}" if example else "")
