"""Cost against work: exits from 1 GiB to 1 TiB and from 1 to 256 vCPUs, and exits drawn for longer and longer."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from benchmarks import measure
from benchmarks.exits import drawn_for, walk

SIZES_GIB = (1, 4, 16, 64, 256, 1024)
VCPUS = (1, 4, 16, 64, 256)
DRAWN_GIB = 64
DRAWN_MS = (3, 10, 30, 100, 300, 1000, 3000)
BYTES_A_PAGE = 12
"""Of memory to have free for a page of the guest."""


@dataclass(frozen=True)
class Cost:
    """``exits`` of a guest took ``seconds`` of CPU; kind: "walk" or "drawn"."""

    kind: str
    gib: int
    vcpus: int
    exits: int
    seconds: float


def all_costs() -> list[dict[str, str | float]]:
    """Walks of each size and number of vCPUs that fit into free memory, least of two below 64 GiB; drawn writes."""
    walk(1 << 13)
    found = [_walked(gib, vcpus) for vcpus in VCPUS for gib in SIZES_GIB if _fits(gib)]
    found += [Cost("drawn", DRAWN_GIB, 16, *drawn_for(DRAWN_GIB << 18, ms * 1_000_000)) for ms in DRAWN_MS]
    return [asdict(cost) for cost in found]


def _fits(gib: int) -> bool:
    return (gib << 18) * BYTES_A_PAGE < measure.free_bytes()


def _walked(gib: int, vcpus: int) -> Cost:
    times = [walk(gib << 18, n_vcpus=vcpus)[1] for _ in range(1 if gib >= SIZES_GIB[3] else 2)]
    return Cost("walk", gib, vcpus, gib << 18, min(times))
