"""Run a drawn host or migration again, and fail as the swarm did: python -m tests.swarm.replay [--migration] SEED."""

from __future__ import annotations

import json
import sys

from tests.swarm.configs import drawn_scenario
from tests.swarm.drive import check_seed
from tests.swarm.drive_migrations import check_migration
from tests.swarm.migrations import drawn_migration


def main(arguments: list[str]) -> None:
    """Print the scenario, then run it."""
    is_migration, seed = "--migration" in arguments, int(arguments[-1])
    drawn, check = (drawn_migration, check_migration) if is_migration else (drawn_scenario, check_seed)
    sys.stdout.write(json.dumps(drawn(seed).resolved(), indent=1) + "\n")
    sys.stdout.write(check(seed) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
