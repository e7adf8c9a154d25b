"""Options of ``hostsim age`` as text, checked all at once and made into cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import InputError, Problem
from hostsim.core.units import parse_bytes, parse_duration, parse_rate
from hostsim.costs.costs import load_costs
from hostsim.costs.era import with_era_names
from hostsim.kvm.build import checked
from hostsim.kvm.rules import caught_by
from hostsim.kvm.spec import INDEXES, MEASURED, MmuSpec
from hostsim.memory.ageing_policies import POLICY_NAMES
from hostsim.study.ageing.case import NOTIFIERS, UNDER, AgeCase, Load
from hostsim.study.option_text import (
    VCPUS_MAX,
    listed,
    load_of,
    names,
    option_problems,
    quantity,
    run_problems,
    whole_numbers,
)
from hostsim.study.sizing import age_bytes, size_problems

SIZE_MAX = 64 << 40
"""Of one vCPU's part, beyond every machine's memory; what this one takes is asked for when the cases are known."""
AXES = ("under", "era", "notifier", "index", "load", "vcpus", "policy")
"""Options that take a list; the last one varies fastest."""
FAULTING_PERIOD, PERIOD = "1ms", "250ms"


@dataclass(frozen=True)
class AgeOptions:
    """As typed; lists are separated by commas. period None: PERIOD, under faulting FAULTING_PERIOD."""

    policy: str = "two-list,mglru,idle"
    vcpus: str = "1"
    mem_per_vcpu: str = "64MiB"
    index: str = MEASURED
    era: str = "E4"
    notifier: str = "era"
    under: str = "touching"
    a_bits: bool = True
    sheet: str = "cascade-lake"
    mmu: str = "tdp"
    load: str = "zipf:0.9"
    rate: str = "200k/s"
    period: str | None = None
    passes: int = 4
    seed: int = 1
    reps: int = 1
    max_runs: int = 1000


@dataclass(frozen=True)
class AgePlan:
    """cases: in the order of their settings; settings: of each, every key with its value as text; seeds: of each case."""

    cases: tuple[AgeCase, ...]
    settings: tuple[dict[str, str], ...]
    seeds: tuple[int, ...]

    def varied(self) -> list[str]:
        """Keys with more than one value."""
        return [key for key in self.settings[0] if len({setting[key] for setting in self.settings}) > 1]


def age_plan(options: AgeOptions) -> AgePlan:
    """Check all options. Raises InputError with all problems."""
    options = replace(options, era=with_era_names(options.era))
    if problems := list(_problems(options)):
        raise InputError(problems)
    cases, settings = [], []
    for values in product(*(listed(getattr(options, axis)) for axis in AXES)):
        settings.append(dict(zip(AXES, values, strict=True)))
        cases.append(_case(options, *values))
    largest = max(cases, key=age_bytes)
    told_as = f"{options.mem_per_vcpu} for each of {largest.n_vcpus} vCPUs"
    too_large = size_problems("--mem-per-vcpu", told_as, age_bytes(largest))
    if problems := [*_kernel_problems(cases), *too_large, *run_problems(len(cases), options.reps, options.max_runs)]:
        raise InputError(problems)
    return AgePlan(tuple(cases), tuple(settings), tuple(range(options.seed, options.seed + options.reps)))


def _case(
    options: AgeOptions, under: Any, era: str, notifier: Any, index: Any, load: str, vcpus: str, policy: str
) -> AgeCase:
    period = options.period or (FAULTING_PERIOD if under == "faulting" else PERIOD)
    mmu = MmuSpec(
        era=era, costs=options.sheet, mmu=options.mmu, index=index, a_bits=options.a_bits, write_tracking=caught_by(index)
    )
    reads = Load(load_of(load), parse_rate(options.rate))
    pages = parse_bytes(options.mem_per_vcpu) // PAGE_BYTES
    return AgeCase(policy, int(vcpus), pages, mmu, under, notifier, reads, parse_duration(period), options.passes)


def _problems(options: AgeOptions) -> Iterator[Problem]:
    yield from names("--policy", options.policy, POLICY_NAMES)
    yield from option_problems(
        options.era, options.sheet, options.vcpus, options.load, (options.rate, "200k/s"), options.reps
    )
    yield from names("--index", options.index, INDEXES)
    yield from names("--notifier", options.notifier, NOTIFIERS)
    yield from names("--under", options.under, UNDER)
    yield from names("--mmu", options.mmu, ("tdp", "direct"))
    if options.period is not None:
        yield from quantity("--period", options.period, parse_duration, PERIOD)
    yield from whole_numbers("--passes", str(options.passes), 2, 10_000)
    yield from _size_problems(options)


def _size_problems(options: AgeOptions) -> Iterator[Problem]:
    wrong = list(quantity("--mem-per-vcpu", options.mem_per_vcpu, parse_bytes, "64MiB"))
    yield from wrong
    if wrong or list(whole_numbers("--vcpus", options.vcpus, 1, VCPUS_MAX)):
        return
    size = parse_bytes(options.mem_per_vcpu)
    if size == 0 or size % PAGE_BYTES:
        yield Problem("--mem-per-vcpu", "", options.mem_per_vcpu, "a multiple of 4KiB, not 0", "--mem-per-vcpu 64MiB")
    elif size > SIZE_MAX:
        yield Problem("--mem-per-vcpu", "", options.mem_per_vcpu, "at most 64TiB", "--mem-per-vcpu 64MiB")


def _kernel_problems(cases: Iterable[AgeCase]) -> Iterator[Problem]:
    """What an era, a machine and an index do not go together with; each once."""
    told = set()
    for mmu in dict.fromkeys(case.mmu for case in cases):
        try:
            checked(mmu, "get-dirty-log")
            load_costs(mmu.costs)
        except InputError as error:
            told |= {replace(p, file="--index" if "index" in p.got else "") for p in error.problems}
    yield from sorted(told, key=str)
