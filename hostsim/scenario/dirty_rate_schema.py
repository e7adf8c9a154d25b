"""[[vm.calc_dirty_rate]]: measurements of the guest's dirty rate, as QEMU makes them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import Field

from hostsim.core.constants import NS_PER_MS, NS_PER_S
from hostsim.core.errors import Finding
from hostsim.core.units import format_duration
from hostsim.kvm.interfaces import INTERFACES, with_rings
from hostsim.qemu.calc_dirty_rate import CalcDirtyRate, Mode
from hostsim.scenario.section import Section
from hostsim.scenario.types import Count, Duration

if TYPE_CHECKING:
    # Circle of types: the schema calls the check, which gets the whole scenario.
    from hostsim.scenario.schema import Scenario

CALC_TIME_MAX_NS = 60 * NS_PER_S
CALC_TIME_MIN_NS = 50 * NS_PER_MS
"""migration/dirtyrate.h MIN_CALC_TIME_MS (8.2); before: a second."""
SAMPLE_PAGES = (128, 16384)
"""migration/dirtyrate.h MIN_SAMPLE_PAGE_COUNT, MAX_SAMPLE_PAGE_COUNT."""
NEEDS = {
    "dirty-bitmap": tuple(name for name in INTERFACES if name not in with_rings()),
    "dirty-ring": with_rings(),
}
"""Values of vm.dirty_tracking that a mode needs (::qmp_calc_dirty_rate)."""


class DirtyRateCommand(Section):
    """[[vm.calc_dirty_rate]]: QEMU's command calc-dirty-rate; what it answers stands in run.json."""

    start: Duration = Field(default=0, description="simulated time of the command")
    calc_time: Duration = Field(
        default=NS_PER_S, ge=CALC_TIME_MIN_NS, le=CALC_TIME_MAX_NS,
        description="calc-time: period of the measurement, whole milliseconds",
    )  # fmt: skip
    mode: Mode = Field(default="page-sampling", description="how QEMU finds the pages that are dirtied")
    sample_pages: Count = Field(
        default=512, ge=SAMPLE_PAGES[0], le=SAMPLE_PAGES[1], description="page-sampling: pages drawn for each GiB"
    )

    @property
    def end(self) -> int:
        """Simulated time at which the period ends [ns]."""
        return self.start + self.calc_time

    def command(self) -> CalcDirtyRate:
        """The command for the machine."""
        return CalcDirtyRate(self.start, self.mode, self.calc_time // NS_PER_MS, self.sample_pages)


def rate_findings(scenario: Scenario) -> Iterator[Finding]:
    """Findings of the measurements of [vm]."""
    commands = scenario.vm.calc_dirty_rate
    for i, command in enumerate(commands):
        yield from _alone(scenario, command, f"vm.calc_dirty_rate[{i}]")
    for (i, one), (_, other) in pairwise(sorted(enumerate(commands), key=lambda item: item[1].start)):
        if other.start <= one.end:
            wanted = "measurements one after the other (QEMU: the dirty rate is already being measured)"
            got = f"until {format_duration(one.end)}, when another has begun"
            yield Finding(f"vm.calc_dirty_rate[{i}].calc_time", got, wanted, 'calc_time = "500ms"')
    for i, vm in enumerate(scenario.neighbour):
        for key, commands_of in (("calc_dirty_rate", vm.calc_dirty_rate), ("dirty_limit", vm.dirty_limit)):
            if commands_of:
                wanted = f"commands of [vm] alone ([[vm.{key}]])"
                yield Finding(f"neighbour[{i}].{key}", "a command", wanted, f"[[vm.{key}]]")


def _alone(scenario: Scenario, command: DirtyRateCommand, key: str) -> Iterator[Finding]:
    vm, migration = scenario.vm, scenario.migration
    qemu = migration.qemu if migration else "10.2"
    if command.calc_time % NS_PER_MS or (qemu == "7.2" and command.calc_time % NS_PER_S):
        wanted = "whole seconds with QEMU 7.2" if qemu == "7.2" else "whole milliseconds"
        yield Finding(f"{key}.calc_time", format_duration(command.calc_time), wanted, 'calc_time = "1s"')
    if command.end >= scenario.duration:
        wanted = f"an end before that of the run ({format_duration(scenario.duration)})"
        yield Finding(f"{key}.start", f"an end at {format_duration(command.end)}", wanted, 'start = "1s"', ("duration",))
    trackings = NEEDS.get(command.mode, (vm.dirty_tracking,))
    if vm.dirty_tracking not in trackings:
        got = f"'{command.mode}' with '{vm.dirty_tracking}'"
        wanted = f"vm.dirty_tracking = {' or '.join(trackings)} for this mode"
        yield Finding(f"{key}.mode", got, wanted, f'dirty_tracking = "{trackings[0]}"', ("vm.dirty_tracking",))
    elif command.mode != "page-sampling":
        yield from _log_in_use(scenario, command, key)


def _log_in_use(scenario: Scenario, command: DirtyRateCommand, key: str) -> Iterator[Finding]:
    """Hostsim lets one user at a time switch the log; QEMU counts its users."""
    migration, limits = scenario.migration, scenario.vm.dirty_limit
    if migration is not None and migration.start <= command.end:
        wanted = "an end before migration.start: one user of the dirty log at a time, or mode 'page-sampling'"
        got = f"an end at {format_duration(command.end)}, the migration starts at {format_duration(migration.start)}"
        yield Finding(f"{key}.start", got, wanted, 'start = "1s"', ("migration.start",))
    if limits and min(limit.at for limit in limits) <= command.end:
        wanted = "an end before the first [[vm.dirty_limit]]: one user of the dirty log at a time"
        yield Finding(f"{key}.start", f"an end at {format_duration(command.end)}", wanted, 'start = "1s"')
