"""The measurements one by one: a curve of dependent loads, then loops that stream, store, clear, touch and copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from hostsim.core.constants import PAGE_BYTES
from hostsim.measure.calibrate import memory_probe as probe
from hostsim.measure.calibrate.arena import Words, fresh, huge_bytes, make_cycle, written
from hostsim.measure.calibrate.atomic import atomic_adder
from hostsim.measure.calibrate.levels import Curve
from hostsim.measure.calibrate.sample import Sample, joined, repeat
from hostsim.measure.calibrate.sample import repeat_counted as counted

KIB, MIB = 1 << 10, 1 << 20
LINE_BYTES = 64
BITMAP_BYTES = 3 * MIB
BITMAP_PAGES = 8 * BITMAP_BYTES
"""A dirty bitmap of 96 GiB, the size for which the shipped sheets have GET."""

WARM_LINES = 1 << 17
"""First steps that are not timed: a whole round where the nearer caches matter."""

Report = Callable[[str], None]
"""Called with the name of the next measurement."""


POPULATED_BYTES = 16 * MIB
"""Memory that is touched for the first time."""
OFTEN_BYTES = 32 * MIB
"""Larger footprints are measured in one round, with the repetitions of all: they lie in memory, whose latency changes
little, and to lay a cycle through them takes long.
"""


@dataclass(frozen=True)
class Effort:
    """footprints_bytes: of the curve, growing, the last also that of everything that is to come from memory.

    rounds: over all measurements, so that the repetitions of each lie apart in time, and a busy neighbour meets few of
    them; repetitions: of each measurement in a round.
    """

    footprints_bytes: tuple[int, ...]
    rounds: int
    repetitions: int

    @property
    def steps(self) -> int:
        """Number of reports in all."""
        return len(self.footprints_bytes) + len(TIMINGS) + 1


@dataclass(frozen=True)
class Found:
    """curve, loads: lower quartiles and repetitions by footprint; huge: whether huge pages lay below; timings: the rest."""

    curve: Curve
    loads: list[Sample]
    huge: bool
    timings: list[Timing]


@dataclass(frozen=True)
class Timing:
    """A cost in ns. name: in a cost sheet; what: words for the work timed; sample: repetitions, None if not measurable."""

    name: str
    what: str
    sample: Sample | None


def effort(largest_bytes: int, *, quick: bool) -> Effort:
    """Footprints from 4 KiB on, two an octave; the last is at most ``largest_bytes``."""
    sizes = (size for n in range(64) for size in (4 * KIB << n, 6 * KIB << n))
    footprints = tuple(takewhile(lambda size: size <= largest_bytes, sizes))
    return Effort(footprints, *((1, 7) if quick else (4, 6)))


def is_compiled() -> bool:
    """Whether the loops are machine code: plain Python would measure itself."""
    return hasattr(probe.chase, "py_func")


def measure_all(plan: Effort, report: Report) -> Found:
    """Measure dependent loads round a random cycle through ever more memory, then all timings of TIMINGS; so in each round.

    plan: footprints, rounds and repetitions. report: called with the name of each step of the first round.
    """
    before = huge_bytes()
    words = written(plan.footprints_bytes[-1])
    huge = huge_bytes() - before >= words.nbytes // 2
    rounds = [_round(words, plan, turn, report if turn == 0 else _silent) for turn in range(plan.rounds)]
    loads = [joined([row[size] for row, _ in rounds if size in row]) for size in plan.footprints_bytes]
    timings = [Timing(name, what, _joined([row[name] for _, row in rounds])) for name, (what, _) in TIMINGS.items()]
    ns = np.array([sample.low_ns for sample in loads])
    return Found(Curve(np.array(plan.footprints_bytes, np.float64), ns), loads, huge, timings)


def _silent(what: str) -> None:
    """Rounds after the first are as long; the bar stays."""


def _joined(samples: list[Sample | None]) -> Sample | None:
    """The repetitions of all rounds; None if there are none."""
    found = [sample for sample in samples if sample]
    return joined(found) if found else None


def _round(words: Words, plan: Effort, turn: int, report: Report) -> tuple[dict[int, Sample], dict[str, Sample | None]]:
    """(Loads by footprint, timings by name); footprints above OFTEN_BYTES in the first round alone."""
    rng, loads, timings = np.random.default_rng(1 + turn), {}, {}
    for size in plan.footprints_bytes:
        if size <= OFTEN_BYTES or turn == 0:
            report(f"loads in {size // KIB} KiB")
            repetitions = plan.repetitions * (1 if size <= OFTEN_BYTES else plan.rounds)
            loads[size] = _loads(words, size // LINE_BYTES, repetitions, rng)
    for name, (what, measure) in TIMINGS.items():
        report(what)
        timings[name] = measure(words, plan)
    return loads, timings


def _loads(words: Words, n_lines: int, repetitions: int, rng: np.random.Generator) -> Sample:
    """Time of a load in a cycle over ``n_lines``: each repetition continues where the last ended.

    The caches are warm: writing the cycle has filled them.
    """
    make_cycle(words, n_lines, rng)
    at = probe.chase(words, np.uint64(0), min(n_lines, WARM_LINES))

    def run(steps: int) -> None:
        nonlocal at
        at = probe.chase(words, np.uint64(at), steps)

    return counted(run, repetitions, first=4096)


def _stream(words: Words, plan: Effort) -> Sample:
    part = words[: len(words) // 8]
    return repeat(_over_all(words, part, probe.load_lines), len(part) // probe.LINE_WORDS, plan.repetitions)


def _over_all(words: Words, part: Words, run: Callable[[Words], object]) -> Callable[[], object]:
    """``run`` on parts as long as ``part``, each time the next one, so that none is found in a cache."""
    parts = [words[at : at + len(part)] for at in range(0, len(words) - len(part) + 1, len(part))]
    turn = 0

    def next_part() -> object:
        nonlocal turn
        turn += 1
        return run(parts[turn % len(parts)])

    return next_part


def _random_stores(words: Words, plan: Effort) -> Sample:
    seed = 1

    def run(stores: int) -> None:
        nonlocal seed
        seed = probe.store_at_random(words, seed, stores)

    return counted(run, plan.repetitions)


def _clear_pages(words: Words, plan: Effort) -> Sample:
    seed = 1

    def run(pages: int) -> None:
        nonlocal seed
        seed = probe.clear_at_random(words, seed, pages)

    return counted(run, plan.repetitions)


def _populate(words: Words, plan: Effort) -> Sample:
    """Memory of its own for each repetition, given back outside of the timing."""
    del words
    once = [_first_touch(POPULATED_BYTES) for _ in range(plan.repetitions)]
    return Sample(np.concatenate([sample.ns for sample in once]))


def _first_touch(n_bytes: int) -> Sample:
    words = fresh(n_bytes, huge=False)
    return repeat(lambda: probe.touch_pages(words), n_bytes // PAGE_BYTES, 1)


def _copy_bitmap(words: Words, plan: Effort) -> Sample:
    n = BITMAP_BYTES // words.itemsize
    bitmap, to = words[:n], words[n : 2 * n]

    def run(copies: int) -> None:
        for _ in range(copies):
            probe.copy(bitmap, to)

    sample = counted(run, plan.repetitions, first=8)
    return Sample(sample.ns / BITMAP_PAGES)


def _atomics(words: Words, plan: Effort) -> Sample | None:
    del words
    adder = atomic_adder()
    return counted(adder, plan.repetitions) if adder else None


TIMINGS: dict[str, tuple[str, Callable[[Words, Effort], Sample | None]]] = {
    "line_stream_ns": ("lines read in order from memory, one load each", _stream),
    "random_store_ns": ("stores to random lines of memory, none waiting for another", _random_stores),
    "atomic_ns": ("an atomic addition to a word in the own cache", _atomics),
    "clear_page_ns": ("a 4 KiB page of memory zeroed, pages at random", _clear_pages),
    "populate_ns": ("first store to a 4 KiB page: the host's fault, a page, its zeroing", _populate),
    "get_page_ns": ("a bit of a 3 MiB bitmap copied; KVM also looks at each word", _copy_bitmap),
}
"""Name in the sheet: words for the work, and the function that times it."""


def warm_up(duration_ns: int = 100_000_000) -> None:
    """Compile every loop, and keep the processor busy until it has left its idle frequency."""
    words = np.ones(2 * probe.PAGE_WORDS, np.uint64)
    make_cycle(words, 64, np.random.default_rng(1))
    probe.store_at_random(words, 1, 1)
    probe.load_lines(words)
    probe.touch_pages(words)
    probe.copy(words, words)
    probe.clear_at_random(words, 1, 1)
    spent_ns = 0
    while spent_ns < duration_ns:
        spent_ns += int(repeat(lambda: probe.chase(words, np.uint64(0), 1 << 16), 1, 1).ns[0])
