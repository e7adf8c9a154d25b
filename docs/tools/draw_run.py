"""Draw docs/tutorial/first-run.png: the plot that the first scenario leaves."""

from __future__ import annotations

import sys
from pathlib import Path

from hostsim import run
from hostsim.report.plots import migration_pictures
from hostsim.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Write the picture."""
    result = run(load_scenario(ROOT / "scenarios" / "precopy_convergence.toml"))
    picture = migration_pictures(result.migrations[0], result.name)["png"]
    (ROOT / "docs" / "tutorial" / "first-run.png").write_bytes(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
