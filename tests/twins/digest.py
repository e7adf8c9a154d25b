"""Digests of engine runs, one line a machine: a compiled and a plain process must print equal lines."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

from tests.twins.compare import engine_facts
from tests.twins.configs import RANDOM, SWEPT, drawn_spec


def digest(seed: int, patterns: tuple[str, ...]) -> str:
    facts: dict[str, Any] = engine_facts(drawn_spec(seed, patterns))
    facts["work_ns"] = sorted(facts["work_ns"].items())
    return hashlib.sha256(json.dumps(facts, default=int, sort_keys=True).encode()).hexdigest()


def digests(first: int, stop: int) -> list[str]:
    return [f"{seed} {digest(seed, SWEPT)} {digest(seed, RANDOM)}" for seed in range(first, stop)]


if __name__ == "__main__":
    sys.stdout.write("\n".join(digests(int(sys.argv[1]), int(sys.argv[2]))) + "\n")
