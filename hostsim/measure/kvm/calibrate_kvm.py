"""The costs of this host's KVM: every measurement, then numbers of a cost sheet, and reasons for those that are missing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from hostsim.core.constants import NS_PER_MS
from hostsim.measure.calibrate.calibration import Calibration, Measured
from hostsim.measure.kvm.bench import Bench
from hostsim.measure.kvm.bystanders import Bystanders, check_quiet, look_first
from hostsim.measure.kvm.chains import CHAIN_WORK, CHAINS, chain_name, further_name
from hostsim.measure.kvm.device import Kvm
from hostsim.measure.kvm.estimates import estimate
from hostsim.measure.kvm.host import KvmHost, read_host
from hostsim.measure.kvm.measures import MEASURES
from hostsim.measure.kvm.memory_size import memory_bytes
from hostsim.measure.kvm.numbers import AT_WISH, CANNOT, MEANING, RENAMED, NumberMaker
from hostsim.measure.kvm.pace import CALM, PACE_INSTRUCTIONS, Pace
from hostsim.measure.kvm.rules import BUSY_SHARE, REPETITIONS_MIN
from hostsim.measure.kvm.vm import pinned, usable_cpus
from hostsim.measure.privileged.ageing import AGE
from hostsim.measure.privileged.measures import AsRoot, measure_as_root


@dataclass(frozen=True)
class Plan:
    """Rounds of measurements: each measurement is made in each round, in a new VM.

    The repetitions of a number then lie far apart in time, so that a neighbour that is busy for a while meets few of them.
    Further rounds have the measurements of numbers that are not certain yet, until all are or the time is over. None is
    made twice in a row while others wait: memory that it has just freed would lie in a row again, and chains be short.
    repetitions: of each measurement in a VM; passes: of measurements whose passes are timed by part, which gives many.
    rounds: of all measurements; seconds: for these and for what comes after them, if the rounds leave any.
    enough: repetitions on own cores, of each number; certain: its standard error, as a share.
    """

    repetitions: int
    passes: int
    rounds: int = 4
    seconds: float = 22.0
    enough: int = 12
    certain: float = 0.025


PLAN, QUICK = Plan(2, 1), Plan(REPETITIONS_MIN, 3, rounds=1, seconds=0.0)

RESTLESS_SHARE = 0.1
"""Of the numbers may be in doubt on a machine at rest: differences of like timings are, anywhere."""
RESTLESS = "The machine is restless: other guests of its host use the same cores."

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class KvmCalibration:
    """The measured costs of one host's KVM.

    host: where they were measured.
    numbers: of the sheet, with their sources.
    absent: numbers that were not measured, each with its reason.
    chains: ns a page by ioctl or call, then by sptes a page.
    foreign_share: of all processors' time, taken by other processes meanwhile.
    pace_ns: the least time of the loop beside repetitions.
    calm_share: of all repetitions, had cores of their own.
    doubts: numbers to distrust, each with the reason.
    memory_bytes: of each VM.
    swapped_to: words for the device of swap-ins, "" if there were none.
    """

    host: KvmHost
    numbers: tuple[Measured, ...]
    absent: dict[str, str]
    chains: dict[str, dict[int, float]]
    foreign_share: float
    memory_bytes: int
    pace_ns: float = 0.0
    calm_share: float = 1.0
    doubts: dict[str, str] = field(default_factory=dict)
    swapped_to: str = ""

    @property
    def is_busy(self) -> bool:
        """Whether others took more than a measurement should stand."""
        return self.foreign_share > BUSY_SHARE

    @property
    def is_restless(self) -> bool:
        """Whether so many numbers are in doubt that two calibrations may not agree."""
        return len(self.doubts) > RESTLESS_SHARE * len(self.numbers)


def calibrate_kvm(
    kvm: Kvm, *, quick: bool = False, busy: bool = False, as_root: AsRoot | None = None, progress: Progress | None = None
) -> KvmCalibration:
    """Measure this host's KVM; the thread is pinned meanwhile.

    kvm: the opened device.
    quick: a single round, with no repetition to spare.
    busy: accept a machine on which other processes work.
    as_root: also measure ageing and, if it says so, swap-ins; the host is put back.
    progress: called with the next measurement, how many are done, of how many; so many as now seem to fit into the time.
    Raises KvmError if the machine is busy or KVM fails.
    """
    look_first(accept=busy)
    host, cpus = read_host(), usable_cpus()
    bystanders = Bystanders()
    with pinned(cpus[0]):
        size = memory_bytes(kvm, cpus)
        plan = QUICK if quick else PLAN
        with closing(Pace()) as pace:
            bench = Bench(kvm, plan.repetitions, size, cpus, host.pml, plan.passes, pace)
            swapped_to = measure_as_root(bench, as_root) if as_root else ""
            _measure(bench, plan, progress)
    share = bystanders.share()
    check_quiet(share, accept=busy)
    return replace(calibration_of(host, bench, share), swapped_to=swapped_to)


def _measure(bench: Bench, plan: Plan, progress: Progress | None) -> None:
    """Every measurement, as the plan says."""
    begin_s, at_least = time.monotonic(), plan.rounds * len(MEASURES)
    gives: dict[str, set[str]] = {}
    for made, what in enumerate(_in_order(bench, plan, gives)):
        elapsed_s = time.monotonic() - begin_s
        if made >= at_least and elapsed_s >= plan.seconds:
            return
        if progress:
            progress(what, made, max(at_least, int((made + 1) * plan.seconds / max(elapsed_s, 1.0))))
        before = bench.n_taken
        MEASURES[what](bench)
        gives[what] = {name for name, taken in bench.n_taken.items() if taken > before.get(name, 0)}


def _in_order(bench: Bench, plan: Plan, gives: Mapping[str, set[str]]) -> Iterator[str]:
    """Names of measurements: all of them in each round, then those that are behind. gives: numbers of each, once made."""
    for _ in range(plan.rounds):
        yield from MEASURES
    while behind := [what for what, names in gives.items() if any(_is_behind(bench, plan, name) for name in names)]:
        yield from behind


def _is_behind(bench: Bench, plan: Plan, name: str) -> bool:
    found = bench.taken[name]
    return found.n_calm(bench.least_ticks) < plan.enough or found.counted(bench.least_ticks).error > plan.certain


def calibration_of(host: KvmHost, bench: Bench, share: float) -> KvmCalibration:
    """Numbers, reasons for missing ones, and chains, from the repetitions of ``bench`` on ``host``.

    share: of the processors' time that other processes took meanwhile.
    """
    remark = f", other processes took {share:.0%} of the processors" if share > BUSY_SHARE else ""
    maker = NumberMaker(host, bench, remark)
    numbers = tuple({number.name: number for number in [*maker.derived(), *maker.measured()]}.values())
    absent = _absent(host, bench, {number.name for number in numbers}, maker.absent)
    return KvmCalibration(
        host, numbers, absent, _chains(bench), share, bench.memory_bytes, bench.pace_ns, bench.calm_share, maker.doubts
    )


def _absent(host: KvmHost, bench: Bench, found: set[str], below_noise: Mapping[str, str]) -> dict[str, str]:
    timed = {RENAMED.get(name, {}).get(host.mmu, name): bench.why_not(name) for name in MEANING if not bench.sample(name)}
    timed |= {name: bench.why_not(name) for name in map(further_name, CHAIN_WORK)}
    no_fault = "with PML a write to a logged page is no fault, and logging it is not told apart from draining the buffer"
    pml = dict.fromkeys(("lockless_hold_ns", "pml_log_ns", "pml_drain_entry_ns"), no_fault) if host.pml else {}
    why = {**CANNOT, **pml, **timed, **AT_WISH, **bench.absent, **below_noise}
    return {name: reason for name, reason in why.items() if name not in found}


def _chains(bench: Bench) -> dict[str, dict[int, float]]:
    found = {work: {k: ns for k in CHAINS if (ns := _chain_ns(bench, chain_name(work, k)))} for work in (*CHAIN_WORK, AGE)}
    return {work: row for work, row in found.items() if row}


def _chain_ns(bench: Bench, name: str) -> float:
    """0 without repetitions."""
    sample = bench.sample(name)
    return round(estimate(name, sample).ns, 2) if sample else 0.0


def with_kvm(plain: Calibration, kvm: KvmCalibration) -> Calibration:
    """``plain`` with the numbers of KVM in place of its own."""
    ours = {number.name for number in kvm.numbers}
    numbers = (*(number for number in plain.numbers if number.name not in ours), *kvm.numbers)
    return replace(plain, pml=kvm.host.pml, numbers=numbers, notes=tuple(notes(kvm)), through_kvm=tuple(sorted(ours)))


def _pace_lines(kvm: KvmCalibration) -> Iterator[str]:
    """The clock that numbers are stated at, and the sentence on a restless machine."""
    yield (
        f"Pace of the core: {PACE_INSTRUCTIONS} plain instructions in {1000 * kvm.pace_ns / NS_PER_MS:.2f} us. Numbers are "
        f"of repetitions beside which they took at most {CALM - 1:.0%} more: {kvm.calm_share:.0%} of all."
    )
    if kvm.is_restless:
        yield f"{RESTLESS} Distrust {', '.join(kvm.doubts)}; calibrate again at another hour."


def notes(kvm: KvmCalibration) -> list[str]:
    """Lines for the head of the sheet and for people: the host, chains, and each assumed number with its reason."""
    where = f"{kvm.host.words}, {kvm.host.n_cpus} processors, VMs of {kvm.memory_bytes >> 20} MiB"
    lines = [f"KVM measured through /dev/kvm: {where}."]
    if kvm.is_busy:
        lines.append(f"The machine was busy: other processes took {kvm.foreign_share:.0%} of its processors; accepted.")
    lines += _pace_lines(kvm)
    if kvm.swapped_to:
        lines.append(f"Pages were swapped out to {kvm.swapped_to}.")
    if kvm.chains:
        lines.append("ns a page by sptes a page, caches empty:")
        lines += [f"  {work}: " + ", ".join(f"{k}: {ns:.4g}" for k, ns in row.items()) for work, row in kvm.chains.items()]
    return [*lines, "Not measured through KVM:", *(f"  {name}: {why}" for name, why in kvm.absent.items())]
