"""Replays drawn machines: ``python -m tests.twins.replay SEED...`` prints where engine and twin part."""

from __future__ import annotations

import sys

from hostsim.core.knobs import Knobs
from tests.twins.compare import engine_facts, first_difference, twin_facts
from tests.twins.configs import RANDOM, drawn_knobs, drawn_spec


def replay_command(seed: int) -> str:
    return f"python -m tests.twins.replay {seed}"


def disagreement(seed: int) -> str:
    """Empty if machine ``seed`` gives the same facts in the twin and, with any speed knobs, in the engine."""
    spec = drawn_spec(seed)
    expected = twin_facts(spec)
    for knobs in (Knobs(), drawn_knobs(seed)):
        if difference := first_difference(expected, engine_facts(spec, knobs)):
            return f"{replay_command(seed)}: {knobs}: {difference[:1000]}"
    return ""


def moved_by_knobs(seed: int) -> str:
    """Empty if speed knobs move nothing on machine ``seed`` with drawn workloads."""
    spec = drawn_spec(seed, RANDOM)
    difference = first_difference(engine_facts(spec), engine_facts(spec, drawn_knobs(seed)))
    return f"{seed}: {drawn_knobs(seed)}: {difference[:1000]}" if difference else ""


def main(seeds: list[int]) -> int:
    found = [text for seed in seeds if (text := disagreement(seed))]
    sys.stdout.write("".join(f"{text}\n" for text in found) or "equal\n")
    return len(found) > 0


if __name__ == "__main__":
    raise SystemExit(main([int(arg) for arg in sys.argv[1:]]))
