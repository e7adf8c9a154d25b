"""Write docs/reference/scenario.md from `hostsim schema --format markdown`; `--check` only compares."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from written import write_or_compare

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "scenario.md"
HEADER = """\
# Scenario keys

Written by `make docs` from `hostsim schema --format markdown`. How to go about a new scenario:
[write a scenario](../howto/write-a-scenario.md).

"""


def page() -> str:
    """Return the whole page."""
    command = [str(Path(sys.executable).with_name("hostsim")), "schema", "--format", "markdown"]
    plain = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=plain)
    return HEADER + "\n".join(line.rstrip() for line in run.stdout.strip().splitlines()) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` return 1 if it is out of date."""
    return write_or_compare(PAGE, page(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
