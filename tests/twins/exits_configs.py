"""Drawn guests that exit: small, contended, and with times that meet in the same instants often. One integer, one guest."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.twins.exits_case import REGION_PAGES, Case, Costs, Flags, Program

KINDS = ("map", "track", "wp", "split")
MODES = ("none", "shared", "exclusive", "exclusive")
"""To draw from: readers hardly ever wait, so writers come twice."""
TIMES_NS = ((1, 2, 3, 4), (1, 2), (100, 200, 300), tuple(range(50, 3000, 7)))
"""From always in the same instants to hardly ever."""
STEPS = (1, 1, 3, 5, 37, 64)
ERAS = (
    dict.fromkeys(KINDS, "exclusive"),
    dict.fromkeys(KINDS, "shared"),
    {"map": "shared", "track": "none", "wp": "none", "split": "shared"},
    {"map": "exclusive", "track": "none", "wp": "none", "split": "exclusive"},
)


def drawn_case(seed: int) -> Case:
    """Guest number ``seed``; one in twenty has sweeps longer than a PML buffer."""
    rng = Random(seed)
    if rng.random() < 0.05:
        return _long_case(rng)
    times = rng.choice(TIMES_NS)
    n_regions = rng.choice((1, 1, 2, 3, 4))
    logged = rng.random() < 0.65
    programs = _programs(rng, times, n_regions)
    large = {region: _flags(rng) for region in range(n_regions) if rng.random() < 0.3}
    case = Case(
        n_regions, _sptes(rng, n_regions, programs, large), large, logged, rng.random() < 0.5, rng.random() < 0.4,
        programs, _costs(rng, times),
    )  # fmt: skip
    return protected(case) if logged and rng.random() < 0.6 else case


def drawn_horizons(seed: int, log: list[tuple[int, int, int, str]], end_ns: int) -> list[int]:
    """Where run number ``seed`` is cut: anywhere, at instants of its log, and one nanosecond after such."""
    rng = Random(seed)
    anywhere = [rng.randrange(end_ns + 2) for _ in range(rng.choice((0, 1, 3)))]
    at_log = [rng.choice(log)[0] + rng.choice((0, 1)) for _ in range(rng.choice((0, 2, 5)) if log else 0)]
    return sorted(anywhere + at_log)


def protected(case: Case) -> Case:
    """As logging was just switched on: W taken away, or with PML D from 4 KiB sptes and W from large ones."""
    revoked = "dirty" if case.pml else "writable"
    return replace(
        case,
        spte={page: flags - {revoked} for page, flags in case.spte.items()},
        large={region: flags - {"writable"} for region, flags in case.large.items()},
    )


def _long_case(rng: Random) -> Case:
    times = rng.choice(TIMES_NS)
    lengths = [rng.randrange(300, 1100) for _ in range(rng.choice((1, 2)))]
    programs = tuple(Program(rng.randrange(200), n, 1, True, 0, rng.choice(times), rng.randrange(512)) for n in lengths)
    missing = rng.choice((0, 0.001, 0.02))
    spte = {page: frozenset({"present", "writable"}) for page in range(1300) if rng.random() >= missing}
    return Case(3, spte, {}, True, True, False, programs, _costs(rng, times))


def _programs(rng: Random, times: tuple[int, ...], n_regions: int) -> tuple[Program, ...]:
    """Sweeps that mostly share their pages; a late start now and then."""
    n_vcpus, step = rng.choice((1, 2, 3, 4, 5, 6, 6)), rng.choice(STEPS)
    return tuple(_program(rng, times, n_regions * REGION_PAGES, step) for _ in range(n_vcpus))


def _program(rng: Random, times: tuple[int, ...], n_pages: int, step: int) -> Program:
    own_step = step if rng.random() < 0.8 else rng.choice(STEPS)
    first = min(rng.choice((0, 0, 0, 1, 5)) * step + rng.choice((0, 0, 0, n_pages - 100)), n_pages - 1)
    accesses = rng.choice((1, 12, 20, 40, 40))
    n = min(accesses * own_step - rng.randrange(own_step), n_pages - first)
    start_ns = rng.choice((0, 0, 0, rng.choice(times), 10 * rng.choice(times)))
    pml = rng.choice((0, rng.randrange(512), rng.randrange(505, 512)))
    return Program(first, n, own_step, rng.random() < 0.65, start_ns, rng.choice((0, *times)), pml)


def _sptes(rng: Random, n_regions: int, programs: tuple[Program, ...], large: dict[int, Flags]) -> dict[int, Flags]:
    """Nothing under large sptes; elsewhere some of the pages that are touched, and now and then one that is not."""
    density = rng.choice((0.0, 0.7, 1.0))
    touched = sorted({page for program in programs for page in program.pages()})
    pages = [page for page in touched if rng.random() < density]
    pages += [rng.randrange(n_regions * REGION_PAGES) for _ in range(rng.choice((0, 0, 1)))]
    return {page: _flags(rng) for page in pages if page // REGION_PAGES not in large}


def _flags(rng: Random) -> Flags:
    share = {"writable": 0.5, "tracked": 0.3, "dirty": 0.3}
    return frozenset({"present", *(flag for flag, p in share.items() if rng.random() < p)})


def _costs(rng: Random, times: tuple[int, ...]) -> Costs:
    era = rng.choice((*ERAS, *({kind: rng.choice(MODES) for kind in KINDS} for _ in range(4))))
    longer = rng.choice((1, 1, 3))
    return Costs(
        rng.choice(times), rng.choice(times), rng.choice(times), rng.choice((0, *times)), rng.choice((0, 7, 512, 5000)),
        era, {kind: longer * rng.choice(times) for kind in KINDS}, _queue_ns(rng, times),
    )  # fmt: skip


def _queue_ns(rng: Random, times: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    width = rng.choice((1, 1, 2, 4))
    return {mode: tuple(rng.choice((0, *times)) for _ in range(width)) for mode in dict.fromkeys(MODES)}
