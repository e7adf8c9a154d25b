"""Which drawn case showed each mutation: it is tried first, so that a test does not look through hundreds anew.

``python -m tests.twins.mutation_seeds`` looks through them and writes mutation_seeds.json. A seed that shows its mutation no
more is no failure: all cases are tried then, and that takes as long as before.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.helpers import plain
from tests.twins import kvm_mutate, mutate

FILE = Path(__file__).with_suffix(".json")
SEEDS = {"mutate": 150, "kvm_mutate": 300}
"""Cases among which each mutation of a module is caught."""


def first_seed_that_shows(module: str, name: str, n_seeds: int = 0) -> int:
    """The kept seed of ``name`` if it shows it, else the first below ``n_seeds`` that does; -1 if none."""
    kept = json.loads(FILE.read_text(encoding="utf-8"))[module].get(name, 0)
    return seed_that_shows(module, name, kept, n_seeds or SEEDS[module])


def seed_that_shows(module: str, name: str, first: int, n_seeds: int) -> int:
    """Breaks the engine in a process of its own."""
    return int(plain.plain_output(f"tests.twins.{module}", name, str(n_seeds), str(first)))


def main() -> None:
    """Write the file."""
    names = {"mutate": mutate.MUTATIONS, "kvm_mutate": kvm_mutate.MUTATIONS | kvm_mutate.WALKER_MUTATIONS}
    skipped = {"none", mutate.DRAWN_ONLY}
    found = {
        module: {name: seed_that_shows(module, name, 0, SEEDS[module]) for name in names[module] if name not in skipped}
        for module in SEEDS
    }
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plain.stop()


if __name__ == "__main__":
    main()
