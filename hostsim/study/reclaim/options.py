"""Options of ``hostsim reclaim`` as text, checked all at once and made into cases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import InputError, Problem
from hostsim.core.units import format_duration, parse_bandwidth, parse_bytes, parse_duration, parse_fraction, parse_rate
from hostsim.costs.costs import sheet_names
from hostsim.costs.era import era_names, with_era_names
from hostsim.kvm.build import checked
from hostsim.kvm.spec import MmuSpec
from hostsim.memory.swap_sheet import swap_names
from hostsim.study.option_text import listed, load_of, names, option_problems, quantity, run_problems
from hostsim.study.reclaim.budget import Limit, budget_problems, read_budget
from hostsim.study.reclaim.case import ReclaimCase
from hostsim.study.reclaim.trial import INTERFACE
from hostsim.study.sizing import reclaim_bytes, size_problems

POLICIES = ("idle", "mglru", "mglru-walk", "mglru-no-walk")
SIZE_MIN, SIZE_MAX = 64 * PAGE_BYTES, 64 << 40
AGE_SCANS_MAX = 10_000


@dataclass(frozen=True)
class ReclaimOptions:
    """As typed; lists are separated by commas. scan None: the smallest age. measure None: twice the largest age."""

    memory: str = "16MiB"
    used: str = "75%"
    vcpus: int = 2
    load: str = "zipf:0.9"
    rate: str = "5k/s"
    writes: str = "5%"
    ages: str = "1s,2s,5s,10s"
    budget: str = "p99=2ms,slowdown=1%"
    swap: str = "nvme"
    policy: str = "idle,mglru"
    during_migration: bool = False
    bandwidth: str = "100Mbit/s"
    timeout: str = "60s"
    era: str = "E4"
    a_bits: bool = True
    async_pf: bool = False
    sheet: str = "cascade-lake"
    scan: str | None = None
    measure: str | None = None
    seed: int = 1
    reps: int = 1
    max_runs: int = 1000


@dataclass(frozen=True)
class ReclaimPlan:
    """cases: in the order of their settings; ages: as text, ascending, each with its cases; limits: of the budget."""

    cases: tuple[ReclaimCase, ...]
    settings: tuple[dict[str, str], ...]
    seeds: tuple[int, ...]
    limits: tuple[Limit, ...]


def reclaim_plan(options: ReclaimOptions) -> ReclaimPlan:
    """Check all options. Raises InputError with all problems."""
    options = replace(options, era=with_era_names(options.era))
    if problems := list(_problems(options)):
        raise InputError(problems)
    cases, settings = [], []
    ages_ns = sorted({parse_duration(age) for age in listed(options.ages)})
    whiles = (False, True) if options.during_migration else (False,)
    for swap, policy, migrates, age_ns in product(listed(options.swap), listed(options.policy), whiles, ages_ns):
        cases.append(_case(options, swap, policy, age_ns, migrates=migrates))
        settings.append(
            {"swap": swap, "policy": policy, "migration": "yes" if migrates else "no", "age": format_duration(age_ns)}
        )
    too_large = size_problems("--memory", options.memory, max(map(reclaim_bytes, cases)))
    if problems := [*too_large, *run_problems(len(cases), options.reps, options.max_runs)]:
        raise InputError(problems)
    seeds = tuple(range(options.seed, options.seed + options.reps))
    return ReclaimPlan(tuple(cases), tuple(settings), seeds, read_budget(options.budget))


def _scan_ns(options: ReclaimOptions) -> int:
    return parse_duration(options.scan) if options.scan else min(map(parse_duration, listed(options.ages)))


def _case(options: ReclaimOptions, swap: str, policy: str, age_ns: int, *, migrates: bool) -> ReclaimCase:
    n_pages, scan_ns = parse_bytes(options.memory) // PAGE_BYTES, _scan_ns(options)
    oldest_ns = max(map(parse_duration, listed(options.ages)))
    return ReclaimCase(
        policy, options.vcpus, n_pages, max(1, round(n_pages * parse_fraction(options.used))), load_of(options.load),
        parse_rate(options.rate), Fraction(parse_fraction(options.writes)).limit_denominator(10_000), swap,
        max(1, age_ns // scan_ns), scan_ns, parse_duration(options.measure) if options.measure else 2 * oldest_ns,
        MmuSpec(era=options.era, costs=options.sheet, a_bits=options.a_bits), migrates, parse_bandwidth(options.bandwidth),
        parse_duration(options.timeout), options.async_pf,
    )  # fmt: skip


def _problems(options: ReclaimOptions) -> Iterator[Problem]:
    yield from names("--policy", options.policy, POLICIES)
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
    try:
        if options.era in era_names() and options.sheet in sheet_names():
            checked(MmuSpec(era=options.era, costs=options.sheet, a_bits=options.a_bits), INTERFACE)
    except InputError as error:
        yield from error.problems


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
        if size % PAGE_BYTES or not SIZE_MIN <= size <= SIZE_MAX:
            yield Problem("--memory", "", options.memory, "a multiple of 4KiB, from 256KiB to 64TiB", "--memory 256MiB")


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
