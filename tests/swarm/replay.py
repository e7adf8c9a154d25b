"""Run one drawn host again: python -m tests.swarm.replay SEED prints its scenario, and fails as the swarm did."""

from __future__ import annotations

import json
import sys

from tests.swarm.configs import drawn_scenario
from tests.swarm.drive import check_seed


def main(seed: int) -> None:
    """Print the scenario, then run it."""
    sys.stdout.write(json.dumps(drawn_scenario(seed).resolved(), indent=1) + "\n")
    sys.stdout.write(check_seed(seed) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
