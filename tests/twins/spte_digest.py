"""The state after drawn operations, to compare a compiled run with plain Python: ``python -m tests.twins.spte_digest``."""

from __future__ import annotations

import hashlib
import sys
from random import Random

from hostsim.spte_index.designs import DESIGNS
from tests.twins.spte_compare import OPS, Pair

STEPS = 60


def drawn_steps(seed: int, n_steps: int = STEPS) -> list[tuple[str, int]]:
    rng = Random(seed)
    return [(rng.choice(OPS), rng.randrange(2**32)) for _ in range(n_steps)]


def run_drawn(design: str, seed: int) -> Pair:
    pair = Pair(design)
    for op, step_seed in drawn_steps(seed):
        pair.step(op, step_seed)
    return pair


def digests(*seeds: int) -> list[str]:
    """A line a design: everything counted and everything mapped, with one seed after another."""
    lines = []
    for design in DESIGNS:
        pairs = [run_drawn(design, seed) for seed in seeds]
        text = repr([(pair.index.work.tolist(), sorted(pair.content().items()), pair.index.bytes_used()) for pair in pairs])
        lines.append(f"{design} {hashlib.sha256(text.encode()).hexdigest()}")
    return lines


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in digests(*map(int, sys.argv[1:]))))
