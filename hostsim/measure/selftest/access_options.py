"""Options of access_tracking_perf_test as text, checked all at once and made into a plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import InputError, Problem
from hostsim.costs.era import with_era_names
from hostsim.kvm.spec import MmuSpec
from hostsim.measure.selftest.access_tracking_perf_test import AccessPlan
from hostsim.measure.selftest.options import Options, option_problems, size_bytes


@dataclass(frozen=True)
class AccessOptions:
    """Options as typed."""

    vcpus: int = 1
    size: str = "1G"
    mglru: bool = False
    during_populate: bool = False
    a_bits: bool = True
    era: str = "E4"
    sheet: str = "cascade-lake"
    mmu: str = "tdp"


def access_plan(options: AccessOptions) -> AccessPlan:
    """Check all options. Raises InputError with all problems."""
    options = replace(options, era=with_era_names(options.era))
    shared = Options(vcpus=options.vcpus, size=options.size, era=options.era, sheet=options.sheet, mmu=options.mmu)
    problems = [*option_problems(shared), *_problems(options)]
    if problems:
        raise InputError(problems)
    mmu = MmuSpec(era=options.era, costs=options.sheet, mmu=options.mmu, a_bits=options.a_bits)
    pages = size_bytes(options.size) // PAGE_BYTES
    return AccessPlan(mmu, options.vcpus, pages, mglru=options.mglru, during_populate=options.during_populate)


def _problems(options: AccessOptions) -> Iterator[Problem]:
    if options.during_populate and not options.mglru:
        yield Problem("-p", "", "without -l", "-l: MGLRU is what ages while memory is populated", "-p -l")
