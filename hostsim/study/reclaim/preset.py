"""``hostsim reclaim`` as a plan of scenarios: options checked all at once, each guest with each policy, and once without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import InputError, Problem
from hostsim.core.units import format_duration, parse_bandwidth, parse_bytes, parse_duration, parse_fraction, parse_rate
from hostsim.costs.era import with_era_names
from hostsim.memory.policies.registry import policy_names
from hostsim.memory.spec import NO_RECLAIM
from hostsim.memory.swap_sheet import swap_names
from hostsim.scenario.footprint import footprint_bytes
from hostsim.scenario.guest_schema import MEMORY_MIN_BYTES
from hostsim.scenario.memory_checks import AGE_SCANS_MAX
from hostsim.study.compare.axes import Axis
from hostsim.study.compare.plan import Request, plan_of
from hostsim.study.option_text import listed, load_of, names, option_problems, quantity, run_problems
from hostsim.study.preset import PairedPlan, command_of, scenarios_of
from hostsim.study.reclaim.budget import Limit, budget_problems, read_budget
from hostsim.study.reclaim.guest import ReclaimedGuest
from hostsim.study.reclaim.measure import RECLAIM_RUN
from hostsim.study.reclaim.options import ReclaimOptions
from hostsim.study.sizing import size_problems

SIZE_MAX = 64 << 40
AXES = ("swap", "policy", "ages")
"""Options that take a list; with --during-migration each policy has all ages twice."""
OPTION_OF = {
    "vm.dirty_tracking": "--era", "vm.mmu.era": "--era", "vm.mmu.costs": "--sheet", "vm.mmu.a_bits": "--a-bits",
    "duration": "--measure", "link.bandwidth": "--bandwidth", "vm.workload[0].write_rate": "--rate",
    "vm.workload[0].read_rate": "--rate",
}  # fmt: skip
"""The option that writes a key of the scenario."""


class Setting(NamedTuple):
    """A row, or with policy NO_RECLAIM the run beside it."""

    swap: str
    policy: str
    migrates: bool
    age_ns: int

    def label(self) -> tuple[str, ...]:
        """Values of AXES; "" for no policy."""
        return self.swap, "" if self.policy == NO_RECLAIM else self.policy, format_duration(self.age_ns)

    def texts(self) -> dict[str, str]:
        """Every key with its value as text."""
        migration = "yes" if self.migrates else "no"
        return {"swap": self.swap, "policy": self.policy, "migration": migration, "age": format_duration(self.age_ns)}


@dataclass(frozen=True)
class ReclaimPlan(PairedPlan):
    """Of each row, the guest with reclaim and the guest without. limits: of the budget."""

    limits: tuple[Limit, ...]


def reclaim_plan(options: ReclaimOptions) -> ReclaimPlan:
    """Check all options, and all scenarios that they make. Raises InputError with all problems."""
    options = _checked(options)
    rows = _rows(options)
    plain = list(dict.fromkeys(row._replace(policy=NO_RECLAIM) for row in rows))
    combinations = [*plain, *rows]
    if problems := list(run_problems(len(rows), options.reps, options.max_runs)):
        raise InputError(problems)
    scenarios = scenarios_of([_table(options, one) for one in combinations], OPTION_OF)
    if problems := list(size_problems("--memory", options.memory, max(map(footprint_bytes, scenarios)))):
        raise InputError(problems)
    labels = [one.label() for one in combinations]
    pairs = tuple((combinations.index(row), plain.index(row._replace(policy=NO_RECLAIM))) for row in rows)
    settings = tuple(row.texts() for row in rows)
    return ReclaimPlan(plan_of(_request(options), labels, scenarios), settings, pairs, read_budget(options.budget))


def reclaim_scenarios(options: ReclaimOptions) -> list[tuple[str, dict[str, Any]]]:
    """(the setting of a row in words, its scenario) of each row. InputError."""
    options = _checked(options)
    words = [(", ".join(f"{key}={value}" for key, value in row.texts().items()), row) for row in _rows(options)]
    return [(text, _table(options, row)) for text, row in words]


def _checked(options: ReclaimOptions) -> ReclaimOptions:
    """These options with values for those that follow from others and were left out. InputError."""
    options = replace(options, era=with_era_names(options.era))
    if problems := list(_problems(options)):
        raise InputError(problems)
    twice = format_duration(2 * max(map(parse_duration, listed(options.ages))))
    return replace(options, scan=format_duration(_scan_ns(options)), measure=options.measure or twice)


def _rows(options: ReclaimOptions) -> list[Setting]:
    ages_ns = sorted({parse_duration(age) for age in listed(options.ages)})
    whiles = (False, True) if options.during_migration else (False,)
    return [Setting(*one) for one in product(listed(options.swap), listed(options.policy), whiles, ages_ns)]


def _table(options: ReclaimOptions, row: Setting) -> dict[str, Any]:
    """The scenario of ``row``, of checked options."""
    n_pages = parse_bytes(options.memory) // PAGE_BYTES
    guest = ReclaimedGuest(
        options.vcpus, n_pages, max(1, round(n_pages * parse_fraction(options.used))), load_of(options.load),
        parse_rate(options.rate), Fraction(parse_fraction(options.writes)).limit_denominator(10_000), row.swap,
        parse_duration(options.scan), parse_duration(options.measure),
        {"era": options.era, "costs": options.sheet, "a_bits": options.a_bits}, parse_bandwidth(options.bandwidth),
        parse_duration(options.timeout), options.async_pf,
    )  # fmt: skip
    return guest.table(row.age_ns, row.policy, migrates=row.migrates, seed=options.seed)


def _request(options: ReclaimOptions) -> Request:
    """The command replays a row with the options that do not vary, with and without a migration if it has rows of both."""
    axes = tuple(Axis(axis, tuple(listed(getattr(options, axis))), tuple(listed(getattr(options, axis)))) for axis in AXES)
    command = command_of("reclaim", options, (*AXES, "seed", "reps", "max_runs"))
    return Request(
        Path(), axes, n_seeds=options.reps, max_runs=options.max_runs, name="reclaim", measure=RECLAIM_RUN, command=command
    )


def _scan_ns(options: ReclaimOptions) -> int:
    return parse_duration(options.scan) if options.scan else min(map(parse_duration, listed(options.ages)))


def _problems(options: ReclaimOptions) -> Iterator[Problem]:
    yield from names("--policy", options.policy, policy_names("reclaim"))
    yield from names("--swap", options.swap, swap_names())
    yield from option_problems(
        options.era, options.sheet, str(options.vcpus), options.load, (options.rate, "5k/s"), options.reps
    )
    yield from quantity("--used", options.used, parse_fraction, "75%")
    yield from quantity("--bandwidth", options.bandwidth, parse_bandwidth, "100Mbit/s")
    yield from quantity("--timeout", options.timeout, parse_duration, "60s")
    yield from _share_problems(options)
    yield from budget_problems(options.budget)
    yield from _size_problems(options)
    yield from _time_problems(options)


def _share_problems(options: ReclaimOptions) -> Iterator[Problem]:
    try:
        parse_fraction(options.writes)
    except InputError as error:
        yield from (Problem("--writes", "", p.got, p.wanted, "--writes 5%") for p in error.problems)


def _size_problems(options: ReclaimOptions) -> Iterator[Problem]:
    wrong = list(quantity("--memory", options.memory, parse_bytes, "256MiB"))
    yield from wrong
    if not wrong:
        size = parse_bytes(options.memory)
        if size % PAGE_BYTES or not MEMORY_MIN_BYTES <= size <= SIZE_MAX:
            yield Problem("--memory", "", options.memory, "a multiple of 4KiB, from 1MiB to 64TiB", "--memory 256MiB")


def _time_problems(options: ReclaimOptions) -> Iterator[Problem]:
    times = {"--ages": options.ages, "--scan": options.scan, "--measure": options.measure}
    wrong = [p for key, text in times.items() if text is not None for p in quantity(key, text, parse_duration, "1s")]
    yield from wrong
    if wrong:
        return
    scan_ns = _scan_ns(options)
    for age in listed(options.ages):
        if parse_duration(age) % scan_ns or parse_duration(age) // scan_ns > AGE_SCANS_MAX:
            scan, twice = format_duration(scan_ns), format_duration(2 * scan_ns)
            wanted = f"a multiple of the time from scan to scan, {scan}, at most {AGE_SCANS_MAX} of it"
            yield Problem("--ages", "", age, wanted, f"--scan {scan} --ages {twice}")
