"""Options of the selftest as text, checked all at once and made into a VM and a plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from hostsim.core.errors import InputError, Problem
from hostsim.core.units import format_bytes, parse_bytes, parse_fraction
from hostsim.costs.cost_file import is_path
from hostsim.costs.costs import load_costs, sheet_names
from hostsim.costs.era import MMUS, Era, era_names, load_era, with_era_names
from hostsim.kvm.costs import era_policy, kvm_costs
from hostsim.kvm.setup import BACKING_PAGES, Backing, KvmCosts, KvmSetup
from hostsim.measure.selftest.dirty_log_perf_test import Plan
from hostsim.scenario.footprint import available_bytes
from hostsim.scenario.nearest import nearest
from hostsim.spte_index.spte import REGION_PAGES
from hostsim.study.option_text import era_problems

PAGE_BYTES = 4096
VCPUS_MAX = 4096
PAGES_MAX = 1 << 30
"""4 TiB."""
BYTES_A_PAGE = 16
"""State of a simulated page: spte, log, versions; measured 7 with 4 GiB, and twice that for safety."""
ITERATIONS_MIN = 2
"""TEST_ASSERT in dirty_log_perf_test.c."""
BACKINGS: dict[str, Backing] = {"anonymous": "4KiB", "anonymous_hugetlb_2mb": "2MiB", "anonymous_hugetlb_1gb": "1GiB"}
BINARY = {"K": "KiB", "M": "MiB", "G": "GiB", "T": "TiB", "": "B"}
SIZE_EXAMPLE = "-b 1G"
WRITTEN_WANTED = "one page in n: n, 1/n, or its percentage"


@dataclass(frozen=True)
class Options:
    """As typed; None: what the kernel of the era and the host of the sheet do."""

    vcpus: int = 1
    size: str = "1G"
    iterations: int = 2
    written: str = "1"
    get_protects: bool = False
    slots: int = 1
    source: str = "anonymous"
    overlap: bool = False
    run_while_disabling: bool = False
    era: str = "E4"
    sheet: str = "cascade-lake"
    mmu: str = "tdp"
    pml: bool = False
    eager_split: bool | None = None
    initially_all_set: bool = False


@dataclass(frozen=True)
class Asked:
    """What ``run_selftest`` takes."""

    setup: KvmSetup
    costs: KvmCosts
    plan: Plan


def asked_for(options: Options) -> Asked:
    """Check all options and build what they ask for. Raises InputError with all problems."""
    options = replace(options, era=with_era_names(options.era))
    if problems := list(option_problems(options)):
        raise InputError(problems)
    setup, plan = _setup(options), Plan(options.iterations, write_every(options.written), options.run_while_disabling)
    if problem := _mixed_walk_problem(setup, plan):
        raise InputError([problem])
    return Asked(setup, kvm_costs(options.sheet, options.era, options.mmu, pml=options.pml, n_vcpus=options.vcpus), plan)


def _setup(options: Options) -> KvmSetup:
    policy = era_policy(options.era, options.mmu, pml=options.pml)
    policy = replace(
        policy,
        eager_split=policy.eager_split if options.eager_split is None else options.eager_split,
        manual_protect=policy.manual_protect and not options.get_protects,
        initially_all_set=options.initially_all_set,
    )
    pages = size_bytes(options.size) // PAGE_BYTES
    return KvmSetup(options.vcpus, pages, options.overlap, BACKINGS[options.source], options.slots, policy)


def write_every(text: str) -> int:
    """1 of how many pages is written: ``20``, ``1/20``, ``5%`` and ``0.05`` all mean one in 20. Raises InputError."""
    if match := re.fullmatch(r"(?:1/)?([1-9]\d{0,8})", text.strip()):
        return int(match.group(1))
    share = Fraction(parse_fraction(text)).limit_denominator(10**9)
    if share == 0 or share.numerator != 1:
        raise InputError([Problem("", "", text, WRITTEN_WANTED)])
    return share.denominator


def size_bytes(text: str) -> int:
    """Bytes of ``1G`` as the selftest reads it, or of ``1GiB``."""
    match = re.fullmatch(r"(\d+)([KMGT]?)", text.strip(), re.IGNORECASE)
    return parse_bytes(f"{match.group(1)}{BINARY[match.group(2).upper()]}" if match else text)


def option_problems(options: Options) -> Iterator[Problem]:
    """What is wrong with them."""
    yield from _range_problems(options)
    yield from _size_problems(options)
    yield from _name_problems(options)
    try:
        write_every(options.written)
    except InputError:
        yield Problem("-f", "", options.written, WRITTEN_WANTED, "-f 20")
    if options.get_protects and options.initially_all_set:
        yield Problem("--initially-all-set", "", "with -g", "CLEAR to protect, so no -g", "--initially-all-set")
    if options.pml and options.mmu == "shadow":
        yield Problem("--pml", "", "with --mmu shadow", "the D bits of two-dimensional paging", "--pml --mmu tdp")
    if options.era in era_names():
        yield from _era_problems(options, load_era(options.era))


def _name_problems(options: Options) -> Iterator[Problem]:
    for key, got, valid in (
        ("-s", options.source, tuple(BACKINGS)),
        ("--mmu", options.mmu, MMUS),
        ("--sheet", options.sheet, (options.sheet,) if is_path(options.sheet) else sheet_names()),
    ):
        if got not in valid:
            yield Problem(key, "", got, f"one of {', '.join(valid)}", f"{key} {nearest(got, valid) or valid[0]}")
    yield from era_problems(options.era)
    if is_path(options.sheet) or options.sheet in sheet_names():
        yield from _sheet_problems(options)


def _sheet_problems(options: Options) -> Iterator[Problem]:
    try:
        has_pml = load_costs(options.sheet).has_pml
    except InputError as error:
        yield from error.problems
        return
    if options.pml and not has_pml:
        with_pml = [name for name in sheet_names() if load_costs(name).has_pml]
        wanted = f"a machine that has PML: {', '.join(with_pml)}"
        yield Problem("--pml", "", f"with --sheet {options.sheet}", wanted, f"--sheet {with_pml[0]}")


def _era_problems(options: Options, era: Era) -> Iterator[Problem]:
    for key, asked, has, first in (
        ("--eager-split", options.eager_split, era.eager_split, "E4"),
        ("--initially-all-set", options.initially_all_set, era.initially_all_set, "E2"),
    ):
        if asked and not has:
            wanted = f"a kernel that has it: {first} or later"
            yield Problem(key, "", f"with --era {era.name}", wanted, f"--era {first} {key}")


def _range_problems(options: Options) -> Iterator[Problem]:
    for key, got, least, most in (
        ("-v", options.vcpus, 1, VCPUS_MAX),
        ("-i", options.iterations, ITERATIONS_MIN, 10**6),
        ("-x", options.slots, 1, 32764),
    ):
        if not least <= got <= most:
            yield Problem(key, "", str(got), f"a whole number from {least} to {most}", f"{key} {max(least, 2)}")


def _size_problems(options: Options) -> Iterator[Problem]:
    try:
        size = size_bytes(options.size)
    except InputError:
        yield Problem("-b", "", options.size, "a size, as 512M or 1GiB", SIZE_EXAMPLE)
        return
    if size == 0 or size % PAGE_BYTES:
        yield Problem("-b", "", options.size, "a multiple of 4K, not 0", SIZE_EXAMPLE)
    if size // PAGE_BYTES * max(options.vcpus, 1) > PAGES_MAX:
        yield Problem("-b", "", f"{options.size} for each of {options.vcpus} vCPUs", "at most 4 TiB in all", SIZE_EXAMPLE)
    else:
        yield from _memory_problems(options, size // PAGE_BYTES * max(options.vcpus, 1) * BYTES_A_PAGE)


def _memory_problems(options: Options, needed_bytes: int) -> Iterator[Problem]:
    free = available_bytes()
    if free is not None and needed_bytes > free:
        got = f"{options.size} for each of {options.vcpus} vCPUs, whose simulation takes {format_bytes(needed_bytes, 3)}"
        yield Problem("-b", "", got, f"at most the {format_bytes(free, 3)} of memory that are free here", SIZE_EXAMPLE)


def _mixed_walk_problem(setup: KvmSetup, plan: Plan) -> Problem | None:
    """A walk that reads a huge page before its first write splits it: a vCPU of the engine either reads or writes."""
    # Model limit: with huge pages split on a fault, each has to be written before it is read.
    unit = BACKING_PAGES[setup.backing]
    small = setup.vcpu_pages <= unit and unit % setup.vcpu_pages == 0
    if setup.policy.eager_split or unit == 1 or unit % plan.write_every == 0 or small:
        return None
    fitting = next(n for n in range(plan.write_every, 0, -1) if REGION_PAGES % n == 0)
    wanted = "with huge pages split on a fault: one in n where n divides 512, so that each begins with a write"
    return Problem("-f", "", str(plan.write_every), wanted, f"-f {fitting}")


