"""Options of the selftest as text, checked all at once and made into a VM and a plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from hostsim.core.constants import PAGE_BYTES
from hostsim.core.errors import Finding, InputError, Problem
from hostsim.core.units import format_bytes, parse_bytes, parse_fraction
from hostsim.costs.cost_file import is_path
from hostsim.costs.costs import load_costs, sheet_names
from hostsim.costs.era import MMUS, era_names, load_era, with_era_names
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.rules import conflicts, sheet_conflicts
from hostsim.kvm.spec import BACKING_PAGES, MmuSpec, PageSize
from hostsim.measure.selftest.dirty_log_perf_test import Plan
from hostsim.measure.selftest.walked_vm import WalkedSpec
from hostsim.scenario.footprint import available_bytes
from hostsim.scenario.problems import nearest
from hostsim.spte_index.spte import REGION_PAGES
from hostsim.study.option_text import era_problems

VCPUS_MAX = 4096
PAGES_MAX = 1 << 30
"""4 TiB."""
BYTES_A_PAGE = 16
"""State of a simulated page: spte, log, versions; measured 7 with 4 GiB, and twice that for safety."""
ITERATIONS_MIN = 2
"""TEST_ASSERT in dirty_log_perf_test.c."""
BACKINGS: dict[str, PageSize] = {"anonymous": "4KiB", "anonymous_hugetlb_2mb": "2MiB", "anonymous_hugetlb_1gb": "1GiB"}
BINARY = {"K": "KiB", "M": "MiB", "G": "GiB", "T": "TiB", "": "B"}
SIZE_EXAMPLE = "-b 1G"
WRITTEN_WANTED = "one page in n: n, 1/n, or its percentage"


@dataclass(frozen=True)
class Options:
    """Options as typed; None: the default of the era's kernel or of the sheet's host."""

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
    """Arguments of ``run_selftest``."""

    spec: WalkedSpec
    plan: Plan


def asked_for(options: Options) -> Asked:
    """Check all options and build the VM and the plan that they ask for. Raises InputError with all problems."""
    options = replace(options, era=with_era_names(options.era))
    if problems := list(option_problems(options)):
        raise InputError(problems)
    pages = size_bytes(options.size) // PAGE_BYTES
    spec = WalkedSpec(_mmu(options), interface_of(options), options.vcpus, pages, options.overlap)
    plan = Plan(options.iterations, write_every(options.written), options.run_while_disabling)
    if problem := _mixed_walk_problem(spec, plan):
        raise InputError([problem])
    return Asked(spec, plan)


def _mmu(options: Options) -> MmuSpec:
    return MmuSpec(
        era=options.era, costs=options.sheet, mmu=options.mmu, page_size=BACKINGS[options.source],
        write_tracking="pml" if options.pml else "write-protect", eager_split=options.eager_split, n_slots=options.slots,
    )  # fmt: skip


def interface_of(options: Options) -> Interface:
    """The selftest takes manual protect where the kernel has it, unless -g."""
    if options.initially_all_set:
        return "initially-all-set"
    has_clear = load_era(options.era).manual_protect and not options.get_protects
    return "clear-dirty-log" if has_clear else "get-dirty-log"


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
    """The problems of ``options``."""
    yield from _range_problems(options)
    yield from _size_problems(options)
    yield from _name_problems(options)
    try:
        write_every(options.written)
    except InputError:
        yield Problem("-f", "", options.written, WRITTEN_WANTED, "-f 20")
    if options.get_protects and options.initially_all_set:
        yield Problem("--initially-all-set", "", "with -g", "CLEAR to protect, so no -g", "--initially-all-set")
    yield from _kvm_problems(options)


OPTION_OF = {
    "vm.dirty_tracking": "--initially-all-set", "vm.mmu.write_tracking": "--pml", "vm.mmu.eager_split": "--eager-split",
    "vm.mmu.mode": "--mmu", "vm.mmu.era": "--era", "vm.mmu.costs": "--sheet",
}  # fmt: skip
"""Options that stand for keys of a scenario."""


def _kvm_problems(options: Options) -> Iterator[Problem]:
    """Choices that do not go together under KVM: the rules of scenarios, in the words of options."""
    known = options.era in era_names() and options.mmu in MMUS and options.source in BACKINGS
    if not known:
        return
    mmu = _mmu(options)
    findings = list(conflicts(mmu, interface_of(options)))
    if options.sheet in sheet_names() or is_path(options.sheet):
        findings += _sheet_findings(mmu)
    yield from (_in_options(finding) for finding in findings)


def _sheet_findings(mmu: MmuSpec) -> list[Finding]:
    """A sheet that cannot be read is said where its name is checked."""
    try:
        return list(sheet_conflicts(mmu, mmu.costs))
    except InputError:
        return []


def _in_options(finding: Finding) -> Problem:
    """``finding`` about keys of a scenario, about options instead."""
    option = OPTION_OF[finding.key]
    return Problem(option, "", _as_options(finding.got), _as_options(finding.wanted), _as_options(finding.example))


def _as_options(text: str) -> str:
    """``era = "E2"`` as ``--era E2``, wherever a key stands in ``text``."""
    for key, option in OPTION_OF.items():
        text = re.sub(rf"\b{key.rpartition('.')[2]} = (['\"])(.*?)\1", rf"{option} \2", text)
    return text


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
        load_costs(options.sheet)
    except InputError as error:
        yield from error.problems


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


def _mixed_walk_problem(spec: WalkedSpec, plan: Plan) -> Problem | None:
    """A walk that reads a huge page before its first write splits it: a vCPU of the engine either reads or writes."""
    # Model limit: with huge pages split on a fault, each has to be written before it is read.
    unit = BACKING_PAGES[spec.mmu.page_size]
    small = spec.vcpu_pages <= unit and unit % spec.vcpu_pages == 0
    is_eager = load_era(spec.mmu.era).eager_split if spec.mmu.eager_split is None else spec.mmu.eager_split
    if is_eager or unit == 1 or unit % plan.write_every == 0 or small:
        return None
    fitting = next(n for n in range(plan.write_every, 0, -1) if REGION_PAGES % n == 0)
    wanted = "with huge pages split on a fault: one in n where n divides 512, so that each begins with a write"
    return Problem("-f", "", str(plan.write_every), wanted, f"-f {fitting}")
