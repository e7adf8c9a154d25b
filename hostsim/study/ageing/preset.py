"""``hostsim age`` as a plan of scenarios: options checked all at once, each guest aged by each policy, and once not aged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import InputError, Problem
from hostsim.core.units import format_bytes, parse_bytes, parse_duration, parse_rate
from hostsim.costs.era import with_era_names
from hostsim.kvm.spec import AGEING_LOCKS, INDEXES
from hostsim.memory.policies.registry import all_names
from hostsim.scenario.footprint import footprint_bytes
from hostsim.scenario.guest_schema import MEMORY_MIN_BYTES
from hostsim.scenario.schema import Scenario
from hostsim.study.ageing.guest import UNDER, AgedGuest, Load
from hostsim.study.ageing.measure import AGED_RUN
from hostsim.study.ageing.options import FAULTING_PERIOD, PERIOD, AgeOptions
from hostsim.study.compare.axes import Axis
from hostsim.study.compare.plan import Request, plan_of
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
from hostsim.study.preset import PairedPlan, command_of, scenarios_of
from hostsim.study.sizing import size_problems

SIZE_MAX = 64 << 40
"""Bound of one vCPU's part, beyond every machine's memory; this machine's memory is checked when the scenarios are made."""
OPTION_OF = {
    "vm.mmu.era": "--era", "vm.mmu.costs": "--sheet", "vm.mmu.mode": "--mmu", "vm.mmu.index": "--index",
    "vm.mmu.a_bits": "--a-bits",
}  # fmt: skip
"""The option that writes a key of the scenario."""
AXES = ("under", "era", "notifier", "index", "load", "vcpus", "policy")
"""Options that take a list; the last one varies fastest."""


@dataclass(frozen=True)
class AgePlan(PairedPlan):
    """Runs of each row: the guest that is aged, and the guest that is not."""


def age_plan(options: AgeOptions) -> AgePlan:
    """Check all options, and all scenarios that they make. Raises InputError with all problems."""
    options = replace(options, era=with_era_names(options.era))
    if problems := list(_problems(options)):
        raise InputError(problems)
    lists = {axis: listed(getattr(options, axis)) for axis in AXES}
    if problems := list(run_problems(len(list(product(*lists.values()))), options.reps, options.max_runs)):
        raise InputError(problems)
    labels: list[tuple[str, ...]] = []
    settings, pairs = [], []
    for values in product(*(lists[axis] for axis in AXES[:-1])):
        plain = len(labels)
        labels.append((*values, ""))
        for policy in lists["policy"]:
            pairs.append((len(labels), plain))
            labels.append((*values, policy))
            settings.append(dict(zip(AXES, labels[-1], strict=True)))
    scenarios = scenarios_of([age_table(options, dict(zip(AXES, label, strict=True))) for label in labels], OPTION_OF)
    _check_size(options, scenarios)
    return AgePlan(plan_of(_request(options), labels, scenarios), tuple(settings), tuple(pairs))


def age_tables(options: AgeOptions) -> list[tuple[str, dict[str, Any]]]:
    """(the setting of a row in words, its scenario) of each row; checked options."""
    options = replace(options, era=with_era_names(options.era))
    lists = [listed(getattr(options, axis)) for axis in AXES]
    settings = [dict(zip(AXES, values, strict=True)) for values in product(*lists)]
    return [(", ".join(f"{key}={value}" for key, value in one.items()), age_table(options, one)) for one in settings]


def age_table(options: AgeOptions, setting: Mapping[str, str]) -> dict[str, Any]:
    """The scenario of one row of the study: ``options`` with the values of the axes in ``setting``.

    setting: a value for each of AXES; policy "": the guest is not aged.
    """
    under: Any = setting["under"]
    period = options.period or (FAULTING_PERIOD if under == "faulting" else PERIOD)
    mmu = {
        "era": setting["era"], "costs": options.sheet, "mode": options.mmu, "index": setting["index"],
        "a_bits": options.a_bits,
    }  # fmt: skip
    load = Load(load_of(setting["load"]), parse_rate(options.rate))
    pages = parse_bytes(options.mem_per_vcpu) // PAGE_BYTES
    guest = AgedGuest(int(setting["vcpus"]), pages, under, load, mmu, parse_duration(period), options.passes)
    return guest.table(setting["policy"], setting["notifier"], options.seed)


def _request(options: AgeOptions) -> Request:
    """axes: their labels are those of settings; the command replays a row with the options that do not vary."""
    axes = tuple(Axis(axis, tuple(listed(getattr(options, axis))), tuple(listed(getattr(options, axis)))) for axis in AXES)
    command = command_of("age", options, (*AXES, "seed", "reps", "max_runs"))
    return Request(
        Path(), axes, n_seeds=options.reps, max_runs=options.max_runs, name="age", measure=AGED_RUN, command=command
    )


def _check_size(options: AgeOptions, scenarios: Sequence[Scenario]) -> None:
    largest = max(scenarios, key=footprint_bytes)
    form = f"{options.mem_per_vcpu} for each of {largest.vm.vcpus} vCPUs"
    if problems := list(size_problems("--mem-per-vcpu", form, footprint_bytes(largest))):
        raise InputError(problems)


def _problems(options: AgeOptions) -> Iterator[Problem]:
    yield from names("--policy", options.policy, all_names("age"))
    yield from option_problems(
        options.era, options.sheet, options.vcpus, options.load, (options.rate, "200k/s"), options.reps
    )
    yield from names("--index", options.index, INDEXES)
    yield from names("--notifier", options.notifier, AGEING_LOCKS)
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
    size, fewest = parse_bytes(options.mem_per_vcpu), min(map(int, listed(options.vcpus)))
    if size == 0 or size % PAGE_BYTES:
        yield Problem("--mem-per-vcpu", "", options.mem_per_vcpu, "a multiple of 4KiB, not 0", "--mem-per-vcpu 64MiB")
    elif size * fewest < MEMORY_MIN_BYTES:
        wanted = f"at least {format_bytes(MEMORY_MIN_BYTES)} for all vCPUs together"
        yield Problem("--mem-per-vcpu", "", options.mem_per_vcpu, wanted, "--mem-per-vcpu 64MiB")
    elif size > SIZE_MAX:
        yield Problem("--mem-per-vcpu", "", options.mem_per_vcpu, "at most 64TiB", "--mem-per-vcpu 64MiB")
